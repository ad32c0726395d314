// SPDX-License-Identifier: MPL-2.0
//
// poll(2) and ppoll(2). Rows 68 to 76, and 78 for ppoll.
#include "harness.h"

#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

static long raw_poll(struct pollfd *fds, unsigned long count, int timeout) {
    return syscall(SYS_poll, fds, count, timeout);
}

static long raw_ppoll(struct pollfd *fds, unsigned long count, struct timespec *timeout, const void *mask, size_t size) {
    return syscall(SYS_ppoll, fds, count, timeout, mask, size);
}

// The answer about one file, now.
static int ask(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events, .revents = 0x5555};
    long n = OK(poll(&p, 1, 0));
    CHECK_EQ(n, p.revents != 0);
    return p.revents;
}

TEST(row_68_negative_fds_are_ignored) {
    int event_fd = make_eventfd(1, 0);
    struct pollfd p[4] = {{-1, POLLIN, 77}, {event_fd, POLLIN, 77}, {INT_MIN, POLLIN, 77}, {~event_fd, POLLIN, 77}};
    CHECK_EQ(OK(poll(p, 4, -1)), 1);
    CHECK_EQ(p[0].revents, 0);
    CHECK_EQ(p[1].revents, POLLIN);
    CHECK_EQ(p[2].revents, 0);
    CHECK_EQ(p[3].revents, 0);
    CHECK_EQ(OK(poll(p, 1, 5)), 0);
    CHECK_EQ(OK(raw_poll(NULL, 0, 1)), 0);
}

TEST(row_69_nval_is_counted_and_the_others_are_polled) {
    int ready = make_eventfd(1, 0), unready = make_eventfd(0, 0);
    struct pollfd p[4] = {{9999, POLLIN, 0}, {ready, POLLIN, 0}, {unready, POLLIN, 9}, {9998, 0, 0}};
    CHECK_EQ(OK(poll(p, 4, -1)), 3);
    CHECK_EQ(p[0].revents, POLLNVAL);
    CHECK_EQ(p[1].revents, POLLIN);
    CHECK_EQ(p[2].revents, 0);
    CHECK_EQ(p[3].revents, POLLNVAL);
    CHECK_EQ(ask((int)OK(open("/tmp", O_PATH)), POLLIN), POLLNVAL);
}

TEST(row_70_err_and_hup_are_always_reported) {
    struct pipe_ends a = make_pipe(0), b = make_pipe(0);
    CHECK_EQ(ask(a.r, 0), 0);
    OK(close(a.w));
    CHECK_EQ(ask(a.r, 0), POLLHUP);
    CHECK_EQ(ask(a.r, POLLOUT), POLLHUP);
    OK(close(b.r));
    CHECK_EQ(ask(b.w, 0), POLLERR);
    CHECK_EQ(ask(b.w, POLLOUT), POLLOUT | POLLERR);
}

static void close_it(void *arg) { OK(close(*(int *)arg)); }

TEST(row_70_hup_ends_a_wait_that_asked_nothing) {
    struct pipe_ends p = make_pipe(0);
    pthread_t closer = later(10, close_it, &p.w);
    struct pollfd one = {p.r, 0, 0};
    CHECK_EQ(OK(poll(&one, 1, -1)), 1);
    CHECK_EQ(one.revents, POLLHUP);
    thread_join(closer);
}

TEST(row_71_rdhup_is_not_invented) {
    struct pipe_ends p = make_pipe(0);
    OK(close(p.w));
    CHECK_EQ(ask(p.r, POLLIN | POLLRDHUP), POLLHUP);
}

TEST(row_72_only_revents_is_written) {
    struct pollfd p[3] = {{make_eventfd(1, 0), POLLIN | 0x4000, -1}, {-7, 0x1234, -1}, {9999, 0x0abc, -1}}, before[3];
    memcpy(before, p, sizeof p);
    CHECK_EQ(OK(poll(p, 3, 0)), 2);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(p[i].fd, before[i].fd);
        CHECK_EQ(p[i].events, before[i].events);
        CHECK_NE(p[i].revents, before[i].revents);
    }
}

