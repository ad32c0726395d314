// SPDX-License-Identifier: MPL-2.0
//
// Epoll instances inside epoll instances: rows 14 to 17, and polling an epoll fd: rows 57 to 59.
#include "ep.h"

#include <poll.h>
#include <sys/select.h>

static int poll_in(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&p, 1, 0)), p.revents != 0);
    return p.revents;
}

TEST(row_14_an_epoll_inside_another) {
    int outer = ep_new(), inner = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(outer, inner, EPOLLIN, 1);
    ep_add(inner, event_fd, EPOLLIN, 2);
    CHECK_EQ(ep_ready(outer), 0);
    put(event_fd, 1);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(outer, &event, 1, -1)), 1);
    CHECK_EQ(event.data.u64, 1);
    CHECK_EQ(event.events, EPOLLIN);
    CHECK_EQ(OK(epoll_wait(inner, &event, 1, -1)), 1);
    CHECK_EQ(event.data.u64, 2);
    take(event_fd);
    CHECK_EQ(ep_ready(outer), 0);
    CHECK_EQ(ep_ready(inner), 0);
}

TEST(row_14_adding_a_ready_epoll) {
    int outer = ep_new(), inner = ep_new();
    ep_add(inner, make_eventfd(1, 0), EPOLLIN, 0);
    ep_add(outer, inner, EPOLLIN, 0);
    CHECK_EQ(ep_mask(outer), EPOLLIN);
}

static void write_one(void *arg) { put(*(int *)arg, 1); }

TEST(row_14_a_wait_through_four_levels) {
    int eps[5], event_fd = make_eventfd(0, 0);
    for (int i = 0; i < 5; i++)
        eps[i] = ep_new();
    for (int i = 0; i < 4; i++)
        ep_add(eps[i + 1], eps[i], EPOLLIN, (uint64_t)i);
    ep_add(eps[0], event_fd, EPOLLIN, 9);
    pthread_t writer = later(10, write_one, &event_fd);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(eps[4], &event, 1, -1)), 1);
    CHECK_EQ(event.data.u64, 3);
    thread_join(writer);
    CHECK_EQ(OK(epoll_wait(eps[0], &event, 1, 0)), 1);
    take(event_fd);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(ep_ready(eps[i]), 0);
}

TEST(row_14_closing_the_inner) {
    int outer = ep_new(), inner = ep_new();
    ep_add(inner, make_eventfd(1, 0), EPOLLIN, 0);
    ep_add(outer, inner, EPOLLIN, 0);
    CHECK_EQ(ep_ready(outer), 1);
    OK(close(inner));
    CHECK_EQ(ep_ready(outer), 0);
}

TEST(row_15_cycles) {
    int a = ep_new(), b = ep_new(), c = ep_new();
    ep_add(a, b, EPOLLIN, 0);
    FAILS(ep_ctl(b, EPOLL_CTL_ADD, a, EPOLLIN, 0), ELOOP);
    ep_add(b, c, EPOLLIN, 0);
    FAILS(ep_ctl(c, EPOLL_CTL_ADD, a, EPOLLIN, 0), ELOOP);
    FAILS(ep_ctl(c, EPOLL_CTL_ADD, b, EPOLLIN, 0), ELOOP);
    // The refused edge left nothing behind; without the middle edge the other direction is legal.
    ep_del(a, b);
    ep_add(c, a, EPOLLIN, 0);
    FAILS(ep_ctl(a, EPOLL_CTL_ADD, b, EPOLLIN, 0), ELOOP);
}

struct edge {
    int from, to;
    pthread_barrier_t *barrier;
    long result;
    int error;
};

static void *add_edge(void *arg) {
    struct edge *e = arg;
    pthread_barrier_wait(e->barrier);
    e->result = ep_ctl(e->from, EPOLL_CTL_ADD, e->to, EPOLLIN, 0);
    e->error = errno;
    return NULL;
}

