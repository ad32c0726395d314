// SPDX-License-Identifier: MPL-2.0
//
// Races in which a wake-up could be lost, a stale answer given, or an entry reported that is gone. A lost wake-up shows as a
// hang, which the watchdog ends. Rows S1, S2, 22, 26, 28, 30, 31, 60, 63, 65.
#include "ep.h"

#include <poll.h>
#include <sched.h>
#include <sys/select.h>

// ---- answers that other threads are asking for, too (S1) ----

struct asked {
    int fds[2];
    _Atomic bool stop;
};

static void *ask_both(void *arg) {
    struct asked *a = arg;
    while (!a->stop) {
        struct pollfd p[2] = {{a->fds[0], POLLIN | POLLOUT, 0}, {a->fds[1], POLLIN | POLLOUT, 0}};
        OK(poll(p, 2, 0));
    }
    return NULL;
}

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    OK(poll(&p, 1, 0));
    return p.revents;
}

TEST(row_S1_no_stale_answer_of_a_pipe) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    OK(fcntl(p.w, F_SETPIPE_SZ, 4096));
    struct asked a = {.fds = {p.r, p.w}};
    pthread_t askers[2] = {thread_run(ask_both, &a), thread_run(ask_both, &a)};
    char page[4096] = {0};
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(ask(p.r), 0);
        CHECK_EQ(ask(p.w), POLLOUT);
        CHECK_EQ(OK(write(p.w, page, sizeof page)), sizeof page);
        CHECK_EQ(ask(p.r), POLLIN);
        CHECK_EQ(ask(p.w), 0);
        CHECK_EQ(OK(read(p.r, page, sizeof page)), sizeof page);
    }
    a.stop = true;
    thread_join(askers[0]);
    thread_join(askers[1]);
}

TEST(row_S1_no_stale_answer_of_an_eventfd) {
    int fd = make_eventfd(0, O_NONBLOCK);
    struct asked a = {.fds = {fd, fd}};
    pthread_t askers[2] = {thread_run(ask_both, &a), thread_run(ask_both, &a)};
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(ask(fd), POLLOUT);
        put(fd, UINT64_MAX - 1);
        CHECK_EQ(ask(fd), POLLIN);
        take(fd);
    }
    a.stop = true;
    thread_join(askers[0]);
    thread_join(askers[1]);
}

TEST(row_S1_no_stale_answer_through_epoll) {
    int fd = make_eventfd(0, O_NONBLOCK), ep = ep_new();
    ep_add(ep, fd, EPOLLIN, 0);
    struct asked a = {.fds = {fd, ep}};
    pthread_t askers[2] = {thread_run(ask_both, &a), thread_run(ask_both, &a)};
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(ask(ep), 0);
        put(fd, 1);
        CHECK_EQ(ask(ep), POLLIN);
        take(fd);
    }
    a.stop = true;
    thread_join(askers[0]);
    thread_join(askers[1]);
}

// ---- ping-pong: each side waits for the other (S2) ----

typedef void wait_in(int fd);

static void wait_by_poll(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&p, 1, -1)), 1);
}

static void wait_by_select(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    CHECK_EQ(OK(select(fd + 1, &set, NULL, NULL, NULL)), 1);
}

static void wait_by_read(int fd) { (void)fd; }

static void wait_by_epoll(int ep) {
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
}

struct side {
    wait_in *wait;
    int watched, from, to, rounds;
};

static void *play(void *arg) {
    struct side *s = arg;
    for (int i = 0; i < s->rounds; i++) {
        s->wait(s->watched);
        take_byte(s->from);
        put_byte(s->to);
    }
    return NULL;
}

// epoll: the mask of the entry, or 0 for a wait on the pipe itself; `levels` of nesting.
static void ping_pong(wait_in *wait, uint32_t epoll, int levels, int rounds) {
    struct pipe_ends there = make_pipe(0), back = make_pipe(0);
    int watched[2] = {there.r, back.r};
    for (int level = 0; level < levels; level++)
        for (int i = 0; i < 2; i++) {
            int ep = ep_new();
            ep_add(ep, watched[i], epoll, 0);
            watched[i] = ep;
        }
    struct side sides[2] = {{wait, watched[0], there.r, back.w, rounds}, {wait, watched[1], back.r, there.w, rounds}};
    put_byte(there.w);
    pthread_t other = thread_run(play, &sides[1]);
    play(&sides[0]);
    thread_join(other);
    CHECK_EQ(drain(there.r) + drain(back.r), 1);
}

