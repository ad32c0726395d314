// SPDX-License-Identifier: MPL-2.0
//
// Descriptors of processes: pidfd_open(2), CLONE_PIDFD, waitid(P_PIDFD), pidfd_send_signal(2), pidfd_getfd(2). Row 94.
#include "ep.h"

#include <linux/sched.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int pidfd_open_(pid_t pid, unsigned flags) { return (int)syscall(SYS_pidfd_open, pid, flags); }
static int pidfd_signal(int fd, int signal, siginfo_t *info, unsigned flags) {
    return (int)syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}
static int pidfd_getfd_(int pidfd, int fd, unsigned flags) { return (int)syscall(SYS_pidfd_getfd, pidfd, fd, flags); }

// A child that ends when a byte comes through the pipe, or the pipe ends.
static pid_t child_until(struct pipe_ends p) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        char byte;
        close(p.w);
        _exit(read(p.r, &byte, 1) == 1 ? 7 : 8);
    }
    return child;
}

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
    OK(poll(&p, 1, 0));
    return p.revents;
}

// What a process that was waited for shows beside IN. Linux has HUP there since 6.9.
static int reaped_mask(void) { return linux_before(6, 9) || on_pollux() ? 0 : POLLHUP; }

TEST(body_pidfd_open) {
    int fd = (int)OK(pidfd_open_(getpid(), 0));
    CHECK_EQ(OK(fcntl(fd, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(fd, F_GETFL)) & ~O_LARGEFILE, O_RDWR);
    CHECK_EQ(OK(fcntl((int)OK(pidfd_open_(getppid(), O_NONBLOCK)), F_GETFL)) & ~O_LARGEFILE, O_RDWR | O_NONBLOCK);
    FAILS(pidfd_open_(getpid(), 1), EINVAL);
    FAILS(pidfd_open_(getpid(), O_CLOEXEC), EINVAL);
    FAILS(pidfd_open_(0, 0), EINVAL);
    FAILS(pidfd_open_(-1, 0), EINVAL);
    FAILS(pidfd_open_(4194303, 0), ESRCH);
    char byte;
    FAILS(read(fd, &byte, 1), EINVAL);
    FAILS(write(fd, &byte, 1), EINVAL);
    struct rlimit none = {0, 4096};
    OK(setrlimit(RLIMIT_NOFILE, &none));
    FAILS(pidfd_open_(getpid(), 0), EMFILE);
}

static void *tid_of_thread(void *arg) {
    *(pid_t *)arg = gettid_();
    errno = 0;
    int fd = pidfd_open_(gettid_(), 0);
    return (void *)(long)(fd < 0 ? errno : 0);
}

TEST(body_pidfd_open_of_a_thread) {
    // Linux answered EINVAL up to 6.8.
    pid_t tid;
    long error = (long)thread_join(thread_run(tid_of_thread, &tid));
    CHECK(error == EINVAL || (error == ENOENT && !on_pollux()));
    // It has ended, and the kernel forgets it a moment later.
    while (pidfd_open_(tid, 0) < 0 && errno == error)
        sched_yield();
    CHECK_EQ(errno, ESRCH);
}

TEST(row_94_in_at_exit) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    int fd = (int)OK(pidfd_open_(child, 0)), ep = ep_new();
    ep_add(ep, fd, EPOLLIN, 3);
    CHECK_EQ(ask(fd), 0);
    CHECK_EQ(ep_mask(ep), 0);
    put_byte(p.w);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
    CHECK_EQ(event.events, EPOLLIN);
    // It can be waited for at once, and stays ready after that.
    CHECK_EQ(ask(fd), POLLIN);
    CHECK_EQ(OK(waitpid(child, &(int){0}, WNOHANG)), child);
    CHECK_EQ(ask(fd), POLLIN | reaped_mask());
    CHECK_EQ(ep_mask(ep), (unsigned)(EPOLLIN | reaped_mask()));
}

