// SPDX-License-Identifier: MPL-2.0
//
// Clocks and sleeps: monotone, never early, the arguments.
#include "harness.h"

#include <sys/time.h>
#include <sys/times.h>

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    OK(clock_gettime(clock, &t));
    CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static const clockid_t clocks[] = {CLOCK_REALTIME,        CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                                   CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};

TEST(body_clocks_do_not_go_back) {
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        int64_t last = clock_ns(clocks[i]);
        for (int n = 0; n < 2000; n++) {
            int64_t now = clock_ns(clocks[i]);
            CHECK_GE(now, last);
            last = now;
        }
    }
}

TEST(body_clocks_advance_with_sleep) {
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        int64_t before = clock_ns(clocks[i]);
        sleep_ms(12);
        CHECK_GE(clock_ns(clocks[i]) - before, clocks[i] == CLOCK_REALTIME_COARSE || clocks[i] == CLOCK_MONOTONIC_COARSE
                                                   ? 1 * MS
                                                   : 11 * MS);
    }
}

struct watcher {
    _Atomic int64_t *latest;
    _Atomic bool *stop;
};

static void *watch_the_clock(void *arg) {
    struct watcher *w = arg;
    while (!*w->stop) {
        int64_t seen = *w->latest, now = now_ns();
        CHECK_GE(now, seen);
        *w->latest = now;
    }
    return NULL;
}

TEST(body_the_monotonic_clock_is_one_for_all_threads) {
    _Atomic int64_t latest = 0;
    _Atomic bool stop = false;
    struct watcher w = {&latest, &stop};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = thread_run(watch_the_clock, &w);
    sleep_ms(30);
    stop = true;
    for (int i = 0; i < 3; i++)
        thread_join(threads[i]);
}

TEST(body_clock_arguments) {
    struct timespec t;
    FAILS(clock_gettime(999, &t), EINVAL);
    FAILS(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BAD_POINTER), EFAULT);
    OK(clock_getres(CLOCK_MONOTONIC, &t));
    CHECK(t.tv_sec == 0 && t.tv_nsec >= 1);
    OK(clock_getres(CLOCK_REALTIME, NULL));
    FAILS(clock_getres(999, NULL), EINVAL);
    struct timeval tv;
    OK(gettimeofday(&tv, NULL));
    CHECK(tv.tv_usec >= 0 && tv.tv_usec < 1000000);
    time_t seconds = time(NULL);
    CHECK(seconds >= tv.tv_sec && seconds <= tv.tv_sec + 60);
    CHECK_EQ(OK(syscall(SYS_time, &seconds)), seconds);
    CHECK_GT(seconds, 1577836800); // 2020
}

TEST(body_the_vdso_and_the_call_agree) {
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        struct timespec a, b, c;
        OK(syscall(SYS_clock_gettime, clocks[i], &a));
        OK(clock_gettime(clocks[i], &b));
        OK(syscall(SYS_clock_gettime, clocks[i], &c));
        CHECK(a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec));
        CHECK(b.tv_sec < c.tv_sec || (b.tv_sec == c.tv_sec && b.tv_nsec <= c.tv_nsec));
    }
}

TEST(body_nanosleep_is_never_early) {
    static const long waits[] = {1, 1000, 77777, 500000, 1000000, 1000001, 2500000, 9999999};
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
        for (int repeat = 0; repeat < 4; repeat++) {
            int64_t start = now_ns();
            OK(nanosleep(&(struct timespec){0, waits[i]}, NULL));
            CHECK_GE(now_ns() - start, waits[i]);
        }
    OK(nanosleep(&(struct timespec){0, 0}, NULL));
}

TEST(body_nanosleep_arguments) {
    FAILS(nanosleep(&(struct timespec){0, 1000000000}, NULL), EINVAL);
    FAILS(nanosleep(&(struct timespec){0, -1}, NULL), EINVAL);
    FAILS(nanosleep(&(struct timespec){-1, 0}, NULL), EINVAL);
    FAILS(syscall(SYS_nanosleep, BAD_POINTER, NULL), EFAULT);
    OK(syscall(SYS_nanosleep, &(struct timespec){0, 1}, BAD_POINTER)); // written only when interrupted
}

TEST(body_absolute_sleep) {
    static const clockid_t sleepable[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        int64_t until = clock_ns(sleepable[i]) + 7 * MS + 12345;
        struct timespec t = {until / 1000000000, until % 1000000000};
        CHECK_EQ(clock_nanosleep(sleepable[i], TIMER_ABSTIME, &t, NULL), 0);
        CHECK_GE(clock_ns(sleepable[i]), until);
        CHECK_EQ(clock_nanosleep(sleepable[i], TIMER_ABSTIME, &t, NULL), 0); // past: at once
        CHECK_EQ(clock_nanosleep(sleepable[i], 0, &(struct timespec){0, 3000000}, NULL), 0);
    }
    CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 1000000000}, NULL), EINVAL);
    CHECK_EQ(clock_nanosleep(999, 0, &(struct timespec){0, 1}, NULL), EINVAL);
    CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){0, 1}, NULL), EINVAL);
}


TEST(body_an_interrupted_sleep_tells_what_is_left) {
    count_signal(SIGUSR1, 0);
    pthread_t other = later(20, interrupt_main, NULL);
    struct timespec left = {0, 0};
    FAILS(nanosleep(&(struct timespec){100, 0}, &left), EINTR);
    CHECK_LE(left.tv_sec * 1000 + left.tv_nsec / MS, 99985);
    CHECK_GE(left.tv_sec, 40);
    thread_join(other);
}

TEST(body_processor_time) {
    int64_t start = clock_ns(CLOCK_PROCESS_CPUTIME_ID), thread = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - thread < 3 * MS)
        ;
    CHECK_GE(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start, 3 * MS);
    thread = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    sleep_ms(50);
    CHECK_LT(clock_ns(CLOCK_THREAD_CPUTIME_ID) - thread, 45 * MS); // sleeping costs none
    struct tms t;
    CHECK_GE(OK(times(&t)), 0);
}

TEST(body_many_sleepers) {
    // Each its own time; together they take no less than the longest, and all end.
    struct sleeper sleepers[10];
    for (intptr_t i = 0; i < 10; i++)
        sleeper_start(&sleepers[i], (void (*)(void *))(void (*)(void))sleep_ms, (void *)(i * 2 + 1));
    int64_t start = now_ns();
    for (int i = 0; i < 10; i++)
        sleeper_join(&sleepers[i]);
    CHECK_LT(now_ns() - start, 50000 * MS);
}
