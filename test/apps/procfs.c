// SPDX-License-Identifier: MPL-2.0
//
// /proc as programs read it.
#include "ep.h"

#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static char text[65536];

static const char *slurp(const char *path) {
    int fd = (int)OK(open(path, O_RDONLY));
    size_t length = 0;
    ssize_t n;
    while ((n = OK(read(fd, text + length, sizeof text - 1 - length))) > 0)
        length += (size_t)n;
    text[length] = 0;
    OK(close(fd));
    return text;
}

// The number behind "Key:" of a status file.
static long field(const char *path, const char *key) {
    const char *at = strstr(slurp(path), key);
    if (!at)
        check_failed(__FILE__, __LINE__, "%s has no %s", path, key);
    return strtol(at + strlen(key), NULL, 10);
}

static const char *link_of(const char *path) {
    static char target[PATH_MAX];
    target[OK(readlink(path, target, sizeof target - 1))] = 0;
    return target;
}

TEST(body_proc_self) {
    CHECK_EQ(atoi(link_of("/proc/self")), getpid());
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", getpid());
    CHECK_EQ(atoi(slurp(path)), getpid());
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", getpid(), gettid_());
    CHECK_EQ(atoi(slurp(path)), gettid_());
    FAILS(open("/proc/99999999/stat", O_RDONLY), ENOENT);
}

TEST(body_proc_exe) {
    const char *name = strrchr(link_of("/proc/self/exe"), '/');
    CHECK(name && strcmp(name, "/procfs") == 0);
    struct stat status;
    OK(stat("/proc/self/exe", &status));
    CHECK(S_ISREG(status.st_mode) && status.st_size > 10000);
    char magic[4];
    CHECK_EQ(OK(read((int)OK(open("/proc/self/exe", O_RDONLY)), magic, 4)), 4);
    CHECK(memcmp(magic, "\177ELF", 4) == 0);
}

TEST(body_proc_cmdline_environ_comm) {
    slurp("/proc/self/cmdline");
    CHECK(strstr(text, "procfs"));
    OK(prctl(PR_SET_NAME, "renamed"));
    CHECK(strcmp(slurp("/proc/self/comm"), "renamed\n") == 0);
    CHECK(strstr(slurp("/proc/self/stat"), "(renamed)"));
}

TEST(body_proc_cwd_and_root) {
    OK(chdir(temp_dir()));
    CHECK(strcmp(link_of("/proc/self/cwd"), temp_dir()) == 0);
    CHECK(strcmp(link_of("/proc/self/root"), "/") == 0);
    OK(access("/proc/self/cwd/.", F_OK));
    OK(chdir("/"));
}

TEST(body_proc_fd) {
    int file = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600)), event_fd = make_eventfd(0, 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    CHECK(strcmp(link_of(path), temp_path("file")) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", event_fd);
    CHECK(strcmp(link_of(path), "anon_inode:[eventfd]") == 0);
    OK(write(file, "abc", 3));
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int again = (int)OK(open(path, O_RDONLY)); // a description of its own
    CHECK_EQ(OK(lseek(again, 0, SEEK_CUR)), 0);
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory);
    struct dirent *entry;
    unsigned seen = 0;
    while ((entry = readdir(directory)))
        for (int fd = 0; fd < 3; fd++)
            if (entry->d_name[0] == '0' + fd && !entry->d_name[1])
                seen |= 1u << fd;
    CHECK_EQ(seen & 6, 6);
    closedir(directory);
    OK(unlink(temp_path("file")));
    CHECK(strstr(link_of(path), " (deleted)"));
    OK(close(file));
    FAILS(readlink(path, text, 10), ENOENT);
}

TEST(body_proc_fdinfo) {
    int file = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT | O_APPEND, 0600));
    OK(ftruncate(file, 100));
    OK(lseek(file, 42, SEEK_SET));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", file);
    CHECK_EQ(field(path, "pos:\t"), 42);
    slurp(path);
    const char *flags = strstr(text, "flags:\t");
    CHECK(flags);
    CHECK_EQ(strtol(flags + 7, NULL, 8) & ~0100000, O_RDWR | O_APPEND);
    CHECK(strstr(text, "\nmnt_id:\t"));
}

