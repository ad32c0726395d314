// SPDX-License-Identifier: MPL-2.0
//
// Processes and threads: fork, vfork, clone, clone3, exit, the waits, groups and sessions, identifiers.
#include "harness.h"

#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>

TEST(body_fork_copies_memory) {
    static int number = 1;
    int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        number = 2;
        *shared = 3;
        _exit(0);
    }
    join_child(child);
    CHECK_EQ(number, 1);
    CHECK_EQ(*shared, 3);
}

TEST(body_fork_identifiers) {
    pid_t parent = getpid(), child = (pid_t)OK(fork());
    if (child == 0) {
        CHECK_EQ(getppid(), parent);
        CHECK_NE(getpid(), parent);
        CHECK_EQ(gettid_(), getpid());
        _exit(0);
    }
    CHECK_GT(child, 0);
    join_child(child);
}

TEST(body_fork_shares_descriptions_and_copies_descriptors) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    OK(write(fd, "0123456789", 10));
    OK(lseek(fd, 2, SEEK_SET));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(lseek(fd, 7, SEEK_SET));
        OK(close(fd));
        _exit(0);
    }
    join_child(child);
    CHECK_EQ(OK(lseek(fd, 0, SEEK_CUR)), 7);
}

TEST(body_vfork_holds_the_parent) {
    // The child shares memory until it ends.
    volatile int seen = 0;
    pid_t child = vfork();
    if (child == 0) {
        seen = 1;
        _exit(6);
    }
    CHECK_GT(child, 0);
    CHECK_EQ(seen, 1);
    CHECK_EQ(wait_status(child), 6 << 8);
}

TEST(body_exit_statuses) {
    static const int codes[] = {0, 1, 42, 255, 256, -1};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        pid_t child = (pid_t)OK(fork());
        if (child == 0)
            _exit(codes[i]);
        CHECK_EQ(wait_status(child), (codes[i] & 255) << 8);
    }
}

TEST(body_waitpid_of_what) {
    int status;
    FAILS(waitpid(-1, &status, 0), ECHILD);
    FAILS(waitpid(getpid(), &status, 0), ECHILD);
    FAILS(waitpid(-1, &status, 0x10000), EINVAL);
    pid_t a = (pid_t)OK(fork());
    if (a == 0)
        _exit(1);
    pid_t b = (pid_t)OK(fork());
    if (b == 0) {
        OK(setpgid(0, 0));
        _exit(2);
    }
    FAILS(waitpid(getppid(), &status, 0), ECHILD);
    CHECK_EQ(OK(waitpid(b, &status, 0)), b);
    CHECK_EQ(WEXITSTATUS(status), 2);
    CHECK_EQ(OK(waitpid(0, &status, 0)), a); // of this group
    FAILS(waitpid(a, &status, 0), ECHILD);
}

TEST(body_wait_with_wnohang) {
    struct pipe_ends p = make_pipe(0);
    int status = 77;
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        take_byte(p.r);
        _exit(0);
    }
    CHECK_EQ(OK(waitpid(child, &status, WNOHANG)), 0);
    CHECK_EQ(status, 77);
    put_byte(p.w);
    join_child(child);
    FAILS(waitpid(child, &status, WNOHANG), ECHILD);
    FAILS(syscall(SYS_wait4, -1, BAD_POINTER, WNOHANG, NULL), ECHILD);
}

TEST(body_wait4_usage) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        int64_t start = now_ns();
        while (now_ns() - start < 30 * MS)
            ;
        _exit(0);
    }
    struct rusage usage;
    memset(&usage, 0xff, sizeof usage);
    int status;
    CHECK_EQ(OK(wait4(child, &status, 0, &usage)), child);
    CHECK_GE(usage.ru_utime.tv_sec, 0);
    CHECK_GT(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec + usage.ru_utime.tv_sec + usage.ru_stime.tv_sec, 0);
}

#define MANY (8 << 20)

