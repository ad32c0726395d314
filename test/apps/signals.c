// SPDX-License-Identifier: MPL-2.0
//
// Signals: actions and their flags, masks, pending, waiting, directed signals, alternate stacks, default actions.
#include "ep.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

static sigset_t set_of(int signal) {
    sigset_t set;
    sigemptyset(&set);
    if (signal)
        sigaddset(&set, signal);
    return set;
}

static void block(int signal) {
    sigset_t set = set_of(signal);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
}

static void unblock(int signal) {
    sigset_t set = set_of(signal);
    OK(sigprocmask(SIG_UNBLOCK, &set, NULL));
}

static bool is_blocked(int signal) {
    sigset_t set;
    OK(sigprocmask(SIG_BLOCK, NULL, &set));
    return sigismember(&set, signal);
}

static bool is_pending(int signal) {
    sigset_t set;
    OK(sigpending(&set));
    return sigismember(&set, signal);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
    OK(sigaction(signal, &action, NULL));
}

// What the last handler with SA_SIGINFO saw.
static siginfo_t info;
static volatile int handled;

static void keep_info(int signal, siginfo_t *i, void *context) {
    (void)signal;
    (void)context;
    info = *i;
    handled++;
}

TEST(body_sigaction_reports_the_old_action) {
    struct sigaction old;
    OK(sigaction(SIGUSR1, NULL, &old));
    CHECK(old.sa_handler == SIG_DFL);
    struct sigaction action = {.sa_sigaction = keep_info, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER};
    sigaddset(&action.sa_mask, SIGUSR2);
    OK(sigaction(SIGUSR1, &action, NULL));
    OK(sigaction(SIGUSR1, NULL, &old));
    CHECK(old.sa_sigaction == keep_info && sigismember(&old.sa_mask, SIGUSR2) && !sigismember(&old.sa_mask, SIGUSR1));
    CHECK_EQ(old.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER | SA_ONSTACK | (int)SA_RESETHAND),
             SA_SIGINFO | SA_RESTART | SA_NODEFER);
}

TEST(body_sigaction_errors) {
    struct sigaction action = {.sa_handler = SIG_IGN};
    FAILS(sigaction(SIGKILL, &action, NULL), EINVAL);
    FAILS(sigaction(SIGSTOP, &action, NULL), EINVAL);
    FAILS(sigaction(0, &action, NULL), EINVAL);
    FAILS(sigaction(65, &action, NULL), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
    FAILS(syscall(SYS_rt_sigaction, SIGUSR1, BAD_POINTER, NULL, 8), EFAULT);
    FAILS(syscall(SYS_rt_sigaction, SIGUSR1, NULL, BAD_POINTER, 8), EFAULT);
    OK(sigaction(SIGKILL, NULL, &action));
}

TEST(body_sigprocmask) {
    sigset_t old, usr1 = set_of(SIGUSR1), usr2 = set_of(SIGUSR2);
    OK(sigprocmask(SIG_SETMASK, &usr1, NULL));
    OK(sigprocmask(SIG_BLOCK, &usr2, &old));
    CHECK(sigismember(&old, SIGUSR1) && !sigismember(&old, SIGUSR2));
    OK(sigprocmask(SIG_UNBLOCK, &usr1, &old));
    CHECK(sigismember(&old, SIGUSR1) && sigismember(&old, SIGUSR2));
    CHECK(!is_blocked(SIGUSR1) && is_blocked(SIGUSR2));
    FAILS(sigprocmask(7, &usr1, NULL), EINVAL);
    FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 4), EINVAL);
    FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD_POINTER, NULL, 8), EFAULT);
    FAILS(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, BAD_POINTER, 8), EFAULT);
    // KILL and STOP cannot be blocked, without an error.
    uint64_t all = ~0ull, got = 0;
    OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8));
    OK(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &got, 8));
    CHECK_EQ(got, ~(1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1)));
}

