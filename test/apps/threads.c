// SPDX-License-Identifier: MPL-2.0
//
// Many threads on one epoll: who is woken, that nobody is forgotten, and races of close, MOD and reuse with waits. Rows 53
// to 56, S1, S2, 30, 31, 60, 65. Rounds are few, so that an emulated single CPU gets through in seconds.
#include "ep.h"

#include <poll.h>

enum { WAITERS = 6 };

struct crowd {
    int ep, stop;
    int timeout; // of each wait
    _Atomic int reports, empty;
    struct sleeper sleepers[WAITERS];
};

// Counts reports of data other than 0 until 0 (the stop event) is reported.
static void wait_until_stopped(void *arg) {
    struct crowd *c = arg;
    for (;;) {
        struct epoll_event event;
        long n = OK(epoll_wait(c->ep, &event, 1, c->timeout));
        if (n == 0)
            c->empty++;
        else if (event.data.u64 == 0)
            return;
        else
            c->reports++;
    }
}

static void crowd_start(struct crowd *c, int timeout) {
    c->ep = ep_new();
    c->stop = make_eventfd(0, 0);
    c->timeout = timeout;
    c->reports = c->empty = 0;
    ep_add(c->ep, c->stop, EPOLLIN, 0);
    for (int i = 0; i < WAITERS; i++)
        sleeper_start(&c->sleepers[i], wait_until_stopped, c);
    if (timeout < 0)
        for (int i = 0; i < WAITERS; i++)
            sleeper_await_blocked(&c->sleepers[i]);
}

static void crowd_finish(struct crowd *c) {
    put(c->stop, 1);
    for (int i = 0; i < WAITERS; i++)
        sleeper_join(&c->sleepers[i]);
}

static void await_reports(struct crowd *c, int count) {
    while (c->reports < count)
        sleep_ms(1);
}

struct one_wait {
    int ep;
    _Atomic int *woken;
    struct epoll_event event;
};

static void wait_once(void *arg) {
    struct one_wait *w = arg;
    CHECK_EQ(OK(epoll_wait(w->ep, &w->event, 1, -1)), 1);
    (*w->woken)++;
}

// Each of n waiters takes one of n events and leaves: none sleeps on, none gets another's.
static void check_n_events_wake_n_threads(uint32_t flags) {
    int ep = ep_new(), fds[WAITERS];
    _Atomic int woken = 0;
    struct sleeper sleepers[WAITERS];
    struct one_wait waits[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        fds[i] = make_eventfd(0, 0);
        ep_add(ep, fds[i], EPOLLIN | flags, (uint64_t)i);
        waits[i] = (struct one_wait){.ep = ep, .woken = &woken};
        sleeper_start(&sleepers[i], wait_once, &waits[i]);
    }
    for (int i = 0; i < WAITERS; i++)
        sleeper_await_blocked(&sleepers[i]);
    for (int i = 0; i < WAITERS; i++)
        put(fds[i], 1);
    unsigned seen = 0;
    for (int i = 0; i < WAITERS; i++) {
        sleeper_join(&sleepers[i]);
        seen |= 1u << waits[i].event.data.u64;
    }
    if (flags)
        CHECK_EQ(seen, (1u << WAITERS) - 1);
}

TEST(row_53_n_level_events_wake_n_threads) { check_n_events_wake_n_threads(0); }
TEST(row_53_n_edges_wake_n_threads) { check_n_events_wake_n_threads(EPOLLET); }
TEST(row_53_n_oneshots_wake_n_threads) { check_n_events_wake_n_threads(EPOLLONESHOT); }

TEST(row_53_events_that_were_there_before) {
    // All are queued by one ADD each of a ready file, while everyone sleeps.
    int ep = ep_new();
    _Atomic int woken = 0;
    struct sleeper sleepers[WAITERS];
    struct one_wait waits[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        waits[i] = (struct one_wait){.ep = ep, .woken = &woken};
        sleeper_start(&sleepers[i], wait_once, &waits[i]);
    }
    for (int i = 0; i < WAITERS; i++)
        sleeper_await_blocked(&sleepers[i]);
    for (int i = 0; i < WAITERS; i++)
        ep_add(ep, make_eventfd(1, 0), EPOLLIN | EPOLLET, (uint64_t)i);
    for (int i = 0; i < WAITERS; i++)
        sleeper_join(&sleepers[i]);
}