TEST(row_72_revents_is_written_on_timeout_too) {
    struct pollfd p = {make_eventfd(0, 0), POLLIN, -1};
    CHECK_EQ(OK(poll(&p, 1, 1)), 0);
    CHECK_EQ(p.revents, 0);
}

TEST(row_73_more_entries_than_rlimit_nofile) {
    struct pollfd p[65];
    for (int i = 0; i < 65; i++)
        p[i] = (struct pollfd){-1, POLLIN, 0};
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 64;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    CHECK_EQ(OK(poll(p, 64, 0)), 0);
    FAILS(poll(p, 65, 0), EINVAL);
    FAILS(raw_poll(p, UINT_MAX, 0), EINVAL);
    CHECK_EQ(OK(raw_poll(p, 1ul << 32, 0)), 0); // the count has 32 bits
    FAILS(raw_ppoll(p, 65, NULL, NULL, 8), EINVAL);
}

TEST(row_74_the_same_file_twice_with_different_masks) {
    int event_fd = make_eventfd(0, 0);
    struct pollfd p[3] = {{event_fd, POLLIN, 0}, {event_fd, POLLOUT, 0}, {event_fd, POLLIN | POLLOUT, 0}};
    CHECK_EQ(OK(poll(p, 3, -1)), 2);
    CHECK_EQ(p[0].revents, 0);
    CHECK_EQ(p[1].revents, POLLOUT);
    CHECK_EQ(p[2].revents, POLLOUT);
    put(event_fd, 1);
    CHECK_EQ(OK(poll(p, 3, -1)), 3);
    CHECK_EQ(p[0].revents, POLLIN);
    CHECK_EQ(p[2].revents, POLLIN | POLLOUT);
}

static void write_one(void *arg) { put(*(int *)arg, 1); }

TEST(row_74_the_same_file_twice_while_blocking) {
    int event_fd = make_eventfd(0, 0);
    for (int order = 0; order < 2; order++) {
        struct pollfd p[2] = {{event_fd, order ? POLLPRI : POLLIN, 0}, {event_fd, order ? POLLIN : POLLPRI, 0}};
        pthread_t writer = later(10, write_one, &event_fd);
        CHECK_EQ(OK(poll(p, 2, -1)), 1);
        CHECK_EQ(p[order].revents, POLLIN);
        CHECK_EQ(p[1 - order].revents, 0);
        thread_join(writer);
        take(event_fd);
    }
}

