// SPDX-License-Identifier: MPL-2.0
//
// futex(2): wait, wake, bitsets, requeue, timeouts.
#include "harness.h"

#include <linux/futex.h>
#include <sys/mman.h>

static _Atomic uint32_t a, b;

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const void *timeout, _Atomic uint32_t *second,
                  uint32_t third) {
    return syscall(SYS_futex, word, op, value, timeout, second, third);
}

static void wait_on_a(void *arg) {
    (void)arg;
    OK(futex(&a, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
}

static void start(struct sleeper *sleepers, int count, void (*fn)(void *), void *arg) {
    for (int i = 0; i < count; i++) {
        sleeper_start(&sleepers[i], fn, arg);
        sleeper_await_blocked(&sleepers[i]);
    }
}

static int done(struct sleeper *sleepers, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += sleepers[i].done;
    return sum;
}

static void await_done(struct sleeper *sleepers, int count, int wanted) {
    while (done(sleepers, count) < wanted)
        sleep_ms(1);
}

TEST(body_futex_wait_of_another_value) {
    a = 5;
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0), EAGAIN);
    FAILS(futex(&a, FUTEX_WAIT, 4, NULL, NULL, 0), EAGAIN);
}

TEST(body_futex_wake_counts) {
    struct sleeper s[4];
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 0);
    start(s, 4, wait_on_a, NULL);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0)), 1);
    await_done(s, 4, 1);
    settle();
    CHECK_EQ(done(s, 4), 1);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0)), 2);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0)), 1);
    for (int i = 0; i < 4; i++)
        sleeper_join(&s[i]);
}

TEST(body_futex_wakes_in_order) {
    struct sleeper s[3];
    start(s, 3, wait_on_a, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0)), 1);
        sleeper_join(&s[i]);
        CHECK_EQ(done(s, 3), i + 1);
    }
}

TEST(body_futex_relative_timeout) {
    int64_t begin = now_ns();
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 12 * MS}, NULL, 0), ETIMEDOUT);
    CHECK_GE(now_ns() - begin, 12 * MS);
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 0}, NULL, 0), ETIMEDOUT);
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, -1}, NULL, 0), EINVAL);
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){-1, 0}, NULL, 0), EINVAL);
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 0, BAD_POINTER, NULL, 0), EFAULT);
}

static struct timespec in_ms(clockid_t clock, int milliseconds) {
    struct timespec t;
    OK(clock_gettime(clock, &t));
    int64_t ns = t.tv_nsec + milliseconds * MS;
    return (struct timespec){t.tv_sec + ns / 1000000000, ns % 1000000000};
}

TEST(body_futex_absolute_timeouts) {
    int64_t begin = now_ns();
    struct timespec until = in_ms(CLOCK_MONOTONIC, 12);
    FAILS(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL, ~0u), ETIMEDOUT);
    CHECK_GE(now_ns() - begin, 12 * MS);
    begin = now_ns();
    until = in_ms(CLOCK_REALTIME, 12);
    FAILS(futex(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &until, NULL, ~0u), ETIMEDOUT);
    CHECK_GE(now_ns() - begin, 11 * MS);
    // In the past.
    FAILS(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &(struct timespec){0, 1}, NULL, ~0u), ETIMEDOUT);
}

static void wait_bits(void *arg) {
    OK(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (uint32_t)(uintptr_t)arg));
}

TEST(body_futex_bitsets) {
    struct sleeper one[1], two[1];
    start(one, 1, wait_bits, (void *)1);
    start(two, 1, wait_bits, (void *)2);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 4)), 0);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 2)), 1);
    sleeper_join(two);
    CHECK(!one->done);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 1);
    sleeper_join(one);
    FAILS(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 0), EINVAL);
    FAILS(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
}

TEST(body_futex_requeue) {
    struct sleeper s[4];
    start(s, 4, wait_on_a, NULL);
    // Wakes one, moves two, leaves one.
    CHECK_EQ(OK(futex(&a, FUTEX_REQUEUE_PRIVATE, 1, (void *)2, &b, 0)), 3);
    await_done(s, 4, 1);
    CHECK_EQ(OK(futex(&b, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 2);
    await_done(s, 4, 3);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 1);
    for (int i = 0; i < 4; i++)
        sleeper_join(&s[i]);
}

TEST(body_futex_cmp_requeue) {
    struct sleeper s[3];
    FAILS(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &b, 7), EAGAIN);
    start(s, 3, wait_on_a, NULL);
    CHECK_EQ(OK(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 0, (void *)INT32_MAX, &b, 0)), 3);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 0);
    CHECK_EQ(OK(futex(&b, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 3);
    for (int i = 0; i < 3; i++)
        sleeper_join(&s[i]);
}

static void wait_and_time_out(void *arg) {
    (void)arg;
    FAILS(futex(&a, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 30 * MS}, NULL, 0), ETIMEDOUT);
}

TEST(body_futex_a_requeued_waiter_times_out) {
    struct sleeper s[1];
    start(s, 1, wait_and_time_out, NULL);
    CHECK_EQ(OK(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)1, &b, 0)), 1);
    sleeper_join(s);
    CHECK_EQ(OK(futex(&b, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 0);
}

TEST(body_futex_wake_op) {
    // b |= 4, wake one on a, and one on b if b was 0.
    struct sleeper s[1];
    a = b = 0;
    start(s, 1, wait_on_a, NULL);
    CHECK_EQ(OK(futex(&a, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &b, (uint32_t)FUTEX_OP(FUTEX_OP_OR, 4, FUTEX_OP_CMP_EQ, 0))),
             1);
    CHECK_EQ(b, 4);
    sleeper_join(s);
}

TEST(body_futex_shared_between_processes) {
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(word != MAP_FAILED);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        while (*word == 0)
            futex(word, FUTEX_WAIT, 0, NULL, NULL, 0);
        _exit(0);
    }
    await_asleep(child, child);
    *word = 1;
    OK(futex(word, FUTEX_WAKE, 1, NULL, NULL, 0));
    join_child(child);
}

