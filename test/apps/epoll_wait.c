// SPDX-License-Identifier: MPL-2.0
//
// epoll_wait(2), epoll_pwait(2), epoll_pwait2(2): buffers, order, timeouts, signals. Rows S4, 39 to 52.
#include "ep.h"

#include <limits.h>
#include <sys/mman.h>

// What the kernel takes, not what the C library makes of it.
static long pwait(int ep, struct epoll_event *events, int max, int timeout, const void *mask, size_t size) {
    return syscall(SYS_epoll_pwait, ep, events, max, timeout, mask, size);
}

static long pwait2(int ep, struct epoll_event *events, int max, const struct timespec *timeout, const void *mask,
                   size_t size) {
    return syscall(SYS_epoll_pwait2, ep, events, max, timeout, mask, size);
}

TEST(row_39_maxevents_out_of_range) {
    int ep = ep_new();
    static struct epoll_event event; // low in memory: the largest array must end before user memory does
    static const int bad[] = {0, -1, INT_MIN, INT_MAX, INT_MAX / 12 + 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FAILS(epoll_wait(ep, &event, bad[i], 0), EINVAL);
        FAILS(pwait(ep, &event, bad[i], 0, NULL, 8), EINVAL);
        FAILS(pwait2(ep, &event, bad[i], &(struct timespec){0, 0}, NULL, 8), EINVAL);
    }
    CHECK_EQ(OK(pwait(ep, &event, INT_MAX / 12, 0, NULL, 8)), 0);
}

TEST(row_40_first_ready_first_reported) {
    int ep = ep_new(), fds[5];
    static const int order[5] = {3, 0, 4, 2, 1};
    for (int i = 0; i < 5; i++) {
        fds[i] = make_eventfd(0, 0);
        ep_add(ep, fds[i], EPOLLIN, (uint64_t)i);
    }
    for (int i = 0; i < 5; i++)
        put(fds[order[i]], 1);
    put(fds[3], 1); // queued already: keeps its place
    struct epoll_event events[5];
    CHECK_EQ(OK(epoll_wait(ep, events, 5, 0)), 5);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(events[i].data.u64, order[i]);
}

// Ten ready entries through a buffer of three: all come, in order, each once.
static void check_short_buffer(uint32_t flags) {
    int ep = ep_new();
    for (int i = 0; i < 10; i++)
        ep_add(ep, make_eventfd(1, 0), EPOLLIN | flags, (uint64_t)i);
    struct epoll_event events[3];
    for (int next = 0; next < 10;) {
        int n = (int)OK(epoll_wait(ep, events, 3, 0));
        CHECK_EQ(n, next == 9 ? 1 : 3);
        for (int i = 0; i < n; i++)
            CHECK_EQ(events[i].data.u64, next++);
    }
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_S4_41_edges_beyond_the_buffer_stay_queued) { check_short_buffer(EPOLLET); }
TEST(row_S4_41_oneshots_beyond_the_buffer_stay_queued) { check_short_buffer(EPOLLONESHOT); }

TEST(row_S4_41_new_events_queue_behind_those_left) {
    int ep = ep_new(), late = make_eventfd(0, 0);
    for (int i = 0; i < 3; i++)
        ep_add(ep, make_eventfd(1, 0), EPOLLIN | EPOLLET, (uint64_t)i);
    ep_add(ep, late, EPOLLIN | EPOLLET, 3);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(event.data.u64, 0);
    put(late, 1);
    for (unsigned i = 1; i < 4; i++) {
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
        CHECK_EQ(event.data.u64, i);
    }
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_42_level_entries_rotate) {
    int ep = ep_new();
    for (int i = 0; i < 5; i++)
        ep_add(ep, make_eventfd(1, 0), EPOLLIN, (uint64_t)i);
    struct epoll_event events[2];
    for (unsigned next = 0; next < 30; next += 2) {
        CHECK_EQ(OK(epoll_wait(ep, events, 2, 0)), 2);
        CHECK_EQ(events[0].data.u64, next % 5);
        CHECK_EQ(events[1].data.u64, (next + 1) % 5);
    }
}

