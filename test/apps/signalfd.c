// SPDX-License-Identifier: MPL-2.0
//
// signalfd(2). Rows 92 and 93, and 87 for signals.
#include "ep.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/uio.h>

typedef struct signalfd_siginfo info_t;

static sigset_t set_of(int first, int second) {
    sigset_t set;
    sigemptyset(&set);
    if (first)
        sigaddset(&set, first);
    if (second)
        sigaddset(&set, second);
    return set;
}

static void block(int first, int second) {
    sigset_t set = set_of(first, second);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
}

// Blocks the signals and makes a file for them.
static int make_signalfd(int first, int second, int flags) {
    sigset_t set = set_of(first, second);
    block(first, second);
    return (int)OK(signalfd(-1, &set, flags));
}

static info_t take_info(int fd) {
    info_t info;
    memset(&info, 0xa5, sizeof info);
    CHECK_EQ(OK(read(fd, &info, sizeof info)), (ssize_t)sizeof info);
    return info;
}

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDNORM};
    OK(poll(&p, 1, 0));
    return p.revents;
}

static void send_value(pid_t pid, int signal, int value) {
    OK(sigqueue(pid, signal, (union sigval){.sival_int = value}));
}

TEST(body_signalfd_create) {
    sigset_t set = set_of(SIGUSR1, 0);
    CHECK_EQ(OK(fcntl((int)OK(signalfd(-1, &set, 0)), F_GETFL)), O_RDWR);
    CHECK_EQ(OK(fcntl((int)OK(signalfd(-1, &set, 0)), F_GETFD)), 0);
    CHECK_EQ(OK(fcntl((int)OK(signalfd(-1, &set, SFD_CLOEXEC)), F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl((int)OK(signalfd(-1, &set, SFD_NONBLOCK)), F_GETFL)), O_RDWR | O_NONBLOCK);
    FAILS(signalfd(-1, &set, 1), EINVAL);
    FAILS(signalfd(-1, &set, O_APPEND), EINVAL);
    FAILS(signalfd(-2, &set, 0), EBADF);
    FAILS(signalfd(1000, &set, 0), EBADF);
    FAILS(signalfd(make_eventfd(0, 0), &set, 0), EINVAL);
    FAILS(syscall(SYS_signalfd4, -1, &set, 4, 0), EINVAL);
    FAILS(syscall(SYS_signalfd4, -1, &set, 16, 0), EINVAL);
    FAILS(syscall(SYS_signalfd4, -1, BAD_POINTER, 8, 0), EFAULT);
    CHECK_GE(OK(syscall(SYS_signalfd, -1, &set, 8)), 0);
    struct rlimit none = {0, 4096};
    OK(setrlimit(RLIMIT_NOFILE, &none));
    FAILS(signalfd(-1, &set, 0), EMFILE);
}

TEST(body_signalfd_blocked_signals_are_read) {
    int fd = make_signalfd(SIGUSR1, SIGUSR2, SFD_NONBLOCK);
    info_t info;
    FAILS(read(fd, &info, sizeof info), EAGAIN);
    CHECK_EQ(ask(fd), 0);
    OK(raise(SIGUSR2));
    OK(raise(SIGUSR1));
    CHECK_EQ(ask(fd), POLLIN);
    CHECK_EQ(take_info(fd).ssi_signo, SIGUSR1); // The lower number first.
    CHECK_EQ(take_info(fd).ssi_signo, SIGUSR2);
    FAILS(read(fd, &info, sizeof info), EAGAIN);
    CHECK_EQ(ask(fd), 0);
    sigset_t pending;
    OK(sigpending(&pending));
    CHECK(!sigismember(&pending, SIGUSR1));
}

TEST(body_signalfd_kill_and_stop_cannot_be_read) {
    sigset_t all;
    sigfillset(&all);
    int fd = (int)OK(signalfd(-1, &all, SFD_NONBLOCK));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        info_t info;
        set_nonblocking(fd, false);
        (void)!read(fd, &info, sizeof info);
        _exit(0);
    }
    await_asleep(child, child);
    OK(kill(child, SIGKILL));
    CHECK_EQ(wait_status(child), SIGKILL);
}