TEST(row_94_in_after_the_end) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        _exit(0);
    siginfo_t info;
    OK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    int fd = (int)OK(pidfd_open_(child, 0)); // Of a zombie.
    CHECK_EQ(ask(fd), POLLIN);
    OK(waitpid(child, NULL, 0));
    FAILS(pidfd_open_(child, 0), ESRCH);
}

TEST(row_94_poll_select_and_edges) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    int fd = (int)OK(pidfd_open_(child, 0)), again = (int)OK(pidfd_open_(child, 0)), ep = ep_new();
    ep_add(ep, fd, EPOLLIN | EPOLLET, 3);
    ep_add(ep, again, EPOLLIN | EPOLLET | EPOLLONESHOT, 4);
    OK(close(p.w));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(again, &set);
    CHECK_EQ(OK(select(again + 1, &set, NULL, NULL, NULL)), 1);
    struct pollfd polled[2] = {{.fd = fd, .events = POLLIN}, {.fd = again, .events = POLLIN}};
    CHECK_EQ(OK(poll(polled, 2, -1)), 2);
    struct epoll_event events[4];
    CHECK_EQ(OK(epoll_wait(ep, events, 4, -1)), 2);
    CHECK_EQ(ep_ready(ep), 0);
    CHECK_EQ(wait_status(child), 8 << 8);
}

static void *sleep_for_ever(void *unused) {
    (void)unused;
    pause();
    return NULL;
}

TEST(row_94_a_process_ends_with_its_last_thread) {
    struct pipe_ends ready = make_pipe(0), go = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        thread_run(sleep_for_ever, NULL);
        put_byte(ready.w);
        take_byte(go.r);
        syscall(SYS_exit, 5); // The first thread alone.
    }
    int fd = (int)OK(pidfd_open_(child, 0));
    take_byte(ready.r);
    put_byte(go.w);
    settle();
    CHECK_EQ(ask(fd), 0);
    OK(kill(child, SIGKILL));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&p, 1, -1)), 1);
    CHECK_EQ(wait_status(child), SIGKILL);
}

static void *exec_self(void *unused) {
    (void)unused;
    char *argv[] = {"self", "--list", NULL};
    OK(dup2((int)OK(open("/dev/null", O_WRONLY)), 1));
    execv("/proc/self/exe", argv);
    _exit(1);
}

TEST(row_94_an_exec_by_a_thread_is_no_end) {
    struct pipe_ends go = make_pipe(0), held = make_pipe(O_CLOEXEC);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        take_byte(go.r);
        thread_run(exec_self, NULL);
        sleep_for_ever(NULL);
    }
    OK(close(held.w));
    int fd = (int)OK(pidfd_open_(child, 0));
    put_byte(go.w);
    // The pipe ends with the exec, and the process later, not with its first thread.
    CHECK_EQ(OK(read(held.r, &(char){0}, 1)), 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&p, 1, -1)), 1);
    join_child(child);
}

TEST(row_94_an_ignored_child) {
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    int fd = (int)OK(pidfd_open_(child, 0));
    put_byte(p.w);
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&polled, 1, -1)), 1);
    FAILS(waitid(P_PIDFD, (id_t)fd, &(siginfo_t){0}, WEXITED), ECHILD);
    // HUP may come a moment later than IN: the kernel forgets the process last.
    while (ask(fd) != (POLLIN | reaped_mask()))
        sched_yield();
    FAILS(pidfd_signal(fd, 0, NULL, 0), ESRCH);
}

