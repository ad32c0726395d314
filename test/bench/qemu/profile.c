// SPDX-License-Identifier: MPL-2.0

// A plugin for QEMU's emulator (TCG) that counts how often each instruction of the guest is executed while a row is
// being measured. The benchmark marks the beginning and the end of each batch by a nop with a conspicuous operand
// (measure.c); that works in any guest kernel, and needs no agreement about addresses.
//
//   -plugin file=profile.so,counts=FILE[,trace=FILE]
//
// counts: a line `ADDRESS COUNT` (hexadecimal, decimal) for each instruction that was executed in a batch.
// trace:  a line `ADDRESS INSTRUCTIONS` for each translation block executed in the last batch, from its beginning on,
//         up to a limit.
//
// For one CPU: nothing here is atomic. Debian's QEMU comes without qemu-plugin.h, hence the declarations; they are
// those of version 1 of the plugin interface.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
typedef void on_translation(plugin_id, struct qemu_plugin_tb *);
typedef void on_execution(unsigned cpu, void *data);
enum { ADD_U64 = 0, NO_REGISTERS = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_translation *);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_execution *, int flags, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, on_execution *, int flags, void *data);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int operation, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static const char *counts_path;
static const char *trace_path;

// --- counters -----------------------------------------------------------------------------------------------------------

// A hash table by address. Its entries never move: translated code holds pointers into it.
struct counter {
    uint64_t address;
    uint64_t count;
    // The count when the batch began, and the sum over the batches that have ended.
    uint64_t before;
    uint64_t counted;
};

enum { SLOTS = 1 << 22 };
static struct counter *counters;
static size_t used;

static struct counter *counter_of(uint64_t address)
{
    uint64_t hash = address * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t slot = hash >> 42;; slot = (slot + 1) % SLOTS) {
        struct counter *counter = &counters[slot];
        if (counter->address == address)
            return counter;
        if (counter->address == 0) {
            if (++used > SLOTS / 4 * 3) {
                fprintf(stderr, "profile: too many instructions\n");
                exit(1);
            }
            counter->address = address;
            return counter;
        }
    }
}

// --- the trace ------------------------------------------------------------------------------------------------------------

struct step {
    uint64_t address;
    uint32_t instructions;
};

enum { MOST_STEPS = 200000 };
static struct step *steps;
static size_t step_count;
static bool measuring;

static void on_block(unsigned cpu, void *data)
{
    (void)cpu;
    if (measuring && step_count < MOST_STEPS)
        steps[step_count++] = *(struct step *)data;
}

// --- batches --------------------------------------------------------------------------------------------------------------

static void on_begin(unsigned cpu, void *data)
{
    (void)cpu, (void)data;
    for (size_t i = 0; i < SLOTS; i++)
        counters[i].before = counters[i].count;
    step_count = 0;
    measuring = true;
}

static FILE *create(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

static void write_counts(void)
{
    FILE *file = create(counts_path);
    for (size_t i = 0; i < SLOTS; i++)
        if (counters[i].counted != 0)
            fprintf(file, "%" PRIx64 " %" PRIu64 "\n", counters[i].address, counters[i].counted);
    fclose(file);
}

static void write_trace(void)
{
    FILE *file = create(trace_path);
    for (size_t i = 0; i < step_count; i++)
        fprintf(file, "%" PRIx64 " %" PRIu32 "\n", steps[i].address, steps[i].instructions);
    fclose(file);
}

// Writes what there is so far: how the machine will end is nobody's promise.
static void on_end(unsigned cpu, void *data)
{
    (void)cpu, (void)data;
    measuring = false;
    for (size_t i = 0; i < SLOTS; i++)
        counters[i].counted += counters[i].count - counters[i].before;
    write_counts();
    if (trace_path != NULL)
        write_trace();
}

// --- translation ------------------------------------------------------------------------------------------------------------

// The number in a mark of measure.c, or 0.
static unsigned mark(const struct qemu_plugin_insn *insn)
{
    static const unsigned char sign[] = { 0x0f, 0x1f, 0x80 };
    static const unsigned char tail[] = { 0x6c, 0x6f, 0x70 };
    const unsigned char *code = qemu_plugin_insn_data(insn);
    if (qemu_plugin_insn_size(insn) != 7 || memcmp(code, sign, 3) != 0 || memcmp(code + 4, tail, 3) != 0)
        return 0;
    return code[3];
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        struct counter *counter = counter_of(qemu_plugin_insn_vaddr(insn));
        qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &counter->count, 1);
        if (mark(insn) == 1)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, NO_REGISTERS, NULL);
        if (mark(insn) == 2)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, NO_REGISTERS, NULL);
    }
    if (trace_path != NULL) {
        // Lives as long as the translation, that is: as long as QEMU.
        struct step *step = malloc(sizeof *step);
        *step = (struct step){ qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, 0)), (uint32_t)count };
        qemu_plugin_register_vcpu_tb_exec_cb(block, on_block, NO_REGISTERS, step);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc,
                                                               char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "counts=", 7) == 0)
            counts_path = strdup(argv[i] + 7);
        else if (strncmp(argv[i], "trace=", 6) == 0)
            trace_path = strdup(argv[i] + 6);
    }
    counters = calloc(SLOTS, sizeof *counters);
    steps = calloc(MOST_STEPS, sizeof *steps);
    if (counts_path == NULL || counters == NULL || steps == NULL) {
        fprintf(stderr, "profile: use -plugin file=profile.so,counts=FILE[,trace=FILE]\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