// Has MANY bytes in memory, page by page, and no more.
static void use_memory(void) {
    char *memory = mmap(NULL, MANY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    OK(madvise(memory, MANY, MADV_NOHUGEPAGE));
    for (size_t at = 0; at < MANY; at += 4096)
        memory[at] = 1;
    OK(munmap(memory, MANY));
}

static void *usage_of_thread(void *arg) {
    sleep_ms(50);
    OK(getrusage(RUSAGE_THREAD, arg));
    return NULL;
}

TEST(body_getrusage_counts_faults_switches_and_memory) {
    struct rusage before, after;
    memset(&before, 0xff, sizeof before);
    OK(getrusage(RUSAGE_SELF, &before));
    CHECK_GT(before.ru_maxrss, 0);
    CHECK_GT(before.ru_minflt, 0);
    CHECK_EQ(before.ru_nsignals, 0);
    // A sleep that is over before it begins is none: hence more than have to count.
    for (int i = 0; i < 10; i++)
        sleep_ms(5);
    use_memory();
    OK(getrusage(RUSAGE_SELF, &after));
    CHECK_GE(after.ru_nvcsw, before.ru_nvcsw + 5);
    CHECK_GE(after.ru_nivcsw, before.ru_nivcsw);
    CHECK_GE(after.ru_minflt, before.ru_minflt + MANY / 4096);
    CHECK_LT(after.ru_minflt, before.ru_minflt + 2 * MANY / 4096);
    // The peak, in KiB; Linux counts up to 64 pages late.
    CHECK_GE(after.ru_maxrss, before.ru_maxrss + MANY / 1024 - 1024);
    CHECK_LT(after.ru_maxrss, before.ru_maxrss + 2 * MANY / 1024);
    // A thread has its own counts, and the memory of all.
    struct rusage of_thread;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, usage_of_thread, &of_thread), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_GE(of_thread.ru_nvcsw, 1);
    CHECK_LT(of_thread.ru_minflt, MANY / 4096);
    CHECK_GE(of_thread.ru_maxrss, after.ru_maxrss);
    // What it did stays the process's.
    OK(getrusage(RUSAGE_SELF, &before));
    CHECK_GE(before.ru_nvcsw, after.ru_nvcsw + of_thread.ru_nvcsw);
    FAILS(getrusage(2, &after), EINVAL);
    FAILS(getrusage(RUSAGE_SELF, BAD_POINTER), EFAULT);
}

TEST(body_getrusage_of_children_is_of_those_waited_for) {
    struct rusage none, usage;
    OK(getrusage(RUSAGE_CHILDREN, &none));
    CHECK_EQ(none.ru_maxrss + none.ru_minflt + none.ru_nvcsw, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(getrusage(RUSAGE_SELF, &usage));
        CHECK_LT(usage.ru_nvcsw, 3); // Begins anew.
        pid_t grandchild = (pid_t)OK(fork());
        if (grandchild == 0) {
            for (int i = 0; i < 6; i++)
                sleep_ms(5);
            use_memory();
            _exit(0);
        }
        join_child(grandchild);
        _exit(0);
    }
    siginfo_t info;
    OK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    OK(getrusage(RUSAGE_CHILDREN, &none));
    CHECK_EQ(none.ru_minflt, 0);
    join_child(child);
    OK(getrusage(RUSAGE_CHILDREN, &usage));
    CHECK_GE(usage.ru_nvcsw, 3);
    CHECK_GE(usage.ru_minflt, MANY / 4096);
    CHECK_GE(usage.ru_maxrss, MANY / 1024);
}

// What `/proc/self/stat` says after the command's name: field `number` of proc_pid_stat(5).
static long stat_field(int number) {
    char text[1024];
    int fd = (int)OK(open("/proc/self/stat", O_RDONLY));
    text[(size_t)OK(read(fd, text, sizeof text - 1))] = 0;
    OK(close(fd));
    char *at = strrchr(text, ')') + 1;
    for (int field = 3; field < number; field++)
        at = strchr(at + 1, ' ');
    return atol(at);
}

TEST(body_proc_stat_counts_faults) {
    long own = stat_field(10);
    use_memory();
    CHECK_GE(stat_field(10), own + MANY / 4096);
    CHECK_EQ(stat_field(11), 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        use_memory();
        _exit(0);
    }
    join_child(child);
    CHECK_GE(stat_field(11), MANY / 4096);
}

TEST(body_rlimit_nproc_counts_the_threads_of_a_user) {
    const uid_t somebody = 54321;
    struct rlimit limit = {3, 3};
    if (geteuid() != 0)
        SKIP("needs root");
    OK(setrlimit(RLIMIT_NPROC, &limit));
    // Root is not bound.
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        struct pipe_ends p = make_pipe(0);
        OK(setresuid(somebody, somebody, somebody));
        for (int i = 0; i < 2; i++)
            if (OK(fork()) == 0) {
                take_byte(p.r);
                _exit(0);
            }
        FAILS(fork(), EAGAIN);
        pthread_t thread;
        struct rusage usage;
        CHECK_EQ(pthread_create(&thread, NULL, usage_of_thread, &usage), EAGAIN);
        // One ends, one may begin.
        put_byte(p.w);
        OK(wait(NULL));
        pid_t next = (pid_t)OK(fork());
        if (next == 0)
            _exit(0);
        put_byte(p.w);
        OK(wait(NULL));
        OK(wait(NULL));
        _exit(0);
    }
    join_child(child);
}

