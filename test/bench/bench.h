// SPDX-License-Identifier: MPL-2.0

// What the benchmark's files share.
//
// A row is one operation whose cost is measured. It runs in a process of its own: its function builds what it needs,
// then hands a batch function to measure(), which runs it and reports. A crash or a hang loses that row only.

#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BATCHES = 3, WHY_SIZE = 120 };

// Runs the operation `operations` times.
typedef void batch_function(void *context, long operations);

struct row {
    char name[56];
    void (*run)(const struct row *row);
    // What distinguishes rows of the same function: their meaning is that function's affair.
    long arguments[2];
    // A point of a curve has a curve and a series; other rows do not.
    const char *curve;
    const char *series;
    long x;
};

// --- the list of rows (rows_*.c append to it) -----------------------------------------------------------------------

typedef void row_function(const struct row *row);

void add_row(row_function *run, long first, long second, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void add_point(row_function *run, long first, long second, const char *curve, const char *series, long x);

void add_call_rows(void);
void add_switch_rows(void);
void add_select_poll_rows(void);
void add_epoll_rows(void);
void add_server_rows(void);
void add_bandwidth_rows(void);
void add_curves(void);

// --- inside of a row --------------------------------------------------------------------------------------------------

// Finds a batch size that takes about the wanted time, runs three batches, reports, and ends the process.
void measure(batch_function *batch, void *context) __attribute__((noreturn));

// Reports three values of something that is not time, and ends the process. The row's name says the unit.
void report(const double values[BATCHES]) __attribute__((noreturn));

// Makes the batches five times as long. Linux's scheduler takes some 20 ms to settle: shorter batches of rows that switch
// tasks are up to 20 % cheaper there, and do not repeat. start_process() and start_thread() call this.
void expect_switches(void);

// End the row: the kernel lacks `what` (if errno says so), or something went wrong.
void give_up(const char *what) __attribute__((noreturn));
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

// Ends the row unless `result`, a system call's, is at least 0.
static inline long must(long result, const char *what)
{
    if (result < 0)
        give_up(what);
    return result;
}

// Outside of the timed loops a wrong answer ends the row; inside, it would be measured too, so there is only this.
static inline void expect(bool truth, const char *what)
{
    if (__builtin_expect(!truth, 0))
        fail("unexpected: %s", what);
}

// --- building blocks (support.c) ----------------------------------------------------------------------------------------

void *allocate(size_t count, size_t size);

// As many descriptors as `count` and some more may be open.
void allow_descriptors(long count);

int new_eventfd(unsigned value, int flags);

// Two ends of a stream: `kind` is one of these.
enum stream { PIPE, UNIX, TCP };
struct ends {
    int read;
    int write;
};
// One way: what is written to `write` can be read from `read`. A socket's other direction stays unused.
struct ends new_stream(enum stream kind);
// Two ways: the first pair of ends is ours, the second the peer's.
void new_duplex(enum stream kind, struct ends *ours, struct ends *theirs);

// A TCP listener on the loopback interface at a free port, its address in `address`.
struct sockaddr_in;
int tcp_listener(struct sockaddr_in *address, int backlog);
int tcp_connection(const struct sockaddr_in *address);

int new_epoll(void);
void epoll_add(int epoll, int fd, uint32_t events);

// Runs `body(context)` in another process or thread, which ends with this process at the latest.
typedef void peer_body(void *context);
void start_process(peer_body *body, void *context);
void start_thread(peer_body *body, void *context);

void read_byte(int fd);
void write_byte(int fd);

#endif