TEST(body_blocked_signals_pend_once) {
    count_signal(SIGUSR1, 0);
    block(SIGUSR1);
    for (int i = 0; i < 3; i++)
        OK(raise(SIGUSR1));
    CHECK(is_pending(SIGUSR1) && !is_pending(SIGUSR2));
    CHECK_EQ(signals_seen[SIGUSR1], 0);
    unblock(SIGUSR1);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    CHECK(!is_pending(SIGUSR1));
}

static int order[8], ordered;

static void keep_order(int signal, siginfo_t *i, void *context) {
    (void)context;
    order[ordered++] = i->si_code == SI_QUEUE ? i->si_value.sival_int : signal;
}

TEST(body_real_time_signals_queue_in_order) {
    int first = SIGRTMIN + 1, second = SIGRTMIN + 2;
    // Handlers that block both, so that one runs after the other.
    struct sigaction action = {.sa_sigaction = keep_order, .sa_flags = SA_SIGINFO};
    sigfillset(&action.sa_mask);
    OK(sigaction(first, &action, NULL));
    OK(sigaction(second, &action, NULL));
    block(first);
    block(second);
    OK(sigqueue(getpid(), second, (union sigval){.sival_int = 103}));
    OK(sigqueue(getpid(), first, (union sigval){.sival_int = 101}));
    OK(sigqueue(getpid(), first, (union sigval){.sival_int = 102}));
    sigset_t both = set_of(first);
    sigaddset(&both, second);
    OK(sigprocmask(SIG_UNBLOCK, &both, NULL));
    CHECK_EQ(ordered, 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(order[i], 101 + i);
}

TEST(body_sigqueue_carries_a_value) {
    handle(SIGUSR1, keep_info, 0);
    OK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_ptr = (void *)0x12345678abcd}));
    CHECK_EQ(handled, 1);
    CHECK_EQ(info.si_signo, SIGUSR1);
    CHECK_EQ(info.si_code, SI_QUEUE);
    CHECK_EQ(info.si_pid, getpid());
    CHECK_EQ(info.si_uid, getuid());
    CHECK(info.si_value.sival_ptr == (void *)0x12345678abcd);
}

TEST(body_siginfo_of_kill_and_tgkill) {
    handle(SIGUSR1, keep_info, 0);
    OK(kill(getpid(), SIGUSR1));
    CHECK_EQ(info.si_code, SI_USER);
    CHECK_EQ(info.si_pid, getpid());
    OK(syscall(SYS_tgkill, getpid(), gettid_(), SIGUSR1));
    CHECK_EQ(handled, 2);
    CHECK_EQ(info.si_code, SI_TKILL);
    CHECK_EQ(info.si_pid, getpid());
}

static volatile int depth, deepest;

static void nest(int signal, siginfo_t *i, void *context) {
    (void)i;
    (void)context;
    if (++depth > deepest)
        deepest = depth;
    if (++handled < 3)
        raise(signal);
    depth--;
}

TEST(body_a_handler_blocks_its_own_signal) {
    handle(SIGUSR1, nest, 0);
    OK(raise(SIGUSR1));
    CHECK_EQ(handled, 3);
    CHECK_EQ(deepest, 1);
}

TEST(body_nodefer_nests) {
    handle(SIGUSR1, nest, SA_NODEFER);
    OK(raise(SIGUSR1));
    CHECK_EQ(handled, 3);
    CHECK_EQ(deepest, 3);
}

TEST(body_resethand) {
    count_signal(SIGUSR1, (int)SA_RESETHAND);
    OK(raise(SIGUSR1));
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    struct sigaction now;
    OK(sigaction(SIGUSR1, NULL, &now));
    CHECK(now.sa_handler == SIG_DFL);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        raise(SIGUSR1);
        _exit(0);
    }
    int status = wait_status(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
}

static volatile bool usr2_blocked_inside;

