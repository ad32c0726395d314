// SPDX-License-Identifier: MPL-2.0
//
// When an entry is reported, and with what: level, edge, one-shot, exclusive, the masks. Rows 21 to 31, 34 to 38 as far
// as pipes and eventfds show them (`sockets` has the rest).
#include "ep.h"

TEST(row_21_level_reported_until_drained) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLIN, 0);
    CHECK_EQ(ep_ready(ep), 0);
    put_byte(p.w);
    put_byte(p.w);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(ep_mask(ep), EPOLLIN);
    take_byte(p.r);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    take_byte(p.r);
    CHECK_EQ(ep_ready(ep), 0);
    CHECK_EQ(ep_ready(ep), 0);
    put_byte(p.w);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
}

TEST(row_21_level_out_until_full) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.w, EPOLLOUT, 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(ep_mask(ep), EPOLLOUT);
    fill(p.w);
    CHECK_EQ(ep_ready(ep), 0);
    drain(p.r);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
}

TEST(row_22_edge_once_per_edge) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLIN | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    for (int i = 0; i < 3; i++) {
        put_byte(p.w);
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
        CHECK_EQ(ep_ready(ep), 0);
        take_byte(p.r);
        CHECK_EQ(ep_ready(ep), 0);
    }
}

TEST(row_22_edges_between_waits_are_one_report) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 5; i++)
        put(event_fd, 1);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_22_an_edge_that_is_gone_is_not_reported) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0);
    put(event_fd, 1);
    take(event_fd);
    CHECK_EQ(ep_ready(ep), 0);
    put(event_fd, 1);
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(row_23_add_of_a_ready_fd) {
    int ep = ep_new();
    ep_add(ep, make_eventfd(1, 0), EPOLLIN, 0);
    CHECK_EQ(ep_ready(ep), 1);
    int edge = ep_new();
    ep_add(edge, make_eventfd(1, 0), EPOLLIN | EPOLLET, 0);
    CHECK_EQ(ep_ready(edge), 1);
    CHECK_EQ(ep_ready(edge), 0);
}

struct wait_for {
    int ep;
    long result;
    struct epoll_event event;
};

static void wait_for_one(void *arg) {
    struct wait_for *w = arg;
    w->result = OK(epoll_wait(w->ep, &w->event, 1, -1));
}

TEST(row_24_add_of_a_ready_fd_wakes_a_waiter) {
    for (int edge = 0; edge < 2; edge++) {
        struct wait_for w = {.ep = ep_new()};
        struct sleeper s;
        sleeper_start(&s, wait_for_one, &w);
        sleeper_await_blocked(&s);
        ep_add(w.ep, make_eventfd(1, 0), EPOLLIN | (edge ? EPOLLET : 0u), 5);
        sleeper_join(&s);
        CHECK_EQ(w.result, 1);
        CHECK_EQ(w.event.data.u64, 5);
    }
}

TEST(row_25_mod_reports_a_ready_event_again) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 1);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(ep_ready(ep), 0);
    ep_mod(ep, event_fd, EPOLLIN | EPOLLET, 2);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(event.data.u64, 2);
    CHECK_EQ(ep_ready(ep), 0);
    ep_mod(ep, event_fd, EPOLLOUT | EPOLLET, 3);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_25_mod_wakes_a_waiter) {
    int event_fd = make_eventfd(0, 0);
    struct wait_for w = {.ep = ep_new()};
    ep_add(w.ep, event_fd, EPOLLIN, 1);
    struct sleeper s;
    sleeper_start(&s, wait_for_one, &w);
    sleeper_await_blocked(&s);
    CHECK(!s.done);
    ep_mod(w.ep, event_fd, EPOLLOUT, 2);
    sleeper_join(&s);
    CHECK_EQ(w.event.data.u64, 2);
    CHECK_EQ(w.event.events, EPOLLOUT);
}

TEST(row_25_mod_takes_back_a_queued_event) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 1);
    put(event_fd, 1);
    ep_mod(ep, event_fd, EPOLLPRI | EPOLLET, 1);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_26_each_eventfd_write_is_an_edge) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 5; i++) {
        put(event_fd, 1);
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
    }
    CHECK_EQ(take(event_fd), 5);
}

TEST(row_27_an_eventfd_read_is_an_edge_for_out) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_ready(ep), 0);
    for (int i = 0; i < 3; i++) {
        put(event_fd, 1);
        CHECK_EQ(ep_ready(ep), 0);
        take(event_fd);
        CHECK_EQ(ep_mask(ep), EPOLLOUT);
        CHECK_EQ(ep_ready(ep), 0);
    }
}