TEST(row_92_by_kill) {
    int fd = make_signalfd(SIGUSR1, 0, SFD_NONBLOCK);
    OK(kill(getpid(), SIGUSR1));
    info_t info = take_info(fd), wanted = {0};
    wanted.ssi_signo = SIGUSR1;
    wanted.ssi_code = SI_USER;
    wanted.ssi_pid = (uint32_t)getpid();
    wanted.ssi_uid = getuid();
    CHECK(memcmp(&info, &wanted, sizeof info) == 0); // And all the rest is zero.
}

TEST(row_92_by_tgkill) {
    int fd = make_signalfd(SIGUSR1, 0, SFD_NONBLOCK);
    OK(syscall(SYS_tgkill, getpid(), gettid_(), SIGUSR1));
    info_t info = take_info(fd);
    CHECK_EQ(info.ssi_code, SI_TKILL);
    CHECK_EQ(info.ssi_pid, getpid());
    CHECK_EQ(info.ssi_uid, getuid());
    CHECK_EQ(info.ssi_ptr, 0);
}

TEST(row_92_by_sigqueue) {
    int fd = make_signalfd(SIGRTMIN + 3, SIGUSR1, SFD_NONBLOCK);
    union sigval value = {.sival_ptr = (void *)0x1122334455667788};
    OK(sigqueue(getpid(), SIGRTMIN + 3, value));
    info_t info = take_info(fd), wanted = {0};
    wanted.ssi_signo = (uint32_t)SIGRTMIN + 3;
    wanted.ssi_code = SI_QUEUE;
    wanted.ssi_pid = (uint32_t)getpid();
    wanted.ssi_uid = getuid();
    wanted.ssi_ptr = 0x1122334455667788;
    wanted.ssi_int = 0x55667788;
    CHECK(memcmp(&info, &wanted, sizeof info) == 0);
    // Facts of the program's own.
    siginfo_t own = {.si_signo = SIGUSR1, .si_code = -60, .si_errno = 17};
    own.si_pid = 5;
    own.si_uid = 6;
    own.si_value.sival_int = -7;
    OK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &own));
    info = take_info(fd);
    CHECK_EQ(info.ssi_code, -60);
    CHECK_EQ(info.ssi_errno, 17);
    CHECK_EQ(info.ssi_pid, 5);
    CHECK_EQ(info.ssi_uid, 6);
    CHECK_EQ(info.ssi_int, -7);
}