TEST(row_43_one_report_per_entry_and_call) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLOUT, 0);
    for (int i = 0; i < 3; i++)
        put(event_fd, 1);
    struct epoll_event events[8];
    CHECK_EQ(OK(epoll_wait(ep, events, 8, 0)), 1);
    CHECK_EQ(events[0].events, EPOLLIN | EPOLLOUT);
    CHECK_EQ(OK(epoll_wait(ep, events, 8, 0)), 1);
}

// A buffer for `whole` events and `part` bytes of the next.
static struct epoll_event *short_buffer(int whole, int part) { return guarded_end((size_t)(whole * 12 + part)); }

static void check_fault_in_the_middle(uint32_t flags) {
    for (int part = 0; part < 12; part += 4) {
        int ep = ep_new();
        for (int i = 0; i < 4; i++)
            ep_add(ep, make_eventfd(1, 0), EPOLLIN | flags, (uint64_t)i);
        struct epoll_event *buffer = short_buffer(2, part), rest[4];
        CHECK_EQ(OK(epoll_wait(ep, buffer, 4, 0)), 2);
        CHECK_EQ(buffer[0].data.u64, 0);
        CHECK_EQ(buffer[1].data.u64, 1);
        CHECK_EQ(OK(epoll_wait(ep, rest, 4, 0)), flags ? 2 : 4);
        CHECK_EQ(rest[0].data.u64, 2);
        CHECK_EQ(rest[1].data.u64, 3);
        CHECK_EQ(ep_ready(ep), flags ? 0 : 4);
    }
}

TEST(row_44_a_fault_in_the_middle_counts_what_was_copied) { check_fault_in_the_middle(0); }
TEST(row_44_a_fault_in_the_middle_loses_no_edge) { check_fault_in_the_middle(EPOLLET); }
TEST(row_44_a_fault_in_the_middle_loses_no_oneshot) { check_fault_in_the_middle(EPOLLONESHOT); }

TEST(row_44_a_fault_at_once_loses_nothing) {
    int ep = ep_new();
    for (int i = 0; i < 3; i++)
        ep_add(ep, make_eventfd(1, 0), EPOLLIN | (i == 1 ? EPOLLET : EPOLLONESHOT), (uint64_t)i);
    for (int i = 0; i < 3; i++)
        FAILS(epoll_wait(ep, short_buffer(0, 4 * i), 3, -1), EFAULT);
    struct epoll_event events[4];
    CHECK_EQ(OK(epoll_wait(ep, events, 4, 0)), 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(events[i].data.u64, i);
}

TEST(row_44_a_fault_on_a_read_only_page) {
    int ep = ep_new();
    ep_add(ep, make_eventfd(1, 0), EPOLLIN | EPOLLET, 0);
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    FAILS(epoll_wait(ep, page, 1, 0), EFAULT);
    CHECK_EQ(ep_ready(ep), 1);
}

static void wait_forever(void *arg) {
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(*(int *)arg, &event, 1, -1)), 1);
}

TEST(row_45_timeout_zero_neither_blocks_nor_registers) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN | EPOLLET, 0);
    // A thread that waits gets the event though others asked in between.
    struct sleeper s;
    sleeper_start(&s, wait_forever, &ep);
    sleeper_await_blocked(&s);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(ep_ready(ep), 0);
    put(event_fd, 1);
    sleeper_join(&s);
    CHECK_EQ(ep_ready(ep), 0);
    struct epoll_event event;
    CHECK_EQ(OK(pwait2(ep, &event, 1, &(struct timespec){0, 0}, NULL, 8)), 0);
}

static void write_one(void *arg) { put(*(int *)arg, 1); }

TEST(row_46_any_negative_timeout_is_infinite) {
    static const int timeouts[] = {-1, -2, INT_MIN};
    for (int i = 0; i < 3; i++) {
        int ep = ep_new(), event_fd = make_eventfd(0, 0);
        ep_add(ep, event_fd, EPOLLIN, 0);
        pthread_t writer = later(15, write_one, &event_fd);
        struct epoll_event event;
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, timeouts[i])), 1);
        thread_join(writer);
    }
}

TEST(row_47_never_before_its_timeout) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    struct epoll_event event;
    static const int timeouts[] = {1, 2, 3, 5, 10, 17, 1, 1, 1, 1, 2, 2};
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        int64_t start = now_ns();
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, timeouts[i])), 0);
        CHECK_GE(now_ns() - start, timeouts[i] * MS);
        start = now_ns();
        CHECK_EQ(OK(pwait(ep, &event, 1, timeouts[i], NULL, 8)), 0);
        CHECK_GE(now_ns() - start, timeouts[i] * MS);
    }
}

