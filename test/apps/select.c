// SPDX-License-Identifier: MPL-2.0
//
// select(2) and pselect6(2), as the kernel takes them. Rows 77 to 83.
#include "harness.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/time.h>

static long raw_select(int n, void *in, void *out, void *except, struct timeval *timeout) {
    return syscall(SYS_select, n, in, out, except, timeout);
}

// The sixth argument of pselect6.
struct sized_mask {
    const void *mask;
    size_t size;
};

static long raw_pselect(int n, void *in, void *out, void *except, struct timespec *timeout, const void *sized) {
    return syscall(SYS_pselect6, n, in, out, except, timeout, sized);
}

static fd_set only(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return set;
}

static bool empty(const fd_set *set) {
    static const fd_set none;
    return memcmp(set, &none, sizeof none) == 0;
}

static void write_one(void *arg) { put(*(int *)arg, 1); }
static void close_it(void *arg) { OK(close(*(int *)arg)); }

TEST(row_77_a_handler_interrupts_even_with_sa_restart) {
    int event_fd = make_eventfd(0, 0);
    static const int flags[] = {0, SA_RESTART};
    for (int i = 0; i < 2; i++) {
        count_signal(SIGUSR1, flags[i]);
        fd_set set = only(event_fd);
        pthread_t other = later(10, interrupt_main, NULL);
        FAILS(raw_select(event_fd + 1, &set, NULL, NULL, NULL), EINTR);
        CHECK(FD_ISSET(event_fd, &set)); // an error leaves the sets alone
        thread_join(other);
        other = later(10, interrupt_main, NULL);
        FAILS(raw_select(event_fd + 1, &set, NULL, NULL, &(struct timeval){30, 0}), EINTR);
        thread_join(other);
        other = later(10, interrupt_main, NULL);
        FAILS(raw_pselect(event_fd + 1, &set, NULL, NULL, &(struct timespec){30, 0}, NULL), EINTR);
        thread_join(other);
    }
}

// select and pselect6 keep the time that was left when a stop interrupted them.
static void wait_through_a_stop(void *use_pselect) {
    int64_t start = now_ns();
    if (use_pselect)
        CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, &(struct timespec){0, 400 * MS}, NULL)), 0);
    else
        CHECK_EQ(OK(raw_select(0, NULL, NULL, NULL, &(struct timeval){0, 400000})), 0);
    int64_t took = now_ns() - start;
    CHECK_GE(took, 500 * MS);
    if (took >= 680 * MS)
        _exit(2);
}

static void check_restart(void *use_pselect) {
    for (int try = 0; try < 5; try++) {
        pid_t child = fork_run(wait_through_a_stop, use_pselect);
        await_asleep(child, child);
        sleep_ms(200);
        OK(kill(child, SIGSTOP));
        int status;
        CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
        sleep_ms(100);
        OK(kill(child, SIGCONT));
        status = wait_status(child);
        CHECK(WIFEXITED(status));
        CHECK_NE(WEXITSTATUS(status), 1);
        if (WEXITSTATUS(status) == 0)
            return;
    }
    check_failed(__FILE__, __LINE__, "the wait began anew after a stop");
}

TEST(row_77_select_restarts_after_a_stop) { check_restart(NULL); }
TEST(row_77_pselect6_restarts_after_a_stop) { check_restart(""); }

static void *read_only_copy(const void *from, size_t size) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    memcpy(page, from, size);
    OK(mprotect(page, 4096, PROT_READ));
    return page;
}

TEST(row_77_a_read_only_timeout_is_no_fault) {
    struct timeval *tv = read_only_copy(&(struct timeval){0, 1000}, sizeof *tv);
    CHECK_EQ(OK(raw_select(0, NULL, NULL, NULL, tv)), 0);
    struct timespec *ts = read_only_copy(&(struct timespec){0, 1000000}, sizeof *ts);
    CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, ts, NULL)), 0);
}