TEST(row_S2_ping_pong_by_read) { ping_pong(wait_by_read, 0, 0, 500); }
TEST(row_S2_ping_pong_by_poll) { ping_pong(wait_by_poll, 0, 0, 500); }
TEST(row_S2_ping_pong_by_select) { ping_pong(wait_by_select, 0, 0, 500); }
TEST(row_S2_21_ping_pong_by_level_epoll) { ping_pong(wait_by_epoll, EPOLLIN, 1, 500); }
TEST(row_S2_28_ping_pong_by_edge_epoll) { ping_pong(wait_by_epoll, EPOLLIN | EPOLLET, 1, 500); }

static void wait_by_outer_epoll(int ep) { wait_by_poll(ep); }
TEST(row_S2_57_ping_pong_by_poll_of_an_epoll) { ping_pong(wait_by_outer_epoll, EPOLLIN, 1, 300); }
TEST(row_S2_14_ping_pong_by_nested_epoll) { ping_pong(wait_by_epoll, EPOLLIN, 3, 300); }

// ---- many writers, many waiters ----

enum { WRITERS = 4, READERS = 3, WRITES = 150 };

struct plant {
    int ep, stop;
    uint32_t flags;
    struct pipe_ends pipes[WRITERS];
    bool shared; // all writers write into the first pipe
    _Atomic int inside[WRITERS], taken;
};

struct worker {
    struct plant *plant;
    int index;
};

static void *plant_write(void *arg) {
    struct worker *w = arg;
    for (int i = 0; i < WRITES; i++) {
        put_byte(w->plant->pipes[w->plant->shared ? 0 : w->index].w);
        if (i % 16 == w->index)
            sched_yield();
    }
    return NULL;
}

// Takes what one report promises: everything for an edge, a byte for the others.
static void serve(struct plant *p, int index) {
    int fd = p->pipes[index].r;
    char bytes[64];
    if (p->flags & EPOLLONESHOT)
        CHECK_EQ(p->inside[index]++, 0);
    ssize_t n;
    do {
        n = read(fd, bytes, p->flags & EPOLLET ? sizeof bytes : 1);
        CHECK(n > 0 || errno == EAGAIN);
        if (n > 0)
            p->taken += (int)n;
    } while (n > 0 && p->flags & EPOLLET);
    if (p->flags & EPOLLONESHOT) {
        p->inside[index]--;
        ep_mod(p->ep, fd, EPOLLIN | p->flags, (uint64_t)index);
    }
    if (p->taken == WRITERS * WRITES)
        put(p->stop, 1);
}

static void *plant_read(void *arg) {
    struct plant *p = arg;
    for (;;) {
        struct epoll_event events[2];
        long n = OK(epoll_wait(p->ep, events, 2, -1));
        for (long i = 0; i < n; i++) {
            if (events[i].data.u64 == WRITERS)
                return NULL;
            serve(p, (int)events[i].data.u64);
        }
    }
}

