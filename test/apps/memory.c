// SPDX-License-Identifier: MPL-2.0
//
// Memory: mmap and its kin, copy on write, brk, the stack.
#include "harness.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { PAGE = 4096 };

static sigjmp_buf back;
static void on_fault(int signal) { siglongjmp(back, signal); }

static bool faults(volatile char *at, bool write) {
    CHECK(signal(SIGSEGV, on_fault) != SIG_ERR);
    CHECK(signal(SIGBUS, on_fault) != SIG_ERR);
    if (sigsetjmp(back, 1))
        return true;
    if (write)
        *at = 1;
    else
        (void)*at;
    return false;
}

static char *map(size_t pages, int protection, int flags, int fd, off_t offset) {
    char *at = mmap(NULL, pages * PAGE, protection, flags, fd, offset);
    CHECK(at != MAP_FAILED);
    CHECK_EQ((uintptr_t)at % PAGE, 0);
    return at;
}

static char *anonymous(size_t pages) {
    return map(pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

// A file of so many pages, each filled with its number plus one.
static int numbered_file(int pages) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT | O_TRUNC, 0600));
    char page[PAGE];
    for (int i = 0; i < pages; i++) {
        memset(page, i + 1, sizeof page);
        CHECK_EQ(OK(write(fd, page, PAGE)), PAGE);
    }
    return fd;
}

TEST(body_mmap_anonymous_is_zero) {
    char *at = anonymous(16);
    for (int i = 0; i < 16 * PAGE; i++)
        CHECK_EQ(at[i], 0);
    memset(at, 7, 16 * PAGE);
    OK(munmap(at, 16 * PAGE));
    at = anonymous(16);
    for (int i = 0; i < 16 * PAGE; i += 512)
        CHECK_EQ(at[i], 0);
}

TEST(body_mmap_errors) {
    int fd = numbered_file(1), read_only = (int)OK(open(temp_path("file"), O_RDONLY));
    const int anon = MAP_PRIVATE | MAP_ANONYMOUS;
    CHECK(mmap(NULL, 0, PROT_READ, anon, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap((void *)123, PAGE, PROT_READ, anon | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mmap(NULL, ~0ul, PROT_READ, anon, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(NULL, 1ul << 48, PROT_READ, anon, -1, 0) == MAP_FAILED && errno == ENOMEM);
    CHECK(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, read_only, 0) == MAP_FAILED && errno == EACCES);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, read_only, 0) != MAP_FAILED);
    CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, make_pipe(0).r, 0) == MAP_FAILED && errno == ENODEV);
    FAILS(munmap((void *)1, PAGE), EINVAL);
    FAILS(munmap(anonymous(1), 0), EINVAL);
}

