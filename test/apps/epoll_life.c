// SPDX-License-Identifier: MPL-2.0
//
// The life of instances and entries: close, dup, fork, reuse of numbers, fdinfo, parameters. Rows S2, 60 to 67.
#include "ep.h"

#include <inttypes.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

struct wait_for {
    int ep;
    struct epoll_event event;
};

static void wait_for_one(void *arg) {
    struct wait_for *w = arg;
    CHECK_EQ(OK(epoll_wait(w->ep, &w->event, 1, -1)), 1);
}

TEST(row_60_S2_the_wait_goes_on_after_close) {
    int event_fd = make_eventfd(0, 0);
    struct wait_for w = {.ep = ep_new()};
    ep_add(w.ep, event_fd, EPOLLIN, 7);
    struct sleeper s;
    sleeper_start(&s, wait_for_one, &w);
    sleeper_await_blocked(&s);
    OK(close(w.ep));
    settle();
    CHECK(!s.done);
    put(event_fd, 1);
    sleeper_join(&s);
    CHECK_EQ(w.event.data.u64, 7);
}

TEST(row_60_a_timeout_after_close) {
    int ep = ep_new();
    struct epoll_event event;
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        _exit(epoll_wait(ep, &event, 1, 30) != 0);
    OK(close(ep));
    join_child(child);
}

TEST(row_60_S2_reuse_of_the_number_does_not_disturb) {
    int old_event = make_eventfd(0, 0), new_event = make_eventfd(0, 0);
    struct wait_for w = {.ep = ep_new()};
    ep_add(w.ep, old_event, EPOLLIN, 1);
    struct sleeper s;
    sleeper_start(&s, wait_for_one, &w);
    sleeper_await_blocked(&s);
    OK(close(w.ep));
    CHECK_EQ(ep_new(), w.ep);
    ep_add(w.ep, new_event, EPOLLIN, 2);
    put(new_event, 1);
    settle();
    CHECK(!s.done);
    put(old_event, 1);
    sleeper_join(&s);
    CHECK_EQ(w.event.data.u64, 1);
}

// One "tfd:" line of /proc/self/fdinfo/EP.
struct watch {
    int fd;
    unsigned events;
    uint64_t data;
    long long position;
    unsigned long inode, device;
};

static int read_watches(int ep, struct watch *watches, int max) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", ep);
    int fd = (int)OK(open(path, O_RDONLY));
    size_t length = 0;
    ssize_t n;
    while ((n = OK(read(fd, text + length, sizeof text - 1 - length))) > 0)
        length += (size_t)n;
    OK(close(fd));
    text[length] = 0;
    CHECK(strncmp(text, "pos:\t0\nflags:\t02\n", 17) == 0);
    CHECK(strstr(text, "\nmnt_id:\t") && strstr(text, "\nino:\t"));
    int count = 0;
    for (char *at = text; (at = strstr(at, "tfd:")) && count < max; at++, count++) {
        struct watch *w = &watches[count];
        CHECK_EQ(sscanf(at, "tfd: %8d events: %8x data: %16" SCNx64 "  pos:%lli ino:%lx sdev:%lx\n", &w->fd, &w->events,
                        &w->data, &w->position, &w->inode, &w->device),
                 6);
        char line[128];
        snprintf(line, sizeof line, "tfd: %8d events: %8x data: %16" PRIx64 "  pos:%lli ino:%lx sdev:%lx\n", w->fd,
                 w->events, w->data, w->position, w->inode, w->device);
        CHECK(strncmp(at, line, strlen(line)) == 0);
    }
    return count;
}