static long oom_score(void) {
    char text[32] = "";
    int fd = (int)OK(open("/proc/self/oom_score", O_RDONLY));
    OK(read(fd, text, sizeof text - 1));
    OK(close(fd));
    return atol(text);
}

TEST(body_oom_score_follows_its_adjustment) {
    int fd = (int)OK(open("/proc/self/oom_score_adj", O_RDWR));
    OK(write(fd, "0", 1));
    long before = oom_score();
    OK(pwrite(fd, "300", 3, 0));
    CHECK_GE(oom_score(), before + 199);
    CHECK_LE(oom_score(), before + 201);
    FAILS(pwrite(fd, "1001", 4, 0), EINVAL);
    OK(close(fd));
}

static siginfo_t wait_info(idtype_t type, id_t id, int options) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    OK(waitid(type, id, &info, options));
    return info;
}

TEST(body_waitid) {
    struct pipe_ends p = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        raise(SIGSTOP);
        take_byte(p.r);
        _exit(3);
    }
    siginfo_t i = wait_info(P_PID, (id_t)child, WSTOPPED);
    CHECK_EQ(i.si_signo, SIGCHLD);
    CHECK_EQ(i.si_code, CLD_STOPPED);
    CHECK_EQ(i.si_status, SIGSTOP);
    CHECK_EQ(i.si_pid, child);
    OK(kill(child, SIGCONT));
    i = wait_info(P_PID, (id_t)child, WCONTINUED);
    CHECK_EQ(i.si_code, CLD_CONTINUED);
    CHECK_EQ(i.si_status, SIGCONT);
    put_byte(p.w);
    // WNOWAIT leaves the child to be waited for again.
    i = wait_info(P_ALL, 0, WEXITED | WNOWAIT);
    CHECK_EQ(i.si_code, CLD_EXITED);
    CHECK_EQ(i.si_status, 3);
    i = wait_info(P_PGID, (id_t)getpgrp(), WEXITED);
    CHECK_EQ(i.si_pid, child);
    CHECK_EQ(i.si_uid, getuid());
    FAILS(waitid(P_ALL, 0, &i, WEXITED), ECHILD);
    FAILS(waitid(P_ALL, 0, &i, WNOHANG), EINVAL);
    FAILS(waitid((idtype_t)77, 0, &i, WEXITED), EINVAL);
}

TEST(body_waitid_of_a_killed_child_and_of_nothing_yet) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        for (;;)
            pause();
    siginfo_t i;
    memset(&i, 0x55, sizeof i);
    OK(waitid(P_PID, (id_t)child, &i, WEXITED | WNOHANG));
    CHECK_EQ(i.si_pid, 0);
    CHECK_EQ(i.si_signo, 0);
    OK(kill(child, SIGKILL));
    i = wait_info(P_PID, (id_t)child, WEXITED);
    CHECK_EQ(i.si_code, CLD_KILLED);
    CHECK_EQ(i.si_status, SIGKILL);
}

TEST(body_any_thread_waits_for_the_children_of_all) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        sleep_ms(10);
        _exit(0);
    }
    pthread_t waiter = thread_run((void *(*)(void *))(void (*)(void))join_child, (void *)(intptr_t)child);
    thread_join(waiter);
}

static volatile siginfo_t child_info;
static volatile int child_signals;
static void on_child(int signal, siginfo_t *i, void *context) {
    (void)signal;
    (void)context;
    child_info = *i;
    child_signals++;
}

static void handle_child(int flags) {
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = flags | SA_SIGINFO};
    OK(sigaction(SIGCHLD, &action, NULL));
}

static void await_child_signals(int count) {
    while (child_signals < count)
        sleep_ms(1);
}

TEST(body_sigchld) {
    handle_child(SA_RESTART);
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        _exit(9);
    await_child_signals(1);
    CHECK_EQ(child_info.si_code, CLD_EXITED);
    CHECK_EQ(child_info.si_pid, child);
    CHECK_EQ(child_info.si_status, 9);
    CHECK_EQ(child_info.si_uid, getuid());
    wait_status(child);
    child = (pid_t)OK(fork());
    if (child == 0) {
        raise(SIGSTOP);
        for (;;)
            pause();
    }
    await_child_signals(2);
    CHECK_EQ(child_info.si_code, CLD_STOPPED);
    CHECK_EQ(child_info.si_status, SIGSTOP);
    OK(kill(child, SIGCONT));
    await_child_signals(3);
    CHECK_EQ(child_info.si_code, CLD_CONTINUED);
    OK(kill(child, SIGTERM));
    await_child_signals(4);
    CHECK_EQ(child_info.si_code, CLD_KILLED);
    CHECK_EQ(child_info.si_status, SIGTERM);
    wait_status(child);
}

