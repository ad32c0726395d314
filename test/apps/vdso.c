// SPDX-License-Identifier: MPL-2.0
//
// The vDSO: programs read clocks without a system call, and it is the same clock (vdso(7)).
#include "harness.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/time.h>

// Clocks that the vDSO knows by itself, and some that it must ask the kernel for.
static const clockid_t clocks[] = {CLOCK_REALTIME,  CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,       CLOCK_REALTIME_COARSE,
                                   CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID,
                                   CLOCK_THREAD_CPUTIME_ID};
#define CLOCKS (sizeof clocks / sizeof *clocks)

typedef int gettime_fn(clockid_t, struct timespec *);

// The object's address.
static const char *object(void) {
    unsigned long address = getauxval(AT_SYSINFO_EHDR);
    if (address == 0)
        SKIP("no vDSO");
    return (const char *)address;
}

// A function of the object. The image is mapped as it is in its file, section headers included.
static void *find(const char *wanted) {
    const char *image = object();
    const Elf64_Ehdr *header = (const void *)image;
    const Elf64_Shdr *sections = (const void *)(image + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_DYNSYM)
            continue;
        const Elf64_Sym *symbols = (const void *)(image + sections[i].sh_offset);
        const char *names = image + sections[sections[i].sh_link].sh_offset;
        for (size_t n = 0; n < sections[i].sh_size / sizeof *symbols; n++)
            if (strcmp(names + symbols[n].st_name, wanted) == 0)
                return (void *)(image + symbols[n].st_value);
    }
    check_failed(__FILE__, __LINE__, "the vDSO has no %s", wanted);
}

static int64_t nanos(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static int64_t by_call(clockid_t clock) {
    struct timespec t;
    OK(syscall(SYS_clock_gettime, clock, &t));
    return nanos(t);
}

static int64_t by_object(gettime_fn *gettime, clockid_t clock) {
    struct timespec t;
    CHECK_EQ(gettime(clock, &t), 0);
    CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
    return nanos(t);
}

TEST(body_vdso_and_system_call_show_one_clock) {
    gettime_fn *gettime = find("__vdso_clock_gettime");
    for (size_t i = 0; i < CLOCKS; i++) {
        for (int n = 0; n < 300; n++) {
            int64_t before = by_call(clocks[i]), between = by_object(gettime, clocks[i]), after = by_call(clocks[i]);
            CHECK_LE(before, between);
            CHECK_LE(between, after);
        }
    }
}

TEST(body_vdso_gives_no_clock_that_there_is_not) {
    gettime_fn *gettime = find("__vdso_clock_gettime"), *getres = find("__vdso_clock_getres");
    struct timespec t;
    // It answers as the kernel does, not as the C library.
    CHECK_EQ(gettime(10, &t), -EINVAL);
    CHECK_EQ(gettime(99, &t), -EINVAL);
    CHECK_EQ(getres(99, &t), -EINVAL);
    FAILS(clock_gettime(99, &t), EINVAL);
}

TEST(body_vdso_resolutions) {
    gettime_fn *getres = find("__vdso_clock_getres");
    for (size_t i = 0; i < CLOCKS; i++) {
        struct timespec object, call;
        OK(syscall(SYS_clock_getres, clocks[i], &call));
        CHECK_EQ(getres(clocks[i], &object), 0);
        CHECK_EQ(nanos(object), nanos(call));
        CHECK_EQ(getres(clocks[i], NULL), 0);
    }
}

TEST(body_vdso_time_of_day) {
    int (*gettimeofday_)(struct timeval *, void *) = find("__vdso_gettimeofday");
    time_t (*time_)(time_t *) = find("__vdso_time");
    int64_t before = by_call(CLOCK_REALTIME) / 1000;
    struct timeval t;
    CHECK_EQ(gettimeofday_(&t, NULL), 0);
    CHECK_GE(t.tv_sec * 1000000 + t.tv_usec, before);
    CHECK_LE(t.tv_sec * 1000000 + t.tv_usec, by_call(CLOCK_REALTIME) / 1000);
    struct timezone zone = {99, 99};
    CHECK_EQ(gettimeofday_(&t, &zone), 0);
    CHECK_NE(zone.tz_minuteswest, 99);
    CHECK_EQ(gettimeofday_(NULL, NULL), 0);
    time_t stored, seconds = time_(&stored);
    CHECK_EQ(stored, seconds);
    CHECK_GE(seconds, before / 1000000 - 1); // Linux: of the last tick
    CHECK_LE(seconds, by_call(CLOCK_REALTIME) / 1000000000);
    CHECK_GE(time_(NULL), seconds);
}

static void watch(void *arg) {
    gettime_fn *gettime = arg;
    int64_t last = by_object(gettime, CLOCK_MONOTONIC);
    for (int n = 0; n < 3000; n++) {
        int64_t now = by_object(gettime, CLOCK_MONOTONIC);
        CHECK_GE(now, last);
        last = now;
    }
}

TEST(body_vdso_works_in_a_child) {
    gettime_fn *gettime = find("__vdso_clock_gettime");
    int64_t before = by_object(gettime, CLOCK_MONOTONIC);
    pid_t child = fork_run(watch, gettime);
    watch(gettime);
    join_child(child);
    CHECK_GT(by_object(gettime, CLOCK_MONOTONIC), before);
}

// The line of /proc/self/maps that ends with `name`.
static bool mapping(const char *name, uintptr_t *start, uintptr_t *end, char rights[5]) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    bool found = false;
    while (!found && fgets(line, sizeof line, maps) != NULL) {
        line[strcspn(line, "\n")] = 0;
        size_t length = strlen(line), wanted = strlen(name);
        found = length > wanted && strcmp(line + length - wanted, name) == 0;
    }
    fclose(maps);
    return found && sscanf(line, "%lx-%lx %4s", start, end, rights) == 3;
}