TEST(body_waitid_pidfd) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    siginfo_t info = {0};
    int fd = (int)OK(pidfd_open_(child, 0)), eager = (int)OK(pidfd_open_(child, O_NONBLOCK));
    OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG));
    CHECK_EQ(info.si_pid, 0);
    FAILS(waitid(P_PIDFD, (id_t)eager, &info, WEXITED), EAGAIN);
    OK(waitid(P_PIDFD, (id_t)eager, &info, WEXITED | WNOHANG));
    FAILS(waitid(P_PIDFD, (id_t)-1, &info, WEXITED), EINVAL);
    FAILS(waitid(P_PIDFD, 4000, &info, WEXITED), EBADF);
    FAILS(waitid(P_PIDFD, (id_t)p.w, &info, WEXITED), EBADF);
    FAILS(waitid(P_PIDFD, (id_t)fd, &info, 0), EINVAL);
    FAILS(waitid(P_PIDFD, (id_t)OK(pidfd_open_(getppid(), 0)), &info, WEXITED), ECHILD);
    put_byte(p.w);
    OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOWAIT));
    OK(waitid(P_PIDFD, (id_t)eager, &info, WEXITED));
    CHECK_EQ(info.si_pid, child);
    CHECK_EQ(info.si_signo, SIGCHLD);
    CHECK_EQ(info.si_code, CLD_EXITED);
    CHECK_EQ(info.si_status, 7);
    FAILS(waitid(P_PIDFD, (id_t)fd, &info, WEXITED), ECHILD);
}

TEST(body_waitid_pidfd_leaves_others_alone) {
    struct pipe_ends p = make_pipe(0);
    pid_t first = (pid_t)OK(fork());
    if (first == 0)
        _exit(1);
    pid_t second = child_until(p);
    int fd = (int)OK(pidfd_open_(second, 0));
    siginfo_t info = {0};
    OK(waitid(P_PID, (id_t)first, &info, WEXITED | WNOWAIT));
    info.si_pid = 0;
    OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG));
    CHECK_EQ(info.si_pid, 0);
    put_byte(p.w);
    OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    CHECK_EQ(info.si_pid, second);
    CHECK_EQ(wait_status(first), 1 << 8);
}

TEST(body_clone3_pidfd) {
    int fd = -1;
    struct clone_args args = {.flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&fd, .exit_signal = SIGCHLD};
    pid_t child = (pid_t)OK(syscall(SYS_clone3, &args, sizeof args));
    if (child == 0) {
        // The child does not have it.
        char path[64];
        int highest = (int)OK(dup(0));
        for (int i = 3; i < highest; i++) {
            char target[64] = {0};
            snprintf(path, sizeof path, "/proc/self/fd/%d", i);
            if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "pidfd"))
                _exit(1);
        }
        _exit(3);
    }
    CHECK_GE(fd, 0);
    CHECK_EQ(OK(fcntl(fd, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(fd, F_GETFL)) & ~O_LARGEFILE, O_RDWR);
    siginfo_t info;
    OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    CHECK_EQ(info.si_pid, child);
    CHECK_EQ(info.si_status, 3);
}

TEST(body_clone_pidfd) {
    int fd = -1;
    pid_t child = (pid_t)OK(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0));
    if (child == 0)
        _exit(4);
    CHECK_GE(fd, 0);
    siginfo_t info;
    OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
    CHECK_EQ(info.si_status, 4);
    FAILS(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd, NULL, 0), EINVAL);
    FAILS(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, NULL, &fd, NULL, 0), EINVAL);
    FAILS(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, BAD_POINTER, NULL, 0), EFAULT);
    FAILS(waitpid(-1, NULL, 0), ECHILD);
    // Nothing stays behind of the failures.
    CHECK_EQ(OK(dup(0)), fd + 1);
    struct rlimit none = {0, 4096};
    OK(setrlimit(RLIMIT_NOFILE, &none));
    FAILS(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, NULL, &fd, NULL, 0), EMFILE);
}

TEST(body_clone3_pidfd_beside_the_parents_tid) {
    int fd = -1, tid = 0;
    struct clone_args args = {.flags = CLONE_PIDFD | CLONE_PARENT_SETTID,
                              .pidfd = (uint64_t)(uintptr_t)&fd,
                              .parent_tid = (uint64_t)(uintptr_t)&tid,
                              .exit_signal = SIGCHLD};
    pid_t child = (pid_t)OK(syscall(SYS_clone3, &args, sizeof args));
    if (child == 0)
        _exit(0);
    CHECK_EQ(tid, child);
    CHECK_GE(fd, 0);
    join_child(child);
    args.parent_tid = args.pidfd;
    FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);
}