TEST(body_proc_maps) {
    char *at = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    OK(mprotect(at + 4096, 4096, PROT_READ | PROT_WRITE));
    slurp("/proc/self/maps");
    bool stack = false, code = false, middle = false, file = false;
    unsigned long last = 0;
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        unsigned long start, end;
        char permissions[5], name[256] = "";
        CHECK_GE(sscanf(line, "%lx-%lx %4s %*x %*x:%*x %*u %255[^\n]", &start, &end, permissions, name), 3);
        CHECK(start < end && start >= last);
        last = end;
        stack |= strcmp(name, "[stack]") == 0 && start <= (uintptr_t)&start && (uintptr_t)&start < end;
        uintptr_t here = (uintptr_t)slurp;
        code |= start <= here && here < end && strncmp(permissions, "r-x", 3) == 0;
        file |= strstr(name, "/procfs") != NULL;
        if (start == (uintptr_t)at + 4096)
            middle = end == (uintptr_t)at + 8192 && strcmp(permissions, "rw-p") == 0;
    }
    CHECK(stack);
    CHECK(code);
    CHECK(file);
    CHECK(middle);
}

TEST(body_proc_stat_and_status) {
    const char *stat = slurp("/proc/self/stat");
    int pid, parent, group, session;
    char state;
    const char *rest = strrchr(stat, ')');
    CHECK(rest);
    CHECK_EQ(sscanf(stat, "%d", &pid), 1);
    CHECK_EQ(sscanf(rest, ") %c %d %d %d", &state, &parent, &group, &session), 4);
    CHECK(pid == getpid() && parent == getppid() && group == getpgrp() && session == getsid(0));
    CHECK_EQ(state, 'R');
    int fields = 2;
    for (const char *at = rest; (at = strchr(at, ' ')); at++)
        fields++;
    CHECK_EQ(fields, 52);
    CHECK_EQ(field("/proc/self/status", "\nPid:\t"), getpid());
    CHECK_EQ(field("/proc/self/status", "\nTgid:\t"), getpid());
    CHECK_EQ(field("/proc/self/status", "\nPPid:\t"), getppid());
    CHECK_EQ(field("/proc/self/status", "\nThreads:\t"), 1);
    CHECK_GT(field("/proc/self/status", "\nVmRSS:\t"), 0);
    CHECK(strncmp(slurp("/proc/self/status"), "Name:\tprocfs\n", 13) == 0);
    CHECK(strstr(text, "\nState:\tR (running)\n"));
}

static void wait_here(void *arg) { take_byte(*(int *)arg); }

TEST(body_proc_threads_and_states) {
    struct pipe_ends p = make_pipe(0);
    struct sleeper s;
    sleeper_start(&s, wait_here, &p.r);
    sleeper_await_blocked(&s);
    CHECK_EQ(field("/proc/self/status", "\nThreads:\t"), 2);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", s.tid);
    CHECK(strstr(slurp(path), "\nState:\tS (sleeping)\n"));
    int tasks = 0;
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        tasks += entry->d_name[0] != '.';
    CHECK_EQ(tasks, 2);
    closedir(directory);
    put_byte(p.w);
    sleeper_join(&s);
    // A thread is joined a moment before the kernel has done away with it.
    for (int i = 0; i < 2000 && access(path, F_OK) == 0; i++)
        sleep_ms(1);
    FAILS(open(path, O_RDONLY), ENOENT);
}

TEST(body_proc_of_a_stopped_and_a_dead_child) {
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    char path[64];
    CHECK_EQ(OK(waitpid(child, &status, WUNTRACED)), child);
    snprintf(path, sizeof path, "/proc/%d/status", child);
    CHECK(strstr(slurp(path), "\nState:\tT (stopped)\n"));
    OK(kill(child, SIGCONT));
    siginfo_t info;
    OK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    CHECK(strstr(slurp(path), "\nState:\tZ (zombie)\n"));
    wait_status(child);
    FAILS(open(path, O_RDONLY), ENOENT);
}

TEST(body_proc_of_the_system) {
    CHECK(strstr(slurp("/proc/meminfo"), "MemTotal:"));
    CHECK(strstr(text, "MemAvailable:"));
    CHECK_GT(field("/proc/meminfo", "MemTotal:"), 100000);
    CHECK(strstr(slurp("/proc/cpuinfo"), "processor\t: 0\n"));
    double up, idle;
    CHECK_EQ(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle), 2);
    CHECK(up > 0);
    CHECK(strstr(slurp("/proc/version"), "Linux version "));
    CHECK(strstr(slurp("/proc/filesystems"), "tmpfs"));
    CHECK(strstr(slurp("/proc/mounts"), " / "));
    CHECK(strstr(slurp("/proc/self/mountinfo"), " / "));
    CHECK(strncmp(slurp("/proc/stat"), "cpu ", 4) == 0);
    CHECK(strstr(text, "\nbtime "));
    CHECK_GE(atoi(slurp("/proc/sys/kernel/pid_max")), 1000);
    CHECK_EQ(atoi(slurp("/proc/sys/fs/pipe-max-size")), 1048576);
    float load;
    CHECK_EQ(sscanf(slurp("/proc/loadavg"), "%f", &load), 1);
}