TEST(body_vdso_mappings) {
    uintptr_t start, end;
    char rights[5];
    CHECK(mapping("[vdso]", &start, &end, rights));
    CHECK_EQ(start, (uintptr_t)object());
    CHECK(strcmp(rights, "r-xp") == 0);
    CHECK(memcmp((void *)start, ELFMAG, SELFMAG) == 0);
    CHECK(mapping("[vvar]", &start, &end, rights));
    CHECK(strcmp(rights, "r--p") == 0);
    // What all programs read, none may write.
    FAILS(mprotect((void *)start, end - start, PROT_READ | PROT_WRITE), EACCES);
}

TEST(body_vdso_can_be_unmapped) {
    uintptr_t start, end;
    char rights[5];
    object();
    CHECK(mapping("[vdso]", &start, &end, rights));
    OK(munmap((void *)start, end - start));
    CHECK(!mapping("[vdso]", &start, &end, rights));
    CHECK_GT(by_call(CLOCK_MONOTONIC), 0);
}

TEST(body_vdso_sees_the_wall_clock_being_set) {
    if (!on_pollux() && getenv("MAY_SET_CLOCK") == NULL)
        SKIP("sets the clock, which this machine may need");
    gettime_fn *gettime = find("__vdso_clock_gettime");
    int64_t monotonic = by_object(gettime, CLOCK_MONOTONIC);
    const int64_t year = 365ll * 86400 * 1000000000;
    struct timespec t;
    for (int way = 1; way >= -1; way -= 2) {
        int64_t target = by_call(CLOCK_REALTIME) + way * year;
        OK(clock_settime(CLOCK_REALTIME, &(struct timespec){target / 1000000000, target % 1000000000}));
        CHECK_EQ(gettime(CLOCK_REALTIME, &t), 0);
        CHECK_GE(nanos(t), target);
        CHECK_LE(nanos(t), by_call(CLOCK_REALTIME));
        CHECK_LT(nanos(t) - target, year / 2);
    }
    CHECK_GE(by_object(gettime, CLOCK_MONOTONIC), monotonic);
    CHECK_LT(by_object(gettime, CLOCK_MONOTONIC) - monotonic, year / 2);
}
