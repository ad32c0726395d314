// SPDX-License-Identifier: MPL-2.0
//
// Hardware faults as signals with siginfo, and the processor's state over signals and thread switches.
#include "harness.h"

#include <cpuid.h>
#include <immintrin.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t info;
static unsigned long fault_ip, fault_trap, fault_error;

static void on_fault(int signal, siginfo_t *i, void *context) {
    (void)signal;
    ucontext_t *c = context;
    info = *i;
    fault_ip = (unsigned long)c->uc_mcontext.gregs[REG_RIP];
    fault_trap = (unsigned long)c->uc_mcontext.gregs[REG_TRAPNO];
    fault_error = (unsigned long)c->uc_mcontext.gregs[REG_ERR];
    siglongjmp(back, 1);
}

static void catch (int signal) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    OK(sigaction(signal, &action, NULL));
}

// Runs the statement, which must fault.
#define FAULTS(statement)                                                                                              \
    do {                                                                                                               \
        if (sigsetjmp(back, 1) == 0) {                                                                                 \
            statement;                                                                                                 \
            check_failed(__FILE__, __LINE__, "no fault");                                                              \
        }                                                                                                              \
    } while (0)

static char *map(int protection) {
    char *page = mmap(NULL, 8192, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

TEST(body_segv_of_an_unmapped_page) {
    catch (SIGSEGV);
    volatile char *page = map(PROT_READ | PROT_WRITE);
    OK(munmap((void *)page, 8192));
    FAULTS(page[77] = 1);
    CHECK_EQ(info.si_signo, SIGSEGV);
    CHECK_EQ(info.si_code, SEGV_MAPERR);
    CHECK(info.si_addr == (void *)(page + 77));
    CHECK_EQ(fault_trap, 14);
    CHECK_EQ(fault_error & 6, 6); // a user's write
    FAULTS((void)page[99]);
    CHECK(info.si_addr == (void *)(page + 99));
    CHECK_EQ(fault_error & 6, 4);
    FAULTS(*(volatile int *)((char *)bad_pointer() - 16) = 1);
    CHECK(info.si_addr == NULL);
}

TEST(body_segv_of_a_protected_page) {
    catch (SIGSEGV);
    volatile char *page = map(PROT_READ);
    (void)page[0];
    FAULTS(page[5] = 1);
    CHECK_EQ(info.si_code, SEGV_ACCERR);
    CHECK(info.si_addr == (void *)(page + 5));
    OK(mprotect((void *)page, 8192, PROT_NONE));
    FAULTS((void)page[6]);
    CHECK_EQ(info.si_code, SEGV_ACCERR);
    OK(mprotect((void *)page, 8192, PROT_READ | PROT_WRITE));
    page[5] = 1;
    CHECK_EQ(page[5], 1);
}

TEST(body_segv_of_execution) {
    catch (SIGSEGV);
    unsigned char *page = (unsigned char *)map(PROT_READ | PROT_WRITE);
    page[0] = 0xc3; // ret
    FAULTS(((void (*)(void))(uintptr_t)page)());
    CHECK_EQ(info.si_code, SEGV_ACCERR);
    CHECK(info.si_addr == page);
    OK(mprotect(page, 4096, PROT_READ | PROT_EXEC));
    ((void (*)(void))(uintptr_t)page)();
}

TEST(body_segv_of_kernel_and_odd_addresses) {
    catch (SIGSEGV);
    FAULTS((void)*(volatile char *)0xffffffff80000000ul);
    CHECK_EQ(info.si_signo, SIGSEGV);
    // Not canonical: a general protection fault, without an address.
    FAULTS((void)*(volatile char *)0x8000000000000000ul);
    CHECK_EQ(info.si_code, SI_KERNEL);
    CHECK(info.si_addr == NULL);
    FAULTS(__asm__ volatile("hlt"));
    CHECK_EQ(info.si_code, SI_KERNEL);
    FAULTS(__asm__ volatile("in $0x80, %%al" ::: "al"));
    CHECK_EQ(info.si_signo, SIGSEGV);
}

TEST(body_fpe) {
    catch (SIGFPE);
    volatile int zero = 0, one = 1;
    FAULTS(one = one / zero);
    CHECK_EQ(info.si_code, FPE_INTDIV);
    CHECK(info.si_addr == (void *)fault_ip);
    CHECK_EQ(fault_trap, 0);
    volatile int least = INT32_MIN, minus = -1;
    FAULTS(one = least / minus);
    CHECK_EQ(info.si_code, FPE_INTDIV);
}

// QEMU's translator of 2022 and before does not raise SIMD exceptions.
static bool emulated(void) {
    unsigned a, b, c, d;
    __cpuid(0x40000000, a, b, c, d);
    return b == 0x54474354; // "TCGT"
}

TEST(body_fpe_of_sse) {
    if (emulated())
        SKIP("the emulated processor raises no SIMD exceptions");
    catch (SIGFPE);
    volatile float zero = 0, one = 1;
    FAULTS({
        _mm_setcsr(_mm_getcsr() & ~_MM_MASK_DIV_ZERO);
        one = one / zero;
    });
    CHECK_EQ(info.si_code, FPE_FLTDIV);
    CHECK_EQ(fault_trap, 19);
}

TEST(body_ill) {
    catch (SIGILL);
    FAULTS(__asm__ volatile("ud2"));
    CHECK_EQ(info.si_code, ILL_ILLOPN);
    CHECK(info.si_addr == (void *)fault_ip);
}

TEST(body_trap) {
    catch (SIGTRAP);
    FAULTS(__asm__ volatile("int3"));
    CHECK_EQ(info.si_signo, SIGTRAP);
    CHECK_EQ(info.si_code, SI_KERNEL);
    CHECK_EQ(*(unsigned char *)(fault_ip - 1), 0xcc);
}

TEST(body_bus_beyond_the_end_of_a_file) {
    catch (SIGBUS);
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 100));
    volatile char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(page != MAP_FAILED);
    page[99] = 1;
    page[4000] = 1; // the rest of the last page is there
    FAULTS((void)page[4096]);
    CHECK_EQ(info.si_signo, SIGBUS);
    CHECK_EQ(info.si_code, BUS_ADRERR);
    CHECK(info.si_addr == (void *)(page + 4096));
    OK(ftruncate(fd, 8192));
    page[4096] = 2;
    OK(ftruncate(fd, 0));
    FAULTS((void)page[0]);
    CHECK_EQ(info.si_signo, SIGBUS);
}