TEST(row_78_select_writes_the_remaining_time) {
    int event_fd = make_eventfd(1, 0);
    fd_set set = only(event_fd);
    struct timeval left = {100, 0};
    CHECK_EQ(OK(raw_select(event_fd + 1, &set, NULL, NULL, &left)), 1);
    CHECK(left.tv_sec < 100 && left.tv_sec >= 30 && left.tv_usec < 1000000);
    left = (struct timeval){0, 2000};
    take(event_fd);
    CHECK_EQ(OK(raw_select(event_fd + 1, &set, NULL, NULL, &left)), 0);
    CHECK(left.tv_sec == 0 && left.tv_usec == 0);
    count_signal(SIGUSR1, 0);
    pthread_t other = later(20, interrupt_main, NULL);
    left = (struct timeval){100, 0};
    FAILS(raw_select(0, NULL, NULL, NULL, &left), EINTR);
    CHECK_LE(left.tv_sec * 1000 + left.tv_usec / 1000, 99985);
    CHECK_GE(left.tv_sec, 30);
    thread_join(other);
}

TEST(row_78_pselect6_writes_the_remaining_time) {
    int event_fd = make_eventfd(1, 0);
    fd_set set = only(event_fd);
    struct timespec left = {100, 0};
    CHECK_EQ(OK(raw_pselect(event_fd + 1, &set, NULL, NULL, &left, NULL)), 1);
    CHECK(left.tv_sec < 100 && left.tv_sec >= 30);
    left = (struct timespec){0, 2000000};
    take(event_fd);
    CHECK_EQ(OK(raw_pselect(event_fd + 1, &set, NULL, NULL, &left, NULL)), 0);
    CHECK(left.tv_sec == 0 && left.tv_nsec == 0);
}

TEST(row_79_more_than_1024_fds) {
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 3000;
    if (limit.rlim_max < 3000)
        SKIP("needs RLIMIT_NOFILE of 3000");
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    enum { HIGH = 2900 };
    int event_fd = (int)OK(fcntl(make_eventfd(0, 0), F_DUPFD, HIGH));
    CHECK_EQ(event_fd, HIGH);
    unsigned long in[HIGH / 64 + 1] = {0}, out[HIGH / 64 + 1] = {0};
    in[HIGH / 64] = out[HIGH / 64] = 1ul << HIGH % 64;
    CHECK_EQ(OK(raw_select(HIGH + 1, in, out, NULL, NULL)), 1);
    CHECK_EQ(in[HIGH / 64], 0);
    CHECK_EQ(out[HIGH / 64], 1ul << HIGH % 64);
    pthread_t writer = later(10, write_one, &event_fd);
    in[HIGH / 64] = 1ul << HIGH % 64;
    CHECK_EQ(OK(raw_select(HIGH + 1, in, NULL, NULL, NULL)), 1);
    CHECK_EQ(in[HIGH / 64], 1ul << HIGH % 64);
    thread_join(writer);
    // A bit at or above n is not looked at.
    in[HIGH / 64] = 1ul << HIGH % 64;
    CHECK_EQ(OK(raw_select(HIGH, in, NULL, NULL, &(struct timeval){0, 1})), 0);
}

TEST(row_79_only_the_bytes_needed_are_touched) {
    int event_fd = make_eventfd(1, 0);
    CHECK_LT(event_fd, 64);
    unsigned long *set = guarded_end(8);
    *set = 1ul << event_fd;
    CHECK_EQ(OK(raw_select(event_fd + 1, set, NULL, NULL, NULL)), 1);
    CHECK_EQ(OK(raw_select(64, set, NULL, NULL, NULL)), 1);
    CHECK_EQ(*set, 1ul << event_fd);
    int far = (int)OK(fcntl(event_fd, F_DUPFD, 70));
    CHECK_LT(far, 128);
    set = guarded_end(16);
    set[0] = 0;
    set[1] = 1ul << (far - 64);
    CHECK_EQ(OK(raw_select(far + 1, set, NULL, NULL, NULL)), 1);
    FAILS(raw_select(far + 1, guarded_end(8), NULL, NULL, NULL), EFAULT);
    FAILS(raw_select(1, BAD_POINTER, NULL, NULL, NULL), EFAULT);
}

TEST(row_79_negative_n) {
    FAILS(raw_select(-1, NULL, NULL, NULL, &(struct timeval){0, 0}), EINVAL);
    FAILS(raw_pselect(-1, NULL, NULL, NULL, &(struct timespec){0, 0}, NULL), EINVAL);
}

