// SPDX-License-Identifier: MPL-2.0
//
// Looking into another process: kcmp(2), process_vm_readv(2), process_vm_writev(2).
#include "ep.h"

#include <linux/kcmp.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>


static int kcmp(pid_t one, pid_t other, int type, unsigned long a, unsigned long b) {
    return (int)syscall(SYS_kcmp, one, other, type, a, b);
}

static ssize_t vm_read(pid_t pid, void *to, size_t len, void *from) {
    struct iovec local = {to, len}, remote = {from, len};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0);
}

static ssize_t vm_write(pid_t pid, void *from, size_t len, void *to) {
    struct iovec local = {from, len}, remote = {to, len};
    return process_vm_writev(pid, &local, 1, &remote, 1, 0);
}

// A child that waits until the pipe ends, having run `first` in the beginning.
static pid_t child_that_waits(struct pipe_ends p, struct pipe_ends told, void (*first)(void)) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        char byte;
        close(p.w);
        if (first != NULL) first();
        CHECK_EQ(write(told.w, "x", 1), 1);
        _exit(read(p.r, &byte, 1) == 0 ? 0 : 1);
    }
    char byte;
    CHECK_EQ(read(told.r, &byte, 1), 1);
    return child;
}

TEST(body_kcmp_tells_whether_descriptors_share_a_description) {
    struct pipe_ends p = make_pipe(0);
    int copy = (int)OK(dup(p.r));
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_FILE, p.r, copy)), 0);
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_FILE, p.r, p.r)), 0);
    // An order: one is before the other.
    int there = (int)OK(kcmp(getpid(), getpid(), KCMP_FILE, p.r, p.w));
    int back = (int)OK(kcmp(getpid(), getpid(), KCMP_FILE, p.w, p.r));
    CHECK(there == 1 || there == 2);
    CHECK_EQ(there + back, 3);
    // Two descriptions of one inode are two.
    int one = (int)OK(open("/proc/self/stat", O_RDONLY)), other = (int)OK(open("/proc/self/stat", O_RDONLY));
    CHECK_NE(OK(kcmp(getpid(), getpid(), KCMP_FILE, one, other)), 0);
}

TEST(body_kcmp_orders_descriptions) {
    int fds[12];
    for (int i = 0; i < 12; i++) fds[i] = (int)OK(eventfd(0, 0));
    for (int a = 0; a < 12; a++)
        for (int b = 0; b < 12; b++)
            for (int c = 0; c < 12; c++)
                if (OK(kcmp(getpid(), getpid(), KCMP_FILE, fds[a], fds[b])) == 1 &&
                    OK(kcmp(getpid(), getpid(), KCMP_FILE, fds[b], fds[c])) == 1)
                    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_FILE, fds[a], fds[c])), 1);
}

TEST(body_kcmp_of_two_processes) {
    struct pipe_ends p = make_pipe(0), told = make_pipe(0);
    pid_t child = child_that_waits(p, told, NULL);
    CHECK_EQ(OK(kcmp(getpid(), child, KCMP_FILE, told.r, told.r)), 0);
    CHECK_NE(OK(kcmp(getpid(), child, KCMP_FILE, told.r, told.w)), 0);
    // The child closed its own.
    FAILS(kcmp(getpid(), child, KCMP_FILE, p.w, p.w), EBADF);
    FAILS(kcmp(child, getpid(), KCMP_FILE, p.w, p.w), EBADF);
    CHECK_NE(OK(kcmp(getpid(), child, KCMP_VM, 0, 0)), 0);
    CHECK_NE(OK(kcmp(getpid(), child, KCMP_FILES, 0, 0)), 0);
    CHECK_NE(OK(kcmp(getpid(), child, KCMP_FS, 0, 0)), 0);
    CHECK_NE(OK(kcmp(getpid(), child, KCMP_SIGHAND, 0, 0)), 0);
    // Neither ever used a System V semaphore.
    CHECK_EQ(OK(kcmp(getpid(), child, KCMP_SYSVSEM, 0, 0)), 0);
    close(p.w);
    join_child(child);
}

static void *kcmp_of_thread(void *unused) {
    (void)unused;
    for (int type = KCMP_VM; type <= KCMP_SYSVSEM; type++) CHECK_EQ(OK(kcmp(getpid(), gettid_(), type, 0, 0)), 0);
    int fd = (int)OK(eventfd(0, 0));
    CHECK_EQ(OK(kcmp(getpid(), gettid_(), KCMP_FILE, fd, fd)), 0);
    OK(unshare(CLONE_FILES | CLONE_FS));
    CHECK_NE(OK(kcmp(getpid(), gettid_(), KCMP_FILES, 0, 0)), 0);
    CHECK_NE(OK(kcmp(getpid(), gettid_(), KCMP_FS, 0, 0)), 0);
    CHECK_EQ(OK(kcmp(getpid(), gettid_(), KCMP_VM, 0, 0)), 0);
    CHECK_EQ(OK(kcmp(getpid(), gettid_(), KCMP_FILE, fd, fd)), 0);
    close(fd);
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_FILE, fd, fd)), 0);
    FAILS(kcmp(getpid(), gettid_(), KCMP_FILE, fd, fd), EBADF);
    return NULL;
}