static void run_plant(uint32_t flags, bool shared) {
    struct plant p = {.ep = ep_new(), .stop = make_eventfd(0, 0), .flags = flags, .shared = shared};
    ep_add(p.ep, p.stop, EPOLLIN, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        p.pipes[i] = make_pipe(0);
        set_nonblocking(p.pipes[i].r, true);
        ep_add(p.ep, p.pipes[i].r, EPOLLIN | flags, (uint64_t)i);
    }
    pthread_t readers[READERS], writers[WRITERS];
    struct worker workers[WRITERS];
    for (int i = 0; i < READERS; i++)
        readers[i] = thread_run(plant_read, &p);
    for (int i = 0; i < WRITERS; i++) {
        workers[i] = (struct worker){&p, i};
        writers[i] = thread_run(plant_write, &workers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        thread_join(writers[i]);
    for (int i = 0; i < READERS; i++)
        thread_join(readers[i]);
    CHECK_EQ(p.taken, WRITERS * WRITES);
}

TEST(row_21_53_many_writers_level) { run_plant(0, false); }
TEST(row_22_28_53_many_writers_edge) { run_plant(EPOLLET, false); }
TEST(row_28_many_writers_into_one_pipe_edge) { run_plant(EPOLLET, true); }
TEST(row_30_many_writers_oneshot) { run_plant(EPOLLONESHOT, false); }
TEST(row_31_many_writers_oneshot_edge) { run_plant(EPOLLONESHOT | EPOLLET, false); }
TEST(row_30_many_writers_into_one_pipe_oneshot) { run_plant(EPOLLONESHOT, true); }

// ---- MOD while events come ----

struct modifier {
    int ep, fd;
    uint32_t flags;
    _Atomic bool stop;
    _Atomic uint64_t taken;
};

static void *modify_all_the_time(void *arg) {
    struct modifier *m = arg;
    while (!m->stop) {
        ep_mod(m->ep, m->fd, EPOLLIN | m->flags, 0);
        sched_yield();
    }
    return NULL;
}

static void *take_all_the_time(void *arg) {
    struct modifier *m = arg;
    while (!m->stop) {
        struct epoll_event event;
        uint64_t value;
        if (OK(epoll_wait(m->ep, &event, 1, -1)) == 1 && read(m->fd, &value, 8) == 8)
            m->taken += value;
    }
    return NULL;
}

static void check_mod_while_events_come(uint32_t flags) {
    struct modifier m = {.ep = ep_new(), .fd = make_eventfd(0, O_NONBLOCK), .flags = flags};
    ep_add(m.ep, m.fd, EPOLLIN | flags, 0);
    pthread_t modifier = thread_run(modify_all_the_time, &m), taker = thread_run(take_all_the_time, &m);
    for (uint64_t i = 1; i <= 200; i++) {
        put(m.fd, 1);
        while (m.taken < i)
            sched_yield();
    }
    m.stop = true;
    thread_join(modifier);
    put(m.fd, 1);
    if (flags & EPOLLONESHOT)
        ep_mod(m.ep, m.fd, EPOLLIN | flags, 0);
    thread_join(taker);
}

TEST(row_25_mod_loses_no_edge) { check_mod_while_events_come(EPOLLET); }
TEST(row_30_mod_loses_no_oneshot) { check_mod_while_events_come(EPOLLONESHOT); }

// ---- close ----

struct closing {
    int ep, event_fd;
    pthread_barrier_t barrier;
};

static void *close_the_epoll(void *arg) {
    struct closing *c = arg;
    pthread_barrier_wait(&c->barrier);
    OK(close(c->ep));
    return NULL;
}

static void *write_the_event(void *arg) {
    struct closing *c = arg;
    pthread_barrier_wait(&c->barrier);
    put(c->event_fd, 1);
    return NULL;
}

static void wait_one(void *arg) {
    struct closing *c = arg;
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(c->ep, &event, 1, -1)), 1);
}

TEST(row_60_S2_close_races_with_the_event) {
    for (int round = 0; round < 40; round++) {
        struct closing c = {.ep = ep_new(), .event_fd = make_eventfd(0, 0)};
        ep_add(c.ep, c.event_fd, EPOLLIN | EPOLLET, 0);
        pthread_barrier_init(&c.barrier, NULL, 2);
        struct sleeper waiter;
        sleeper_start(&waiter, wait_one, &c);
        sleeper_await_blocked(&waiter);
        pthread_t closer = thread_run(close_the_epoll, &c), writer = thread_run(write_the_event, &c);
        thread_join(closer);
        thread_join(writer);
        sleeper_join(&waiter);
        close(c.event_fd);
    }
}

// A generation of a number is open from `opened` to `closed`; a report of one that was closed before the wait is wrong.
struct reuse {
    int ep;
    bool by_del;
    _Atomic uint64_t closed;
    _Atomic bool stop;
};

static void *open_and_close(void *arg) {
    struct reuse *r = arg;
    for (uint64_t generation = 1; generation <= 400; generation++) {
        int fd = make_eventfd(1, 0);
        ep_add(r->ep, fd, EPOLLIN | (generation % 2 ? EPOLLET : 0u), generation);
        if (generation % 3 == 0)
            sched_yield();
        if (r->by_del)
            ep_del(r->ep, fd);
        else
            OK(close(fd));
        r->closed = generation;
        if (r->by_del)
            OK(close(fd));
    }
    r->stop = true;
    return NULL;
}

