// SPDX-License-Identifier: MPL-2.0

// Measures one row, in the row's own process, and sends the result to the parent.
//
// The clock is CLOCK_MONOTONIC. Under QEMU's `-icount shift=0` a nanosecond is an instruction, so the cost of an
// operation in nanoseconds is its cost in instructions.

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

static int result_fd = -1;
static int64_t wanted_ns;

void measure_init(int fd, int64_t batch_ns)
{
    result_fd = fd;
    wanted_ns = batch_ns;
}

void expect_switches(void)
{
    static bool expected;
    if (!expected)
        wanted_ns *= 5;
    expected = true;
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

// What the profiler's plugin for QEMU looks for in the code (tools/bench/plugin/count.c): between the two, instructions
// are attributed to the row. To the CPU they are a nop with a conspicuous operand.
#define MARK(number) __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .long " #number ::: "memory")

static int64_t timed(batch_function *batch, void *context, long operations)
{
    int64_t start = now();
    MARK(0x706f6c01);
    batch(context, operations);
    MARK(0x706f6c02);
    return now() - start;
}

// Doubles the batch until it is long enough to be judged, then scales it. Warms up on the way.
static long calibrate(batch_function *batch, void *context)
{
    long operations = 1;
    for (;;) {
        int64_t start = now();
        batch(context, operations);
        int64_t took = now() - start;
        if (took >= wanted_ns / 8) {
            double scaled = (double)operations * (double)wanted_ns / (double)took;
            return scaled < 1 ? 1 : (long)scaled;
        }
        operations *= 2;
    }
}

static void send_result(const struct result *result)
{
    if (write(result_fd, result, sizeof *result) != sizeof *result)
        _exit(2);
}

void measure(batch_function *batch, void *context)
{
    struct result result = { .status = ROW_OK };
    result.operations = calibrate(batch, context);
    for (int i = 0; i < BATCHES; i++)
        result.cost[i] = (double)timed(batch, context, result.operations) / (double)result.operations;
    send_result(&result);
    _exit(0);
}

void report(const double values[BATCHES])
{
    struct result result = { .status = ROW_OK, .operations = 1 };
    for (int i = 0; i < BATCHES; i++)
        result.cost[i] = values[i];
    send_result(&result);
    _exit(0);
}

static void end_with(enum row_status status, const char *why)
{
    struct result result = { .status = status };
    snprintf(result.why, sizeof result.why, "%s", why);
    send_result(&result);
    _exit(0);
}

void give_up(const char *what)
{
    static const int lacking[] = { ENOSYS, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EOPNOTSUPP };
    int error = errno;
    char why[WHY_SIZE];
    snprintf(why, sizeof why, "%s: %s", what, strerror(error));
    for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++)
        if (error == lacking[i])
            end_with(ROW_UNSUPPORTED, why);
    end_with(ROW_FAILED, why);
    __builtin_unreachable();
}

void fail(const char *format, ...)
{
    char why[WHY_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    end_with(ROW_FAILED, why);
    __builtin_unreachable();
}