static int fatal(void (*act)(void)) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        act();
        _exit(0);
    }
    int status = wait_status(child);
    CHECK(WIFSIGNALED(status));
    return WTERMSIG(status);
}

static void write_null(void) { *(volatile int *)bad_pointer() = 1; }
static void write_null_with_segv_blocked(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    count_signal(SIGSEGV, 0);
    write_null();
}
static void write_null_with_segv_ignored(void) {
    CHECK(signal(SIGSEGV, SIG_IGN) != SIG_ERR);
    write_null();
}
static void illegal(void) { __asm__ volatile("ud2"); }
static void handle_on_a_bad_stack(void) {
    count_signal(SIGSEGV, 0);
    __asm__ volatile("mov $4096, %%rsp\n push %%rax" ::: "memory");
}
static void return_to_nonsense(void) {
    __asm__ volatile("mov $15, %%eax\n syscall\n" ::: "rax", "rcx", "r11", "memory"); // rt_sigreturn without a frame
}
static void fault_in_a_handler_of_itself(void) {
    struct sigaction action = {.sa_handler = (void (*)(int))16};
    OK(sigaction(SIGSEGV, &action, NULL));
    write_null();
}

TEST(body_faults_kill_without_a_handler) {
    CHECK_EQ(fatal(write_null), SIGSEGV);
    CHECK_EQ(fatal(illegal), SIGILL);
    CHECK_EQ(fatal(write_null_with_segv_blocked), SIGSEGV);
    CHECK_EQ(fatal(write_null_with_segv_ignored), SIGSEGV);
    CHECK_EQ(fatal(handle_on_a_bad_stack), SIGSEGV);
    CHECK_EQ(fatal(fault_in_a_handler_of_itself), SIGSEGV);
    CHECK_EQ(fatal(return_to_nonsense), SIGSEGV);
}

