// SPDX-License-Identifier: MPL-2.0
//
// A short tour of what the kernel does best: saying what is ready. An epoll program over pipes and eventfds, every answer
// checked before it is printed. Runs on any Linux as well, with the same output.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

static int mistakes;

static void stop(const char *what) {
    perror(what);
    exit(1);
}

// One line of the tour: what was done, what the kernel answered, and whether that is right.
__attribute__((format(printf, 3, 4))) static void show(const char *did, bool right, const char *format, ...) {
    char answer[96];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(answer, sizeof(answer), format, arguments);
    va_end(arguments);
    printf("  %-58s %s%s\n", did, answer, right ? "" : "   <-- WRONG");
    mistakes += !right;
}

static void title(const char *text) { printf("\n%s\n", text); }

static const char *names(uint32_t events, char *buffer, size_t size) {
    static const struct {
        uint32_t bit;
        const char *name;
    } known[] = {{EPOLLIN, "IN"}, {EPOLLOUT, "OUT"}, {EPOLLERR, "ERR"}, {EPOLLHUP, "HUP"}, {EPOLLPRI, "PRI"}};

    buffer[0] = '\0';
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!(events & known[i].bit))
            continue;
        if (buffer[0])
            strncat(buffer, "|", size - strlen(buffer) - 1);
        strncat(buffer, known[i].name, size - strlen(buffer) - 1);
    }
    return buffer[0] ? buffer : "nothing";
}

static void watch(int ep, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST && epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event) < 0)
        stop("epoll_ctl");
}

// Asks once, without waiting, and shows what `fd` is said to be ready for.
static void ask(const char *did, int ep, int fd, uint32_t expected) {
    struct epoll_event events[4];
    char text[32];
    uint32_t got = 0;
    int n = epoll_wait(ep, events, 4, 0);

    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == fd)
            got = events[i].events;
    }
    show(did, got == expected, "%s", names(got, text, sizeof(text)));
}

static void put(int fd, const char *text) {
    if (write(fd, text, strlen(text)) < 0)
        stop("write");
}

static void get(int fd, size_t size) {
    char buffer[256];

    if (read(fd, buffer, size) < 0)
        stop("read");
}

static void add(int fd, uint64_t value) {
    if (write(fd, &value, sizeof(value)) < 0)
        stop("write to eventfd");
}

static double milliseconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void level_and_edge(void) {
    int ep = epoll_create1(EPOLL_CLOEXEC), pipe_fds[2];

    if (ep < 0 || pipe(pipe_fds) < 0)
        stop("epoll_create1, pipe");
    title("Level: reported until drained");
    watch(ep, pipe_fds[0], EPOLLIN);
    ask("an empty pipe", ep, pipe_fds[0], 0);
    put(pipe_fds[1], "ab");
    ask("two bytes written", ep, pipe_fds[0], EPOLLIN);
    get(pipe_fds[0], 1);
    ask("one byte read, one left: still", ep, pipe_fds[0], EPOLLIN);
    get(pipe_fds[0], 1);
    ask("the other one read", ep, pipe_fds[0], 0);

    title("Edge: reported once per event, even if it was readable before");
    watch(ep, pipe_fds[0], EPOLLIN | EPOLLET);
    put(pipe_fds[1], "a");
    ask("one byte written", ep, pipe_fds[0], EPOLLIN);
    ask("asked again", ep, pipe_fds[0], 0);
    put(pipe_fds[1], "b");
    ask("another byte on top of the first", ep, pipe_fds[0], EPOLLIN);
    close(pipe_fds[1]);
    ask("the writer leaves, the bytes stay", ep, pipe_fds[0], EPOLLIN | EPOLLHUP);
    close(pipe_fds[0]);
    close(ep);
}