TEST(row_28_each_pipe_write_is_an_edge) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 5; i++) {
        put_byte(p.w);
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
    }
    CHECK_EQ(drain(p.r), 5);
}

TEST(row_28_room_in_a_full_pipe_is_an_edge_for_out) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    fill(p.w);
    ep_add(ep, p.w, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    drain(p.r);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_29_an_edge_carries_the_whole_mask) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    put(event_fd, 1);
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLOUT);
    put(event_fd, 1);
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLOUT);
    take(event_fd);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
}

TEST(row_29_data_and_hang_up_together) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLIN | EPOLLET, 0);
    put_byte(p.w);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    OK(close(p.w));
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLHUP);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_30_oneshot_disarms_and_mod_rearms) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLONESHOT, 1);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    CHECK_EQ(ep_ready(ep), 0);
    put(event_fd, 1);
    CHECK_EQ(ep_ready(ep), 0);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, event_fd, EPOLLIN, 0), EEXIST);
    for (int i = 0; i < 3; i++) {
        ep_mod(ep, event_fd, EPOLLIN | EPOLLONESHOT, 2);
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
    }
    ep_mod(ep, event_fd, EPOLLIN, 3);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(row_30_a_disarmed_entry_hides_hang_up_too) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLIN | EPOLLONESHOT, 0);
    put_byte(p.w);
    CHECK_EQ(ep_ready(ep), 1);
    OK(close(p.w));
    CHECK_EQ(ep_ready(ep), 0);
    ep_mod(ep, p.r, 0, 0);
    CHECK_EQ(ep_mask(ep), EPOLLHUP);
}

TEST(row_31_oneshot_with_edge) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 0);
    put(event_fd, 1);
    CHECK_EQ(ep_ready(ep), 1);
    put(event_fd, 1);
    CHECK_EQ(ep_ready(ep), 0);
    ep_mod(ep, event_fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 1);
    CHECK_EQ(ep_ready(ep), 0);
    take(event_fd);
    ep_mod(ep, event_fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    put(event_fd, 1);
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(row_34_wakeup_is_accepted) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLWAKEUP, 0);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    ep_mod(ep, event_fd, EPOLLOUT | EPOLLWAKEUP | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
}

TEST(row_35_a_pipe_has_no_rdhup) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLRDHUP, 0);
    put_byte(p.w);
    CHECK_EQ(ep_ready(ep), 0);
    OK(close(p.w));
    CHECK_EQ(ep_mask(ep), EPOLLHUP);
}

TEST(row_36_a_pipe_and_an_eventfd_have_no_pri) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    put_byte(p.w);
    ep_add(ep, p.r, EPOLLPRI, 0);
    ep_add(ep, make_eventfd(1, 0), EPOLLPRI, 0);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_37_rdnorm_and_wrnorm_of_a_pipe) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    ep_add(ep, p.r, EPOLLRDNORM, 0);
    CHECK_EQ(ep_ready(ep), 0);
    put_byte(p.w);
    CHECK_EQ(ep_mask(ep), EPOLLRDNORM);
    ep_mod(ep, p.r, EPOLLIN | EPOLLRDNORM, 0);
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLRDNORM);
    ep_del(ep, p.r);
    ep_add(ep, p.w, EPOLLWRNORM, 0);
    CHECK_EQ(ep_mask(ep), EPOLLWRNORM);
    ep_mod(ep, p.w, EPOLLOUT | EPOLLWRNORM, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT | EPOLLWRNORM);
    fill(p.w);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_37_a_write_is_an_edge_for_rdnorm) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    struct wait_for w = {.ep = ep};
    ep_add(ep, p.r, EPOLLRDNORM | EPOLLET, 0);
    struct sleeper s;
    sleeper_start(&s, wait_for_one, &w);
    sleeper_await_blocked(&s);
    put_byte(p.w);
    sleeper_join(&s);
    CHECK_EQ(w.event.events, EPOLLRDNORM);
}

TEST(row_37_an_eventfd_has_no_rdnorm) {
    int ep = ep_new();
    ep_add(ep, make_eventfd(1, 0), EPOLLRDNORM | EPOLLWRNORM, 0);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_38_a_pipe_has_no_bands) {
    int ep = ep_new();
    struct pipe_ends p = make_pipe(0);
    put_byte(p.w);
    ep_add(ep, p.r, EPOLLRDBAND | EPOLLMSG, 0);
    ep_add(ep, p.w, EPOLLWRBAND, 0);
    CHECK_EQ(ep_ready(ep), 0);
}
