// SPDX-License-Identifier: MPL-2.0
//
// A very small test harness for programs that run on Linux and on Pollux.
//
// A program is one family of tests. Every TEST runs in a child process of its own, under a watchdog, so that a crash or a
// hang loses one test and not the rest. A name says what it proves:
//
//   TEST(row_21_level_reported_until_drained)   row 21 of the readiness table
//   TEST(row_53_54_...)                         two rows
//   TEST(body_sigaction_restart)                the general body, no row
//
// A check that fails ends its test; it prints file, line, expression, values and errno. The watchdog is there against hangs
// only: no test proves speed.
#ifndef HARNESS_H
#define HARNESS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef void test_fn(void);
void harness_register(const char *name, test_fn *fn, const char *file, int line);

#define TEST(name)                                                                                                     \
    static void name(void);                                                                                            \
    __attribute__((constructor)) static void register_##name(void) {                                                   \
        harness_register(#name, name, __FILE__, __LINE__);                                                             \
    }                                                                                                                  \
    static void name(void)

// ---- checks -----------------------------------------------------------------------------------------------------------

_Noreturn void check_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
const char *errno_name(int error);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            check_failed(__FILE__, __LINE__, "CHECK(%s), errno %s", #condition, errno_name(errno));                    \
    } while (0)

// Compares as signed 64-bit numbers and shows both.
#define CHECK_REL(left, op, right, left_text, right_text)                                                              \
    do {                                                                                                               \
        long long l_ = (long long)(left), r_ = (long long)(right);                                                     \
        if (!(l_ op r_))                                                                                               \
            check_failed(__FILE__, __LINE__, "CHECK(%s %s %s): %lld (0x%llx) against %lld (0x%llx), errno %s",         \
                         left_text, #op, right_text, l_, (unsigned long long)l_, r_, (unsigned long long)r_,           \
                         errno_name(errno));                                                                           \
    } while (0)
#define CHECK_EQ(left, right) CHECK_REL(left, ==, right, #left, #right)
#define CHECK_NE(left, right) CHECK_REL(left, !=, right, #left, #right)
#define CHECK_GE(left, right) CHECK_REL(left, >=, right, #left, #right)
#define CHECK_LE(left, right) CHECK_REL(left, <=, right, #left, #right)
#define CHECK_GT(left, right) CHECK_REL(left, >, right, #left, #right)
#define CHECK_LT(left, right) CHECK_REL(left, <, right, #left, #right)

// The call succeeds (is not negative); its value.
#define OK(call)                                                                                                       \
    ({                                                                                                                 \
        errno = 0;                                                                                                     \
        long ok_ = (long)(call);                                                                                       \
        if (ok_ < 0)                                                                                                   \
            check_failed(__FILE__, __LINE__, "OK(%s) is %ld, errno %s", #call, ok_, errno_name(errno));                \
        ok_;                                                                                                           \
    })

// The call returns -1 with this errno.
#define FAILS(call, error)                                                                                             \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long fails_ = (long)(call);                                                                                    \
        int errno_ = errno;                                                                                            \
        if (fails_ != -1 || errno_ != (error))                                                                         \
            check_failed(__FILE__, __LINE__, "FAILS(%s, %s) is %ld, errno %s", #call, #error, fails_,                  \
                         errno_name(errno_));                                                                          \
    } while (0)

// Leaves the test uncounted, with the reason. For what the running machine lacks, never for what the kernel should do.
_Noreturn void skip(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define SKIP(...) skip(__VA_ARGS__)

// True on a stock Linux older than this release, where a row cannot hold yet. Always false on Pollux.
bool linux_before(int major, int minor);
// True when the running kernel names itself Pollux.
bool on_pollux(void);

// ---- time -------------------------------------------------------------------------------------------------------------

#define MS 1000000ll // nanoseconds
int64_t now_ns(void);            // CLOCK_MONOTONIC
void sleep_ms(int milliseconds); // whole time, restarts after signals
// The shortest that a socket's timeout (SO_RCVTIMEO, SO_SNDTIMEO) of so many milliseconds takes, in nanoseconds: Linux counts it in
// jiffies, of which the first is not whole. On Pollux it is never early.
int64_t socket_timeout_at_least(int milliseconds);
// Gives others the time to do what they should not do. Only for checks that nothing happens.
void settle(void);

// ---- processes and threads -----------------------------------------------------------------------------------------------

// Forks; the child runs fn(arg) and exits with 0 (or ends by a failed check).
pid_t fork_run(void (*fn)(void *), void *arg);
// Waits for a child that must have exited with 0.
void join_child(pid_t pid);
// Waits; the raw status.
int wait_status(pid_t pid);

pthread_t thread_run(void *(*fn)(void *), void *arg);
void *thread_join(pthread_t thread);
pid_t gettid_(void);

// Waits until the thread (of any process) sleeps in the kernel, as /proc/PID/task/TID/stat tells; where that file does not
// exist, waits a while and hopes.
void await_asleep(pid_t pid, pid_t tid);

// A thread that runs fn(arg), publishing its id first so that await_blocked can tell when it blocks.
struct sleeper {
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic bool done;
    void (*fn)(void *);
    void *arg;
};
void sleeper_start(struct sleeper *s, void (*fn)(void *), void *arg);
void sleeper_await_blocked(struct sleeper *s);
void sleeper_join(struct sleeper *s);

// After that many milliseconds, a thread runs fn(arg). Join it with thread_join.
pthread_t later(int milliseconds, void (*fn)(void *), void *arg);

// SIGUSR1 to the test's first thread as soon as that sleeps; for `later`.
void interrupt_main(void *unused);

// A signal handler that counts, installed with the given flags.
extern _Atomic int signals_seen[65];
void count_signal(int signal, int flags);

// ---- files ---------------------------------------------------------------------------------------------------------------

struct pipe_ends {
    int r, w;
};
struct pipe_ends make_pipe(int flags);
int make_eventfd(unsigned initial, int flags);
void put(int fd, uint64_t value); // eventfd write
uint64_t take(int fd);            // eventfd read
void put_byte(int fd);            // one byte into a pipe
void take_byte(int fd);           // one byte out of it
void fill(int fd);                // until EAGAIN; the fd is made non-blocking
size_t drain(int fd);             // until EAGAIN or end; the fd is made non-blocking
void set_nonblocking(int fd, bool on);

// A directory of the test's own, removed when the test has ended.
const char *temp_dir(void);
void temp_belongs_to(pid_t leader); // for the harness
void temp_remove(pid_t leader);     // likewise
// "DIR/name" in the fresh directory; the string lives as long as the process.
const char *temp_path(const char *name);

// Pages with a forbidden page right behind them: `guarded_end(n)` is an address with exactly n usable bytes.
void *guarded_end(size_t bytes);
// An address that is never mapped.
#define BAD_POINTER (bad_pointer())
void *bad_pointer(void);

#endif