static void look_at_the_mask(int signal, siginfo_t *i, void *context) {
    (void)i;
    usr2_blocked_inside = is_blocked(SIGUSR2) && is_blocked(signal);
    // The mask that will be restored is in the context; a handler may change it.
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGHUP);
}

TEST(body_the_mask_of_an_action) {
    struct sigaction action = {.sa_sigaction = look_at_the_mask, .sa_flags = SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGUSR2);
    OK(sigaction(SIGUSR1, &action, NULL));
    OK(raise(SIGUSR1));
    CHECK(usr2_blocked_inside);
    CHECK(!is_blocked(SIGUSR1) && !is_blocked(SIGUSR2));
    CHECK(is_blocked(SIGHUP));
}

static char *stack_base;
static volatile bool on_alternate;

static void note_the_stack(int signal, siginfo_t *i, void *context) {
    (void)signal;
    (void)i;
    char here;
    on_alternate = &here >= stack_base && &here < stack_base + 65536;
    stack_t now;
    OK(sigaltstack(NULL, &now));
    CHECK_EQ(now.ss_flags, on_alternate ? SS_ONSTACK : 0);
    CHECK(((ucontext_t *)context)->uc_stack.ss_sp == stack_base);
    if (on_alternate)
        FAILS(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL), EPERM);
}

TEST(body_sigaltstack) {
    stack_t old;
    OK(sigaltstack(NULL, &old));
    CHECK_EQ(old.ss_flags, SS_DISABLE);
    stack_base = malloc(65536);
    FAILS(sigaltstack(&(stack_t){.ss_sp = stack_base, .ss_size = 1000}, NULL), ENOMEM);
    FAILS(sigaltstack(&(stack_t){.ss_sp = stack_base, .ss_size = 65536, .ss_flags = 77}, NULL), EINVAL);
    FAILS(sigaltstack(BAD_POINTER, NULL), EFAULT);
    OK(sigaltstack(&(stack_t){.ss_sp = stack_base, .ss_size = 65536}, NULL));
    OK(sigaltstack(NULL, &old));
    CHECK(old.ss_sp == stack_base && old.ss_size == 65536 && old.ss_flags == 0);
    handle(SIGUSR1, note_the_stack, SA_ONSTACK);
    OK(raise(SIGUSR1));
    CHECK(on_alternate);
    handle(SIGUSR1, note_the_stack, 0);
    OK(raise(SIGUSR1));
    CHECK(!on_alternate);
    OK(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
}

TEST(body_sigsuspend) {
    count_signal(SIGUSR1, 0);
    block(SIGUSR1);
    OK(raise(SIGUSR1));
    sigset_t none = set_of(0);
    FAILS(sigsuspend(&none), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    CHECK(is_blocked(SIGUSR1));
    FAILS(syscall(SYS_rt_sigsuspend, &none, 4), EINVAL);
    FAILS(syscall(SYS_rt_sigsuspend, BAD_POINTER, 8), EFAULT);
}


TEST(body_sigsuspend_waits) {
    count_signal(SIGUSR1, SA_RESTART);
    pthread_t other = later(10, interrupt_main, NULL);
    sigset_t usr2 = set_of(SIGUSR2);
    FAILS(sigsuspend(&usr2), EINTR);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    CHECK(!is_blocked(SIGUSR2));
    thread_join(other);
    other = later(10, interrupt_main, NULL);
    FAILS(pause(), EINTR);
    thread_join(other);
}

TEST(body_sigtimedwait) {
    sigset_t usr1 = set_of(SIGUSR1);
    block(SIGUSR1);
    siginfo_t got;
    int64_t start = now_ns();
    FAILS(sigtimedwait(&usr1, &got, &(struct timespec){0, 12 * MS}), EAGAIN);
    CHECK_GE(now_ns() - start, 12 * MS);
    FAILS(sigtimedwait(&usr1, &got, &(struct timespec){0, 0}), EAGAIN);
    FAILS(sigtimedwait(&usr1, &got, &(struct timespec){0, -1}), EINVAL);
    OK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5}));
    CHECK_EQ(OK(sigtimedwait(&usr1, &got, &(struct timespec){0, 0})), SIGUSR1);
    CHECK(got.si_signo == SIGUSR1 && got.si_code == SI_QUEUE && got.si_value.sival_int == 5);
    CHECK(!is_pending(SIGUSR1));
    pthread_t other = later(10, interrupt_main, NULL);
    CHECK_EQ(OK(syscall(SYS_rt_sigtimedwait, &usr1, &got, NULL, 8)), SIGUSR1);
    CHECK_EQ(got.si_code, SI_TKILL);
    thread_join(other);
}