TEST(row_47_an_unready_notification_does_not_shorten_it) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 1);
    pthread_t writer = later(5, write_one, &event_fd);
    struct epoll_event event;
    int64_t start = now_ns();
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 25)), 0);
    CHECK_GE(now_ns() - start, 25 * MS);
    thread_join(writer);
}

TEST(row_48_pwait2_is_never_early) {
    int ep = ep_new();
    struct epoll_event event;
    static const long waits[] = {1, 1000, 50000, 300000, 999999, 1500000, 2000001, 7654321};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        int64_t start = now_ns();
        CHECK_EQ(OK(pwait2(ep, &event, 1, &(struct timespec){0, waits[i]}, NULL, 8)), 0);
        CHECK_GE(now_ns() - start, waits[i]);
    }
}

// That 0.1 ms may take less than 1 ms is not speed: a timeout rounded up to milliseconds never does.
TEST(row_48_pwait2_is_finer_than_a_millisecond) {
    int ep = ep_new();
    struct epoll_event event;
    for (int i = 0; i < 2000; i++) {
        int64_t start = now_ns();
        CHECK_EQ(OK(pwait2(ep, &event, 1, &(struct timespec){0, 100000}, NULL, 8)), 0);
        if (now_ns() - start < 1 * MS)
            return;
    }
    check_failed(__FILE__, __LINE__, "no wait of 0.1 ms took less than 1 ms");
}

TEST(row_48_pwait2_arguments) {
    int ep = ep_new();
    struct epoll_event event;
    FAILS(pwait2(ep, &event, 1, &(struct timespec){0, 1000000000}, NULL, 8), EINVAL);
    FAILS(pwait2(ep, &event, 1, &(struct timespec){0, -1}, NULL, 8), EINVAL);
    FAILS(pwait2(ep, &event, 1, &(struct timespec){-1, 0}, NULL, 8), EINVAL);
    FAILS(pwait2(ep, &event, 1, BAD_POINTER, NULL, 8), EFAULT);
    int event_fd = make_eventfd(0, 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    pthread_t writer = later(10, write_one, &event_fd);
    CHECK_EQ(OK(pwait2(ep, &event, 1, NULL, NULL, 8)), 1);
    thread_join(writer);
}

static sigset_t mask_of(int signal) {
    sigset_t set;
    sigemptyset(&set);
    if (signal)
        sigaddset(&set, signal);
    return set;
}

static bool blocked_now(int signal) {
    sigset_t set;
    OK(sigprocmask(SIG_BLOCK, NULL, &set));
    return sigismember(&set, signal);
}

TEST(row_49_the_mask_is_swapped_and_restored) {
    int ep = ep_new();
    struct epoll_event event;
    sigset_t none = mask_of(0), usr1 = mask_of(SIGUSR1);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 5)), 0);
    CHECK_EQ(signals_seen[SIGUSR1], 0);
    // Pending before the call: no window in which it could be missed.
    FAILS(pwait(ep, &event, 1, -1, &none, 8), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    CHECK(blocked_now(SIGUSR1));
    OK(raise(SIGUSR1));
    FAILS(pwait2(ep, &event, 1, NULL, &none, 8), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 2);
    CHECK(blocked_now(SIGUSR1));
}

TEST(row_49_the_mask_of_the_call_blocks) {
    int ep = ep_new();
    struct epoll_event event;
    sigset_t usr1 = mask_of(SIGUSR1);
    count_signal(SIGUSR1, 0);
    pid_t self = getpid(), child = (pid_t)OK(fork());
    if (child == 0) {
        sleep_ms(10);
        _exit(kill(self, SIGUSR1) != 0);
    }
    int64_t start = now_ns();
    CHECK_EQ(OK(pwait(ep, &event, 1, 40, &usr1, 8)), 0);
    CHECK_GE(now_ns() - start, 40 * MS);
    join_child(child);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    CHECK(!blocked_now(SIGUSR1));
}

