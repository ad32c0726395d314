// SPDX-License-Identifier: MPL-2.0
//
// The test side of the harness: time, threads, children, files.
#include "harness.h"

#include <ftw.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>

const char *errno_name(int error) {
    const char *name = error == 0 ? "0" : strerrorname_np(error);
    return name ? name : "unknown";
}

bool on_pollux(void) {
    struct utsname names;
    return uname(&names) == 0 && (strstr(names.version, "Pollux") || strstr(names.release, "pollux") ||
                                  strstr(names.sysname, "Pollux"));
}

int64_t socket_timeout_at_least(int milliseconds) {
    const int64_t jiffy = 10 * MS; // The longest that Linux is built with.
    return milliseconds * MS - (on_pollux() ? 0 : jiffy);
}

bool linux_before(int major, int minor) {
    struct utsname names;
    int running_major = 0, running_minor = 0;
    if (on_pollux() || uname(&names) != 0 || sscanf(names.release, "%d.%d", &running_major, &running_minor) != 2)
        return false;
    return running_major < major || (running_major == major && running_minor < minor);
}

int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000ll + now.tv_nsec;
}

void sleep_ms(int milliseconds) {
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000l};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

void settle(void) { sleep_ms(20); }

pid_t fork_run(void (*fn)(void *), void *arg) {
    pid_t pid = (pid_t)OK(fork());
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    return pid;
}

int wait_status(pid_t pid) {
    int status = 0;
    pid_t got;
    while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
    }
    CHECK_EQ(got, pid);
    return status;
}

void join_child(pid_t pid) {
    int status = wait_status(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        check_failed(__FILE__, __LINE__, "child %d ended with status 0x%x", (int)pid, status);
}

pthread_t thread_run(void *(*fn)(void *), void *arg) {
    pthread_t thread;
    errno = pthread_create(&thread, NULL, fn, arg);
    CHECK(errno == 0);
    return thread;
}

void *thread_join(pthread_t thread) {
    void *result = NULL;
    errno = pthread_join(thread, &result);
    CHECK(errno == 0);
    return result;
}

pid_t gettid_(void) { return (pid_t)syscall(SYS_gettid); }

// The state letter of /proc/PID/task/TID/stat; 0 where there is no such file.
static char thread_state(pid_t pid, pid_t tid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return 0;
    text[length] = 0;
    const char *end_of_name = strrchr(text, ')');
    return end_of_name && end_of_name[1] == ' ' ? end_of_name[2] : 0;
}

void await_asleep(pid_t pid, pid_t tid) {
    for (int i = 0; i < 2000; i++) {
        char state = thread_state(pid, tid);
        if (state == 'S' || state == 'D')
            return;
        if (state == 0) {
            sleep_ms(50);
            return;
        }
        sleep_ms(1);
    }
}

static void *sleeper_main(void *arg) {
    struct sleeper *s = arg;
    s->tid = gettid_();
    s->fn(s->arg);
    s->done = true;
    return NULL;
}

void sleeper_start(struct sleeper *s, void (*fn)(void *), void *arg) {
    s->tid = 0;
    s->done = false;
    s->fn = fn;
    s->arg = arg;
    s->thread = thread_run(sleeper_main, s);
}

void sleeper_await_blocked(struct sleeper *s) {
    while (s->tid == 0)
        sleep_ms(1);
    if (!s->done)
        await_asleep(getpid(), s->tid);
}

void sleeper_join(struct sleeper *s) { thread_join(s->thread); }

struct delayed {
    int milliseconds;
    void (*fn)(void *);
    void *arg;
};

static void *delayed_main(void *arg) {
    struct delayed job = *(struct delayed *)arg;
    free(arg);
    sleep_ms(job.milliseconds);
    job.fn(job.arg);
    return NULL;
}

pthread_t later(int milliseconds, void (*fn)(void *), void *arg) {
    struct delayed *job = malloc(sizeof *job);
    CHECK(job);
    *job = (struct delayed){milliseconds, fn, arg};
    return thread_run(delayed_main, job);
}

void interrupt_main(void *unused) {
    (void)unused;
    await_asleep(getpid(), getpid());
    OK(syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1));
}

_Atomic int signals_seen[65];

static void on_signal(int signal) { signals_seen[signal]++; }

void count_signal(int signal, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    OK(sigaction(signal, &action, NULL));
}

struct pipe_ends make_pipe(int flags) {
    int fds[2];
    OK(pipe2(fds, flags));
    return (struct pipe_ends){fds[0], fds[1]};
}

int make_eventfd(unsigned initial, int flags) { return (int)OK(eventfd(initial, flags)); }

void put(int fd, uint64_t value) { CHECK_EQ(write(fd, &value, sizeof value), 8); }

uint64_t take(int fd) {
    uint64_t value = 0;
    CHECK_EQ(read(fd, &value, sizeof value), 8);
    return value;
}

void put_byte(int fd) { CHECK_EQ(write(fd, "x", 1), 1); }

void take_byte(int fd) {
    char byte;
    CHECK_EQ(read(fd, &byte, 1), 1);
}

void set_nonblocking(int fd, bool on) {
    int flags = (int)OK(fcntl(fd, F_GETFL));
    OK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

void fill(int fd) {
    static const char page[4096];
    set_nonblocking(fd, true);
    while (write(fd, page, sizeof page) > 0) {
    }
    CHECK_EQ(errno, EAGAIN);
}

size_t drain(int fd) {
    char page[4096];
    size_t total = 0;
    ssize_t n;
    set_nonblocking(fd, true);
    while ((n = read(fd, page, sizeof page)) > 0)
        total += (size_t)n;
    return total;
}

static pid_t test_leader; // the process of the test, whose number names its directory
static char temp[64];

void temp_belongs_to(pid_t leader) { test_leader = leader; }

static void name_temp(pid_t leader) { snprintf(temp, sizeof temp, "/tmp/apps-test-%d", (int)leader); }

const char *temp_dir(void) {
    if (!temp[0]) {
        name_temp(test_leader);
        CHECK(mkdir(temp, 0700) == 0 || errno == EEXIST);
    }
    return temp;
}

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *place) {
    (void)status;
    (void)flag;
    (void)place;
    return remove(path);
}

void temp_remove(pid_t leader) {
    name_temp(leader);
    if (rmdir(temp) != 0 && errno == ENOTEMPTY)
        nftw(temp, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    temp[0] = 0;
}

const char *temp_path(const char *name) {
    char *path = NULL;
    CHECK(asprintf(&path, "%s/%s", temp_dir(), name) > 0);
    return path;
}

void *guarded_end(size_t bytes) {
    size_t pages = (bytes + 4095) / 4096;
    char *base = mmap(NULL, (pages + 1) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    OK(mprotect(base + pages * 4096, 4096, PROT_NONE));
    return base + pages * 4096 - bytes;
}

// A function, so that the compiler does not know it for what it is.
void *bad_pointer(void) { return (void *)16; }