TEST(row_75_poll_of_zero_does_not_wait) {
    int event_fd = make_eventfd(0, 0);
    struct pollfd p = {event_fd, POLLIN, 0};
    CHECK_EQ(OK(poll(&p, 1, 0)), 0);
    CHECK_EQ(OK(raw_ppoll(&p, 1, &(struct timespec){0, 0}, NULL, 8)), 0);
    // Unlike epoll_pwait, nothing ready and a pending signal is EINTR even so.
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    FAILS(raw_ppoll(&p, 1, &(struct timespec){0, 0}, &none, 8), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
}

TEST(row_75_poll_of_zero_leaves_no_trace_on_a_waiter) {
    int event_fd = make_eventfd(0, 0);
    struct pollfd p = {event_fd, POLLIN, 0};
    pthread_t writer = later(10, write_one, &event_fd);
    for (int i = 0; i < 200; i++)
        OK(poll(&p, 1, 0));
    CHECK_EQ(OK(poll(&p, 1, -1)), 1);
    thread_join(writer);
}

// poll keeps its deadline through a stop; ppoll keeps the time that was left when it was interrupted.
struct stopped_wait {
    bool ppoll;
    int before_ms, stopped_ms, at_least_ms, less_than_ms;
};

// Waits for 0.4 s and exits with 2 if that took as if it had begun anew after the stop.
static void wait_through_a_stop(void *arg) {
    const struct stopped_wait *w = arg;
    struct pollfd p = {make_eventfd(0, 0), POLLIN, 0};
    struct timespec timeout = {0, 400 * MS};
    int64_t start = now_ns();
    CHECK_EQ(OK(w->ppoll ? raw_ppoll(&p, 1, &timeout, NULL, 8) : raw_poll(&p, 1, 400)), 0);
    int64_t took = now_ns() - start;
    CHECK_GE(took, w->at_least_ms * MS);
    if (took >= w->less_than_ms * MS)
        _exit(2);
}

static int stop_and_continue(struct stopped_wait *w) {
    pid_t child = fork_run(wait_through_a_stop, w);
    await_asleep(child, child);
    sleep_ms(w->before_ms);
    OK(kill(child, SIGSTOP));
    int status;
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    CHECK(WIFSTOPPED(status));
    sleep_ms(w->stopped_ms);
    OK(kill(child, SIGCONT));
    status = wait_status(child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// A loaded machine may be late: one good try of five is the proof.
static void check_stopped_wait(struct stopped_wait w) {
    for (int try = 0; try < 5; try++) {
        int result = stop_and_continue(&w);
        CHECK_NE(result, 1);
        if (result == 0)
            return;
    }
    check_failed(__FILE__, __LINE__, "the wait began anew after a stop");
}

TEST(row_76_poll_resumes_with_the_remaining_time) { check_stopped_wait((struct stopped_wait){false, 0, 300, 400, 650}); }
TEST(row_76_ppoll_is_resumed_too) { check_stopped_wait((struct stopped_wait){true, 200, 100, 500, 680}); }


TEST(row_76_a_handler_interrupts_poll) {
    struct pollfd p = {make_eventfd(0, 0), POLLIN, 0x77};
    static const int flags[] = {0, SA_RESTART};
    for (int i = 0; i < 2; i++) {
        count_signal(SIGUSR1, flags[i]);
        pthread_t other = later(10, interrupt_main, NULL);
        FAILS(poll(&p, 1, -1), EINTR);
        thread_join(other);
        other = later(10, interrupt_main, NULL);
        FAILS(raw_poll(&p, 1, 30000), EINTR);
        thread_join(other);
        other = later(10, interrupt_main, NULL);
        FAILS(raw_ppoll(&p, 1, NULL, NULL, 8), EINTR);
        thread_join(other);
    }
}

TEST(row_78_ppoll_writes_the_remaining_time) {
    int event_fd = make_eventfd(1, 0);
    struct pollfd p = {event_fd, POLLIN, 0};
    struct timespec timeout = {100, 0};
    CHECK_EQ(OK(raw_ppoll(&p, 1, &timeout, NULL, 8)), 1);
    CHECK(timeout.tv_sec < 100 && timeout.tv_sec >= 30 && timeout.tv_nsec < 1000000000);
    take(event_fd);
    timeout = (struct timespec){0, 3 * MS};
    CHECK_EQ(OK(raw_ppoll(&p, 1, &timeout, NULL, 8)), 0);
    CHECK_EQ(timeout.tv_sec, 0);
    CHECK_EQ(timeout.tv_nsec, 0);
    count_signal(SIGUSR1, 0);
    pthread_t other = later(20, interrupt_main, NULL);
    timeout = (struct timespec){100, 0};
    FAILS(raw_ppoll(&p, 1, &timeout, NULL, 8), EINTR);
    CHECK(timeout.tv_sec == 99 || (timeout.tv_sec < 99 && timeout.tv_sec >= 30));
    CHECK_LE(timeout.tv_sec * 1000 + timeout.tv_nsec / MS, 99985);
    thread_join(other);
}

TEST(row_78_ppoll_with_a_read_only_timeout) {
    static const struct timespec timeout = {0, 1000000};
    struct pollfd p = {make_eventfd(0, 0), POLLIN, 0};
    CHECK_EQ(OK(raw_ppoll(&p, 1, (struct timespec *)&timeout, NULL, 8)), 0);
}

TEST(body_ppoll_arguments) {
    struct pollfd p = {make_eventfd(0, 0), POLLIN, 0};
    sigset_t none;
    sigemptyset(&none);
    FAILS(raw_ppoll(&p, 1, &(struct timespec){0, 1000000000}, NULL, 8), EINVAL);
    FAILS(raw_ppoll(&p, 1, &(struct timespec){0, -1}, NULL, 8), EINVAL);
    FAILS(raw_ppoll(&p, 1, &(struct timespec){-1, 0}, NULL, 8), EINVAL);
    FAILS(raw_ppoll(&p, 1, BAD_POINTER, NULL, 8), EFAULT);
    FAILS(raw_ppoll(&p, 1, &(struct timespec){0, 0}, &none, 4), EINVAL);
    FAILS(raw_ppoll(&p, 1, &(struct timespec){0, 0}, BAD_POINTER, 8), EFAULT);
    CHECK_EQ(OK(raw_ppoll(&p, 1, &(struct timespec){0, 0}, NULL, 4)), 0);
}

TEST(body_poll_bad_array) {
    FAILS(raw_poll(BAD_POINTER, 1, 0), EFAULT);
    FAILS(raw_poll(guarded_end(12), 2, 0), EFAULT);
    struct pollfd *p = guarded_end(16);
    p[0] = p[1] = (struct pollfd){make_eventfd(1, 0), POLLIN, 0};
    CHECK_EQ(OK(raw_poll(p, 2, 0)), 2);
}

TEST(body_ppoll_swaps_the_mask) {
    struct pollfd p = {make_eventfd(0, 0), POLLIN, 0};
    sigset_t none, usr1;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    CHECK_EQ(OK(poll(&p, 1, 2)), 0);
    FAILS(raw_ppoll(&p, 1, NULL, &none, 8), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
}

TEST(body_poll_is_never_early) {
    struct pollfd p = {make_eventfd(0, 0), POLLIN, 0};
    static const int timeouts[] = {1, 1, 1, 2, 3, 5, 10};
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        int64_t start = now_ns();
        CHECK_EQ(OK(poll(&p, 1, timeouts[i])), 0);
        CHECK_GE(now_ns() - start, timeouts[i] * MS);
        start = now_ns();
        CHECK_EQ(OK(raw_ppoll(&p, 1, &(struct timespec){0, timeouts[i] * 100000}, NULL, 8)), 0);
        CHECK_GE(now_ns() - start, timeouts[i] * 100000);
    }
}

TEST(body_files_without_a_wait_queue_are_always_ready) {
    int file = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    const short all = POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND;
    const int always = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
    CHECK_EQ(ask(file, all), always);
    CHECK_EQ(ask((int)OK(open(temp_dir(), O_RDONLY)), all), always);
    CHECK_EQ(ask((int)OK(open("/dev/null", O_RDONLY)), all), always);
    CHECK_EQ(ask((int)OK(open("/dev/zero", O_RDONLY)), all), always);
    CHECK_EQ(ask((int)OK(open("/proc/self/status", O_RDONLY)), all), always);
}

TEST(body_poll_with_many_files) {
    enum { MANY = 300 };
    struct pollfd p[MANY];
    for (int i = 0; i < MANY; i++)
        p[i] = (struct pollfd){make_eventfd(0, 0), POLLIN, 0};
    for (int i = 0; i < MANY; i += 37) {
        pthread_t writer = later(3, write_one, &p[i].fd);
        CHECK_EQ(OK(poll(p, MANY, -1)), 1);
        CHECK_EQ(p[i].revents, POLLIN);
        thread_join(writer);
        take(p[i].fd);
    }
}

TEST(body_closing_a_polled_file_in_another_thread) {
    // The wait holds the file: closing the number neither ends the wait nor crashes.
    int event_fd = make_eventfd(0, 0), copy = (int)OK(dup(event_fd)), number = event_fd;
    pthread_t closer = later(5, close_it, &number), writer = later(20, write_one, &copy);
    struct pollfd p = {event_fd, POLLIN, 0};
    CHECK_EQ(OK(poll(&p, 1, -1)), 1);
    thread_join(closer);
    thread_join(writer);
}
