// SPDX-License-Identifier: MPL-2.0
//
// Wild arguments: bad pointers give EFAULT (or the error that comes first), never a crash of the program or the kernel.
#include "harness.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { FD = -1000, BAD, GOOD, EP, DIRECTORY, PIPE_R, PIPE_W, PATH, PROGRAM }; // placeholders

struct probe {
    const char *name;
    long number;
    long arguments[6];
    int error;
};

#define P(name, error, ...) {#name, SYS_##name, {__VA_ARGS__}, error}

static const struct probe probes[] = {
    P(read, EFAULT, FD, BAD, 10),
    P(write, EFAULT, PIPE_W, BAD, 10),
    P(pread64, EFAULT, FD, BAD, 10, 0),
    P(pwrite64, EFAULT, FD, BAD, 10, 0),
    P(readv, EFAULT, FD, BAD, 2),
    P(writev, EFAULT, FD, BAD, 2),
    P(preadv, EFAULT, FD, BAD, 2, 0),
    P(pwritev, EFAULT, FD, BAD, 2, 0),
    P(open, EFAULT, BAD, 0),
    P(openat, EFAULT, AT_FDCWD, BAD, 0),
    P(creat, EFAULT, BAD, 0),
    P(stat, EFAULT, PATH, BAD),
    P(stat, EFAULT, BAD, GOOD),
    P(lstat, EFAULT, PATH, BAD),
    P(fstat, EFAULT, FD, BAD),
    P(newfstatat, EFAULT, AT_FDCWD, PATH, BAD, 0),
    P(statx, EFAULT, AT_FDCWD, PATH, 0, 0x7ff, BAD),
    P(statfs, EFAULT, PATH, BAD),
    P(fstatfs, EFAULT, FD, BAD),
    P(access, EFAULT, BAD, 0),
    P(faccessat, EFAULT, AT_FDCWD, BAD, 0),
    P(mkdir, EFAULT, BAD, 0),
    P(rmdir, EFAULT, BAD),
    P(unlink, EFAULT, BAD),
    P(unlinkat, EFAULT, AT_FDCWD, BAD, 0),
    P(rename, EFAULT, BAD, PATH),
    P(rename, EFAULT, PATH, BAD),
    P(link, EFAULT, PATH, BAD),
    P(symlink, EFAULT, BAD, PATH),
    P(readlink, EFAULT, BAD, GOOD, 10),
    P(readlinkat, EFAULT, AT_FDCWD, BAD, GOOD, 10),
    P(chmod, EFAULT, BAD, 0600),
    P(chown, EFAULT, BAD, 0, 0),
    P(truncate, EFAULT, BAD, 0),
    P(chdir, EFAULT, BAD),
    P(getcwd, EFAULT, BAD, 100),
    P(getdents64, EFAULT, DIRECTORY, BAD, 1000),
    P(utimensat, EFAULT, AT_FDCWD, PATH, BAD, 0),
    P(pipe, EFAULT, BAD),
    P(pipe2, EFAULT, BAD, 0),
    P(ioctl, EFAULT, PIPE_R, FIONREAD, BAD),
    P(ioctl, EFAULT, PIPE_R, FIONBIO, BAD),
    P(poll, EFAULT, BAD, 3, 0),
    P(ppoll, EFAULT, BAD, 3, 0, 0, 8),
    P(select, EFAULT, 3, BAD, 0, 0, 0),
    P(select, EFAULT, 3, 0, BAD, 0, 0),
    P(select, EFAULT, 3, 0, 0, BAD, 0),
    P(select, EFAULT, 0, 0, 0, 0, BAD),
    P(pselect6, EFAULT, 3, BAD, 0, 0, 0, 0),
    P(pselect6, EFAULT, 0, 0, 0, 0, BAD, 0),
    P(pselect6, EFAULT, 0, 0, 0, 0, 0, BAD),
    P(epoll_ctl, EFAULT, EP, EPOLL_CTL_ADD, PIPE_W, BAD),
    P(epoll_wait, EFAULT, EP, BAD, 3, 0),
    P(epoll_pwait, EFAULT, EP, BAD, 3, 0, 0, 8),
    P(epoll_pwait, EFAULT, EP, GOOD, 3, 0, BAD, 8),
    P(epoll_pwait2, EFAULT, EP, GOOD, 3, BAD, 0, 8),
    P(rt_sigaction, EFAULT, SIGUSR1, BAD, 0, 8),
    P(rt_sigaction, EFAULT, SIGUSR1, 0, BAD, 8),
    P(rt_sigprocmask, EFAULT, SIG_BLOCK, BAD, 0, 8),
    P(rt_sigprocmask, EFAULT, SIG_BLOCK, 0, BAD, 8),
    P(rt_sigpending, EFAULT, BAD, 8),
    P(rt_sigsuspend, EFAULT, BAD, 8),
    P(rt_sigtimedwait, EFAULT, BAD, 0, 0, 8),
    P(rt_sigtimedwait, EFAULT, GOOD, 0, BAD, 8),
    P(rt_sigqueueinfo, EFAULT, 1, SIGUSR1, BAD),
    P(sigaltstack, EFAULT, BAD, 0),
    P(sigaltstack, EFAULT, 0, BAD),
    P(nanosleep, EFAULT, BAD, 0),
    P(clock_nanosleep, EFAULT, CLOCK_MONOTONIC, 0, BAD, 0),
    P(clock_gettime, EFAULT, CLOCK_MONOTONIC, BAD),
    P(clock_getres, EFAULT, CLOCK_MONOTONIC, BAD),
    P(gettimeofday, EFAULT, BAD, 0),
    P(time, EFAULT, BAD),
    P(times, EFAULT, BAD),
    P(getitimer, EFAULT, 0, BAD),
    P(setitimer, EFAULT, 0, BAD, 0),
    P(getrusage, EFAULT, RUSAGE_SELF, BAD),
    P(getrlimit, EFAULT, RLIMIT_NOFILE, BAD),
    P(setrlimit, EFAULT, RLIMIT_NOFILE, BAD),
    P(prlimit64, EFAULT, 0, RLIMIT_NOFILE, 0, BAD),
    P(prlimit64, EFAULT, 0, RLIMIT_NOFILE, BAD, 0),
    P(uname, EFAULT, BAD),
    P(sysinfo, EFAULT, BAD),
    P(getrandom, EFAULT, BAD, 10, 0),
    P(execve, EFAULT, BAD, 0, 0),
    P(execve, EFAULT, PROGRAM, BAD, 0),
    P(clone3, EFAULT, BAD, 88),
    P(futex, EFAULT, GOOD, FUTEX_WAIT_PRIVATE, 0, BAD),
    P(sched_getaffinity, EFAULT, 0, 128, BAD),
    P(getresuid, EFAULT, BAD, GOOD, GOOD),
    P(getgroups, EFAULT, 32, BAD),
    P(arch_prctl, EFAULT, 0x1003, BAD), // ARCH_GET_FS
    P(prctl, EFAULT, 15, BAD),          // PR_SET_NAME
    P(sendfile, EFAULT, PIPE_W, FD, BAD, 10),
    P(memfd_create, EFAULT, BAD, 0),
};