static void check_reuse(bool by_del) {
    struct reuse r = {.ep = ep_new(), .by_del = by_del};
    pthread_t other = thread_run(open_and_close, &r);
    while (!r.stop) {
        struct epoll_event events[4];
        uint64_t closed = r.closed;
        long n = OK(epoll_wait(r.ep, events, 4, 0));
        CHECK_LE(n, 2);
        for (long i = 0; i < n; i++)
            CHECK_GT(events[i].data.u64, closed);
    }
    thread_join(other);
    CHECK_EQ(ep_ready(r.ep), 0);
}

TEST(row_63_65_no_report_after_the_close) { check_reuse(false); }
TEST(row_8_66_no_report_after_the_del) { check_reuse(true); }

struct hammer {
    int ep;
    struct pipe_ends p;
    _Atomic bool stop;
};

static void *hammer_write(void *arg) {
    struct hammer *h = arg;
    while (!h->stop) {
        if (write(h->p.w, "x", 1) < 0)
            CHECK_EQ(errno, EAGAIN);
        sched_yield();
    }
    return NULL;
}

static void *hammer_wait(void *arg) {
    struct hammer *h = arg;
    struct epoll_event events[4];
    while (!h->stop)
        OK(epoll_wait(h->ep, events, 4, 1));
    return NULL;
}

TEST(row_60_63_add_del_and_close_while_events_come) {
    struct hammer h = {.ep = ep_new(), .p = make_pipe(O_NONBLOCK)};
    pthread_t others[2] = {thread_run(hammer_write, &h), thread_run(hammer_wait, &h)};
    for (int i = 0; i < 200; i++) {
        int copy = (int)OK(dup(h.p.r));
        ep_add(h.ep, h.p.r, EPOLLIN | EPOLLET, 1);
        ep_add(h.ep, copy, EPOLLIN, 2);
        int inner = ep_new();
        ep_add(inner, h.p.r, EPOLLIN, 3);
        ep_add(h.ep, inner, EPOLLIN, 4);
        drain(h.p.r);
        if (i % 2)
            OK(close(inner)); // leaves both epolls by itself
        ep_del(h.ep, h.p.r);
        ep_del(h.ep, copy);
        OK(close(copy));
        if (i % 2 == 0)
            OK(close(inner));
    }
    h.stop = true;
    thread_join(others[0]);
    thread_join(others[1]);
}

// ---- everybody who polls one file ----

static void poll_it(void *arg) { wait_by_poll(*(int *)arg); }

TEST(body_all_pollers_of_a_file_are_woken) {
    int fd = make_eventfd(0, 0);
    for (int round = 0; round < 5; round++) {
        struct sleeper sleepers[5];
        for (int i = 0; i < 5; i++)
            sleeper_start(&sleepers[i], poll_it, &fd);
        for (int i = 0; i < 5; i++)
            sleeper_await_blocked(&sleepers[i]);
        put(fd, 1);
        for (int i = 0; i < 5; i++)
            sleeper_join(&sleepers[i]);
        take(fd);
    }
}

static void read_one(void *arg) { take_byte(*(int *)arg); }

TEST(body_n_bytes_wake_n_blocked_readers) {
    struct pipe_ends p = make_pipe(0);
    for (int round = 0; round < 5; round++) {
        struct sleeper sleepers[5];
        for (int i = 0; i < 5; i++)
            sleeper_start(&sleepers[i], read_one, &p.r);
        for (int i = 0; i < 5; i++)
            sleeper_await_blocked(&sleepers[i]);
        CHECK_EQ(OK(write(p.w, "12345", 5)), 5);
        for (int i = 0; i < 5; i++)
            sleeper_join(&sleepers[i]);
    }
}

// ---- signals against waits: each signal comes between two looks at the file, and must end the wait ----

struct signalled {
    pthread_t target;
    _Atomic int handled; // by the target
    int rounds;
};

static void *signal_one_by_one(void *arg) {
    struct signalled *s = arg;
    for (int i = 1; i <= s->rounds; i++) {
        pthread_kill(s->target, SIGUSR1);
        while (s->handled < i)
            sched_yield();
    }
    return NULL;
}

