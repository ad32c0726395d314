// SPDX-License-Identifier: MPL-2.0

// Rows of two tasks that hand something back and forth, and of 64 KiB from one process to another.

#include <arpa/inet.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

// --- a byte there and back ----------------------------------------------------------------------------------------------

static void pingpong_batch(void *context, long n)
{
    struct ends ends = *(struct ends *)context;
    while (n-- > 0) {
        write_byte(ends.write);
        read_byte(ends.read);
    }
}

static void echo(void *context)
{
    struct ends ends = *(struct ends *)context;
    for (;;) {
        read_byte(ends.read);
        write_byte(ends.write);
    }
}

// The two ends in two processes, neither of which holds the other's.
static void pingpong_processes(enum stream kind, peer_body *server)
{
    struct ends ours, theirs;
    new_duplex(kind, &ours, &theirs);
    start_process(server, &theirs);
    close(theirs.read);
    if (theirs.write != theirs.read)
        close(theirs.write);
    measure(pingpong_batch, &ours);
}

static void row_pingpong(const struct row *row)
{
    pingpong_processes((enum stream)row->arguments[0], echo);
}

// --- the same with a server that waits before it reads ------------------------------------------------------------------

static void epoll_echo(void *context)
{
    struct ends ends = *(struct ends *)context;
    struct epoll_event event;
    int epoll = new_epoll();
    epoll_add(epoll, ends.read, EPOLLIN);
    while (epoll_wait(epoll, &event, 1, -1) == 1) {
        read_byte(ends.read);
        write_byte(ends.write);
    }
}

static void poll_echo(void *context)
{
    struct ends ends = *(struct ends *)context;
    struct pollfd watched = { .fd = ends.read, .events = POLLIN };
    while (poll(&watched, 1, -1) == 1) {
        read_byte(ends.read);
        write_byte(ends.write);
    }
}

static void select_echo(void *context)
{
    struct ends ends = *(struct ends *)context;
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(ends.read, &set);
        if (select(ends.read + 1, &set, NULL, NULL, NULL) != 1)
            return;
        read_byte(ends.read);
        write_byte(ends.write);
    }
}

static void row_server(const struct row *row)
{
    static peer_body *const servers[] = { epoll_echo, poll_echo, select_echo };
    pingpong_processes((enum stream)row->arguments[0], servers[row->arguments[1]]);
}

void add_server_rows(void)
{
    add_row(row_server, PIPE, 0, "pipe_pingpong_epollsrv");
    add_row(row_server, PIPE, 1, "pipe_pingpong_pollsrv");
    add_row(row_server, PIPE, 2, "pipe_pingpong_selectsrv");
    add_row(row_server, UNIX, 0, "unix_pingpong_epollsrv");
    add_row(row_server, TCP, 0, "tcp_pingpong_epollsrv");
}

// --- eventfd, UDP, futex --------------------------------------------------------------------------------------------------

struct eventfds {
    int there;
    int back;
};

static void eventfd_pingpong_batch(void *context, long n)
{
    struct eventfds fds = *(struct eventfds *)context;
    uint64_t value = 1;
    while (n-- > 0) {
        if (write(fds.there, &value, sizeof value) < 0 || read(fds.back, &value, sizeof value) < 0)
            give_up("eventfd");
    }
}

static void eventfd_echo(void *context)
{
    struct eventfds fds = *(struct eventfds *)context;
    uint64_t value;
    while (read(fds.there, &value, sizeof value) > 0 && write(fds.back, &value, sizeof value) > 0)
        ;
}

static void row_eventfd(const struct row *row)
{
    (void)row;
    struct eventfds fds = { .there = new_eventfd(0, 0), .back = new_eventfd(0, 0) };
    start_thread(eventfd_echo, &fds);
    measure(eventfd_pingpong_batch, &fds);
}

static int udp_socket(struct sockaddr_in *address)
{
    int fd = (int)must(socket(AF_INET, SOCK_DGRAM, 0), "socket(AF_INET, SOCK_DGRAM)");
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof *address;
    must(bind(fd, (struct sockaddr *)address, size), "bind");
    must(getsockname(fd, (struct sockaddr *)address, &size), "getsockname");
    return fd;
}