TEST(row_61_fdinfo_lists_the_entries) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    struct pipe_ends p = make_pipe(0);
    struct watch w[4];
    CHECK_EQ(read_watches(ep, w, 4), 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0x1122334455667788ull);
    ep_add(ep, p.w, EPOLLOUT | EPOLLONESHOT, 5);
    CHECK_EQ(read_watches(ep, w, 4), 2);
    int first = w[0].fd != event_fd;
    CHECK_EQ(w[first].fd, event_fd);
    CHECK_EQ(w[first].events, EPOLLIN | EPOLLET | EPOLLERR | EPOLLHUP);
    CHECK_EQ(w[first].data, 0x1122334455667788ull);
    CHECK_EQ(w[first].position, 0);
    CHECK_EQ(w[1 - first].fd, p.w);
    CHECK_EQ(w[1 - first].events, EPOLLOUT | EPOLLONESHOT | EPOLLERR | EPOLLHUP);
    struct stat status;
    OK(fstat(p.w, &status));
    CHECK_EQ(w[1 - first].inode, status.st_ino);
    ep_mod(ep, event_fd, EPOLLOUT, 6);
    ep_del(ep, p.w);
    CHECK_EQ(read_watches(ep, w, 4), 1);
    CHECK_EQ(w[0].events, EPOLLOUT | EPOLLERR | EPOLLHUP);
    CHECK_EQ(w[0].data, 6);
}

TEST(row_61_a_reported_oneshot_shows_as_disarmed) {
    int ep = ep_new();
    struct watch w[2];
    ep_add(ep, make_eventfd(1, 0), EPOLLIN | EPOLLONESHOT, 0);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(read_watches(ep, w, 2), 1);
    CHECK_EQ(w[0].events, EPOLLONESHOT);
}

TEST(row_62_fork_shares_the_instance) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        ep_add(ep, event_fd, EPOLLIN, 3);
        put(event_fd, 1);
        _exit(0);
    }
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
    CHECK_EQ(event.data.u64, 3);
    join_child(child);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, event_fd, EPOLLIN, 0), EEXIST);
    ep_del(ep, event_fd);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_62_an_event_reaches_one_of_two_processes) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        struct epoll_event event;
        _exit(epoll_wait(ep, &event, 1, -1) != 1);
    }
    await_asleep(child, child);
    put(event_fd, 1);
    join_child(child);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_63_the_last_close_removes_the_entry) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    struct watch w[2];
    ep_add(ep, event_fd, EPOLLIN, 0);
    CHECK_EQ(read_watches(ep, w, 2), 1);
    OK(close(event_fd));
    CHECK_EQ(read_watches(ep, w, 2), 0);
    FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, event_fd, NULL), EBADF);
}

TEST(row_63_dup2_over_it_is_a_close) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0), other = make_eventfd(1, 0);
    struct watch w[2];
    ep_add(ep, event_fd, EPOLLIN, 1);
    OK(dup2(other, event_fd));
    CHECK_EQ(read_watches(ep, w, 2), 0);
    CHECK_EQ(ep_ready(ep), 0);
    ep_add(ep, event_fd, EPOLLIN, 2);
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(row_63_exit_of_the_last_holder_is_a_close) {
    int ep = ep_new();
    struct watch w[2];
    struct pipe_ends p = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        ep_add(ep, make_eventfd(1, 0), EPOLLIN, 0);
        put_byte(p.w);
        for (;;)
            pause();
    }
    take_byte(p.r);
    CHECK_EQ(read_watches(ep, w, 2), 1);
    CHECK_EQ(ep_ready(ep), 1);
    OK(kill(child, SIGKILL));
    wait_status(child);
    CHECK_EQ(read_watches(ep, w, 2), 0);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_64_a_dup_keeps_entry_and_data) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0), copy = (int)OK(dup(event_fd));
    struct watch w[2];
    ep_add(ep, event_fd, EPOLLIN, 0xabcdef);
    OK(close(event_fd));
    CHECK_EQ(read_watches(ep, w, 2), 1);
    put(copy, 1);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(event.data.u64, 0xabcdef);
    FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, event_fd, NULL), EBADF);
    FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, copy, NULL), ENOENT);
    // The number given back to the same description is the key again.
    OK(dup2(copy, event_fd));
    ep_del(ep, event_fd);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_64_a_dup_in_a_child_keeps_it_too) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        char byte;
        close(p.w);
        _exit(read(p.r, &byte, 1) != 0);
    }
    OK(close(event_fd));
    CHECK_EQ(ep_ready(ep), 1);
    OK(close(p.w));
    join_child(child);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_65_a_reused_number_is_another_entry) {
    int ep = ep_new(), number = make_eventfd(1, 0), copy = (int)OK(dup(number));
    ep_add(ep, number, EPOLLIN, 1);
    OK(close(number));
    CHECK_EQ(make_eventfd(1, 0), number);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, number, EPOLLIN, 9), ENOENT);
    FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, number, NULL), ENOENT);
    ep_add(ep, number, EPOLLIN, 2);
    struct epoll_event events[3];
    CHECK_EQ(OK(epoll_wait(ep, events, 3, 0)), 2);
    CHECK_EQ(events[0].data.u64 + events[1].data.u64, 3);
    ep_del(ep, number);
    CHECK_EQ(OK(epoll_wait(ep, events, 3, 0)), 1);
    CHECK_EQ(events[0].data.u64, 1);
    OK(close(copy));
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_65_a_number_reused_many_times) {
    int ep = ep_new();
    struct epoll_event event;
    for (uint64_t i = 0; i < 200; i++) {
        int event_fd = make_eventfd(1, 0);
        ep_add(ep, event_fd, EPOLLIN | EPOLLET, i);
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
        CHECK_EQ(event.data.u64, i);
        put(event_fd, 1);
        OK(close(event_fd));
    }
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_66_closing_drops_a_queued_event) {
    int ep = ep_new(), first = make_eventfd(0, 0), second = make_eventfd(0, 0);
    ep_add(ep, first, EPOLLIN, 1);
    ep_add(ep, second, EPOLLIN, 2);
    put(first, 1);
    put(second, 1);
    OK(close(first));
    struct epoll_event events[3];
    CHECK_EQ(OK(epoll_wait(ep, events, 3, 0)), 1);
    CHECK_EQ(events[0].data.u64, 2);
}

