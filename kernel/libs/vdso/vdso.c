// SPDX-License-Identifier: MPL-2.0

// The vDSO (vdso(7)): clocks that a program reads without entering the kernel. This runs in user mode, in every program;
// the kernel only maps it (kernel/src/time/vdso.rs).
//
// It computes what kernel/src/time/clock.rs computes, from the same three numbers: a program that mixes readings of both
// kinds sees one clock. Clocks that need the kernel, and clocks that do not exist, are asked for by system call.

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define NANOS_PER_SEC 1000000000ull

// Behind the decimal point of `factor`.
#define FRACTION_BITS 32

// What the kernel writes into the page before this image. Only the offset ever changes, in one store: nothing to lock.
struct clock_page {
    uint64_t base;           // the TSC's value at boot
    uint64_t factor;         // nanoseconds per cycle, a fixed-point number
    int64_t realtime_offset; // wall-clock time minus monotonic time, in nanoseconds
    uint64_t tick;           // nanoseconds between two values of the coarse clocks
};

extern const volatile struct clock_page clock_page __attribute__((visibility("hidden")));

// CLOCK_MONOTONIC in nanoseconds.
static inline uint64_t now_monotonic(void) {
    // The fence: not before what the program read until here, for that may tell of a time that another CPU has seen.
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    uint64_t now = (uint64_t)high << 32 | low, base = clock_page.base;
    uint64_t cycles = now > base ? now - base : 0;
    return (uint64_t)((unsigned __int128)cycles * clock_page.factor >> FRACTION_BITS);
}

static inline uint64_t now_realtime(void) { return now_monotonic() + (uint64_t)clock_page.realtime_offset; }

static inline uint64_t now_monotonic_coarse(void) {
    uint64_t now = now_monotonic();
    return now - now % clock_page.tick;
}

// Clocks count from 0 and from 1970: never negative, whatever time_t may be.
static inline int put(struct timespec *time, uint64_t nanos) {
    uint64_t seconds = nanos / NANOS_PER_SEC;
    time->tv_sec = (time_t)seconds;
    time->tv_nsec = (long)(nanos - seconds * NANOS_PER_SEC);
    return 0;
}

static inline int system_call(long number, long first, long second) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
    return (int)result;
}

int __vdso_clock_gettime(clockid_t clock, struct timespec *time) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_TAI:
        return put(time, now_realtime());
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        return put(time, now_monotonic());
    case CLOCK_REALTIME_COARSE:
        return put(time, now_monotonic_coarse() + (uint64_t)clock_page.realtime_offset);
    case CLOCK_MONOTONIC_COARSE:
        return put(time, now_monotonic_coarse());
    default:
        return system_call(SYS_clock_gettime, clock, (long)time);
    }
}

int __vdso_clock_getres(clockid_t clock, struct timespec *resolution) {
    uint64_t nanos = 1;
    switch (clock) {
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
        nanos = clock_page.tick;
        break;
    case CLOCK_REALTIME:
    case CLOCK_TAI:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        break;
    default:
        return system_call(SYS_clock_getres, clock, (long)resolution);
    }
    return resolution == NULL ? 0 : put(resolution, nanos);
}

int __vdso_gettimeofday(struct timeval *time, struct timezone *zone) {
    if (zone != NULL)
        return system_call(SYS_gettimeofday, (long)time, (long)zone);
    if (time != NULL) {
        uint64_t nanos = now_realtime(), seconds = nanos / NANOS_PER_SEC;
        time->tv_sec = (time_t)seconds;
        time->tv_usec = (suseconds_t)((nanos - seconds * NANOS_PER_SEC) / 1000);
    }
    return 0;
}

time_t __vdso_time(time_t *time) {
    time_t seconds = (time_t)(now_realtime() / NANOS_PER_SEC);
    if (time != NULL)
        *time = seconds;
    return seconds;
}

// The names without prefix that Linux gives them, too.
int clock_gettime(clockid_t, struct timespec *) __attribute__((weak, alias("__vdso_clock_gettime")));
int clock_getres(clockid_t, struct timespec *) __attribute__((weak, alias("__vdso_clock_getres")));
int gettimeofday(struct timeval *restrict, void *restrict) __attribute__((weak, alias("__vdso_gettimeofday")));
time_t time(time_t *) __attribute__((weak, alias("__vdso_time")));