TEST(body_sigchld_nocldstop) {
    handle_child(SA_NOCLDSTOP | SA_RESTART);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    CHECK_EQ(child_signals, 0);
    OK(kill(child, SIGCONT));
    wait_status(child);
    await_child_signals(1);
    CHECK_EQ(child_info.si_code, CLD_EXITED);
}

static void check_no_zombies(void) {
    int status;
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        sleep_ms(10);
        _exit(0);
    }
    FAILS(waitpid(child, &status, 0), ECHILD); // only after its end
    FAILS(kill(child, 0), ESRCH);
}

TEST(body_no_zombies_when_sigchld_is_ignored) {
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    check_no_zombies();
}

TEST(body_no_zombies_with_nocldwait) {
    handle_child(SA_NOCLDWAIT);
    check_no_zombies();
}

TEST(body_a_zombie_is_there_until_it_is_waited_for) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        _exit(0);
    wait_info(P_PID, (id_t)child, WEXITED | WNOWAIT);
    OK(kill(child, 0));
    wait_status(child);
    FAILS(kill(child, 0), ESRCH);
}

TEST(body_an_orphan_gets_another_parent) {
    struct pipe_ends p = make_pipe(0), q = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        pid_t own = getpid();
        if (fork() == 0) {
            take_byte(q.r);
            put(p.w, getppid() != own);
            _exit(0);
        }
        _exit(0);
    }
    join_child(child);
    put_byte(q.w);
    CHECK_EQ(take(p.r), 1);
}

TEST(body_a_subreaper_gets_the_orphans) {
    OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        if (fork() == 0)
            _exit(33);
        _exit(0);
    }
    join_child(child);
    int status;
    CHECK_GT(OK(waitpid(-1, &status, 0)), 0);
    CHECK_EQ(WEXITSTATUS(status), 33);
}

// ---- threads ----

static void *exit_the_group(void *arg) {
    (void)arg;
    syscall(SYS_exit_group, 17);
    return NULL;
}

TEST(body_exit_group_ends_all_threads) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        struct pipe_ends p = make_pipe(0);
        thread_run(exit_the_group, NULL);
        take_byte(p.r); // for ever
    }
    CHECK_EQ(wait_status(child), 17 << 8);
}

static void *sleep_then_exit(void *arg) {
    (void)arg;
    sleep_ms(15);
    _exit(18);
}

TEST(body_the_first_thread_may_leave_before_the_others) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        thread_run(sleep_then_exit, NULL);
        syscall(SYS_exit, 3);
    }
    int status;
    sleep_ms(5);
    CHECK_EQ(OK(waitpid(child, &status, WNOHANG)), 0);
    CHECK_EQ(wait_status(child), 18 << 8);
}

TEST(body_a_deadly_signal_ends_all_threads) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        struct pipe_ends p = make_pipe(0);
        thread_run((void *(*)(void *))(void (*)(void))take_byte, (void *)(intptr_t)p.r);
        take_byte(p.r);
    }
    await_asleep(child, child);
    OK(kill(child, SIGTERM));
    int status = wait_status(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static __thread int own = 5;
static void *use_own(void *arg) {
    CHECK_EQ(own, 5);
    own = (int)(intptr_t)arg;
    sched_yield();
    CHECK_EQ(own, (intptr_t)arg);
    return (void *)(intptr_t)gettid_();
}

TEST(body_threads_have_their_own_storage_and_ids) {
    own = 5;
    pthread_t threads[8];
    for (intptr_t i = 0; i < 8; i++)
        threads[i] = thread_run(use_own, (void *)(i + 100));
    for (int i = 0; i < 8; i++)
        CHECK_NE((intptr_t)thread_join(threads[i]), gettid_());
    CHECK_EQ(own, 5);
}

TEST(body_many_threads_come_and_go) {
    for (int round = 0; round < 60; round++)
        thread_join(thread_run(use_own, (void *)(intptr_t)round));
}

static _Atomic int ticks;
static _Atomic bool stop_ticking;
static void *tick(void *arg) {
    while (!stop_ticking) {
        ticks++;
        sleep_ms(1);
    }
    return arg;
}

TEST(body_fork_copies_only_the_calling_thread) {
    pthread_t other = thread_run(tick, NULL);
    while (ticks == 0)
        sleep_ms(1);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        int before = ticks;
        settle();
        CHECK_EQ(ticks, before);
        _exit(0);
    }
    join_child(child);
    stop_ticking = true;
    thread_join(other);
}