TEST(body_kcmp_of_threads) { thread_join(thread_run(kcmp_of_thread, NULL)); }

TEST(body_kcmp_finds_the_files_of_an_epoll) {
    int ep = (int)OK(epoll_create1(0));
    struct pipe_ends p = make_pipe(0);
    struct epoll_event event = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p.r, &event));
    struct kcmp_epoll_slot slot = {.efd = (unsigned)ep, .tfd = (unsigned)p.r};
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.r, (unsigned long)&slot)), 0);
    CHECK_NE(OK(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.w, (unsigned long)&slot)), 0);
    int copy = (int)OK(dup(p.r));
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, copy, (unsigned long)&slot)), 0);
    // The number that it was added with counts, even after another file has it.
    OK(dup2(p.w, p.r));
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, copy, (unsigned long)&slot)), 0);
    CHECK_NE(OK(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.r, (unsigned long)&slot)), 0);
    // Of several with one number, the offset says which.
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, p.r, &event));
    int found = 0;
    for (slot.toff = 0; slot.toff < 2; slot.toff++)
        found += OK(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, copy, (unsigned long)&slot)) == 0;
    CHECK_EQ(found, 1);
    FAILS(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, copy, (unsigned long)&slot), ENOENT);
    slot = (struct kcmp_epoll_slot){.efd = (unsigned)ep, .tfd = (unsigned)p.w};
    FAILS(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.r, (unsigned long)&slot), ENOENT);
    slot.efd = (unsigned)p.w;
    FAILS(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.r, (unsigned long)&slot), EINVAL);
    slot.efd = 900;
    FAILS(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.r, (unsigned long)&slot), EBADF);
    FAILS(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, 900, (unsigned long)&slot), EBADF);
    FAILS(kcmp(getpid(), getpid(), KCMP_EPOLL_TFD, p.r, 8), EFAULT);
}

TEST(body_kcmp_errors) {
    FAILS(kcmp(getpid(), getpid(), KCMP_TYPES, 0, 0), EINVAL);
    FAILS(kcmp(getpid(), getpid(), -1, 0, 0), EINVAL);
    FAILS(kcmp(getpid(), getpid(), KCMP_FILE, 900, 0), EBADF);
    FAILS(kcmp(getpid(), getpid(), KCMP_FILE, -1ul, 0), EBADF);
    FAILS(kcmp(getpid(), 4194303, KCMP_VM, 0, 0), ESRCH);
    FAILS(kcmp(0, getpid(), KCMP_VM, 0, 0), ESRCH);
    FAILS(kcmp(-1, getpid(), KCMP_TYPES, 0, 0), ESRCH);
    if (getuid() != 0) SKIP("needs root");
    OK(setresuid(1000, 1000, 1000));
    FAILS(kcmp(getpid(), getppid(), KCMP_VM, 0, 0), EPERM);
    FAILS(kcmp(getppid(), getpid(), KCMP_TYPES, 0, 0), EPERM);
    CHECK_EQ(OK(kcmp(getpid(), getpid(), KCMP_VM, 0, 0)), 0);
}

static char shared_text[3 * 4096] = "as it was";
static void change_text(void) { strcpy(shared_text, "as the child has it"); }

TEST(body_process_vm_reads_and_writes_another_process) {
    struct pipe_ends p = make_pipe(0), told = make_pipe(0);
    pid_t child = child_that_waits(p, told, change_text);
    char text[32];
    CHECK_EQ(OK(vm_read(child, text, sizeof text, shared_text)), (long)sizeof text);
    CHECK_EQ(strcmp(text, "as the child has it"), 0);
    CHECK_EQ(strcmp(shared_text, "as it was"), 0);
    CHECK_EQ(OK(vm_write(child, "by the parent", 14, shared_text)), 14);
    CHECK_EQ(OK(vm_read(child, text, sizeof text, shared_text)), (long)sizeof text);
    CHECK_EQ(strcmp(text, "by the parent"), 0);
    CHECK_EQ(strcmp(shared_text, "as it was"), 0);
    close(p.w);
    join_child(child);
}

TEST(body_process_vm_of_oneself) {
    char from[100], to[100] = {0};
    memset(from, 7, sizeof from);
    CHECK_EQ(OK(vm_read(getpid(), to, sizeof to, from)), 100);
    CHECK_EQ(memcmp(from, to, sizeof to), 0);
    memset(from, 9, sizeof from);
    CHECK_EQ(OK(vm_write(getpid(), from, sizeof to, to)), 100);
    CHECK_EQ(memcmp(from, to, sizeof to), 0);
}