static void row_udp(const struct row *row)
{
    (void)row;
    struct sockaddr_in near, far;
    int here = udp_socket(&near), there = udp_socket(&far);
    must(connect(here, (struct sockaddr *)&far, sizeof far), "connect");
    must(connect(there, (struct sockaddr *)&near, sizeof near), "connect");
    struct ends ours = { here, here }, theirs = { there, there };
    start_process(echo, &theirs);
    measure(pingpong_batch, &ours);
}

// Whose turn it is: 0 ours, 1 the other's.
static _Atomic int turn;

static void futex_wait(int value)
{
    syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(void)
{
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void hand_over(int to)
{
    atomic_store(&turn, to);
    futex_wake();
}

static void await_turn(int mine)
{
    while (atomic_load(&turn) != mine)
        futex_wait(!mine);
}

static void futex_batch(void *context, long n)
{
    (void)context;
    while (n-- > 0) {
        hand_over(1);
        await_turn(0);
    }
}

static void futex_echo(void *context)
{
    (void)context;
    for (;;) {
        await_turn(1);
        hand_over(0);
    }
}

static void row_futex(const struct row *row)
{
    (void)row;
    start_thread(futex_echo, NULL);
    measure(futex_batch, NULL);
}

void add_switch_rows(void)
{
    add_row(row_pingpong, PIPE, 0, "pipe_pingpong_2proc");
    add_row(row_eventfd, 0, 0, "eventfd_pingpong_2thr");
    add_row(row_pingpong, UNIX, 0, "unix_pingpong_2proc");
    add_row(row_pingpong, TCP, 0, "tcp_pingpong_2proc");
    add_row(row_udp, 0, 0, "udp_pingpong_2proc");
    add_row(row_futex, 0, 0, "futex_pingpong_2thr");
}

// --- bandwidth --------------------------------------------------------------------------------------------------------------

enum { PIECE = 64 << 10 };
static char piece[PIECE];

static void write_forever(void *context)
{
    struct ends ends = *(struct ends *)context;
    close(ends.read);
    while (write(ends.write, piece, PIECE) > 0)
        ;
}

static void bandwidth_batch(void *context, long n)
{
    struct ends ends = *(struct ends *)context;
    while (n-- > 0) {
        for (size_t have = 0; have < PIECE;) {
            ssize_t got = read(ends.read, piece, PIECE - have);
            if (got <= 0)
                give_up("read");
            have += (size_t)got;
        }
    }
}

static void row_bandwidth(const struct row *row)
{
    struct ends ends = new_stream((enum stream)row->arguments[0]);
    start_process(write_forever, &ends);
    close(ends.write);
    measure(bandwidth_batch, &ends);
}

// A file of one piece, in memory.
static int new_file(void)
{
    int fd = (int)must(memfd_create("piece", 0), "memfd_create");
    must(pwrite(fd, piece, PIECE, 0), "pwrite");
    return fd;
}

static void read_file_batch(void *context, long n)
{
    int fd = *(int *)context;
    while (n-- > 0)
        must(pread(fd, piece, PIECE, 0), "pread");
}

static void write_file_batch(void *context, long n)
{
    int fd = *(int *)context;
    while (n-- > 0)
        must(pwrite(fd, piece, PIECE, 0), "pwrite");
}

static void row_read_file(const struct row *row)
{
    (void)row;
    int fd = new_file();
    measure(read_file_batch, &fd);
}

static void row_write_file(const struct row *row)
{
    (void)row;
    int fd = new_file();
    measure(write_file_batch, &fd);
}

static void send_forever(void *context)
{
    struct ends ends = *(struct ends *)context;
    close(ends.read);
    int fd = new_file();
    for (off_t at = 0;; at %= PIECE)
        must(sendfile(ends.write, fd, &at, (size_t)(PIECE - at)), "sendfile");
}

static void row_sendfile(const struct row *row)
{
    struct ends ends = new_stream((enum stream)row->arguments[0]);
    start_process(send_forever, &ends);
    close(ends.write);
    measure(bandwidth_batch, &ends);
}

void add_bandwidth_rows(void)
{
    add_row(row_read_file, 0, 0, "file_read_64k");
    add_row(row_write_file, 0, 0, "file_write_64k");
    add_row(row_sendfile, UNIX, 0, "sendfile_unix_64k");
    add_row(row_bandwidth, PIPE, 0, "pipe_bw_64k");
    add_row(row_bandwidth, UNIX, 0, "unix_bw_64k");
    add_row(row_bandwidth, TCP, 0, "tcp_bw_64k");
}