static int in_the_clone(void *arg) {
    *(int *)arg = getpid() == gettid_();
    return 21;
}

TEST(body_clone_with_a_shared_memory) {
    char *stack = malloc(65536);
    int seen = -1;
    int pid = (int)OK(clone(in_the_clone, stack + 65536, CLONE_VM | SIGCHLD, &seen));
    CHECK_EQ(wait_status(pid), 21 << 8);
    CHECK_EQ(seen, 1);
}

TEST(body_clone3) {
    pid_t parent_tid = 0, child_tid = 0;
    struct clone_args args = {.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
                              .exit_signal = SIGCHLD,
                              .parent_tid = (uintptr_t)&parent_tid,
                              .child_tid = (uintptr_t)&child_tid};
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        _exit(child_tid == getpid() ? 22 : 23);
    CHECK_GT(pid, 0);
    CHECK_EQ(parent_tid, pid);
    CHECK_EQ(child_tid, 0); // set in the child's copy
    CHECK_EQ(wait_status((pid_t)pid), 22 << 8);
}

TEST(body_clone3_errors) {
    struct clone_args args = {.exit_signal = SIGCHLD};
    FAILS(syscall(SYS_clone3, &args, 8), EINVAL);
    FAILS(syscall(SYS_clone3, BAD_POINTER, sizeof args), EFAULT);
    args.flags = CLONE_THREAD;
    FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args.flags = CLONE_SIGHAND;
    FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args = (struct clone_args){.exit_signal = 999};
    FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    args = (struct clone_args){.exit_signal = SIGCHLD, .stack_size = 4096};
    FAILS(syscall(SYS_clone3, &args, sizeof args), EINVAL);
    // A longer structure is fine while what is beyond is zero.
    struct {
        struct clone_args args;
        uint64_t more;
    } longer = {.args = {.flags = CLONE_THREAD}, .more = 0};
    FAILS(syscall(SYS_clone3, &longer, sizeof longer), EINVAL);
    longer.more = 1;
    longer.args.flags = 0;
    FAILS(syscall(SYS_clone3, &longer, sizeof longer), E2BIG);
}

TEST(body_clone_files_shares_descriptors) {
    char *stack = malloc(65536);
    int fd = make_eventfd(0, 0);
    int pid = (int)OK(clone((int (*)(void *))(void (*)(void))close, stack + 65536, CLONE_VM | CLONE_FILES | SIGCHLD,
                            (void *)(intptr_t)fd));
    CHECK_EQ(wait_status(pid), 0);
    FAILS(fcntl(fd, F_GETFD), EBADF);
}

TEST(body_set_tid_address_is_cleared_and_woken) {
    // As pthread_join relies on it: the word becomes 0 and a futex waiter wakes.
    pid_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(word != MAP_FAILED);
    char *stack = malloc(65536);
    int seen;
    *word = 1;
    long tid = clone(in_the_clone, stack + 65536,
                     CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                         CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID,
                     &seen, word, NULL, word);
    CHECK_GT(tid, 0);
    for (pid_t now; (now = __atomic_load_n(word, __ATOMIC_SEQ_CST)) != 0;)
        syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
}

// ---- groups, sessions, limits, names ----

TEST(body_groups_and_sessions) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        pid_t own = getpid();
        CHECK_EQ(getpgid(0), getppid());
        CHECK_EQ(OK(setsid()), own);
        CHECK_EQ(getsid(0), own);
        CHECK_EQ(getpgrp(), own);
        FAILS(setsid(), EPERM);
        FAILS(setpgid(0, 0), EPERM); // a session leader
        _exit(0);
    }
    join_child(child);
    CHECK_EQ(getpgrp(), getpid());
    FAILS(setpgid(0, -1), EINVAL);
    FAILS(setpgid(0x3ffffff, 0), ESRCH);
    FAILS(getpgid(0x3ffffff), ESRCH);
    FAILS(getsid(0x3ffffff), ESRCH);
    FAILS(setpgid(0, getppid() + 100000), EPERM);
}