TEST(body_sigtimedwait_is_interrupted) {
    sigset_t usr2 = set_of(SIGUSR2);
    count_signal(SIGUSR1, SA_RESTART);
    block(SIGUSR2);
    pthread_t other = later(10, interrupt_main, NULL);
    FAILS(sigwaitinfo(&usr2, NULL), EINTR);
    thread_join(other);
}

TEST(body_ignored_signals_are_dropped) {
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    OK(raise(SIGUSR1));
    // Blocked and ignored: it pends, and is dropped on delivery or when ignored anew.
    block(SIGUSR1);
    OK(raise(SIGUSR1));
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    CHECK(!is_pending(SIGUSR1));
    unblock(SIGUSR1);
}

static int status_after(int signal) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        raise(signal);
        _exit(42);
    }
    return wait_status(child);
}

TEST(body_default_actions) {
    static const int deadly[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,    SIGTRAP, SIGABRT, SIGBUS,  SIGFPE,
                                 SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2,   SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT,
                                 SIGXCPU, SIGXFSZ, SIGPROF, SIGVTALRM, SIGIO,   SIGPWR,  SIGSYS,  34, 64};
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        int status = status_after(deadly[i]);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), deadly[i]);
    }
    static const int harmless[] = {SIGCHLD, SIGCONT, SIGURG, SIGWINCH};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        CHECK_EQ(status_after(harmless[i]), 42 << 8);
}

TEST(body_stop_and_continue) {
    static const int stops[] = {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        struct pipe_ends p = make_pipe(0);
        pid_t child = (pid_t)OK(fork());
        if (child == 0) {
            raise(stops[i]);
            take_byte(p.r);
            _exit(9);
        }
        int status;
        CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
        CHECK(WIFSTOPPED(status));
        CHECK_EQ(WSTOPSIG(status), stops[i]);
        CHECK_EQ(OK(waitpid(child, &status, WNOHANG | WUNTRACED)), 0);
        OK(kill(child, SIGCONT));
        CHECK_EQ(OK(waitpid(child, &status, WCONTINUED)), child);
        CHECK(WIFCONTINUED(status));
        put_byte(p.w);
        CHECK_EQ(wait_status(child), 9 << 8);
    }
}