TEST(body_pidfd_send_signal) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    int fd = (int)OK(pidfd_open_(child, 0));
    OK(pidfd_signal(fd, 0, NULL, 0));
    FAILS(pidfd_signal(fd, 65, NULL, 0), EINVAL);
    FAILS(pidfd_signal(fd, -1, NULL, 0), EINVAL);
    FAILS(pidfd_signal(fd, SIGTERM, NULL, 0x80), EINVAL);
    FAILS(pidfd_signal(p.r, SIGTERM, NULL, 0), EBADF);
    FAILS(pidfd_signal(-1, SIGTERM, NULL, 0), EBADF);
    FAILS(pidfd_signal(fd, SIGTERM, BAD_POINTER, 0), EFAULT);
    OK(pidfd_signal(fd, SIGTERM, NULL, 0));
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&polled, 1, -1)), 1);
    OK(pidfd_signal(fd, SIGTERM, NULL, 0)); // To a zombie.
    CHECK_EQ(wait_status(child), SIGTERM);
    FAILS(pidfd_signal(fd, SIGTERM, NULL, 0), ESRCH);
    FAILS(pidfd_signal(fd, 0, NULL, 0), ESRCH);
}

TEST(body_pidfd_send_signal_with_facts) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    int self = (int)OK(pidfd_open_(getpid(), 0)), parent = (int)OK(pidfd_open_(getppid(), 0));
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE}, got;
    info.si_pid = 11;
    info.si_uid = 22;
    info.si_value.sival_int = 33;
    OK(pidfd_signal(self, SIGUSR1, &info, 0));
    CHECK_EQ(OK(sigwaitinfo(&set, &got)), SIGUSR1);
    CHECK_EQ(got.si_code, SI_QUEUE);
    CHECK_EQ(got.si_pid, 11);
    CHECK_EQ(got.si_uid, 22);
    CHECK_EQ(got.si_value.sival_int, 33);
    FAILS(pidfd_signal(self, SIGUSR2, &info, 0), EINVAL); // Facts of another signal.
    // To oneself one may pretend anything, to others not.
    info.si_code = SI_TKILL;
    OK(pidfd_signal(self, SIGUSR1, &info, 0));
    CHECK_EQ(OK(sigwaitinfo(&set, &got)), SIGUSR1);
    FAILS(pidfd_signal(parent, SIGUSR1, &info, 0), EPERM);
    info.si_code = SI_KERNEL;
    FAILS(pidfd_signal(parent, SIGUSR1, &info, 0), EPERM);
    // Without facts it is as by kill(2).
    OK(pidfd_signal(self, SIGUSR1, NULL, 0));
    CHECK_EQ(OK(sigwaitinfo(&set, &got)), SIGUSR1);
    CHECK_EQ(got.si_code, SI_USER);
    CHECK_EQ(got.si_pid, getpid());
}

TEST(body_pidfd_send_signal_by_proc) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", child);
    int dir = (int)OK(open(path, O_RDONLY | O_DIRECTORY)), named = (int)OK(open(path, O_PATH));
    OK(pidfd_signal(dir, 0, NULL, 0));
    FAILS(pidfd_signal(named, 0, NULL, 0), EBADF);
    FAILS(pidfd_signal((int)OK(open("/proc", O_RDONLY)), 0, NULL, 0), EBADF);
    FAILS(waitid(P_PIDFD, (id_t)dir, &(siginfo_t){0}, WEXITED), EBADF);
    OK(pidfd_signal(dir, SIGINT, NULL, 0));
    CHECK_EQ(wait_status(child), SIGINT);
    FAILS(pidfd_signal(dir, 0, NULL, 0), ESRCH);
}

TEST(body_pidfd_send_signal_needs_permission) {
    if (geteuid() != 0)
        SKIP("needs root");
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    int fd = (int)OK(pidfd_open_(child, 0));
    if (setuid(65534) != 0)
        SKIP("cannot become another user");
    FAILS(pidfd_signal(fd, 0, NULL, 0), EPERM);
    FAILS(pidfd_signal(fd, SIGTERM, NULL, 0), EPERM);
    FAILS(pidfd_getfd_(fd, 0, 0), EPERM);
    CHECK_EQ(ask(fd), 0);
    OK(write(p.w, "x", 1));
    CHECK_EQ(wait_status(child), 7 << 8);
}