TEST(body_rlimits) {
    struct rlimit limit = {0, 0}, old;
    OK(getrlimit(RLIMIT_NOFILE, &old));
    CHECK_GE(old.rlim_cur, 1024);
    limit = (struct rlimit){20, old.rlim_max};
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    int fd;
    while ((fd = dup(1)) >= 0)
        CHECK_LT(fd, 20);
    CHECK_EQ(errno, EMFILE);
    FAILS(fcntl(1, F_DUPFD, 20), EINVAL);
    FAILS(dup2(1, 20), EBADF);
    FAILS(pipe((int[2]){0, 0}), EMFILE);
    OK(getrlimit(RLIMIT_STACK, &limit));
    CHECK_GE(limit.rlim_cur, 1 << 20);
    FAILS(setrlimit(RLIMIT_NOFILE, &(struct rlimit){30, 20}), EINVAL);
    FAILS(getrlimit((enum __rlimit_resource)99, &limit), EINVAL);
    OK(prlimit(getpid(), RLIMIT_NOFILE, NULL, &limit));
    CHECK_EQ(limit.rlim_cur, 20);
}

TEST(body_uname_and_names) {
    struct utsname names;
    OK(uname(&names));
    CHECK(strcmp(names.sysname, "Linux") == 0);
    CHECK(strcmp(names.machine, "x86_64") == 0);
    CHECK(names.release[0] && names.version[0] && names.nodename[0]);
    FAILS(syscall(SYS_uname, BAD_POINTER), EFAULT);
    char name[16];
    OK(prctl(PR_SET_NAME, "a-name-that-is-too-long"));
    OK(prctl(PR_GET_NAME, name));
    CHECK(strcmp(name, "a-name-that-is-") == 0);
}

TEST(body_unknown_system_calls) {
    FAILS(syscall(999), ENOSYS);
    FAILS(syscall(-5), ENOSYS);
    FAILS(syscall(1l << 32, -1, NULL, 0), EBADF); // the number has 32 bits: this is read
}

TEST(body_sched_calls) {
    OK(sched_yield());
    cpu_set_t set;
    CHECK_GT(OK(syscall(SYS_sched_getaffinity, 0, sizeof set, &set)), 0);
    CHECK_GE(sysconf(_SC_NPROCESSORS_ONLN), 1);
    unsigned cpu = 999, node = 999;
    OK(syscall(SYS_getcpu, &cpu, &node, NULL));
    CHECK(CPU_ISSET(cpu, &set));
}

TEST(body_umask_and_ids) {
    mode_t before = umask(022);
    CHECK_EQ(umask(before), 022);
    CHECK_EQ(getuid(), geteuid());
    CHECK_EQ(getgid(), getegid());
    uid_t r, e, s;
    OK(getresuid(&r, &e, &s));
    CHECK(r == getuid() && s == e);
}

TEST(body_many_children) {
    pid_t children[20];
    for (int i = 0; i < 20; i++) {
        children[i] = (pid_t)OK(fork());
        if (children[i] == 0)
            _exit(i);
    }
    for (int i = 19; i >= 0; i--)
        CHECK_EQ(wait_status(children[i]), i << 8);
}

static void burn(void) {
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
}

TEST(body_rlimit_cpu) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        struct rlimit limit = {1, 2};
        OK(setrlimit(RLIMIT_CPU, &limit));
        count_signal(SIGXCPU, 0);
        while (!signals_seen[SIGXCPU])
            atomic_signal_fence(memory_order_seq_cst);
        struct timespec used;
        OK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
        CHECK_GE(used.tv_sec * 1000 + used.tv_nsec / 1000000, 700); // Linux counts in ticks here; on a busy machine others use some of them.
        // Linux moves the soft limit on, for a signal each second.
        OK(getrlimit(RLIMIT_CPU, &limit));
        CHECK_EQ(limit.rlim_cur, 2);
        CHECK_EQ(limit.rlim_max, 2);
        burn();
    }
    CHECK_EQ(wait_status(child), SIGKILL); // At the hard limit.
}

TEST(body_rlimit_cpu_ends_a_process_that_does_not_care) {
    struct rlimit limit = {0, RLIM_INFINITY}, no_core = {0, 0};
    OK(setrlimit(RLIMIT_CORE, &no_core));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(setrlimit(RLIMIT_CPU, &limit));
        burn();
    }
    CHECK_EQ(wait_status(child) & 0x7f, SIGXCPU);
    // Inherited.
    child = (pid_t)OK(fork());
    if (child == 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGXCPU);
        OK(sigprocmask(SIG_BLOCK, &set, NULL));
        OK(setrlimit(RLIMIT_CPU, &limit));
        pid_t grandchild = (pid_t)OK(fork());
        if (grandchild == 0) {
            OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
            burn();
        }
        _exit((wait_status(grandchild) & 0x7f) != SIGXCPU);
    }
    join_child(child);
}

// ---- membarrier ---------------------------------------------------------------------------------------------------------