TEST(body_mmap_fixed) {
    char *at = anonymous(4);
    memset(at, 1, 4 * PAGE);
    CHECK(mmap(at + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at + PAGE);
    CHECK(at[0] == 1 && at[PAGE] == 0 && at[2 * PAGE] == 1);
    CHECK(mmap(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
    CHECK_EQ(errno, EEXIST);
    OK(munmap(at, PAGE));
    CHECK(mmap(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == at);
    // A hint that is free is taken, one that is not gives another place.
    OK(munmap(at, 4 * PAGE));
    CHECK(mmap(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == at);
    CHECK(mmap(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != at);
}

TEST(body_munmap_makes_holes) {
    char *at = anonymous(8);
    memset(at, 3, 8 * PAGE);
    OK(munmap(at + 2 * PAGE, 1)); // rounded up to the page
    OK(munmap(at + 5 * PAGE, 2 * PAGE));
    for (int i = 0; i < 8; i++) {
        bool gone = i == 2 || i == 5 || i == 6;
        CHECK_EQ(faults(at + i * PAGE, false), gone);
        if (!gone)
            CHECK_EQ(at[i * PAGE], 3);
    }
    OK(munmap(at, 8 * PAGE)); // over the holes
    CHECK(faults(at, false));
}

TEST(body_mprotect) {
    char *at = anonymous(6);
    memset(at, 4, 6 * PAGE);
    OK(mprotect(at + PAGE, 2 * PAGE, PROT_READ));
    OK(mprotect(at + 4 * PAGE, PAGE, PROT_NONE));
    static const bool readable[6] = {1, 1, 1, 1, 0, 1}, writable[6] = {1, 0, 0, 1, 0, 1};
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(faults(at + i * PAGE, false), !readable[i]);
        CHECK_EQ(faults(at + i * PAGE, true), !writable[i]);
    }
    OK(mprotect(at, 6 * PAGE, PROT_READ | PROT_WRITE));
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(at[i * PAGE + 1], 4);
        CHECK(!faults(at + i * PAGE, true));
    }
    OK(munmap(at + 2 * PAGE, PAGE));
    FAILS(mprotect(at, 6 * PAGE, PROT_READ), ENOMEM);
    FAILS(mprotect(at + 1, PAGE, PROT_READ), EINVAL);
    FAILS(mprotect(at, PAGE, 0x1000), EINVAL);
    OK(mprotect(at, 0, PROT_READ));
    int fd = numbered_file(1), read_only = (int)OK(open(temp_path("file"), O_RDONLY));
    (void)fd;
    char *shared = map(1, PROT_READ, MAP_SHARED, read_only, 0);
    FAILS(mprotect(shared, PAGE, PROT_READ | PROT_WRITE), EACCES);
}

TEST(body_copy_on_write_after_fork) {
    char *at = anonymous(8);
    for (int i = 0; i < 8; i++)
        at[i * PAGE] = (char)i;
    struct pipe_ends p = make_pipe(0), q = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        at[0] = 100;
        put_byte(p.w);
        take_byte(q.r); // the parent has written page 1
        for (int i = 1; i < 8; i++)
            CHECK_EQ(at[i * PAGE], i);
        _exit(0);
    }
    take_byte(p.r);
    CHECK_EQ(at[0], 0);
    at[PAGE] = 101;
    put_byte(q.w);
    join_child(child);
    CHECK_EQ(at[PAGE], 101);
    for (int i = 2; i < 8; i++)
        CHECK_EQ(at[i * PAGE], i);
}

TEST(body_copy_on_write_by_system_calls) {
    // The kernel's own writes into a page shared after fork must copy it as well.
    char *at = anonymous(1);
    at[0] = 1;
    struct pipe_ends p = make_pipe(0), q = make_pipe(0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        CHECK_EQ(OK(read(p.r, at, 1)), 1);
        CHECK_EQ(at[0], 'x');
        put_byte(q.w);
        _exit(0);
    }
    put_byte(p.w);
    take_byte(q.r);
    CHECK_EQ(at[0], 1);
    join_child(child);
}

TEST(body_generations_of_forks) {
    volatile char *at = anonymous(2);
    at[0] = 1;
    for (int depth = 0; depth < 4; depth++) {
        pid_t child = (pid_t)OK(fork());
        if (child > 0) {
            join_child(child);
            CHECK_EQ(at[0], depth + 1);
            if (depth > 0)
                _exit(0);
            return;
        }
        at[0]++;
    }
    CHECK_EQ(at[0], 5);
    _exit(0);
}

TEST(body_shared_anonymous_memory) {
    char *at = map(2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        at[0] = 5;
        at[PAGE] = 6; // touched first by the child
        _exit(0);
    }
    join_child(child);
    CHECK_EQ(at[0], 5);
    CHECK_EQ(at[PAGE], 6);
}

TEST(body_shared_file_mapping) {
    int fd = numbered_file(3);
    char *at = map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE), byte;
    CHECK_EQ(at[0], 2);
    CHECK_EQ(at[PAGE], 3);
    at[10] = 77;
    CHECK_EQ(OK(pread(fd, &byte, 1, PAGE + 10)), 1);
    CHECK_EQ(byte, 77);
    CHECK_EQ(OK(pwrite(fd, "z", 1, PAGE + 20)), 1);
    CHECK_EQ(at[20], 'z');
    char *again = map(3, PROT_READ, MAP_SHARED, fd, 0);
    CHECK_EQ(again[PAGE + 10], 77);
    OK(msync(at, 2 * PAGE, MS_SYNC));
    OK(close(fd)); // the mapping stays
    at[30] = 78;
    CHECK_EQ(again[PAGE + 30], 78);
    OK(munmap(at, 2 * PAGE));
    CHECK_EQ(again[PAGE + 30], 78);
}

TEST(body_private_file_mapping) {
    int fd = numbered_file(2);
    char *at = map(2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), byte;
    at[0] = 99;
    CHECK_EQ(OK(pread(fd, &byte, 1, 0)), 1);
    CHECK_EQ(byte, 1);
    CHECK_EQ(at[1], 1);
    CHECK_EQ(at[PAGE], 2);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        CHECK_EQ(at[0], 99);
        at[PAGE] = 98;
        _exit(0);
    }
    join_child(child);
    CHECK_EQ(at[PAGE], 2);
}

TEST(body_a_mapping_is_zero_after_the_end_of_the_file) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    OK(write(fd, "abc", 3));
    char *at = map(2, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(memcmp(at, "abc\0\0", 5) == 0);
    CHECK_EQ(at[PAGE - 1], 0);
    CHECK(faults(at + PAGE, false));
}

TEST(body_mremap) {
    char *at = anonymous(8);
    for (int i = 0; i < 8; i++)
        at[i * PAGE] = (char)(i + 1);
    // Shrink, and grow into the room that this left.
    CHECK(mremap(at, 8 * PAGE, 4 * PAGE, 0) == at);
    CHECK(faults(at + 5 * PAGE, false));
    CHECK(mremap(at, 4 * PAGE, 6 * PAGE, 0) == at);
    CHECK(at[3 * PAGE] == 4 && at[4 * PAGE] == 0 && at[5 * PAGE] == 0);
    // With something in the way: refused, or moved.
    CHECK(mmap(at + 6 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    CHECK(mremap(at, 6 * PAGE, 10 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
    char *moved = mremap(at, 6 * PAGE, 10 * PAGE, MREMAP_MAYMOVE);
    CHECK(moved != MAP_FAILED && moved != at);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(moved[i * PAGE], i < 4 ? i + 1 : 0);
    CHECK(faults(at, false));
    // To a given place.
    char *target = anonymous(10);
    CHECK(mremap(moved, 10 * PAGE, 10 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    CHECK_EQ(target[PAGE], 2);
    CHECK(mremap(target, PAGE, 0, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap(target + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL);
    OK(munmap(target, 10 * PAGE));
    CHECK(mremap(target, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
}

TEST(body_mremap_of_a_file) {
    int fd = numbered_file(4);
    char *at = map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    at = mremap(at, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    CHECK(at != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(at[i * PAGE], i + 1);
    at[3 * PAGE] = 50;
    char byte;
    OK(pread(fd, &byte, 1, 3 * PAGE));
    CHECK_EQ(byte, 50);
}

TEST(body_madvise) {
    char *at = anonymous(4);
    memset(at, 9, 4 * PAGE);
    OK(madvise(at + PAGE, 2 * PAGE, MADV_DONTNEED));
    CHECK(at[0] == 9 && at[PAGE] == 0 && at[2 * PAGE] == 0 && at[3 * PAGE] == 9);
    at[PAGE] = 1;
    OK(madvise(at, 4 * PAGE, MADV_NORMAL));
    OK(madvise(at, 4 * PAGE, MADV_WILLNEED));
    FAILS(madvise(at + 1, PAGE, MADV_DONTNEED), EINVAL);
    FAILS(madvise(at, PAGE, 12345), EINVAL);
    int fd = numbered_file(1);
    char *private = map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    private[0] = 44;
    OK(madvise(private, PAGE, MADV_DONTNEED));
    CHECK_EQ(private[0], 1); // the file's again
    OK(munmap(at + PAGE, PAGE));
    FAILS(madvise(at, 4 * PAGE, MADV_DONTNEED), ENOMEM);
}

TEST(body_brk) {
    char *start = (char *)syscall(SYS_brk, 0);
    CHECK((char *)syscall(SYS_brk, start + 5 * PAGE) == start + 5 * PAGE);
    for (int i = 0; i < 5 * PAGE; i += 100)
        start[i] = 1;
    CHECK((char *)syscall(SYS_brk, start + 100) == start + 100);
    char *edge = (char *)(((uintptr_t)start + 100 + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    CHECK(faults(edge, true));
    // Grown again, it is zero.
    CHECK((char *)syscall(SYS_brk, start + 5 * PAGE) == start + 5 * PAGE);
    CHECK_EQ(edge[0], 0);
    CHECK((char *)syscall(SYS_brk, 1) == start + 5 * PAGE);        // refused: the old end
    CHECK((char *)syscall(SYS_brk, ~0ul >> 1) == start + 5 * PAGE); // refused
}

__attribute__((noinline)) static int deep(int levels) {
    volatile char room[8192];
    room[0] = room[8191] = (char)levels;
    return levels == 0 ? 0 : deep(levels - 1) + (room[0] == (char)levels);
}

TEST(body_the_stack_grows) { CHECK_EQ(deep(400), 400); } // 3.2 MiB

static volatile int overflow_depth;
__attribute__((noinline)) static int too_deep(int levels) {
    volatile char room[4096];
    room[0] = (char)levels;
    overflow_depth = levels;
    return levels < 0 ? 0 : too_deep(levels + 1) + room[0];
}

TEST(body_the_stack_has_an_end) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
        _exit(too_deep(0));
    }
    int status = wait_status(child);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGSEGV);
}

enum { TOUCHED = 128 };

static void *touch_all(void *arg) {
    char *at = arg;
    for (int i = 0; i < TOUCHED; i++)
        __atomic_fetch_add(&at[i * PAGE], 1, __ATOMIC_SEQ_CST);
    return NULL;
}

TEST(body_faults_of_many_threads_on_the_same_pages) {
    // Were a page installed twice, one increment would be lost with it.
    for (int round = 0; round < 5; round++) {
        char *at = anonymous(TOUCHED);
        pthread_t threads[4];
        for (int t = 0; t < 4; t++)
            threads[t] = thread_run(touch_all, at);
        for (int t = 0; t < 4; t++)
            thread_join(threads[t]);
        for (int i = 0; i < TOUCHED; i++)
            CHECK_EQ(at[i * PAGE], 4);
        OK(munmap(at, TOUCHED * PAGE));
    }
}

TEST(body_memory_beyond_what_is_touched_is_cheap) {
    // 8 GiB of promises.
    char *at = mmap(NULL, 8ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    at[0] = at[4ul << 30] = at[(8ul << 30) - 1] = 1;
    OK(munmap(at, 8ul << 30));
}

TEST(body_msync) {
    char *at = anonymous(3);
    at[PAGE] = 1;
    FAILS(msync(at + 1, PAGE, MS_SYNC), EINVAL);
    OK(msync(at, 3 * PAGE, MS_ASYNC));
    OK(munmap(at + PAGE, PAGE));
    FAILS(msync(at, 3 * PAGE, MS_SYNC), ENOMEM);
}

TEST(body_memfd) {
    int fd = (int)OK(memfd_create("name", MFD_CLOEXEC));
    CHECK_EQ(OK(fcntl(fd, F_GETFD)), FD_CLOEXEC);
    OK(ftruncate(fd, 2 * PAGE));
    char *at = map(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), byte;
    at[PAGE] = 'm';
    CHECK_EQ(OK(pread(fd, &byte, 1, PAGE)), 1);
    CHECK_EQ(byte, 'm');
}