TEST(row_80_a_closed_fd) {
    int event_fd = make_eventfd(1, 0), closed = (int)OK(dup(event_fd));
    OK(close(closed));
    fd_set in = only(event_fd), except = only(closed);
    FD_SET(closed, &in);
    fd_set before = in;
    FAILS(raw_select(closed + 1, &in, NULL, NULL, NULL), EBADF);
    FAILS(raw_select(closed + 1, NULL, NULL, &except, NULL), EBADF);
    FAILS(raw_pselect(closed + 1, NULL, &except, NULL, NULL, NULL), EBADF);
    CHECK(memcmp(&in, &before, sizeof in) == 0);
    // Below n only.
    CHECK_EQ(OK(raw_select(event_fd + 1, &in, NULL, NULL, NULL)), 1);
}

TEST(row_81_a_hang_up_is_no_exception) {
    struct pipe_ends p = make_pipe(0);
    OK(close(p.w));
    fd_set except = only(p.r);
    int64_t start = now_ns();
    CHECK_EQ(OK(raw_select(p.r + 1, NULL, NULL, &except, &(struct timeval){0, 10000})), 0);
    CHECK_GE(now_ns() - start, 10 * MS);
    CHECK(empty(&except));
    struct pipe_ends q = make_pipe(0);
    OK(close(q.r));
    except = only(q.w);
    CHECK_EQ(OK(raw_select(q.w + 1, NULL, NULL, &except, &(struct timeval){0, 10000})), 0);
}

TEST(row_81_a_hang_up_during_the_wait_does_not_end_it) {
    struct pipe_ends p = make_pipe(0);
    pthread_t closer = later(5, close_it, &p.w);
    fd_set except = only(p.r);
    int64_t start = now_ns();
    CHECK_EQ(OK(raw_select(p.r + 1, NULL, NULL, &except, &(struct timeval){0, 30000})), 0);
    CHECK_GE(now_ns() - start, 30 * MS);
    thread_join(closer);
}

TEST(row_81_a_hang_up_is_readable_and_an_error_writable_too) {
    struct pipe_ends p = make_pipe(0), q = make_pipe(0);
    OK(close(p.w));
    fd_set in = only(p.r);
    CHECK_EQ(OK(raw_select(p.r + 1, &in, NULL, NULL, NULL)), 1);
    OK(close(q.r));
    in = only(q.w);
    fd_set out = only(q.w);
    CHECK_EQ(OK(raw_select(q.w + 1, &in, &out, NULL, NULL)), 2);
    CHECK(FD_ISSET(q.w, &in) && FD_ISSET(q.w, &out));
}

TEST(row_82_the_number_of_bits) {
    int a = make_eventfd(1, 0), b = make_eventfd(0, 0);
    fd_set in = only(a), out = only(a), except = only(a);
    FD_SET(b, &in);
    FD_SET(b, &out);
    CHECK_EQ(OK(raw_select(b + 1, &in, &out, &except, NULL)), 3);
    CHECK(FD_ISSET(a, &in) && !FD_ISSET(b, &in) && FD_ISSET(a, &out) && FD_ISSET(b, &out) && empty(&except));
}

TEST(row_82_sets_are_cleared_on_timeout) {
    int event_fd = make_eventfd(0, 0);
    fd_set in = only(event_fd), except = only(event_fd);
    CHECK_EQ(OK(raw_select(event_fd + 1, &in, NULL, &except, &(struct timeval){0, 0})), 0);
    CHECK(empty(&in) && empty(&except));
    in = only(event_fd);
    CHECK_EQ(OK(raw_select(event_fd + 1, &in, NULL, NULL, &(struct timeval){0, 2000})), 0);
    CHECK(empty(&in));
}

TEST(row_82_a_zero_timeout_and_a_pending_signal) {
    int event_fd = make_eventfd(0, 0);
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    struct sized_mask sized = {&none, 8};
    fd_set in = only(event_fd);
    FAILS(raw_pselect(event_fd + 1, &in, NULL, NULL, &(struct timespec){0, 0}, &sized), EINTR);
    CHECK(FD_ISSET(event_fd, &in));
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    // What is ready comes first, and the signal stays pending.
    OK(raise(SIGUSR1));
    put(event_fd, 1);
    CHECK_EQ(OK(raw_pselect(event_fd + 1, &in, NULL, NULL, &(struct timespec){0, 0}, &sized)), 1);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
}