TEST(row_49_bad_mask_pointer) {
    int ep = ep_new();
    struct epoll_event event;
    FAILS(pwait(ep, &event, 1, 0, BAD_POINTER, 8), EFAULT);
    FAILS(pwait2(ep, &event, 1, NULL, BAD_POINTER, 8), EFAULT);
}

TEST(row_50_sigsetsize_other_than_eight) {
    int ep = ep_new();
    struct epoll_event event;
    sigset_t none = mask_of(0);
    static const size_t sizes[] = {0, 4, 7, 9, 16, 128};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        FAILS(pwait(ep, &event, 1, 0, &none, sizes[i]), EINVAL);
        FAILS(pwait2(ep, &event, 1, &(struct timespec){0, 0}, &none, sizes[i]), EINVAL);
        CHECK_EQ(OK(pwait(ep, &event, 1, 0, NULL, sizes[i])), 0);
    }
}


static void check_eintr(int flags) {
    int ep = ep_new();
    struct epoll_event event;
    count_signal(SIGUSR1, flags);
    static const int timeouts[] = {-1, 30000};
    for (int i = 0; i < 2; i++) {
        pthread_t other = later(10, interrupt_main, NULL);
        FAILS(epoll_wait(ep, &event, 1, timeouts[i]), EINTR);
        thread_join(other);
        other = later(10, interrupt_main, NULL);
        FAILS(pwait2(ep, &event, 1, i ? &(struct timespec){30, 0} : NULL, NULL, 8), EINTR);
        thread_join(other);
    }
    CHECK_EQ(signals_seen[SIGUSR1], 4);
}

TEST(row_51_eintr) { check_eintr(0); }
TEST(row_51_eintr_even_with_sa_restart) { check_eintr(SA_RESTART); }

static void wait_to_be_stopped(void *arg) {
    (void)arg;
    struct epoll_event event;
    FAILS(epoll_wait(ep_new(), &event, 1, 30000), EINTR);
}

TEST(row_51_eintr_after_stop_and_continue) {
    pid_t child = fork_run(wait_to_be_stopped, NULL);
    await_asleep(child, child);
    OK(kill(child, SIGSTOP));
    int status;
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    CHECK(WIFSTOPPED(status));
    OK(kill(child, SIGCONT));
    join_child(child);
}

TEST(row_51_an_ignored_signal_does_not_interrupt) {
    int ep = ep_new();
    struct epoll_event event;
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    pthread_t other = later(10, interrupt_main, NULL);
    int64_t start = now_ns();
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 40)), 0);
    CHECK_GE(now_ns() - start, 40 * MS);
    thread_join(other);
}

TEST(row_52_an_event_beats_an_expired_timeout) {
    int ep = ep_new();
    struct epoll_event event;
    ep_add(ep, make_eventfd(1, 0), EPOLLIN, 0);
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(OK(pwait2(ep, &event, 1, &(struct timespec){0, 0}, NULL, 8)), 1);
    CHECK_EQ(OK(pwait2(ep, &event, 1, &(struct timespec){0, 1}, NULL, 8)), 1);
}

TEST(row_52_an_event_beats_a_pending_signal) {
    int ep = ep_new();
    struct epoll_event event;
    sigset_t none = mask_of(0), usr1 = mask_of(SIGUSR1);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    ep_add(ep, make_eventfd(1, 0), EPOLLIN, 0);
    CHECK_EQ(OK(pwait(ep, &event, 1, -1, &none, 8)), 1);
    CHECK_EQ(OK(pwait(ep, &event, 1, 0, &none, 8)), 1);
    CHECK_EQ(OK(pwait2(ep, &event, 1, NULL, &none, 8)), 1);
    // The signal was not interrupting anything: it stays pending under the old mask.
    CHECK_EQ(signals_seen[SIGUSR1], 0);
    OK(sigprocmask(SIG_UNBLOCK, &usr1, NULL));
    CHECK_EQ(signals_seen[SIGUSR1], 1);
}

TEST(row_52_a_zero_timeout_is_not_interrupted) {
    int ep = ep_new();
    struct epoll_event event;
    sigset_t none = mask_of(0), usr1 = mask_of(SIGUSR1);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    // The answer is 0, not EINTR, and the signal stays pending.
    CHECK_EQ(OK(pwait(ep, &event, 1, 0, &none, 8)), 0);
    CHECK_EQ(signals_seen[SIGUSR1], 0);
}