TEST(row_66_del_drops_a_queued_event) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 1);
    put(event_fd, 1);
    ep_del(ep, event_fd);
    CHECK_EQ(ep_ready(ep), 0);
}

struct busy_poll { // struct epoll_params of linux/eventpoll.h
    uint32_t microseconds;
    uint16_t budget;
    uint8_t prefer, padding;
};
#define SET_BUSY_POLL _IOW(0x8A, 0x01, struct busy_poll)
#define GET_BUSY_POLL _IOR(0x8A, 0x02, struct busy_poll)

TEST(row_67_busy_poll_parameters) {
    if (linux_before(6, 9))
        SKIP("since Linux 6.9");
    int ep = ep_new();
    struct busy_poll p = {1, 1, 1, 1};
    OK(ioctl(ep, GET_BUSY_POLL, &p));
    CHECK_EQ(p.microseconds, 0);
    CHECK_EQ(p.budget, 0);
    CHECK_EQ(p.prefer, 0);
    CHECK_EQ(p.padding, 0);
    p = (struct busy_poll){200, 8, 1, 0};
    OK(ioctl(ep, SET_BUSY_POLL, &p));
    memset(&p, 0, sizeof p);
    OK(ioctl(ep, GET_BUSY_POLL, &p));
    CHECK_EQ(p.microseconds, 200);
    CHECK_EQ(p.budget, 8);
    CHECK_EQ(p.prefer, 1);
}

TEST(row_67_busy_poll_errors) {
    if (linux_before(6, 9))
        SKIP("since Linux 6.9");
    int ep = ep_new();
    FAILS(ioctl(ep, SET_BUSY_POLL, BAD_POINTER), EFAULT);
    FAILS(ioctl(ep, GET_BUSY_POLL, BAD_POINTER), EFAULT);
    FAILS(ioctl(ep, SET_BUSY_POLL, &(struct busy_poll){0, 0, 0, 1}), EINVAL);
    FAILS(ioctl(ep, SET_BUSY_POLL, &(struct busy_poll){0, 0, 2, 0}), EINVAL);
    FAILS(ioctl(ep, SET_BUSY_POLL, &(struct busy_poll){1u << 31, 0, 0, 0}), EINVAL);
    int number;
    CHECK_EQ(ioctl(ep, FIONREAD, &number), -1);
    CHECK(errno == EINVAL || errno == ENOTTY);
}

TEST(row_60_an_epoll_is_not_read_or_written) {
    int ep = ep_new();
    char byte = 0;
    FAILS(read(ep, &byte, 1), EINVAL);
    FAILS(write(ep, &byte, 1), EINVAL);
    CHECK_EQ(OK(lseek(ep, 5, SEEK_SET)), 0);
}
