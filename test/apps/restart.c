// SPDX-License-Identifier: MPL-2.0
//
// Blocking calls and signals: which end with EINTR, which go on under SA_RESTART (signal(7)).
#include "harness.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>

static struct pipe_ends data;

// `call` blocks; a signal comes when it does, and `end` ends the wait a little later.
struct call {
    long (*call)(void);
    void (*end)(void *);
};

static void interrupt_then_end(void *arg) {
    const struct call *c = arg;
    interrupt_main(NULL);
    settle();
    c->end(NULL);
}

static long interrupted(const struct call *c, int flags, int *error) {
    data = make_pipe(0);
    count_signal(SIGUSR1, flags);
    signals_seen[SIGUSR1] = 0;
    pthread_t helper = later(10, interrupt_then_end, (void *)c);
    errno = 0;
    long result = c->call();
    *error = errno;
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    thread_join(helper);
    return result;
}

static void check_eintr(struct call c, int flags) {
    int error;
    CHECK_EQ(interrupted(&c, flags, &error), -1);
    CHECK_EQ(error, EINTR);
}

static void check_restarted(struct call c, long expected) {
    int error;
    check_eintr(c, 0);
    CHECK_EQ(interrupted(&c, SA_RESTART, &error), expected);
}

static void check_never_restarted(struct call c) {
    check_eintr(c, 0);
    check_eintr(c, SA_RESTART);
}

static void end_nothing(void *arg) { (void)arg; }
static void end_read(void *arg) {
    (void)arg;
    put_byte(data.w);
}

static long do_read(void) {
    char byte;
    return read(data.r, &byte, 1);
}
TEST(body_restart_read) { check_restarted((struct call){do_read, end_read}, 1); }

static char large[65536];
static long do_write(void) {
    CHECK_EQ(fcntl(data.w, F_GETPIPE_SZ), 65536);
    set_nonblocking(data.w, true);
    CHECK_EQ(write(data.w, large, 65536), 65536);
    set_nonblocking(data.w, false);
    return write(data.w, large, 10);
}
static void end_write(void *arg) {
    (void)arg;
    CHECK_EQ(read(data.r, large, 65536), 65536);
}
TEST(body_restart_write) { check_restarted((struct call){do_write, end_write}, 10); }

static pid_t child;
static long do_wait(void) {
    int status;
    child = fork();
    if (child == 0) {
        signal(SIGUSR1, SIG_IGN);
        for (;;)
            pause();
    }
    pid_t got = waitpid(child, &status, 0);
    return got == child ? 1 : got;
}
static void end_wait(void *arg) {
    (void)arg;
    OK(kill(child, SIGKILL));
}
TEST(body_restart_waitpid) { check_restarted((struct call){do_wait, end_wait}, 1); }

static _Atomic uint32_t word;
static long do_futex(void) {
    word = 1;
    long r;
    do // a restarted wait finds the word changed, or is woken
        r = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    while (r == 0 && word == 1);
    return r == -1 && errno == EAGAIN ? 0 : r;
}
static void end_futex(void *arg) {
    (void)arg;
    word = 2;
    OK(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
}
TEST(body_restart_futex) { check_restarted((struct call){do_futex, end_futex}, 0); }

static long do_nanosleep(void) {
    struct timespec left = {0, 0};
    long r = nanosleep(&(struct timespec){30, 0}, &left);
    CHECK(r == 0 || (left.tv_sec >= 20 && left.tv_sec < 30));
    return r;
}
TEST(body_no_restart_nanosleep) { check_never_restarted((struct call){do_nanosleep, end_nothing}); }

static long do_clock_nanosleep(void) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 30;
    errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    return errno ? -1 : 0;
}
TEST(body_an_absolute_sleep_is_interrupted) {
    check_eintr((struct call){do_clock_nanosleep, end_nothing}, 0);
}

static long do_poll(void) { return poll(&(struct pollfd){data.r, POLLIN, 0}, 1, 30000); }
TEST(body_no_restart_poll) { check_never_restarted((struct call){do_poll, end_nothing}); }

static long do_select(void) { return select(0, NULL, NULL, NULL, &(struct timeval){30, 0}); }
TEST(body_no_restart_select) { check_never_restarted((struct call){do_select, end_nothing}); }

static long do_epoll(void) {
    struct epoll_event event;
    return epoll_wait((int)OK(epoll_create1(0)), &event, 1, 30000);
}
TEST(body_no_restart_epoll_wait) { check_never_restarted((struct call){do_epoll, end_nothing}); }

static long do_pause(void) { return pause(); }
TEST(body_no_restart_pause) { check_never_restarted((struct call){do_pause, end_nothing}); }

static long do_sigwait(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &(struct timespec){30, 0});
}
TEST(body_no_restart_sigtimedwait) { check_never_restarted((struct call){do_sigwait, end_nothing}); }

static long do_open_fifo(void) {
    static int count;
    char name[32];
    snprintf(name, sizeof name, "fifo%d", count++);
    const char *path = temp_path(name);
    OK(mknod(path, 010600, 0));
    return open(path, O_RDONLY) < 0 ? -1 : 0;
}
static void end_open_fifo(void *arg) {
    (void)arg;
    char path[200];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/fifo%d", temp_dir(), i);
        int fd = open(path, O_WRONLY | O_NONBLOCK);
        (void)fd;
    }
}
TEST(body_restart_open_of_a_fifo) { check_restarted((struct call){do_open_fifo, end_open_fifo}, 0); }

static void sleep_a_while(void *arg) {
    (void)arg;
    int64_t start = now_ns();
    OK(nanosleep(&(struct timespec){0, 150 * MS}, NULL));
    CHECK_GE(now_ns() - start, 150 * MS);
}

TEST(body_a_stop_does_not_interrupt_a_sleep) {
    pid_t sleeper = fork_run(sleep_a_while, NULL);
    await_asleep(sleeper, sleeper);
    int status;
    OK(kill(sleeper, SIGSTOP));
    CHECK_EQ(OK(waitpid(sleeper, &status, WUNTRACED)), sleeper);
    OK(kill(sleeper, SIGCONT));
    join_child(sleeper);
}

static void read_a_byte(void *arg) { take_byte(*(int *)arg); }

TEST(body_a_stop_does_not_interrupt_a_read) {
    struct pipe_ends p = make_pipe(0);
    pid_t reader = fork_run(read_a_byte, &p.r);
    await_asleep(reader, reader);
    int status;
    OK(kill(reader, SIGSTOP));
    CHECK_EQ(OK(waitpid(reader, &status, WUNTRACED)), reader);
    OK(kill(reader, SIGCONT));
    settle();
    put_byte(p.w);
    join_child(reader);
}