TEST(body_process_vm_scatters_and_gathers) {
    char from[] = "abcdefghij", to[16] = "................";
    struct iovec remote[] = {{from + 6, 3}, {from, 0}, {from + 1, 2}}, local[] = {{to, 1}, {to + 4, 10}};
    CHECK_EQ(OK(process_vm_readv(getpid(), local, 2, remote, 3, 0)), 5);
    CHECK_EQ(memcmp(to, "g...hibc........", 16), 0);
    // The shorter side ends it.
    struct iovec two = {to, 2};
    CHECK_EQ(OK(process_vm_readv(getpid(), &two, 1, remote, 3, 0)), 2);
    CHECK_EQ(OK(process_vm_writev(getpid(), remote, 3, &two, 1, 0)), 2);
}

TEST(body_process_vm_ends_at_a_hole) {
    char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), to[8192];
    CHECK(pages != MAP_FAILED);
    OK(munmap(pages + 4096, 4096));
    memset(pages, 1, 4096);
    CHECK_EQ(OK(vm_read(getpid(), to, sizeof to, pages + 4000)), 96);
    CHECK_EQ(OK(vm_write(getpid(), to, sizeof to, pages + 4000)), 96);
    FAILS(vm_read(getpid(), to, 8, pages + 4096), EFAULT);
    FAILS(vm_write(getpid(), to, 8, pages + 4096), EFAULT);
    FAILS(vm_read(getpid(), pages + 4096, 8, to), EFAULT);
    FAILS(vm_write(getpid(), pages + 4096, 8, to), EFAULT);
    // What is protected stays so.
    OK(mprotect(pages, 4096, PROT_READ));
    FAILS(vm_write(getpid(), to, 8, pages), EFAULT);
    CHECK_EQ(OK(vm_read(getpid(), to, 8, pages)), 8);
    OK(mprotect(pages, 4096, PROT_NONE));
    FAILS(vm_read(getpid(), to, 8, pages), EFAULT);
    // Nor is memory of the kernel read.
    FAILS(vm_read(getpid(), to, 8, (void *)0xffff800000000000), EFAULT);
    FAILS(vm_read(getpid(), to, 8, (void *)-8), EFAULT);
}

TEST(body_process_vm_errors) {
    char byte = 0;
    struct iovec one = {&byte, 1}, none = {&byte, 0}, long_one = {&byte, -1ul};
    FAILS(process_vm_readv(getpid(), &one, 1, &one, 1, 1), EINVAL);
    FAILS(process_vm_readv(getpid(), &one, 1025, &one, 1, 0), EINVAL);
    FAILS(process_vm_readv(getpid(), &one, 1, &one, 1025, 0), EINVAL);
    FAILS(process_vm_readv(getpid(), &long_one, 1, &one, 1, 0), EINVAL);
    FAILS(process_vm_readv(getpid(), &one, 1, &long_one, 1, 0), EINVAL);
    FAILS(process_vm_readv(getpid(), (struct iovec *)8, 1, &one, 1, 0), EFAULT);
    FAILS(process_vm_readv(getpid(), &one, 1, (struct iovec *)8, 1, 0), EFAULT);
    FAILS(process_vm_readv(4194303, &one, 1, &one, 1, 0), ESRCH);
    // Without bytes nobody is looked for.
    CHECK_EQ(OK(process_vm_readv(4194303, &none, 1, &one, 1, 0)), 0);
    CHECK_EQ(OK(process_vm_readv(4194303, &one, 0, &one, 1, 0)), 0);
    CHECK_EQ(OK(process_vm_readv(4194303, &one, 1, &none, 1, 0)), 0);
    if (getuid() != 0) SKIP("needs root");
    OK(setresuid(1000, 1000, 1000));
    FAILS(process_vm_readv(getppid(), &one, 1, &one, 1, 0), EPERM);
    FAILS(process_vm_writev(getppid(), &one, 1, &one, 1, 0), EPERM);
    CHECK_EQ(OK(process_vm_readv(getpid(), &one, 1, &one, 1, 0)), 1);
}

TEST(body_inspecting_a_zombie) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) _exit(0);
    siginfo_t info;
    OK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    char byte;
    FAILS(vm_read(child, &byte, 1, &byte), ESRCH);
    int fd = (int)OK(eventfd(0, 0));
    FAILS(kcmp(getpid(), child, KCMP_FILE, fd, fd), EBADF);
    for (int type = KCMP_VM; type <= KCMP_SIGHAND; type++) CHECK_NE(OK(kcmp(getpid(), child, type, 0, 0)), 0);
    join_child(child);
}