static long good_buffer[2000];

static void check_probes(long bad) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600)), ep = (int)OK(epoll_create1(0));
    OK(write(fd, "some content that can be read", 29));
    OK(lseek(fd, 0, SEEK_SET));
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, make_eventfd(1, 0), &event));
    int directory = (int)OK(open(temp_dir(), O_RDONLY | O_DIRECTORY));
    const char *path = temp_path("file");
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        const struct probe *probe = &probes[i];
        long a[6];
        for (int n = 0; n < 6; n++) {
            long v = probe->arguments[n];
            a[n] = v == FD          ? fd
                   : v == BAD       ? bad
                   : v == GOOD      ? (long)good_buffer
                   : v == EP        ? ep
                   : v == DIRECTORY ? directory
                   : v == PIPE_R    ? p.r
                   : v == PIPE_W    ? p.w
                   : v == PATH      ? (long)path
                   : v == PROGRAM   ? (long)"/proc/self/exe"
                                    : v;
        }
        if (probe->number == SYS_getgroups && getgroups(0, NULL) == 0)
            continue; // nothing to copy
        memset(good_buffer, 0, sizeof good_buffer);
        errno = 0;
        long result = syscall(probe->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (result != -1 || errno != probe->error)
            check_failed(__FILE__, __LINE__, "%s (probe %zu) with %#lx: %ld, errno %s", probe->name, i, (unsigned long)bad,
                         result, errno_name(errno));
    }
}

TEST(body_pointers_into_the_first_page) { check_probes((long)BAD_POINTER); }

TEST(body_pointers_into_nothing) {
    char *gone = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(munmap(gone, 8192));
    check_probes((long)gone);
}