TEST(body_pidfd_getfd) {
    struct pipe_ends ready = make_pipe(0), go = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        int fd = make_eventfd(41, 0);
        OK(dup2(fd, 100));
        OK(close(fd));
        put_byte(ready.w);
        take_byte(go.r);
        _exit(take(100) != 5);
    }
    int pidfd = (int)OK(pidfd_open_(child, 0));
    take_byte(ready.r);
    int fd = pidfd_getfd_(pidfd, 100, 0);
    if (fd < 0 && errno == EPERM && !on_pollux())
        SKIP("this Linux does not let us");
    CHECK_GE(fd, 0);
    CHECK_EQ(OK(fcntl(fd, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(take(fd), 41); // The same description.
    put(fd, 5);
    FAILS(pidfd_getfd_(pidfd, 101, 0), EBADF);
    FAILS(pidfd_getfd_(pidfd, -1, 0), EBADF);
    FAILS(pidfd_getfd_(pidfd, 100, 1), EINVAL);
    FAILS(pidfd_getfd_(ready.r, 100, 0), EBADF);
    FAILS(pidfd_getfd_(-1, 100, 0), EBADF);
    put_byte(go.w);
    siginfo_t info;
    OK(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOWAIT));
    // A zombie has no descriptors.
    errno = 0;
    CHECK_EQ(pidfd_getfd_(pidfd, 100, 0), -1);
    CHECK(errno == EBADF || (errno == ESRCH && !on_pollux()));
    join_child(child);
    FAILS(pidfd_getfd_(pidfd, 100, 0), ESRCH);
    // Of oneself.
    int self = (int)OK(pidfd_open_(getpid(), 0));
    put(fd, 1);
    CHECK_EQ(take((int)OK(pidfd_getfd_(self, fd, 0))), 1);
}

static const char *text_of(const char *form, int fd) {
    static char text[1024];
    char path[64];
    snprintf(path, sizeof path, form, fd);
    int info = (int)OK(open(path, O_RDONLY));
    ssize_t n = OK(read(info, text, sizeof text - 1));
    text[n] = 0;
    OK(close(info));
    return text;
}

TEST(body_pidfd_fdinfo) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = child_until(p);
    int fd = (int)OK(pidfd_open_(child, 0));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "Pid:\t%d\nNSpid:\t%d\n", child, child);
    CHECK(strstr(text_of("/proc/self/fdinfo/%d", fd), wanted));
    put_byte(p.w);
    CHECK_EQ(wait_status(child), 7 << 8);
    const char *info = text_of("/proc/self/fdinfo/%d", fd);
    CHECK(strstr(info, "Pid:\t-1\nNSpid:\t-1\n"));
    char path[64], target[64] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    OK(readlink(path, target, sizeof target - 1));
    CHECK(strcmp(target, "anon_inode:[pidfd]") == 0 || (strncmp(target, "pidfd:[", 7) == 0 && !on_pollux()));
}

TEST(body_pidfd_many_children) {
    enum { COUNT = 20 };
    int ep = ep_new(), fds[COUNT];
    struct pipe_ends p = make_pipe(0);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = (int)OK(pidfd_open_(child_until(p), 0));
        ep_add(ep, fds[i], EPOLLIN, (uint64_t)i);
    }
    OK(close(p.w)); // All of them end.
    for (int left = COUNT; left > 0;) {
        struct epoll_event events[COUNT];
        int n = (int)OK(epoll_wait(ep, events, COUNT, -1));
        for (int i = 0; i < n; i++, left--) {
            int fd = fds[events[i].data.u64];
            siginfo_t info;
            OK(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG));
            CHECK_NE(info.si_pid, 0);
            ep_del(ep, fd); // Closing is not enough: later children have it, too.
            OK(close(fd));
        }
    }
    CHECK_EQ(ep_ready(ep), 0);
    FAILS(waitpid(-1, NULL, 0), ECHILD);
}