static void oneshot_and_many(void) {
    enum { COUNT = 5 };
    struct epoll_event events[2];
    int ep = epoll_create1(0), fds[COUNT], seen[COUNT] = {0}, calls = 0;

    if (ep < 0)
        stop("epoll_create1");
    title("One-shot, and more events than room");
    for (int i = 0; i < COUNT; i++) {
        if ((fds[i] = eventfd(0, EFD_NONBLOCK)) < 0)
            stop("eventfd");
        watch(ep, fds[i], EPOLLIN | EPOLLONESHOT);
        add(fds[i], 1);
    }
    for (int n; (n = epoll_wait(ep, events, 2, 0)) > 0; calls++) {
        for (int k = 0; k < n; k++) {
            for (int i = 0; i < COUNT; i++)
                seen[i] += events[k].data.fd == fds[i];
        }
    }
    bool once = true;
    for (int i = 0; i < COUNT; i++)
        once = once && seen[i] == 1;
    show("five eventfds ready, room for two events per call", once && calls == 3, "each once, in %d calls", calls);
    watch(ep, fds[3], EPOLLIN | EPOLLONESHOT);
    ask("the fourth is armed again by EPOLL_CTL_MOD", ep, fds[3], EPOLLIN);
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    close(ep);
}

static void timeouts(void) {
    struct epoll_event event;
    int ep = epoll_create1(0);

    title("Timeouts: as short as possible, never too short");
    double start = milliseconds();
    int n = epoll_wait(ep, &event, 1, 50);
    double took = milliseconds() - start;
    // How much longer depends on the machine; the tour's output should not.
    show("epoll_wait(50 ms) with nothing to wait for", n == 0 && took >= 50, "%d events, %s", n,
         took >= 50 ? "not early" : "EARLY");
    close(ep);
}

static void *ring(void *argument) {
    struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};

    nanosleep(&pause, NULL);
    add(*(int *)argument, 7);
    return NULL;
}

static void woken_by_a_thread(void) {
    struct epoll_event event;
    uint64_t value = 0;
    pthread_t thread;
    int ep = epoll_create1(0), bell = eventfd(0, 0);

    title("A sleeper is woken by another thread");
    watch(ep, bell, EPOLLIN);
    pthread_create(&thread, NULL, ring, &bell);
    int n = epoll_wait(ep, &event, 1, 10000);
    if (read(bell, &value, sizeof(value)) < 0)
        stop("read from eventfd");
    pthread_join(thread, NULL);
    show("epoll_wait, while a thread adds 7 to an eventfd", n == 1 && value == 7, "%d event, value %d", n, (int)value);
    close(bell);
    close(ep);
}

static void nested_and_classic(void) {
    int inner = epoll_create1(0), outer = epoll_create1(0), pipe_fds[2];
    struct timeval no_time = {0};
    fd_set readable;

    if (pipe(pipe_fds) < 0)
        stop("pipe");
    title("Nested, and by the classic calls");
    watch(inner, pipe_fds[0], EPOLLIN);
    watch(outer, inner, EPOLLIN);
    ask("an epoll watches an epoll that watches a pipe", outer, inner, 0);
    put(pipe_fds[1], "x");
    ask("a byte for the pipe", outer, inner, EPOLLIN);

    struct pollfd list[2] = {{.fd = pipe_fds[0], .events = POLLIN}, {.fd = pipe_fds[1], .events = POLLOUT}};
    int n = poll(list, 2, 0);
    show("poll() on both ends of the pipe", n == 2, "%d ready", n);
    FD_ZERO(&readable);
    FD_SET(pipe_fds[0], &readable);
    n = select(pipe_fds[0] + 1, &readable, NULL, NULL, &no_time);
    show("select() on the reading end", n == 1, "%d ready", n);
    struct epoll_event event = {.events = EPOLLIN};
    n = epoll_ctl(inner, EPOLL_CTL_ADD, outer, &event);
    show("closing the circle", n < 0 && errno == ELOOP, "%s", n < 0 ? strerror(errno) : "accepted");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    close(inner);
    close(outer);
}

int main(void) {
    printf("Pollux: what is ready?   (what happened, and what the kernel then said)\n");
    level_and_edge();
    oneshot_and_many();
    timeouts();
    woken_by_a_thread();
    nested_and_classic();
    printf("\n%s\n", mistakes ? "Something is wrong: see above." : "All answers are right.");
    return mistakes != 0;
}