TEST(body_pointers_into_a_forbidden_page) {
    check_probes((long)mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

TEST(body_pointers_into_the_kernel) { check_probes((long)0xffff800000000000ul); }
TEST(body_pointers_to_the_kernels_code) { check_probes((long)0xffffffff80001000ul); }
TEST(body_pointers_to_the_last_byte) { check_probes(-1l); }
TEST(body_pointers_that_are_not_canonical) { check_probes((long)0x0000800000000000ul); }

// A read into memory that ends: what fits is counted, or EFAULT, but never a crash, and the file position is sane.
TEST(body_buffers_that_end_early) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    char data[10000];
    memset(data, 5, sizeof data);
    OK(write(fd, data, sizeof data));
    char *end = guarded_end(4096 + 10);
    ssize_t n = pread(fd, end, sizeof data, 0);
    CHECK(n == -1 ? errno == EFAULT : n > 0 && n <= 4096 + 10);
    n = pwrite(fd, end, sizeof data, 0);
    CHECK(n == -1 ? errno == EFAULT : n > 0 && n <= 4096 + 10);
    struct stat status;
    OK(fstat(fd, &status));
    CHECK_EQ(status.st_size, sizeof data);
}

TEST(body_structures_across_a_page_border) {
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    struct timespec *across = (struct timespec *)(pages + 4096 - 8);
    OK(syscall(SYS_clock_gettime, CLOCK_REALTIME, across));
    CHECK_GT(across->tv_sec, 0);
    struct stat *status = (struct stat *)(pages + 4096 - 72);
    OK(syscall(SYS_stat, "/", status));
    CHECK(S_ISDIR(status->st_mode));
    FAILS(syscall(SYS_stat, "/", guarded_end(sizeof(struct stat) - 1)), EFAULT);
    OK(syscall(SYS_stat, "/", guarded_end(sizeof(struct stat))));
    // A string that ends with the last byte of its page.
    char *path = guarded_end(2);
    memcpy(path, "/", 2);
    OK(access(path, F_OK));
    path[1] = 'x';
    FAILS(access(path, F_OK), EFAULT);
}

TEST(body_writes_into_read_only_memory) {
    static const char constant[200] = "constant";
    struct pipe_ends p = make_pipe(0);
    put_byte(p.w);
    FAILS(syscall(SYS_read, p.r, constant, 1), EFAULT);
    FAILS(syscall(SYS_uname, constant), EFAULT);
    CHECK(strcmp(constant, "constant") == 0);
    take_byte(p.r);
}

// Every system call with nonsense in every argument: errors, not a crash. Calls that end, block, or change what the test
// stands on are left out.
TEST(body_nonsense_in_every_argument) {
    static const int left_out[] = {SYS_exit,        SYS_exit_group, SYS_pause,      SYS_fork,    SYS_vfork,  SYS_clone,
                                   SYS_rt_sigreturn, SYS_alarm,     SYS_brk,        SYS_reboot,  SYS_sync,   SYS_vhangup,
                                   SYS_setsid,      SYS_umask,      SYS_kill,       SYS_tkill,   SYS_munmap, SYS_personality,
                                   SYS_iopl,        SYS_ioperm,     SYS_arch_prctl, SYS_unshare, SYS_ptrace, SYS_mlockall,
                                   SYS_munlockall,  SYS_setuid,     SYS_setgid,     SYS_setreuid, SYS_setregid, SYS_setresuid,
                                   SYS_setresgid,   SYS_setfsuid,   SYS_setfsgid,   SYS_capset,  SYS_swapon, SYS_swapoff,
                                   SYS_pivot_root,  SYS_chroot,     SYS_mount,      SYS_umount2, SYS_sethostname,
                                   SYS_setdomainname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime,
                                   SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load,
                                   SYS_syslog,      SYS_acct,       SYS_quotactl,   SYS_sched_yield, SYS_close,
                                   SYS_rseq,        SYS_set_tid_address, SYS_set_robust_list, SYS_membarrier, SYS_seccomp,
                                   SYS_landlock_restrict_self, SYS_prctl, SYS_close_range, SYS_setpriority, SYS_bpf};
    static const unsigned long nonsense[] = {~0ul, 0xffff800000000000ul, 0x8000000000000000ul};
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        alarm(20);
        for (long number = 0; number < 450; number++) {
            bool skip = number >= 335 && number < 424;
            for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
                skip |= number == left_out[i];
            for (size_t i = 0; !skip && i < 3; i++)
                syscall(number, nonsense[i], nonsense[i], nonsense[i], nonsense[i], nonsense[i], nonsense[i]);
        }
        _exit(0);
    }
    CHECK_EQ(wait_status(child), 0);
}