TEST(row_82_a_blocking_select) {
    int event_fd = make_eventfd(0, 0), other_fd = make_eventfd(0, 0);
    pthread_t writer = later(10, write_one, &event_fd);
    fd_set in = only(event_fd);
    FD_SET(other_fd, &in);
    CHECK_EQ(OK(raw_select(other_fd + 1, &in, NULL, NULL, NULL)), 1);
    CHECK(FD_ISSET(event_fd, &in) && !FD_ISSET(other_fd, &in));
    thread_join(writer);
}

TEST(row_83_the_sixth_argument) {
    sigset_t none, usr1;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    struct timespec zero = {0, 0};
    CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, &zero, NULL)), 0);
    CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, &zero, &(struct sized_mask){NULL, 8})), 0);
    CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, &zero, &(struct sized_mask){NULL, 99})), 0);
    CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, &zero, &(struct sized_mask){&none, 8})), 0);
    FAILS(raw_pselect(0, NULL, NULL, NULL, &zero, &(struct sized_mask){&none, 4}), EINVAL);
    FAILS(raw_pselect(0, NULL, NULL, NULL, &zero, &(struct sized_mask){&none, 128}), EINVAL);
    FAILS(raw_pselect(0, NULL, NULL, NULL, &zero, &(struct sized_mask){BAD_POINTER, 8}), EFAULT);
    FAILS(raw_pselect(0, NULL, NULL, NULL, &zero, BAD_POINTER), EFAULT);
    count_signal(SIGUSR1, 0);
    OK(sigprocmask(SIG_BLOCK, &usr1, NULL));
    OK(raise(SIGUSR1));
    FAILS(raw_pselect(0, NULL, NULL, NULL, NULL, &(struct sized_mask){&none, 8}), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    sigset_t now;
    OK(sigprocmask(SIG_BLOCK, NULL, &now));
    CHECK(sigismember(&now, SIGUSR1));
}

TEST(row_83_a_set_may_be_null) {
    int event_fd = make_eventfd(1, 0);
    fd_set set = only(event_fd);
    CHECK_EQ(OK(raw_pselect(event_fd + 1, &set, NULL, NULL, NULL, NULL)), 1);
    CHECK_EQ(OK(raw_pselect(event_fd + 1, NULL, &set, NULL, NULL, NULL)), 1);
    CHECK_EQ(OK(raw_pselect(event_fd + 1, NULL, NULL, NULL, &(struct timespec){0, 1}, NULL)), 0);
}

TEST(body_select_timeouts) {
    FAILS(raw_select(0, NULL, NULL, NULL, &(struct timeval){-1, 0}), EINVAL);
    FAILS(raw_select(0, NULL, NULL, NULL, &(struct timeval){0, -1}), EINVAL);
    FAILS(raw_select(0, NULL, NULL, NULL, BAD_POINTER), EFAULT);
    FAILS(raw_pselect(0, NULL, NULL, NULL, &(struct timespec){0, 1000000000}, NULL), EINVAL);
    FAILS(raw_pselect(0, NULL, NULL, NULL, BAD_POINTER, NULL), EFAULT);
    static const int timeouts[] = {1, 2, 3, 5, 10};
    for (int i = 0; i < 5; i++) {
        int64_t start = now_ns();
        CHECK_EQ(OK(raw_select(0, NULL, NULL, NULL, &(struct timeval){0, timeouts[i] * 1000})), 0);
        CHECK_GE(now_ns() - start, timeouts[i] * MS);
        start = now_ns();
        CHECK_EQ(OK(raw_pselect(0, NULL, NULL, NULL, &(struct timespec){0, timeouts[i] * 111111}, NULL)), 0);
        CHECK_GE(now_ns() - start, timeouts[i] * 111111);
    }
}

TEST(body_select_of_a_regular_file) {
    int file = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    fd_set in = only(file), out = only(file), except = only(file);
    CHECK_EQ(OK(raw_select(file + 1, &in, &out, &except, NULL)), 2);
    CHECK(FD_ISSET(file, &in) && FD_ISSET(file, &out) && empty(&except));
}