TEST(row_92_of_a_child) {
    int fd = make_signalfd(SIGCHLD, 0, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        _exit(9);
    info_t info = take_info(fd);
    CHECK_EQ(info.ssi_signo, SIGCHLD);
    CHECK_EQ(info.ssi_code, CLD_EXITED);
    CHECK_EQ(info.ssi_pid, child);
    CHECK_EQ(info.ssi_uid, getuid());
    CHECK_EQ(info.ssi_status, 9);
    CHECK_EQ(info.ssi_addr, 0);
    join_child(OK(fork()) ?: (_exit(0), 0));
    info = take_info(fd);
    CHECK_EQ(wait_status(child), 9 << 8);
    child = (pid_t)OK(fork());
    if (child == 0)
        for (;;)
            pause();
    OK(kill(child, SIGSTOP));
    info = take_info(fd);
    CHECK_EQ(info.ssi_code, CLD_STOPPED);
    CHECK_EQ(info.ssi_status, SIGSTOP);
    OK(kill(child, SIGKILL));
    info = take_info(fd);
    CHECK_EQ(info.ssi_code, CLD_KILLED);
    CHECK_EQ(info.ssi_status, SIGKILL);
    CHECK_EQ(wait_status(child), SIGKILL);
}

TEST(row_92_of_a_timer) {
    int fd = make_signalfd(SIGRTMIN, SIGALRM, 0);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 99};
    OK(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec s = {.it_value.tv_nsec = MS, .it_interval.tv_nsec = MS};
    OK(timer_settime(timer, 0, &s, NULL));
    sleep_ms(10);
    info_t info = take_info(fd);
    OK(timer_delete(timer));
    // It may have gone off once more before it was deleted.
    sigset_t late;
    sigemptyset(&late);
    sigaddset(&late, SIGRTMIN);
    sigtimedwait(&late, NULL, &(struct timespec){0, 0});
    CHECK_EQ(info.ssi_signo, SIGRTMIN);
    CHECK_EQ(info.ssi_code, SI_TIMER);
    CHECK_EQ(info.ssi_int, 99);
    CHECK_GE(info.ssi_overrun, 5);
    CHECK_EQ(info.ssi_pid, 0);
    OK(alarm(1));
    info = take_info(fd);
    CHECK_EQ(info.ssi_signo, SIGALRM);
    CHECK_EQ(info.ssi_code, SI_KERNEL);
}

TEST(row_92_of_a_file) {
    int fd = make_signalfd(SIGRTMIN + 1, SIGIO, 0);
    struct pipe_ends p = make_pipe(0);
    OK(fcntl(p.r, F_SETOWN, getpid()));
    OK(fcntl(p.r, F_SETSIG, SIGRTMIN + 1));
    OK(fcntl(p.r, F_SETFL, O_ASYNC));
    put_byte(p.w);
    info_t info = take_info(fd);
    CHECK_EQ(info.ssi_signo, SIGRTMIN + 1);
    CHECK_EQ(info.ssi_code, POLL_IN);
    CHECK_EQ(info.ssi_fd, p.r);
    CHECK(info.ssi_band & POLLIN);
    CHECK_EQ(info.ssi_pid, 0);
}

TEST(row_92_of_a_fault) {
    // A fault cannot be blocked; one that is only claimed can.
    int fd = make_signalfd(SIGSEGV, SIGSYS, SFD_NONBLOCK);
    siginfo_t claimed = {.si_signo = SIGSEGV, .si_code = SEGV_MAPERR};
    claimed.si_addr = (void *)0x123456789a;
    OK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGSEGV, &claimed));
    info_t info = take_info(fd);
    CHECK_EQ(info.ssi_code, SEGV_MAPERR);
    CHECK_EQ(info.ssi_addr, 0x123456789a);
    CHECK_EQ(info.ssi_pid, 0);
    claimed = (siginfo_t){.si_signo = SIGSYS, .si_code = 1};
    claimed.si_call_addr = (void *)0x1234;
    claimed.si_syscall = 321;
    claimed.si_arch = 0xc000003e;
    OK(syscall(SYS_rt_sigqueueinfo, getpid(), SIGSYS, &claimed));
    info = take_info(fd);
    CHECK_EQ(info.ssi_call_addr, 0x1234);
    CHECK_EQ(info.ssi_syscall, 321);
    CHECK_EQ(info.ssi_arch, 0xc000003e);
}

TEST(row_92_one_or_many) {
    int fd = make_signalfd(SIGRTMIN, SIGUSR1, SFD_NONBLOCK);
    info_t infos[4];
    for (int i = 0; i < 5; i++)
        send_value(getpid(), SIGRTMIN, i);
    OK(raise(SIGUSR1));
    OK(raise(SIGUSR1)); // Merged.
    CHECK_EQ(OK(read(fd, infos, sizeof infos)), (ssize_t)sizeof infos);
    CHECK_EQ(infos[0].ssi_signo, SIGUSR1);
    for (int i = 1; i < 4; i++) {
        CHECK_EQ(infos[i].ssi_signo, SIGRTMIN);
        CHECK_EQ(infos[i].ssi_int, i - 1);
    }
    CHECK_EQ(ask(fd), POLLIN);
    // A piece of an info is not written.
    CHECK_EQ(OK(read(fd, infos, sizeof *infos + 127)), (ssize_t)sizeof *infos);
    CHECK_EQ(infos[0].ssi_int, 3);
    CHECK_EQ(OK(read(fd, infos, sizeof infos)), (ssize_t)sizeof *infos); // Does not wait for more.
    CHECK_EQ(infos[0].ssi_int, 4);
    FAILS(read(fd, infos, 127), EINVAL);
    FAILS(read(fd, infos, 0), EINVAL);
}