// `wait` blocks with SIGUSR1 open and ends with EINTR.
static void check_no_signal_is_missed(long (*wait)(const sigset_t *open)) {
    struct signalled s = {.target = pthread_self(), .rounds = 200};
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
    count_signal(SIGUSR1, SA_RESTART);
    pthread_t signaller = thread_run(signal_one_by_one, &s);
    for (int i = 1; i <= s.rounds; i++) {
        FAILS(wait(&none), EINTR);
        CHECK_EQ(signals_seen[SIGUSR1], i);
        s.handled = i;
    }
    thread_join(signaller);
}

static long wait_in_epoll_pwait(const sigset_t *open) {
    static int ep = -1;
    struct epoll_event event;
    if (ep < 0)
        ep = ep_new();
    return epoll_pwait(ep, &event, 1, -1, open);
}

static long wait_in_ppoll(const sigset_t *open) { return ppoll(NULL, 0, NULL, open); }
static long wait_in_pselect(const sigset_t *open) { return pselect(0, NULL, NULL, NULL, NULL, open); }
static long wait_in_sigsuspend(const sigset_t *open) { return sigsuspend(open); }

TEST(row_49_51_epoll_pwait_misses_no_signal) { check_no_signal_is_missed(wait_in_epoll_pwait); }
TEST(row_83_pselect_misses_no_signal) { check_no_signal_is_missed(wait_in_pselect); }
TEST(body_ppoll_misses_no_signal) { check_no_signal_is_missed(wait_in_ppoll); }
TEST(body_sigsuspend_misses_no_signal) { check_no_signal_is_missed(wait_in_sigsuspend); }

static void *spawn_and_reap(void *arg) {
    (void)arg;
    for (int i = 0; i < 25; i++) {
        pid_t child = (pid_t)OK(fork());
        if (child == 0)
            _exit(i);
        CHECK_EQ(wait_status(child), i << 8);
    }
    return NULL;
}

TEST(body_threads_fork_and_wait_at_once) {
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = thread_run(spawn_and_reap, NULL);
    for (int i = 0; i < 3; i++)
        thread_join(threads[i]);
}

// ---- timeouts against events: neither is lost, whichever comes first ----

static void *write_at_about(void *arg) {
    struct closing *c = arg;
    for (int i = 0; i < 80; i++) {
        pthread_barrier_wait(&c->barrier);
        struct timespec t = {0, 800000 + (i % 20) * 20000};
        nanosleep(&t, NULL);
        put(c->event_fd, 1);
        pthread_barrier_wait(&c->barrier);
    }
    return NULL;
}

TEST(row_47_52_a_timeout_against_an_event) {
    struct closing c = {.ep = ep_new(), .event_fd = make_eventfd(0, O_NONBLOCK)};
    ep_add(c.ep, c.event_fd, EPOLLIN | EPOLLET, 0);
    pthread_barrier_init(&c.barrier, NULL, 2);
    pthread_t writer = thread_run(write_at_about, &c);
    for (int i = 0; i < 80; i++) {
        struct epoll_event event;
        pthread_barrier_wait(&c.barrier);
        int64_t start = now_ns();
        long n = OK(epoll_wait(c.ep, &event, 1, 1));
        CHECK(n == 1 || now_ns() - start >= 1 * MS);
        pthread_barrier_wait(&c.barrier);
        CHECK_EQ(n + ep_ready(c.ep), 1); // reported once, now or then
        take(c.event_fd);
    }
    thread_join(writer);
}

static void close_later(void *arg) { OK(close(*(int *)arg)); }

TEST(row_96_hup_and_err_wake_epoll_waiters) {
    for (int end = 0; end < 2; end++) {
        struct pipe_ends p = make_pipe(0);
        int ep = ep_new();
        if (end)
            fill(p.w);
        ep_add(ep, end ? p.w : p.r, end ? EPOLLOUT : EPOLLIN, 0);
        pthread_t closer = later(10, close_later, end ? &p.r : &p.w);
        struct epoll_event event;
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
        CHECK_EQ(event.events, end ? EPOLLERR : EPOLLHUP);
        thread_join(closer);
    }
}
