// SPDX-License-Identifier: MPL-2.0

// Rows of epoll with eventfds. None of them sleeps.

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "watch.h"

int *eventfds(long count, long ready)
{
    int *fds = allocate((size_t)count, sizeof *fds);
    allow_descriptors(count);
    for (long i = 0; i < count; i++)
        fds[i] = new_eventfd(i >= count - ready, 0);
    return fds;
}

static int epoll_of(const int *fds, long count, uint32_t events)
{
    int epoll = new_epoll();
    for (long i = 0; i < count; i++)
        epoll_add(epoll, fds[i], events);
    return epoll;
}

// --- epoll_wait -------------------------------------------------------------------------------------------------------------

enum { ROOM = 64 };

struct wait {
    int epoll;
    int ready;
};

static void wait_batch(void *context, long n)
{
    struct epoll_event events[ROOM];
    struct wait wait = *(struct wait *)context;
    while (n-- > 0) {
        int ready = epoll_wait(wait.epoll, events, ROOM, 0);
        if (ready != wait.ready)
            fail("epoll_wait: %d ready instead of %d", ready, wait.ready);
    }
}

void measure_epoll_wait(const int *fds, long count, long ready)
{
    struct wait wait = { .epoll = epoll_of(fds, count, EPOLLIN), .ready = (int)ready };
    measure(wait_batch, &wait);
}

static void row_wait(const struct row *row)
{
    long count = row->arguments[0], ready = row->arguments[1];
    measure_epoll_wait(eventfds(count, ready), count, ready);
}

// --- an event and its report --------------------------------------------------------------------------------------------------

struct event {
    int epoll;
    int fd;
};

static void edge_batch(void *context, long n)
{
    struct event event = *(struct event *)context;
    struct epoll_event got;
    uint64_t value = 1;
    while (n-- > 0) {
        if (write(event.fd, &value, sizeof value) < 0 || epoll_wait(event.epoll, &got, 1, 0) != 1)
            fail("an edge was not reported");
    }
}

static void row_edge(const struct row *row)
{
    long count = row->arguments[0];
    int *fds = eventfds(count, 0);
    struct event event = { .epoll = epoll_of(fds, count, EPOLLIN | EPOLLET), .fd = fds[count - 1] };
    measure(edge_batch, &event);
}

static void level_batch(void *context, long n)
{
    struct event event = *(struct event *)context;
    struct epoll_event got;
    uint64_t value = 1;
    while (n-- > 0) {
        if (write(event.fd, &value, sizeof value) < 0 || epoll_wait(event.epoll, &got, 1, 0) != 1 ||
            read(event.fd, &value, sizeof value) < 0)
            fail("an event was not reported");
    }
}

static void row_level(const struct row *row)
{
    long count = row->arguments[0];
    int *fds = eventfds(count, 0);
    struct event event = { .epoll = epoll_of(fds, count, EPOLLIN), .fd = fds[count - 1] };
    measure(level_batch, &event);
}

// --- epoll_ctl ----------------------------------------------------------------------------------------------------------------

static void add_del_batch(void *context, long n)
{
    struct event target = *(struct event *)context;
    struct epoll_event event = { .events = EPOLLIN, .data.fd = target.fd };
    while (n-- > 0) {
        if (epoll_ctl(target.epoll, EPOLL_CTL_ADD, target.fd, &event) < 0 ||
            epoll_ctl(target.epoll, EPOLL_CTL_DEL, target.fd, NULL) < 0)
            give_up("epoll_ctl");
    }
}

void measure_add_del(long others)
{
    int *fds = eventfds(others + 1, 0);
    struct event target = { .epoll = epoll_of(fds, others, EPOLLIN), .fd = fds[others] };
    measure(add_del_batch, &target);
}

static void row_add_del(const struct row *row)
{
    measure_add_del(row->arguments[0]);
}

static void mod_batch(void *context, long n)
{
    struct event target = *(struct event *)context;
    struct epoll_event event = { .events = EPOLLIN, .data.fd = target.fd };
    while (n-- > 0) {
        if (epoll_ctl(target.epoll, EPOLL_CTL_MOD, target.fd, &event) < 0)
            give_up("epoll_ctl");
    }
}

static void row_mod(const struct row *row)
{
    long count = row->arguments[0];
    int *fds = eventfds(count, 0);
    struct event target = { .epoll = epoll_of(fds, count, EPOLLIN), .fd = fds[count - 1] };
    measure(mod_batch, &target);
}

// --- memory -------------------------------------------------------------------------------------------------------------------

static double free_bytes(void)
{
    struct sysinfo info;
    must(sysinfo(&info), "sysinfo");
    return (double)info.freeram * info.mem_unit;
}

// What a registered descriptor takes beyond its file, in bytes. All stay registered, so that no batch finds memory that another
// one has left.
static void row_entry_bytes(const struct row *row)
{
    long count = row->arguments[0];
    int *fds = eventfds(BATCHES * count, 0);
    double bytes[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        double before = free_bytes();
        epoll_of(fds + i * count, count, EPOLLIN);
        bytes[i] = (before - free_bytes()) / (double)count;
    }
    report(bytes);
}

void add_epoll_rows(void)
{
    static const long counts[] = { 1, 100, 1000, 10000 };
    add_row(row_wait, 1000, 0, "epoll_wait_none_1000");
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        add_row(row_wait, counts[i], 1, "epoll_wait_lt1_%ld", counts[i]);
    add_row(row_wait, 64, 64, "epoll_wait_lt_64of64");
    add_row(row_edge, 1, 0, "epoll_et_write_wait_1");
    add_row(row_edge, 1000, 0, "epoll_et_write_wait_1000");
    add_row(row_level, 1, 0, "epoll_lt_write_wait_read_1");
    add_row(row_level, 1000, 0, "epoll_lt_write_wait_read_1000");
    add_row(row_add_del, 1, 0, "epoll_ctl_add_del_1");
    add_row(row_add_del, 1000, 0, "epoll_ctl_add_del_1000");
    add_row(row_mod, 1, 0, "epoll_ctl_mod_1");
    add_row(row_mod, 1000, 0, "epoll_ctl_mod_1000");
    add_row(row_entry_bytes, 100000, 0, "epoll_entry_bytes_100000");
}