#define GLOBAL 1
#define GLOBAL_EXPEDITED 2
#define REGISTER_GLOBAL_EXPEDITED 4
#define PRIVATE_EXPEDITED 8
#define REGISTER_PRIVATE_EXPEDITED 16
#define PRIVATE_EXPEDITED_SYNC_CORE 32
#define REGISTER_PRIVATE_EXPEDITED_SYNC_CORE 64
#define GET_REGISTRATIONS 512

static int membarrier(int command, unsigned flags) { return (int)syscall(SYS_membarrier, command, flags, 0); }

TEST(body_membarrier_wants_a_registration) {
    long commands = OK(membarrier(0, 0));
    CHECK_EQ(commands & 127, 127);
    CHECK_EQ(OK(membarrier(GLOBAL, 0)), 0);
    CHECK_EQ(OK(membarrier(GLOBAL_EXPEDITED, 0)), 0);
    FAILS(membarrier(PRIVATE_EXPEDITED, 0), EPERM);
    FAILS(membarrier(PRIVATE_EXPEDITED_SYNC_CORE, 0), EPERM);
    for (int times = 0; times < 2; times++) CHECK_EQ(OK(membarrier(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0)), 0);
    CHECK_EQ(OK(membarrier(PRIVATE_EXPEDITED_SYNC_CORE, 0)), 0);
    // It is not for the other one.
    FAILS(membarrier(PRIVATE_EXPEDITED, 0), EPERM);
    CHECK_EQ(OK(membarrier(REGISTER_PRIVATE_EXPEDITED, 0)), 0);
    CHECK_EQ(OK(membarrier(PRIVATE_EXPEDITED, 0)), 0);
    CHECK_EQ(OK(membarrier(REGISTER_GLOBAL_EXPEDITED, 0)), 0);
    // A child has it as well.
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        CHECK_EQ(OK(membarrier(PRIVATE_EXPEDITED, 0)), 0);
        _exit(0);
    }
    join_child(child);
}

TEST(body_membarrier_errors) {
    FAILS(membarrier(0, 1), EINVAL);
    FAILS(membarrier(3, 0), EINVAL);
    FAILS(membarrier(1 << 20, 0), EINVAL);
    FAILS(membarrier(-1, 0), EINVAL);
    FAILS(membarrier(GLOBAL, 1), EINVAL);
}

TEST(body_membarrier_tells_the_registrations) {
    if ((OK(membarrier(0, 0)) & GET_REGISTRATIONS) == 0) SKIP("Linux has it since 6.3");
    CHECK_EQ(OK(membarrier(GET_REGISTRATIONS, 0)), 0);
    OK(membarrier(REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0));
    CHECK_EQ(OK(membarrier(GET_REGISTRATIONS, 0)), REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | REGISTER_PRIVATE_EXPEDITED);
    OK(membarrier(REGISTER_GLOBAL_EXPEDITED, 0));
    CHECK_EQ(OK(membarrier(GET_REGISTRATIONS, 0)),
             REGISTER_PRIVATE_EXPEDITED_SYNC_CORE | REGISTER_PRIVATE_EXPEDITED | REGISTER_GLOBAL_EXPEDITED);
    FAILS(membarrier(GET_REGISTRATIONS, 1), EINVAL);
}

// Each of two threads says that it is there and then looks for the other. The one has no barrier between, only the other.
static struct {
    _Atomic int round, done;
    _Alignas(128) _Atomic int fast;
    _Alignas(128) _Atomic int slow;
    _Atomic int fast_saw;
} litmus;

