// SPDX-License-Identifier: MPL-2.0

// Rows of select and poll over many descriptors. None of them sleeps.

#include <poll.h>
#include <sys/select.h>
#include <unistd.h>

#include "watch.h"

// --- select -----------------------------------------------------------------------------------------------------------------

typedef unsigned long word;
enum { WORD_BITS = 8 * sizeof(word) };

// Sets as large as need be: fd_set ends at FD_SETSIZE, the system call does not.
struct select_set {
    word *wanted;
    word *given;
    size_t words;
    int limit;
    int ready;
    enum side side;
};

static void select_batch(void *context, long n)
{
    struct select_set *set = context;
    while (n-- > 0) {
        struct timeval zero = { 0 };
        for (size_t i = 0; i < set->words; i++)
            set->given[i] = set->wanted[i];
        fd_set *given = (fd_set *)set->given;
        int ready = set->side == READABLE ? select(set->limit, given, NULL, NULL, &zero)
                                          : select(set->limit, NULL, given, NULL, &zero);
        if (ready != set->ready)
            fail("select: %d ready instead of %d", ready, set->ready);
    }
}

void measure_select(const int *fds, long count, long ready, enum side side)
{
    struct select_set set = { .ready = (int)ready, .side = side };
    for (long i = 0; i < count; i++)
        if (fds[i] >= set.limit)
            set.limit = fds[i] + 1;
    set.words = (size_t)set.limit / WORD_BITS + 1;
    // glibc may look at a whole fd_set.
    size_t room = set.words + sizeof(fd_set) / sizeof(word);
    set.wanted = allocate(room, sizeof(word));
    set.given = allocate(room, sizeof(word));
    for (long i = 0; i < count; i++)
        set.wanted[fds[i] / WORD_BITS] |= 1ul << (fds[i] % WORD_BITS);
    measure(select_batch, &set);
}

// --- poll -------------------------------------------------------------------------------------------------------------------

struct poll_set {
    struct pollfd *fds;
    nfds_t count;
    int ready;
};

static void poll_batch(void *context, long n)
{
    struct poll_set set = *(struct poll_set *)context;
    while (n-- > 0) {
        int ready = poll(set.fds, set.count, 0);
        if (ready != set.ready)
            fail("poll: %d ready instead of %d", ready, set.ready);
    }
}

void measure_poll(const int *fds, long count, long ready)
{
    struct poll_set set = { .count = (nfds_t)count, .ready = (int)ready };
    set.fds = allocate((size_t)count, sizeof *set.fds);
    for (long i = 0; i < count; i++)
        set.fds[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
    measure(poll_batch, &set);
}

// --- rows -------------------------------------------------------------------------------------------------------------------

// The reading ends of `count` streams, of which only the last has a byte in it.
static int *readers(enum stream kind, long count)
{
    int *fds = allocate((size_t)count, sizeof *fds);
    struct ends ends = { 0 };
    allow_descriptors(2 * count);
    for (long i = 0; i < count; i++) {
        ends = new_stream(kind);
        fds[i] = ends.read;
    }
    write_byte(ends.write);
    return fds;
}

static void row_select_readable(const struct row *row)
{
    long count = row->arguments[1];
    measure_select(readers((enum stream)row->arguments[0], count), count, 1, READABLE);
}

static void row_select_writable(const struct row *row)
{
    long count = row->arguments[1];
    measure_select(readers((enum stream)row->arguments[0], count), count, count, WRITABLE);
}

static void row_poll(const struct row *row)
{
    long count = row->arguments[1];
    measure_poll(readers((enum stream)row->arguments[0], count), count, 1);
}

static const long counts[] = { 10, 100, 500 };

static void add_for_each_count(row_function *run, enum stream kind, const char *prefix, const char *suffix)
{
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        add_row(run, kind, counts[i], "%s%ld%s", prefix, counts[i], suffix);
}

void add_select_poll_rows(void)
{
    add_for_each_count(row_select_readable, PIPE, "select_pipe_rd_", "");
    add_for_each_count(row_select_readable, TCP, "select_tcp_rd_", "");
    add_for_each_count(row_select_writable, TCP, "select_tcp_wr_", "_lmbench");
    add_for_each_count(row_poll, PIPE, "poll_pipe_", "");
    add_for_each_count(row_poll, TCP, "poll_tcp_", "");
}