TEST(body_futex_shared_through_a_file) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    OK(ftruncate(fd, 4096));
    // Two mappings of one file, at two addresses.
    _Atomic uint32_t *here = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    _Atomic uint32_t *there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(here != MAP_FAILED && there != MAP_FAILED && here != there);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        while (*there == 0)
            futex(there, FUTEX_WAIT, 0, NULL, NULL, 0);
        _exit(0);
    }
    await_asleep(child, child);
    *here = 1;
    OK(futex(here, FUTEX_WAKE, 1, NULL, NULL, 0));
    join_child(child);
}

TEST(body_futex_private_is_per_process) {
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(word != MAP_FAILED);
    pid_t child = (pid_t)OK(fork());
    if (child == 0)
        _exit(futex(word, FUTEX_WAIT_PRIVATE, 0, &(struct timespec){0, 40 * MS}, NULL, 0) == -1 && errno == ETIMEDOUT ? 0 : 1);
    await_asleep(child, child);
    CHECK_EQ(OK(futex(word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0)), 0);
    join_child(child);
}

TEST(body_futex_errors) {
    FAILS(futex((void *)((char *)&a + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    FAILS(futex((void *)((char *)&a + 1), FUTEX_WAKE_PRIVATE, 0, NULL, NULL, 0), EINVAL);
    FAILS(futex((void *)((char *)BAD_POINTER), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
    FAILS(futex((void *)0xffff800000000000ul, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
    FAILS(futex(&a, 99, 0, NULL, NULL, 0), ENOSYS);
    FAILS(futex(&a, FUTEX_WAKE_PRIVATE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0), ENOSYS);
    FAILS(futex(&a, FUTEX_REQUEUE_PRIVATE, 1, (void *)-1l, &b, 0), EINVAL);
}

static void *count_under_a_mutex(void *arg) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        (*(int *)arg)++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

TEST(body_mutexes) {
    int count = 0;
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        threads[i] = thread_run(count_under_a_mutex, &count);
    for (int i = 0; i < 6; i++)
        thread_join(threads[i]);
    CHECK_EQ(count, 12000);
}

struct turns {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int turn;
};

static void *take_turns(void *arg) {
    struct turns *t = ((void **)arg)[0];
    int parity = (int)(intptr_t)((void **)arg)[1];
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&t->mutex);
        while (t->turn % 2 != parity)
            pthread_cond_wait(&t->changed, &t->mutex);
        t->turn++;
        pthread_cond_signal(&t->changed);
        pthread_mutex_unlock(&t->mutex);
    }
    return NULL;
}

TEST(body_condition_variables) {
    struct turns t = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    void *even[2] = {&t, (void *)0}, *odd[2] = {&t, (void *)1};
    pthread_t threads[2] = {thread_run(take_turns, even), thread_run(take_turns, odd)};
    thread_join(threads[0]);
    thread_join(threads[1]);
    CHECK_EQ(t.turn, 400);
    struct timespec until = in_ms(CLOCK_REALTIME, 10);
    pthread_mutex_lock(&t.mutex);
    CHECK_EQ(pthread_cond_timedwait(&t.changed, &t.mutex, &until), ETIMEDOUT);
    pthread_mutex_unlock(&t.mutex);
}

TEST(body_robust_list) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_t *mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(mutex != MAP_FAILED);
    pthread_mutex_init(mutex, &attributes);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        pthread_mutex_lock(mutex);
        _exit(0); // the owner dies
    }
    join_child(child);
    CHECK_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
    CHECK_EQ(pthread_mutex_consistent(mutex), 0);
    CHECK_EQ(pthread_mutex_unlock(mutex), 0);
}

static void put_byte_later(void *arg) { put_byte(*(int *)arg); }

TEST(body_robust_list_at_exec) {
    // A lock that is held when its owner executes another program is as good as lost.
    _Atomic uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK((void *)word != MAP_FAILED);
    struct pipe_ends go = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        static struct {
            struct robust_list entry;
            _Atomic uint32_t *unused;
        } lock;
        static struct robust_list_head head;
        head.list.next = &lock.entry;
        lock.entry.next = &head.list;
        head.futex_offset = (long)((char *)word - (char *)&lock.entry);
        OK(syscall(SYS_set_robust_list, &head, sizeof head));
        atomic_store(word, (uint32_t)gettid_() | FUTEX_WAITERS);
        take_byte(go.r);
        OK(dup2((int)OK(open("/dev/null", O_WRONLY)), 1));
        execl("/proc/self/exe", "self", "--list", NULL);
        _exit(1);
    }
    while (atomic_load(word) == 0)
        sched_yield();
    uint32_t held = atomic_load(word);
    pthread_t other = later(20, put_byte_later, &go.w);
    while (atomic_load(word) == held) {
        long woken = syscall(SYS_futex, word, FUTEX_WAIT, held, NULL, NULL, 0);
        CHECK(woken == 0 || errno == EAGAIN);
    }
    CHECK_EQ(atomic_load(word), FUTEX_WAITERS | FUTEX_OWNER_DIED);
    thread_join(other);
    join_child(child);
}