TEST(body_proc_is_read_only) {
    FAILS(open("/proc/self/stat", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
    FAILS(mkdir("/proc/x", 0700), ENOENT);
    FAILS(unlink("/proc/self/stat"), EPERM);
}

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI | POLLRDNORM};
    OK(poll(&p, 1, 0));
    return p.revents;
}

static void wait_in_epoll(void *arg) {
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(*(int *)arg, &event, 1, -1)), 1);
}

TEST(body_proc_mounts_are_polled_for_changes) {
    static const int always = POLLIN | POLLRDNORM, changed = POLLIN | POLLRDNORM | POLLPRI | POLLERR;
    int mounts = (int)OK(open("/proc/self/mounts", O_RDONLY)), again = (int)OK(open("/proc/mounts", O_RDONLY));
    int info = (int)OK(open("/proc/self/mountinfo", O_RDONLY)), ep = ep_new();
    ep_add(ep, info, EPOLLPRI | EPOLLET, 1);
    CHECK_EQ(ask(mounts), always);
    CHECK_EQ(ep_ready(ep), 0);
    OK(mkdir(temp_path("mnt"), 0700));
    if (mount("none", temp_path("mnt"), "tmpfs", 0, NULL) != 0)
        SKIP("may not mount");
    CHECK_EQ(ask(mounts), changed);
    CHECK_EQ(ask(mounts), always); // Told once per open file.
    CHECK_EQ(ask(again), changed);
    CHECK_EQ(ep_mask(ep), EPOLLPRI | EPOLLERR);
    CHECK_EQ(ep_ready(ep), 0);
    CHECK_EQ(ask((int)OK(open("/proc/self/mounts", O_RDONLY))), always);
    OK(mount("none", temp_path("mnt"), NULL, MS_REMOUNT | MS_RDONLY, NULL));
    CHECK_EQ(ask(mounts), changed);
    struct sleeper s;
    ep_mask(ep);
    sleeper_start(&s, wait_in_epoll, &ep);
    sleeper_await_blocked(&s);
    OK(umount(temp_path("mnt")));
    sleeper_join(&s);
    CHECK_EQ(ask(mounts), changed);
    CHECK_EQ(ask(mounts), always);
}

static void expect_lock(int fd, const char *format, int pid) {
    static char text[65536], want[200], line[400];
    struct stat status;
    OK(fstat(fd, &status));
    snprintf(want, sizeof want, format, pid, major(status.st_dev), minor(status.st_dev), (unsigned long)status.st_ino);
    FILE *locks = fopen("/proc/locks", "r");
    CHECK(locks != NULL);
    for (text[0] = 0; fgets(line, sizeof line, locks);) {
        strncat(text, line, sizeof text - strlen(text) - 1);
        if (strcmp(strchr(line, ':') + 2, want) == 0) {
            fclose(locks);
            return;
        }
    }
    check_failed(__FILE__, __LINE__, "no \"%s\" in: %s", want, text);
}

static int locked_file(void) {
    char path[] = "/tmp/locks-XXXXXX";
    int fd = (int)OK(mkstemp(path));
    OK(unlink(path));
    return fd;
}

static void wait_for_lock(void *fd) {
    struct flock lock = {.l_type = F_RDLCK, .l_start = 2};
    OK(fcntl((int)(intptr_t)fd, F_SETLKW, &lock));
}

TEST(body_locks) {
    int posix = locked_file(), description = locked_file(), whole = locked_file();
    struct flock lock = {.l_type = F_WRLCK};
    OK(fcntl(posix, F_SETLK, &lock));
    lock = (struct flock){.l_type = F_RDLCK, .l_start = 5, .l_len = 10};
    OK(fcntl(description, F_OFD_SETLK, &lock));
    OK(flock(whole, LOCK_SH));
    expect_lock(posix, "POSIX  ADVISORY  WRITE %d %02x:%02x:%lu 0 EOF\n", getpid());
    expect_lock(description, "OFDLCK ADVISORY  READ %d %02x:%02x:%lu 5 14\n", -1);
    expect_lock(whole, "FLOCK  ADVISORY  READ %d %02x:%02x:%lu 0 EOF\n", getpid());
    pid_t child = fork_run(wait_for_lock, (void *)(intptr_t)posix);
    await_asleep(child, child);
    expect_lock(posix, "-> POSIX  ADVISORY  READ %d %02x:%02x:%lu 2 EOF\n", child);
    OK(close(posix));
    join_child(child);
}