TEST(row_15_two_threads_race_to_close_a_cycle) {
    for (int round = 0; round < 40; round++) {
        int a = ep_new(), b = ep_new();
        pthread_barrier_t barrier;
        pthread_barrier_init(&barrier, NULL, 2);
        struct edge edges[2] = {{a, b, &barrier, 0, 0}, {b, a, &barrier, 0, 0}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            threads[i] = thread_run(add_edge, &edges[i]);
        for (int i = 0; i < 2; i++)
            thread_join(threads[i]);
        int loser = edges[0].result == 0;
        CHECK_EQ(edges[1 - loser].result, 0);
        CHECK_EQ(edges[loser].result, -1);
        CHECK_EQ(edges[loser].error, ELOOP);
        close(a);
        close(b);
    }
}

TEST(row_16_more_than_four_edges_outwards) {
    int eps[7];
    for (int i = 0; i < 7; i++)
        eps[i] = ep_new();
    for (int i = 0; i < 4; i++)
        ep_add(eps[i + 1], eps[i], EPOLLIN, 0);
    FAILS(ep_ctl(eps[5], EPOLL_CTL_ADD, eps[4], EPOLLIN, 0), ELOOP);
    ep_add(eps[5], eps[3], EPOLLIN, 0);
}

TEST(row_16_more_than_four_edges_inwards) {
    int eps[7];
    for (int i = 0; i < 7; i++)
        eps[i] = ep_new();
    for (int i = 0; i < 4; i++)
        ep_add(eps[i], eps[i + 1], EPOLLIN, 0);
    FAILS(ep_ctl(eps[4], EPOLL_CTL_ADD, eps[5], EPOLLIN, 0), ELOOP);
    ep_add(eps[3], eps[5], EPOLLIN, 0);
}

TEST(row_16_joining_two_chains) {
    if (linux_before(6, 6))
        SKIP("older kernels count only the edges below the new one");
    int upper[4], lower[4];
    for (int i = 0; i < 4; i++) {
        upper[i] = ep_new();
        lower[i] = ep_new();
    }
    for (int i = 0; i < 2; i++) {
        ep_add(upper[i], upper[i + 1], EPOLLIN, 0);
        ep_add(lower[i], lower[i + 1], EPOLLIN, 0);
    }
    // Two edges above and two below: the fifth joins them.
    FAILS(ep_ctl(upper[2], EPOLL_CTL_ADD, lower[0], EPOLLIN, 0), ELOOP);
    ep_add(upper[2], lower[1], EPOLLIN, 0);
}

// A file may be reached over at most 500, 100, 50 and 10 paths of two, three, four and five edges.
static void check_path_limit(int extra_levels, int limit) {
    int top = ep_new(), event_fd = make_eventfd(0, 0);
    for (int below = top, i = 0; i < extra_levels; i++) {
        int above = ep_new();
        ep_add(above, below, EPOLLIN, 0);
        below = above;
    }
    for (int i = 0; i <= limit; i++) {
        int ep = ep_new();
        ep_add(top, ep, EPOLLIN, 0);
        if (i < limit)
            ep_add(ep, event_fd, EPOLLIN, 0);
        else
            FAILS(ep_ctl(ep, EPOLL_CTL_ADD, event_fd, EPOLLIN, 0), EINVAL);
    }
}

TEST(row_17_paths_of_two_edges) { check_path_limit(0, 500); }
TEST(row_17_paths_of_three_edges) { check_path_limit(1, 100); }
TEST(row_17_paths_of_four_edges) { check_path_limit(2, 50); }
TEST(row_17_paths_of_five_edges) { check_path_limit(3, 10); }

TEST(row_17_any_number_of_direct_watchers) {
    int event_fd = make_eventfd(0, 0);
    for (int i = 0; i < 700; i++)
        ep_add(ep_new(), event_fd, EPOLLIN, 0);
}

TEST(row_17_an_edge_that_would_multiply_paths) {
    int middle = ep_new(), event_fd = make_eventfd(0, 0);
    for (int i = 0; i < 501; i++) {
        int ep = ep_new();
        ep_add(ep, event_fd, EPOLLIN, 0);
        if (i < 500)
            ep_add(middle, ep, EPOLLIN, 0);
        else
            FAILS(ep_ctl(middle, EPOLL_CTL_ADD, ep, EPOLLIN, 0), EINVAL);
    }
}

TEST(row_57_poll_of_an_epoll_checks_its_items) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    CHECK_EQ(poll_in(ep), 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    CHECK_EQ(poll_in(ep), 0);
    put(event_fd, 1);
    CHECK_EQ(poll_in(ep), POLLIN);
    CHECK_EQ(poll_in(ep), POLLIN);
    // Queued, but no longer ready.
    take(event_fd);
    CHECK_EQ(poll_in(ep), 0);
    put(event_fd, 1);
    CHECK_EQ(poll_in(ep), POLLIN);
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(row_57_an_epoll_reports_in_and_rdnorm_only) {
    int ep = ep_new();
    ep_add(ep, make_eventfd(0, 0), EPOLLOUT, 0);
    struct pollfd p = {.fd = ep, .events = (short)0xffff};
    CHECK_EQ(OK(poll(&p, 1, 0)), 1);
    CHECK_EQ(p.revents, POLLIN | POLLRDNORM);
}

TEST(row_57_poll_leaves_edges_in_place) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0);
    CHECK_EQ(poll_in(ep), POLLIN);
    CHECK_EQ(poll_in(ep), POLLIN);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(poll_in(ep), 0);
}

