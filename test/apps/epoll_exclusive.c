// SPDX-License-Identifier: MPL-2.0
//
// EPOLLEXCLUSIVE: several epoll instances watch one file, an event wakes at least one and not all. Rows 32 and 33.
#include "ep.h"

enum { WATCHERS = 4 };

struct watcher {
    int ep;
    _Atomic int wakes;
    struct sleeper sleeper;
};

static void wait_once(void *arg) {
    struct watcher *w = arg;
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(w->ep, &event, 1, -1)), 1);
    if (event.data.u64 == 0)
        w->wakes++;
}

// Instances that watch `fd` in order of their index, each with a thread blocked in a wait.
static void start(struct watcher *watchers, int count, int fd, uint32_t events, int stop) {
    for (int i = 0; i < count; i++) {
        watchers[i] = (struct watcher){.ep = ep_new()};
        ep_add(watchers[i].ep, fd, events, 0);
        ep_add(watchers[i].ep, stop, EPOLLIN, 1);
    }
    for (int i = 0; i < count; i++) {
        sleeper_start(&watchers[i].sleeper, wait_once, &watchers[i]);
        sleeper_await_blocked(&watchers[i].sleeper);
    }
}

static int woken(struct watcher *watchers, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += watchers[i].wakes;
    return sum;
}

static void await_one(struct watcher *watchers, int count) {
    while (woken(watchers, count) == 0)
        sleep_ms(1);
    settle();
}

static void finish(struct watcher *watchers, int count, int stop) {
    put(stop, 1);
    for (int i = 0; i < count; i++)
        sleeper_join(&watchers[i].sleeper);
}

TEST(row_32_exclusive_wakes_at_least_one_and_not_all) {
    struct watcher watchers[WATCHERS];
    int stop = make_eventfd(0, 0), event_fd = make_eventfd(0, 0);
    start(watchers, WATCHERS, event_fd, EPOLLIN | EPOLLEXCLUSIVE, stop);
    put(event_fd, 1);
    await_one(watchers, WATCHERS);
    CHECK_LT(woken(watchers, WATCHERS), WATCHERS);
    take(event_fd);
    finish(watchers, WATCHERS, stop);
}

TEST(row_32_the_same_for_a_pipe) {
    struct watcher watchers[WATCHERS];
    int stop = make_eventfd(0, 0);
    struct pipe_ends p = make_pipe(0);
    start(watchers, WATCHERS, p.r, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, stop);
    put_byte(p.w);
    await_one(watchers, WATCHERS);
    CHECK_LT(woken(watchers, WATCHERS), WATCHERS);
    take_byte(p.r);
    finish(watchers, WATCHERS, stop);
}

TEST(row_32_the_first_that_waits_is_first) {
    struct watcher watchers[WATCHERS];
    int stop = make_eventfd(0, 0), event_fd = make_eventfd(0, 0);
    start(watchers, WATCHERS, event_fd, EPOLLIN | EPOLLEXCLUSIVE, stop);
    // Each that has been woken no longer waits: the turn passes down the line.
    for (int turn = 0; turn < WATCHERS; turn++) {
        put(event_fd, 1);
        while (watchers[turn].wakes == 0)
            sleep_ms(1);
        settle();
        CHECK_EQ(woken(watchers, WATCHERS), turn + 1);
        take(event_fd);
    }
    finish(watchers, WATCHERS, stop);
}

TEST(row_32_without_exclusive_all_wake) {
    struct watcher watchers[WATCHERS];
    int stop = make_eventfd(0, 0), event_fd = make_eventfd(0, 0);
    start(watchers, WATCHERS, event_fd, EPOLLIN, stop);
    put(event_fd, 1);
    while (woken(watchers, WATCHERS) < WATCHERS)
        sleep_ms(1);
    finish(watchers, WATCHERS, stop);
}

TEST(row_32_shared_watchers_wake_beside_an_exclusive_one) {
    struct watcher watchers[3];
    int stop = make_eventfd(0, 0), event_fd = make_eventfd(0, 0);
    start(watchers, 3, event_fd, EPOLLIN | EPOLLEXCLUSIVE, stop);
    struct watcher shared;
    start(&shared, 1, event_fd, EPOLLIN, stop);
    put(event_fd, 1);
    while (shared.wakes == 0)
        sleep_ms(1);
    await_one(watchers, 3);
    CHECK_EQ(woken(watchers, 3), 1);
    take(event_fd);
    finish(watchers, 3, stop);
    sleeper_join(&shared.sleeper);
}

TEST(row_33_exclusive_on_mod) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, event_fd, EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
    ep_del(ep, event_fd);
    ep_add(ep, event_fd, EPOLLIN | EPOLLEXCLUSIVE, 0);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, event_fd, EPOLLIN, 0), EINVAL);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, event_fd, EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
    ep_del(ep, event_fd);
}

TEST(row_33_bits_that_exclusive_excludes) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    static const uint32_t refused[] = {EPOLLONESHOT, EPOLLRDHUP,  EPOLLPRI,    EPOLLRDNORM, EPOLLWRNORM,
                                       EPOLLRDBAND,  EPOLLWRBAND, EPOLLMSG,    1u << 16,    1u << 27};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        FAILS(ep_ctl(ep, EPOLL_CTL_ADD, event_fd, EPOLLIN | EPOLLEXCLUSIVE | refused[i], 0), EINVAL);
    ep_add(ep, event_fd, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE, 0);
    ep_del(ep, event_fd);
    ep_add(ep, event_fd, EPOLLEXCLUSIVE, 0);
}

TEST(row_33_exclusive_on_an_epoll_fd) {
    int ep = ep_new(), inner = ep_new();
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLEXCLUSIVE, 0), EINVAL);
    ep_add(ep, inner, EPOLLIN, 0);
}