TEST(row_93_a_new_mask_is_asked_by_the_next) {
    int fd = make_signalfd(SIGUSR1, 0, SFD_NONBLOCK), ep = ep_new();
    block(SIGUSR2, 0);
    ep_add(ep, fd, EPOLLIN, 1);
    OK(raise(SIGUSR2));
    CHECK_EQ(ask(fd), 0);
    CHECK_EQ(ep_mask(ep), 0);
    sigset_t set = set_of(SIGUSR2, 0);
    CHECK_EQ(OK(signalfd(fd, &set, 0)), fd);
    CHECK_EQ(ask(fd), POLLIN);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    set = set_of(SIGUSR1, 0);
    OK(signalfd(fd, &set, 0));
    CHECK_EQ(ask(fd), 0);
    CHECK_EQ(ep_mask(ep), 0);
    info_t info;
    FAILS(read(fd, &info, sizeof info), EAGAIN);
    // The flags of a later call mean nothing, but must be known.
    OK(signalfd(fd, &set, SFD_CLOEXEC));
    CHECK_EQ(OK(fcntl(fd, F_GETFD)), 0);
    FAILS(signalfd(fd, &set, 1), EINVAL);
}

static void expect_usr2(void *arg) { CHECK_EQ(take_info(*(int *)arg).ssi_signo, SIGUSR2); }

static void wait_in_epoll(void *arg) {
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(*(int *)arg, &event, 1, -1)), 1);
}

TEST(row_93_a_new_mask_wakes_a_reader) {
    int fd = make_signalfd(SIGUSR1, 0, 0);
    block(SIGUSR2, 0);
    OK(kill(getpid(), SIGUSR2));
    struct sleeper s;
    sleeper_start(&s, expect_usr2, &fd);
    sleeper_await_blocked(&s);
    settle();
    CHECK(!s.done);
    sigset_t set = set_of(SIGUSR2, 0);
    OK(signalfd(fd, &set, 0));
    sleeper_join(&s);
}

TEST(row_93_a_new_mask_wakes_an_epoll) {
    int fd = make_signalfd(SIGUSR1, 0, 0), ep = ep_new();
    block(SIGUSR2, 0);
    ep_add(ep, fd, EPOLLIN, 1);
    OK(kill(getpid(), SIGUSR2));
    struct sleeper s;
    sleeper_start(&s, wait_in_epoll, &ep);
    sleeper_await_blocked(&s);
    sigset_t set = set_of(SIGUSR2, 0);
    OK(signalfd(fd, &set, 0));
    sleeper_join(&s);
}

TEST(body_signalfd_wakes_readers_and_pollers) {
    int fd = make_signalfd(SIGUSR1, SIGUSR2, 0), ep = ep_new();
    struct sleeper s;
    sleeper_start(&s, expect_usr2, &fd);
    sleeper_await_blocked(&s);
    OK(kill(getpid(), SIGUSR2));
    sleeper_join(&s);
    ep_add(ep, fd, EPOLLIN | EPOLLET, 1);
    for (int i = 0; i < 2; i++) {
        sleeper_start(&s, wait_in_epoll, &ep);
        sleeper_await_blocked(&s);
        OK(kill(getpid(), i ? SIGUSR1 : SIGUSR2));
        sleeper_join(&s);
        CHECK_EQ(ep_ready(ep), 0);
    }
    OK(kill(getpid(), SIGUSR1)); // Merged with the one that is pending: no edge.
    CHECK_EQ(ep_ready(ep), 0);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    CHECK_EQ(OK(select(fd + 1, &set, NULL, NULL, NULL)), 1);
    take_info(fd);
    take_info(fd);
    CHECK_EQ(ask(fd), 0);
}