TEST(body_a_stopped_process_holds_its_signals) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        count_signal(SIGUSR1, 0);
        raise(SIGSTOP);
        _exit(signals_seen[SIGUSR1] == 1 ? 5 : 6);
    }
    int status;
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    OK(kill(child, SIGUSR1));
    settle();
    CHECK_EQ(OK(waitpid(child, &status, WNOHANG)), 0);
    OK(kill(child, SIGCONT));
    CHECK_EQ(wait_status(child), 5 << 8);
    // KILL needs no continue.
    child = (pid_t)OK(fork());
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    OK(kill(child, SIGKILL));
    status = wait_status(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST(body_cont_cancels_a_pending_stop) {
    block(SIGTSTP);
    OK(raise(SIGTSTP));
    CHECK(is_pending(SIGTSTP));
    OK(raise(SIGCONT));
    CHECK(!is_pending(SIGTSTP));
    unblock(SIGTSTP);
}

TEST(body_kill_errors) {
    FAILS(kill(getpid(), 65), EINVAL);
    FAILS(kill(getpid(), -1), EINVAL);
    FAILS(kill(0x3ffffff, SIGUSR1), ESRCH);
    OK(kill(getpid(), 0));
    FAILS(syscall(SYS_tgkill, getpid(), 0x3ffffff, 0), ESRCH);
    FAILS(syscall(SYS_tgkill, -1, gettid_(), 0), EINVAL);
    FAILS(syscall(SYS_tgkill, getpid(), 0, 0), EINVAL);
    FAILS(syscall(SYS_tgkill, getppid(), gettid_(), 0), ESRCH);
    OK(syscall(SYS_tkill, gettid_(), 0));
}

TEST(body_kill_of_a_group) {
    // The test leads a group of its own.
    count_signal(SIGUSR1, 0);
    block(SIGUSR1);
    pid_t children[3];
    for (int i = 0; i < 3; i++) {
        children[i] = (pid_t)OK(fork());
        if (children[i] == 0) {
            sigset_t usr1 = set_of(SIGUSR1);
            _exit(sigwaitinfo(&usr1, NULL) != SIGUSR1);
        }
    }
    OK(kill(0, SIGUSR1));
    for (int i = 0; i < 3; i++)
        join_child(children[i]);
    CHECK(is_pending(SIGUSR1));
    FAILS(kill(-0x3ffffff, SIGUSR1), ESRCH);
}

// ---- threads ----

static void *wait_with_usr1_open(void *arg) {
    (void)arg;
    unblock(SIGUSR1);
    while (signals_seen[SIGUSR1] == 0)
        sleep_ms(1);
    return NULL;
}

TEST(body_a_process_signal_goes_to_a_thread_that_takes_it) {
    count_signal(SIGUSR1, 0);
    block(SIGUSR1);
    pthread_t thread = thread_run(wait_with_usr1_open, NULL);
    OK(kill(getpid(), SIGUSR1));
    thread_join(thread);
    CHECK_EQ(signals_seen[SIGUSR1], 1);
    CHECK(!is_pending(SIGUSR1));
}

static _Atomic pid_t handler_tid;
static void note_thread(int signal) {
    (void)signal;
    handler_tid = gettid_();
}

static void *sleep_until_handled(void *arg) {
    *(_Atomic pid_t *)arg = gettid_();
    while (handler_tid == 0)
        sleep_ms(1);
    return NULL;
}

TEST(body_tgkill_reaches_that_thread) {
    CHECK(signal(SIGUSR1, note_thread) != SIG_ERR);
    _Atomic pid_t tid = 0;
    pthread_t thread = thread_run(sleep_until_handled, &tid);
    while (tid == 0)
        sleep_ms(1);
    OK(syscall(SYS_tgkill, getpid(), tid, SIGUSR1));
    thread_join(thread);
    CHECK_EQ(handler_tid, tid);
}

static void *look_at_my_mask(void *arg) {
    (void)arg;
    CHECK(is_blocked(SIGUSR2)); // inherited
    block(SIGUSR1);
    return NULL;
}

TEST(body_each_thread_has_its_own_mask) {
    block(SIGUSR2);
    thread_join(thread_run(look_at_my_mask, NULL));
    CHECK(!is_blocked(SIGUSR1));
}

// ---- inheritance, jumps, timers ----

TEST(body_fork_inherits_actions_and_mask_but_not_pending) {
    count_signal(SIGUSR1, 0);
    block(SIGUSR1);
    OK(raise(SIGUSR1));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        CHECK(is_blocked(SIGUSR1));
        CHECK(!is_pending(SIGUSR1));
        struct sigaction now;
        OK(sigaction(SIGUSR1, NULL, &now));
        CHECK(now.sa_handler != SIG_DFL);
        _exit(0);
    }
    join_child(child);
    CHECK(is_pending(SIGUSR1));
}