TEST(row_57_poll_leaves_oneshot_in_place) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLONESHOT, 0);
    CHECK_EQ(poll_in(ep), POLLIN);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(poll_in(ep), 0);
}

TEST(row_57_blocking_poll_and_select_of_an_epoll) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    pthread_t writer = later(10, write_one, &event_fd);
    struct pollfd p = {.fd = ep, .events = POLLIN};
    CHECK_EQ(OK(poll(&p, 1, -1)), 1);
    thread_join(writer);
    take(event_fd);
    writer = later(10, write_one, &event_fd);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(ep, &set);
    CHECK_EQ(OK(select(ep + 1, &set, NULL, NULL, NULL)), 1);
    CHECK(FD_ISSET(ep, &set));
    thread_join(writer);
}

TEST(row_57_through_two_levels) {
    int outer = ep_new(), inner = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(inner, event_fd, EPOLLIN, 0);
    ep_add(outer, inner, EPOLLIN, 0);
    CHECK_EQ(poll_in(outer), POLLIN);
    take(event_fd);
    CHECK_EQ(poll_in(outer), 0);
    CHECK_EQ(ep_ready(outer), 0);
    put(event_fd, 1);
    CHECK_EQ(poll_in(outer), POLLIN);
}

struct scan {
    int ep;
    _Atomic bool stop;
};

static void *scan_all_the_time(void *arg) {
    struct scan *s = arg;
    struct epoll_event events[8];
    while (!s->stop)
        CHECK_GE(OK(epoll_wait(s->ep, events, 8, 0)), linux_before(6, 19) ? 0 : 1);
    return NULL;
}

TEST(row_58_no_false_nothing_from_poll_during_a_scan) {
    struct scan s = {.ep = ep_new()};
    for (int i = 0; i < 4; i++)
        ep_add(s.ep, make_eventfd(1, 0), EPOLLIN, 0);
    pthread_t scanner = thread_run(scan_all_the_time, &s);
    for (int i = 0; i < 2000; i++)
        CHECK_EQ(poll_in(s.ep), POLLIN);
    s.stop = true;
    thread_join(scanner);
}

TEST(row_58_nor_from_the_outer_epoll) {
    struct scan s = {.ep = ep_new()};
    ep_add(s.ep, make_eventfd(1, 0), EPOLLIN, 0);
    int outer = ep_new();
    ep_add(outer, s.ep, EPOLLIN, 0);
    pthread_t scanner = thread_run(scan_all_the_time, &s);
    for (int i = 0; i < 2000; i++)
        CHECK_EQ(ep_ready(outer), 1);
    s.stop = true;
    thread_join(scanner);
}

TEST(row_59_waiting_on_the_inner_is_no_edge_outside) {
    int outer = ep_new(), inner = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(inner, event_fd, EPOLLIN, 0);
    ep_add(outer, inner, EPOLLIN | EPOLLET, 0);
    CHECK_EQ(ep_ready(outer), 1);
    CHECK_EQ(ep_ready(outer), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(ep_ready(inner), 1);
        CHECK_EQ(ep_ready(outer), 0);
    }
    put(event_fd, 1);
    CHECK_EQ(ep_ready(outer), 1);
}

TEST(row_59_short_harvests_of_the_inner_are_no_edge_outside) {
    int outer = ep_new(), inner = ep_new();
    for (int i = 0; i < 3; i++)
        ep_add(inner, make_eventfd(1, 0), EPOLLIN, 0);
    ep_add(outer, inner, EPOLLIN | EPOLLET, 0);
    CHECK_EQ(ep_ready(outer), 1);
    struct epoll_event event;
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(OK(epoll_wait(inner, &event, 1, 0)), 1);
        CHECK_EQ(ep_ready(outer), 0);
    }
}