struct shared {
    int fd;
    pid_t tid;
    struct pipe_ends asked, answered;
};

static void *other_thread(void *arg) {
    struct shared *shared = arg;
    shared->tid = gettid_();
    put_byte(shared->answered.w);
    for (int i = 0; i < 2; i++) {
        take_byte(shared->asked.r);
        long seen = ask(shared->fd);
        if (i == 1)
            CHECK_EQ(take_info(shared->fd).ssi_code, SI_TKILL);
        OK(write(shared->answered.w, seen ? "y" : "n", 1));
    }
    return NULL;
}

TEST(body_signalfd_is_about_the_thread_that_asks) {
    struct shared shared = {make_signalfd(SIGUSR1, 0, SFD_NONBLOCK), 0, make_pipe(0), make_pipe(0)};
    pthread_t thread = thread_run(other_thread, &shared);
    char answer;
    take_byte(shared.answered.r);
    // One for this thread alone.
    OK(syscall(SYS_tgkill, getpid(), gettid_(), SIGUSR1));
    CHECK_EQ(ask(shared.fd), POLLIN);
    put_byte(shared.asked.w);
    OK(read(shared.answered.r, &answer, 1));
    CHECK_EQ(answer, 'n');
    take_info(shared.fd);
    // One for the other.
    OK(syscall(SYS_tgkill, getpid(), shared.tid, SIGUSR1));
    CHECK_EQ(ask(shared.fd), 0);
    info_t info;
    FAILS(read(shared.fd, &info, sizeof info), EAGAIN);
    put_byte(shared.asked.w);
    OK(read(shared.answered.r, &answer, 1));
    CHECK_EQ(answer, 'y');
    thread_join(thread);
}

TEST(body_signalfd_is_about_the_process_that_asks) {
    int fd = make_signalfd(SIGUSR1, 0, SFD_NONBLOCK);
    struct pipe_ends p = make_pipe(0);
    OK(kill(getpid(), SIGUSR1));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        info_t info;
        CHECK_EQ(ask(fd), 0); // Pending signals are not inherited.
        FAILS(read(fd, &info, sizeof info), EAGAIN);
        put_byte(p.w);
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        CHECK_EQ(OK(poll(&polled, 1, -1)), 1); // It is woken by its own.
        CHECK_EQ(take_info(fd).ssi_pid, getppid());
        _exit(0);
    }
    take_byte(p.r);
    await_asleep(child, child);
    OK(kill(child, SIGUSR1));
    join_child(child);
    CHECK_EQ(ask(fd), POLLIN);
    CHECK_EQ(take_info(fd).ssi_pid, getpid());
}

TEST(body_signalfd_in_an_epoll_that_a_child_inherits) {
    int fd = make_signalfd(SIGUSR1, 0, SFD_NONBLOCK), ep = ep_new();
    ep_add(ep, fd, EPOLLIN, 1);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        // The epoll hears of the signals of the process that added the file, and asks for those of the one that waits.
        OK(raise(SIGUSR1));
        CHECK_EQ(ep_ready(ep), 0);
        CHECK_EQ(ask(fd), POLLIN);
        ep_mod(ep, fd, EPOLLIN, 2);
        CHECK_EQ(ep_ready(ep), 1);
        _exit(0);
    }
    join_child(child);
    CHECK_EQ(ep_ready(ep), 0);
    OK(raise(SIGUSR1));
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(body_signalfd_and_handlers) {
    // What is not blocked goes to its handler.
    sigset_t set = set_of(SIGUSR1, 0);
    int fd = (int)OK(signalfd(-1, &set, SFD_NONBLOCK));
    count_signal(SIGUSR1, 0);
    OK(raise(SIGUSR1));
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    info_t info;
    FAILS(read(fd, &info, sizeof info), EAGAIN);
    // Blocked, an ignored signal can be read all the same.
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    block(SIGUSR1, 0);
    OK(raise(SIGUSR1));
    CHECK_EQ(take_info(fd).ssi_signo, SIGUSR1);
}

