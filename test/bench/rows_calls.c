// SPDX-License-Identifier: MPL-2.0

// Rows of one process that never sleeps: single calls, and a byte written and read by the same process.

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

static void clock_batch(void *context, long n)
{
    struct timespec time;
    (void)context;
    while (n-- > 0)
        clock_gettime(CLOCK_MONOTONIC, &time);
}

static void row_clock(const struct row *row)
{
    (void)row;
    measure(clock_batch, NULL);
}

// A program that asks for nothing: what ticks and the scheduler take from it. Fifty million instructions, because what comes
// every so many milliseconds is not in a shorter batch.
static void user_code_batch(void *context, long n)
{
    (void)context;
    while (n-- > 0) {
        long turns = 25 * 1000 * 1000;
        __asm__ volatile("1: dec %0; jnz 1b" : "+r"(turns));
    }
}

static void row_user_code(const struct row *row)
{
    (void)row;
    measure(user_code_batch, NULL);
}

static void getppid_batch(void *context, long n)
{
    (void)context;
    while (n-- > 0)
        getppid();
}

static void row_getppid(const struct row *row)
{
    (void)row;
    measure(getppid_batch, NULL);
}

static void read_batch(void *context, long n)
{
    int fd = *(int *)context;
    while (n-- > 0)
        read_byte(fd);
}

static void row_devzero(const struct row *row)
{
    (void)row;
    int fd = (int)must(open("/dev/zero", O_RDONLY), "/dev/zero");
    measure(read_batch, &fd);
}

static void write_batch(void *context, long n)
{
    int fd = *(int *)context;
    while (n-- > 0)
        write_byte(fd);
}

static void row_devnull(const struct row *row)
{
    (void)row;
    int fd = (int)must(open("/dev/null", O_WRONLY), "/dev/null");
    measure(write_batch, &fd);
}

static void yield_batch(void *context, long n)
{
    (void)context;
    while (n-- > 0)
        sched_yield();
}

static void row_yield_alone(const struct row *row)
{
    (void)row;
    measure(yield_batch, NULL);
}

static void yield_forever(void *context)
{
    (void)context;
    for (;;)
        sched_yield();
}

static void row_yield_two(const struct row *row)
{
    (void)row;
    start_process(yield_forever, NULL);
    measure(yield_batch, NULL);
}

// A byte into a stream and out of it.
static void write_read_batch(void *context, long n)
{
    struct ends ends = *(struct ends *)context;
    while (n-- > 0) {
        write_byte(ends.write);
        read_byte(ends.read);
    }
}

static void row_write_read(const struct row *row)
{
    struct ends ends = new_stream((enum stream)row->arguments[0]);
    measure(write_read_batch, &ends);
}

static void eventfd_batch(void *context, long n)
{
    int fd = *(int *)context;
    uint64_t value = 1;
    while (n-- > 0) {
        if (write(fd, &value, sizeof value) < 0 || read(fd, &value, sizeof value) < 0)
            give_up("eventfd");
    }
}

static void row_eventfd(const struct row *row)
{
    (void)row;
    int fd = new_eventfd(0, 0);
    measure(eventfd_batch, &fd);
}

struct listener {
    int fd;
    struct sockaddr_in address;
};

// One process connects to itself, accepts, and closes both ends. The connecting one is reset, not shut down: else each
// connection would leave a port in TIME_WAIT, and after 28 000 there would be none.
static void connect_batch(void *context, long n)
{
    const struct listener *listener = context;
    const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    while (n-- > 0) {
        int client = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket");
        must(connect(client, (const struct sockaddr *)&listener->address, sizeof listener->address), "connect");
        int server = (int)must(accept(listener->fd, NULL, NULL), "accept");
        must(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "SO_LINGER");
        close(client);
        close(server);
    }
}

static void row_connect(const struct row *row)
{
    (void)row;
    struct listener listener;
    listener.fd = tcp_listener(&listener.address, 8);
    measure(connect_batch, &listener);
}

static void fork_batch(void *context, long n)
{
    (void)context;
    while (n-- > 0) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child < 0 || waitpid(child, NULL, 0) != child)
            give_up("fork and waitpid");
    }
}

static void row_fork(const struct row *row)
{
    (void)row;
    measure(fork_batch, NULL);
}

void add_call_rows(void)
{
    add_row(row_clock, 0, 0, "clock_gettime");
    add_row(row_user_code, 0, 0, "user_code_50m");
    add_row(row_getppid, 0, 0, "getppid");
    add_row(row_devzero, 0, 0, "read_devzero_1b");
    add_row(row_devnull, 0, 0, "write_devnull_1b");
    add_row(row_yield_alone, 0, 0, "sched_yield_alone");
    add_row(row_yield_two, 0, 0, "sched_yield_2procs");
    add_row(row_write_read, PIPE, 0, "pipe_write_read_1b");
    add_row(row_eventfd, 0, 0, "eventfd_write_read");
    add_row(row_write_read, UNIX, 0, "unix_write_read_1b");
    add_row(row_write_read, TCP, 0, "tcp_write_read_1b");
    add_row(row_connect, 0, 0, "tcp_connect_accept_close");
    add_row(row_fork, 0, 0, "fork_exit_wait");
}