// ---- a handler that repairs the fault, and the instruction is executed again ----

static char *volatile repaired;
static volatile int repairs;

static void repair(int signal, siginfo_t *i, void *context) {
    (void)signal;
    (void)context;
    CHECK(i->si_addr >= (void *)repaired && i->si_addr < (void *)(repaired + 8192));
    OK(mprotect((void *)((uintptr_t)i->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE));
    repairs++;
}

TEST(body_a_handler_repairs_the_fault) {
    struct sigaction action = {.sa_sigaction = repair, .sa_flags = SA_SIGINFO};
    OK(sigaction(SIGSEGV, &action, NULL));
    repaired = map(PROT_NONE);
    volatile char *page = repaired;
    page[1] = 10;
    page[4097] = 20;
    CHECK_EQ(page[1] + page[4097], 30);
    CHECK_EQ(repairs, 2);
}

static void on_overflow(int signal, siginfo_t *i, void *context) {
    (void)signal;
    (void)i;
    (void)context;
    siglongjmp(back, 1);
}

__attribute__((noinline)) static int recurse(volatile char *above) {
    volatile char here[4096];
    here[0] = above[0];
    return above[0] ? recurse(here) + here[0] : 0;
}

TEST(body_stack_overflow_on_an_alternate_stack) {
    OK(sigaltstack(&(stack_t){.ss_sp = malloc(65536), .ss_size = 65536}, NULL));
    struct sigaction action = {.sa_sigaction = on_overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    OK(sigaction(SIGSEGV, &action, NULL));
    volatile char start[1] = {1};
    FAULTS(recurse(start));
}

// ---- floating point and vector registers ----

static void scribble(int signal) {
    (void)signal;
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pcmpeqd %%xmm15, %%xmm15\n"
                     "fninit\n fldpi\n" ::
                         : "xmm0", "xmm1", "xmm15");
    _mm_setcsr(0x9fc0);
}

TEST(body_sse_and_x87_survive_a_handler) {
    CHECK(signal(SIGUSR1, scribble) != SIG_ERR);
    uint64_t in[4] = {0x1122334455667788, 0x99aabbccddeeff00, 0xdeadbeefcafebabe, 0x0123456789abcdef}, out[4];
    unsigned control = _mm_getcsr();
    long double x87_in = 1.25L, x87_out;
    long pid = getpid();
    __asm__ volatile("movdqu (%1), %%xmm0\n movdqu 16(%1), %%xmm15\n"
                     "fldt %4\n"
                     "mov $62, %%eax\n mov $10, %%esi\n syscall\n"
                     "fstpt %0\n"
                     "movdqu %%xmm0, (%2)\n movdqu %%xmm15, 16(%2)\n"
                     : "=m"(x87_out)
                     : "r"(in), "r"(out), "D"(pid), "m"(x87_in)
                     : "rax", "rcx", "rsi", "r11", "xmm0", "xmm15", "memory");
    CHECK(memcmp(in, out, sizeof in) == 0);
    CHECK(x87_out == 1.25L);
    CHECK_EQ(_mm_getcsr(), control);
}

__attribute__((target("avx"))) static void scribble_avx(int signal) {
    (void)signal;
    __asm__ volatile("vxorps %%ymm0, %%ymm0, %%ymm0\n vxorps %%ymm7, %%ymm7, %%ymm7" ::: "xmm0", "xmm7");
}

TEST(body_avx_survives_a_handler) {
    if (!__builtin_cpu_supports("avx"))
        SKIP("the processor has no AVX");
    CHECK(signal(SIGUSR1, scribble_avx) != SIG_ERR);
    uint8_t in[64], out[64];
    for (int i = 0; i < 64; i++)
        in[i] = (uint8_t)(i * 3 + 1);
    long pid = getpid();
    __asm__ volatile("vmovdqu (%0), %%ymm0\n vmovdqu 32(%0), %%ymm7\n"
                     "mov $62, %%eax\n mov $10, %%esi\n syscall\n"
                     "vmovdqu %%ymm0, (%1)\n vmovdqu %%ymm7, 32(%1)\n vzeroupper\n" ::"r"(in),
                     "r"(out), "D"(pid)
                     : "rax", "rcx", "rsi", "r11", "xmm0", "xmm7", "memory");
    CHECK(memcmp(in, out, sizeof in) == 0);
}

struct vector_thread {
    uint8_t seed;
    bool avx;
};

// Keeps a pattern in registers over many switches to threads with other patterns.
static void keep_sse(const uint8_t *in, uint8_t *out) {
    __asm__ volatile("movdqu (%0), %%xmm3\n movdqu 16(%0), %%xmm12\n"
                     "mov $24, %%eax\n syscall\n" // sched_yield
                     "mov $20000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
                     "mov $24, %%eax\n syscall\n"
                     "movdqu %%xmm3, (%1)\n movdqu %%xmm12, 16(%1)\n" ::"r"(in),
                     "r"(out)
                     : "rax", "rcx", "r11", "xmm3", "xmm12", "memory");
}

static void keep_avx(const uint8_t *in, uint8_t *out) {
    __asm__ volatile("vmovdqu (%0), %%ymm3\n"
                     "mov $24, %%eax\n syscall\n"
                     "mov $20000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
                     "mov $24, %%eax\n syscall\n"
                     "vmovdqu %%ymm3, (%1)\n vzeroupper\n" ::"r"(in),
                     "r"(out)
                     : "rax", "rcx", "r11", "xmm3", "memory");
}

static void *keep_vectors(void *arg) {
    const struct vector_thread *t = arg;
    uint8_t in[32], out[32];
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 32; i++)
            in[i] = (uint8_t)(t->seed * 37 + i + round);
        (t->avx ? keep_avx : keep_sse)(in, out);
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
    return NULL;
}