TEST(body_signalfd_waits_and_signals) {
    int fd = make_signalfd(SIGUSR2, 0, 0);
    info_t info;
    count_signal(SIGUSR1, 0);
    pthread_t other = later(10, interrupt_main, NULL);
    FAILS(read(fd, &info, sizeof info), EINTR);
    thread_join(other);
}

TEST(row_87_signalfd_and_nonblock) {
    int fd = make_signalfd(SIGUSR1, 0, 0), on = 1;
    info_t info;
    set_nonblocking(fd, true);
    FAILS(read(fd, &info, sizeof info), EAGAIN);
    set_nonblocking(fd, false);
    OK(raise(SIGUSR1));
    take_info(fd);
    OK(ioctl(fd, FIONBIO, &on));
    FAILS(read(fd, &info, sizeof info), EAGAIN);
}

TEST(body_signalfd_bad_buffers) {
    int fd = make_signalfd(SIGUSR1, SIGUSR2, SFD_NONBLOCK);
    info_t info;
    OK(raise(SIGUSR1));
    FAILS(read(fd, BAD_POINTER, sizeof info), EFAULT);
    FAILS(read(fd, &info, sizeof info), EAGAIN); // It was taken.
    OK(raise(SIGUSR1));
    OK(raise(SIGUSR2));
    char *end = guarded_end(sizeof info);
    CHECK_EQ(OK(read(fd, end, 2 * sizeof info)), (ssize_t)sizeof info);
    CHECK_EQ(((info_t *)end)->ssi_signo, SIGUSR1);
    FAILS(write(fd, &info, sizeof info), EINVAL);
    FAILS(pread(fd, &info, sizeof info, 0), ESPIPE);
    CHECK_EQ(OK(lseek(fd, 3, SEEK_SET)), 0);
    FAILS(ioctl(fd, TIOCGWINSZ, &info), ENOTTY);
}

TEST(body_signalfd_fdinfo) {
    sigset_t set = set_of(SIGHUP, SIGUSR1);
    sigaddset(&set, SIGKILL);
    sigaddset(&set, 64);
    int fd = (int)OK(signalfd(-1, &set, 0));
    char path[64], text[1024] = {0};
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    OK(read((int)OK(open(path, O_RDONLY)), text, sizeof text - 1));
    CHECK(strstr(text, "sigmask:\t8000000000000201\n"));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memset(text, 0, sizeof text);
    OK(readlink(path, text, sizeof text - 1));
    CHECK_EQ(strcmp(text, "anon_inode:[signalfd]"), 0);
}

static void *send_many(void *arg) {
    (void)arg;
    for (int i = 0; i < 50; i++)
        while (sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}) != 0)
            sched_yield();
    return NULL;
}

TEST(body_signalfd_loses_nothing) {
    int fd = make_signalfd(SIGRTMIN, 0, SFD_NONBLOCK), ep = ep_new();
    ep_add(ep, fd, EPOLLIN | EPOLLET, 1);
    pthread_t thread = thread_run(send_many, NULL);
    for (int next = 0; next < 50;) {
        struct epoll_event event;
        OK(epoll_wait(ep, &event, 1, -1));
        info_t infos[8];
        for (ssize_t n; (n = read(fd, infos, sizeof infos)) > 0;)
            for (size_t i = 0; i < (size_t)n / sizeof *infos; i++)
                CHECK_EQ(infos[i].ssi_int, next++);
        CHECK_EQ(errno, EAGAIN);
    }
    thread_join(thread);
}