static void check_one_event_wakes_one(uint32_t flags, int count) {
    struct crowd c;
    crowd_start(&c, -1);
    int event_fd = make_eventfd(0, 0);
    ep_add(c.ep, event_fd, EPOLLIN | flags, 1);
    for (int i = 1; i <= count; i++) {
        put(event_fd, 1);
        await_reports(&c, i);
        settle();
        CHECK_EQ(c.reports, i);
        if (flags & EPOLLONESHOT) {
            take(event_fd);
            ep_mod(c.ep, event_fd, EPOLLIN | flags, 1);
        }
    }
    crowd_finish(&c);
}

TEST(row_54_one_edge_wakes_one) { check_one_event_wakes_one(EPOLLET, 4); }
TEST(row_54_one_oneshot_wakes_one) { check_one_event_wakes_one(EPOLLONESHOT, 4); }
TEST(row_54_one_edge_oneshot_wakes_one) { check_one_event_wakes_one(EPOLLONESHOT | EPOLLET, 4); }

// A waits for a while, B for ever, one edge comes when A is about to leave. Either A reports it, or B does.
struct pair {
    int ep, event_fd;
    int64_t deadline; // A's
    _Atomic bool interrupted;
    long a_result;
};

static void sleep_until(int64_t when) {
    struct timespec t = {when / 1000000000, when % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

static void wait_for_a_while(void *arg) {
    struct pair *p = arg;
    struct epoll_event event;
    p->deadline = now_ns() + 2 * MS;
    p->a_result = OK(epoll_wait(p->ep, &event, 1, 2));
}

static void wait_to_be_interrupted(void *arg) {
    struct pair *p = arg;
    struct epoll_event event;
    p->a_result = epoll_wait(p->ep, &event, 1, -1);
    CHECK(p->a_result == 1 || errno == EINTR);
}

static void check_leaving_waiter(void (*leaver)(void *), int rounds, bool by_signal) {
    struct pair p = {.ep = ep_new(), .event_fd = make_eventfd(0, 0)};
    ep_add(p.ep, p.event_fd, EPOLLIN | EPOLLET, 1);
    for (int round = 0; round < rounds; round++) {
        _Atomic int woken = 0;
        struct one_wait forever = {.ep = p.ep, .woken = &woken};
        struct sleeper a, b;
        sleeper_start(&a, leaver, &p);
        if (by_signal)
            sleeper_await_blocked(&a);
        else
            while (a.tid == 0)
                sleep_until(now_ns() + 10000);
        sleeper_start(&b, wait_once, &forever);
        if (by_signal) {
            sleeper_await_blocked(&b);
            if (round % 2)
                pthread_kill(a.thread, SIGUSR1);
            put(p.event_fd, 1);
            if (round % 2 == 0)
                pthread_kill(a.thread, SIGUSR1);
        } else {
            sleep_until(p.deadline + (round % 20 - 10) * 20000);
            put(p.event_fd, 1);
        }
        sleeper_join(&a);
        if (p.a_result == 1)
            put(p.event_fd, 1);
        sleeper_join(&b);
        CHECK_EQ(woken, 1);
        CHECK_EQ(ep_ready(p.ep), 0);
    }
}

TEST(row_55_a_waiter_that_times_out_swallows_no_wake) { check_leaving_waiter(wait_for_a_while, 60, false); }

TEST(row_55_a_waiter_that_is_interrupted_swallows_no_wake) {
    count_signal(SIGUSR1, 0);
    check_leaving_waiter(wait_to_be_interrupted, 30, true);
}

struct asker {
    int ep;
    _Atomic bool stop;
};

static void *ask_all_the_time(void *arg) {
    struct asker *a = arg;
    struct epoll_event events[4];
    while (!a->stop)
        CHECK_GE(OK(epoll_wait(a->ep, events, 4, 0)), 1);
    return NULL;
}

TEST(row_56_no_false_nothing_among_zero_timeouts) {
    if (linux_before(6, 19))
        SKIP("before Linux 6.19 or so a zero timeout may miss what another thread is just looking at");
    struct asker a = {.ep = ep_new()};
    for (int i = 0; i < 3; i++)
        ep_add(a.ep, make_eventfd(1, 0), EPOLLIN, 1);
    pthread_t others[2] = {thread_run(ask_all_the_time, &a), thread_run(ask_all_the_time, &a)};
    for (int i = 0; i < 3000; i++)
        CHECK_GE(ep_ready(a.ep), 1);
    a.stop = true;
    thread_join(others[0]);
    thread_join(others[1]);
}