static void check_vectors(bool avx) {
    pthread_t threads[6];
    struct vector_thread arguments[6];
    for (int i = 0; i < 6; i++) {
        arguments[i] = (struct vector_thread){(uint8_t)(i + 1), avx};
        threads[i] = thread_run(keep_vectors, &arguments[i]);
    }
    for (int i = 0; i < 6; i++)
        thread_join(threads[i]);
}

TEST(body_sse_survives_thread_switches) { check_vectors(false); }

TEST(body_avx_survives_thread_switches) {
    if (!__builtin_cpu_supports("avx"))
        SKIP("the processor has no AVX");
    check_vectors(true);
}

TEST(body_vectors_survive_fork) {
    uint64_t in[2] = {0x1111222233334444, 0x5555666677778888}, out[2];
    long child;
    __asm__ volatile("movdqu (%1), %%xmm9\n mov $57, %%eax\n syscall\n movdqu %%xmm9, (%2)\n"
                     : "=&a"(child)
                     : "r"(in), "r"(out)
                     : "rcx", "r11", "xmm9", "memory");
    CHECK(memcmp(in, out, sizeof in) == 0);
    if (child == 0)
        _exit(0);
    join_child((pid_t)child);
}

TEST(body_registers_survive_preemption) {
    // A loop without calls, long enough to be preempted, among threads that do the same.
    check_vectors(false);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 300000; i++)
        __asm__ volatile("add %1, %0" : "+r"(sum) : "r"(i));
    CHECK_EQ(sum, 300000ull * 299999 / 2);
}