static sigjmp_buf back;
static void jump(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

TEST(body_a_jump_out_of_a_handler) {
    CHECK(signal(SIGUSR1, jump) != SIG_ERR);
    for (volatile int i = 0; i < 3; i++) {
        if (sigsetjmp(back, 1) == 0) {
            raise(SIGUSR1);
            check_failed(__FILE__, __LINE__, "the handler returned");
        }
        CHECK(!is_blocked(SIGUSR1));
    }
}

TEST(body_alarm_and_itimer) {
    count_signal(SIGALRM, 0);
    struct itimerval timer = {.it_value = {0, 10000}, .it_interval = {0, 3000}}, old;
    OK(setitimer(ITIMER_REAL, &timer, &old));
    CHECK(old.it_value.tv_sec > 10); // the watchdog
    int64_t start = now_ns();
    while (signals_seen[SIGALRM] < 3)
        sleep_ms(1);
    CHECK_GE(now_ns() - start, 16 * MS - MS);
    OK(getitimer(ITIMER_REAL, &timer));
    CHECK(timer.it_interval.tv_usec == 3000);
    OK(setitimer(ITIMER_REAL, &old, NULL));
    CHECK_GT(alarm(60), 10);
    CHECK_EQ(alarm(60), 60);
}

static void note_registers(int signal, siginfo_t *i, void *context) {
    (void)signal;
    (void)i;
    ucontext_t *c = context;
    // A changed register is what the program continues with.
    c->uc_mcontext.gregs[REG_RBX] += 1;
}

TEST(body_a_handler_changes_registers) {
    handle(SIGUSR1, note_registers, 0);
    long result, pid = getpid();
    __asm__ volatile("mov $41, %%rbx\n"
                     "mov $62, %%eax\n" // kill(pid, SIGUSR1)
                     "mov %1, %%rdi\n"
                     "mov $10, %%esi\n"
                     "syscall\n"
                     "mov %%rbx, %0\n"
                     : "=r"(result)
                     : "r"(pid)
                     : "rax", "rbx", "rcx", "rdi", "rsi", "r11", "memory");
    CHECK_EQ(result, 42);
}

TEST(body_handlers_nest_across_signals) {
    // USR1's handler raises USR2, whose handler runs inside it.
    handle(SIGUSR1, nest, 0);
    handle(SIGUSR2, keep_info, 0);
    for (int i = 0; i < 200; i++) {
        handled = 3;
        OK(raise(SIGUSR1));
        OK(raise(SIGUSR2));
        CHECK_EQ(handled, 5);
    }
}

static void wait_in_epoll(void *arg) {
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(*(int *)arg, &event, 1, -1)), 1);
}

TEST(body_sigcont_to_a_process_that_runs_ends_no_sleep) {
    int fd = make_eventfd(0, 0), ep = ep_new();
    ep_add(ep, fd, EPOLLIN, 1);
    struct sleeper s;
    sleeper_start(&s, wait_in_epoll, &ep);
    sleeper_await_blocked(&s);
    for (int i = 0; i < 3; i++) {
        OK(kill(getpid(), SIGCONT));
        settle();
    }
    CHECK(!s.done);
    put(fd, 1);
    sleeper_join(&s);
}

TEST(body_sigcont_to_a_process_that_is_stopped) {
    int fd = make_eventfd(0, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        int ep = ep_new();
        ep_add(ep, fd, EPOLLIN, 1);
        struct epoll_event event;
        // A stop and its end interrupt epoll_wait, handler or not (signal(7)).
        FAILS(epoll_wait(ep, &event, 1, -1), EINTR);
        _exit(0);
    }
    await_asleep(child, child);
    OK(kill(child, SIGSTOP));
    int status;
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    CHECK(WIFSTOPPED(status));
    OK(kill(child, SIGCONT));
    join_child(child);
}