static void *fast_side(void *rounds) {
    for (int round = 1; round <= (int)(intptr_t)rounds; round++) {
        for (int looks = 0; atomic_load(&litmus.round) < round; looks++)
            if (looks % 256 == 255) sched_yield();
        atomic_store_explicit(&litmus.fast, round, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        int saw = atomic_load_explicit(&litmus.slow, memory_order_relaxed);
        atomic_store(&litmus.fast_saw, saw);
        atomic_store(&litmus.done, round);
    }
    return NULL;
}

TEST(body_membarrier_is_a_barrier_for_the_others) {
    int rounds = 300;
    OK(membarrier(REGISTER_PRIVATE_EXPEDITED, 0));
    pthread_t fast = thread_run(fast_side, (void *)(intptr_t)rounds);
    for (int round = 1; round <= rounds; round++) {
        atomic_store(&litmus.round, round);
        atomic_store_explicit(&litmus.slow, round, memory_order_relaxed);
        OK(membarrier(PRIVATE_EXPEDITED, 0));
        int saw = atomic_load_explicit(&litmus.fast, memory_order_relaxed);
        while (atomic_load(&litmus.done) < round) sched_yield();
        CHECK(saw == round || atomic_load(&litmus.fast_saw) == round);
    }
    thread_join(fast);
}

// ---- unshare ------------------------------------------------------------------------------------------------------------

static void *unshares_files(void *pipe) {
    int *fds = pipe;
    OK(unshare(CLONE_FILES));
    // What was open is there, and what happens now happens here only.
    CHECK_EQ(OK(write(fds[1], "x", 1)), 1);
    int own = (int)OK(dup(fds[0]));
    close(fds[1]);
    return (void *)(intptr_t)own;
}

TEST(body_unshare_files) {
    int fds[2];
    OK(pipe(fds));
    int own = (int)(intptr_t)thread_join(thread_run(unshares_files, fds));
    CHECK_EQ(OK(fcntl(fds[1], F_GETFD)), 0);
    FAILS(fcntl(own, F_GETFD), EBADF);
    char byte;
    CHECK_EQ(OK(read(fds[0], &byte, 1)), 1);
    // The thread's end of the pipe went with it.
    close(fds[1]);
    CHECK_EQ(OK(read(fds[0], &byte, 1)), 0);
}

static void *unshares_fs(void *unused) {
    OK(unshare(CLONE_FS));
    umask(077);
    OK(chdir("/proc"));
    return unused;
}

TEST(body_unshare_fs) {
    umask(022);
    OK(chdir("/"));
    thread_join(thread_run(unshares_fs, NULL));
    char path[64];
    CHECK_EQ(umask(022), 022);
    CHECK_EQ(strcmp((OK(syscall(SYS_getcwd, path, sizeof path)), path), "/"), 0);
}

static void *unshares_memory(void *unused) {
    FAILS(unshare(CLONE_THREAD), EINVAL);
    FAILS(unshare(CLONE_SIGHAND), EINVAL);
    FAILS(unshare(CLONE_VM), EINVAL);
    OK(unshare(CLONE_FILES | CLONE_FS | CLONE_SYSVSEM));
    return unused;
}

TEST(body_unshare_of_what_cannot_be_copied) {
    OK(unshare(0));
    OK(unshare(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM));
    thread_join(thread_run(unshares_memory, NULL));
    FAILS(unshare(CLONE_PARENT), EINVAL);
    FAILS(unshare(CLONE_VFORK), EINVAL);
    FAILS(unshare(1), EINVAL);
}

// ---- affinity -----------------------------------------------------------------------------------------------------------

// The CPUs that this process may use; with only one there is nothing to see.
static int cpus_of(cpu_set_t *set) {
    OK(sched_getaffinity(0, sizeof *set, set));
    if (CPU_COUNT(set) < 2)
        SKIP("needs two CPUs");
    return CPU_COUNT(set);
}

static int nth_cpu(const cpu_set_t *set, int n) {
    for (int cpu = 0;; cpu++)
        if (CPU_ISSET(cpu, set) && n-- == 0)
            return cpu;
}

static int cpu_now(void) {
    unsigned cpu;
    OK(syscall(SYS_getcpu, &cpu, NULL, NULL));
    return (int)cpu;
}

static void stay_on(pid_t tid, int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    OK(sched_setaffinity(tid, sizeof one, &one));
}

TEST(body_affinity_of_nobody) {
    cpu_set_t set;
    FAILS(sched_getaffinity(-1, sizeof set, &set), ESRCH);
    OK(sched_getaffinity(0, sizeof set, &set));
    FAILS(sched_setaffinity(-1, sizeof set, &set), ESRCH);
    FAILS(sched_getscheduler(-1), EINVAL);
}

TEST(body_affinity_moves_the_caller_at_once) {
    cpu_set_t all;
    int count = cpus_of(&all);
    for (int i = 0; i < 200; i++) {
        stay_on(0, nth_cpu(&all, i % count));
        CHECK_EQ(cpu_now(), nth_cpu(&all, i % count));
    }
}

static _Atomic int runner_cpu, runner_tid;

static void *run_for_ever(void *unused) {
    runner_tid = gettid_();
    for (;;)
        runner_cpu = cpu_now();
    return unused;
}

TEST(body_affinity_moves_another_thread) {
    cpu_set_t all;
    int count = cpus_of(&all);
    thread_run(run_for_ever, NULL);
    while (runner_tid == 0)
        sched_yield();
    for (int i = 0; i < 20; i++) {
        int cpu = nth_cpu(&all, i % count);
        stay_on(runner_tid, cpu);
        for (int k = 0; k < 5000 && runner_cpu != cpu; k++)
            sleep_ms(1);
        for (int k = 0; k < 3; k++) {
            CHECK_EQ(runner_cpu, cpu);
            sleep_ms(1);
        }
    }
}
