// SPDX-License-Identifier: MPL-2.0

// Curves: how costs grow with what is watched, ready, waiting or armed.

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "watch.h"

static const long decades[] = { 1, 10, 100, 1000, 10000, 100000 };
static const long waiters[] = { 1, 2, 4, 8, 16, 32, 64 };

#define FOR_EACH(number, list) \
    for (const long *number = list; number < list + sizeof list / sizeof *list; number++)

// --- looking at many, of which some are ready -----------------------------------------------------------------------------

static void point_select(const struct row *row)
{
    measure_select(eventfds(row->x, row->arguments[0]), row->x, row->arguments[0], READABLE);
}

static void point_poll(const struct row *row)
{
    measure_poll(eventfds(row->x, row->arguments[0]), row->x, row->arguments[0]);
}

static void point_epoll_wait(const struct row *row)
{
    measure_epoll_wait(eventfds(row->x, row->arguments[0]), row->x, row->arguments[0]);
}

static void add_ready_series(row_function *run, const char *curve)
{
    static const struct {
        long ready;
        const char *series;
    } kinds[] = { { 1, "1 ready" }, { 8, "8 ready" }, { 64, "64 ready" } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        // Each series starts where all are ready.
        if (kinds[i].ready != 1)
            add_point(run, kinds[i].ready, 0, curve, kinds[i].series, kinds[i].ready);
        FOR_EACH(count, decades)
            if (*count >= kinds[i].ready)
                add_point(run, kinds[i].ready, 0, curve, kinds[i].series, *count);
    }
}

static void point_ctl(const struct row *row)
{
    measure_add_del(row->x);
}

// --- what a write costs when epolls watch the file ------------------------------------------------------------------------

static void notify_batch(void *context, long n)
{
    int fd = *(int *)context;
    uint64_t value = 1;
    while (n-- > 0)
        if (write(fd, &value, sizeof value) < 0)
            give_up("eventfd");
}

// x epolls watch one eventfd for `arguments[0]`; it is written to.
static void point_notify(const struct row *row)
{
    int fd = new_eventfd(0, 0);
    allow_descriptors(row->x);
    for (long i = 0; i < row->x; i++)
        epoll_add(new_epoll(), fd, (uint32_t)row->arguments[0]);
    measure(notify_batch, &fd);
}

// --- waking one of many waiters -------------------------------------------------------------------------------------------

struct meeting {
    int epoll;
    int there;
    int back;
};

static void meeting_batch(void *context, long n)
{
    struct meeting meeting = *(struct meeting *)context;
    uint64_t value = 1;
    while (n-- > 0)
        if (write(meeting.there, &value, sizeof value) < 0 || read(meeting.back, &value, sizeof value) < 0)
            give_up("eventfd");
}

// Whoever gets the value answers; the others were woken for nothing.
static void waiter(void *context)
{
    struct meeting meeting = *(struct meeting *)context;
    struct epoll_event event;
    uint64_t value;
    while (epoll_wait(meeting.epoll, &event, 1, -1) == 1)
        if (read(meeting.there, &value, sizeof value) > 0 && write(meeting.back, &value, sizeof value) < 0)
            return;
}

// x threads wait on one epoll.
static void point_waiters(const struct row *row)
{
    struct meeting meeting = { .epoll = new_epoll(), .there = new_eventfd(0, EFD_NONBLOCK), .back = new_eventfd(0, 0) };
    epoll_add(meeting.epoll, meeting.there, (uint32_t)row->arguments[0]);
    for (long i = 0; i < row->x; i++)
        start_thread(waiter, &meeting);
    measure(meeting_batch, &meeting);
}

// --- accept by one of many servers ------------------------------------------------------------------------------------------

struct service {
    int listener;
    uint32_t events;
    struct sockaddr_in address;
};

static void connect_batch(void *context, long n)
{
    const struct service *service = context;
    const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    char byte;
    while (n-- > 0) {
        int client = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket");
        must(connect(client, (const struct sockaddr *)&service->address, sizeof service->address), "connect");
        must(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), "SO_LINGER");
        if (read(client, &byte, 1) != 1)
            give_up("read");
        close(client);
    }
}

static void server(void *context)
{
    const struct service *service = context;
    struct epoll_event event;
    int epoll = new_epoll();
    epoll_add(epoll, service->listener, service->events);
    while (epoll_wait(epoll, &event, 1, -1) == 1) {
        int client = accept(service->listener, NULL, NULL);
        if (client < 0 && errno != EAGAIN)
            give_up("accept");
        if (client >= 0) {
            must(write(client, "x", 1), "write");
            close(client);
        }
    }
}

// x threads, each with an epoll of its own, wait for connections to one listener.
static void point_accept(const struct row *row)
{
    struct service service = { .events = (uint32_t)row->arguments[0] };
    service.listener = tcp_listener(&service.address, 64);
    must(fcntl(service.listener, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
    for (long i = 0; i < row->x; i++)
        start_thread(server, &service);
    measure(connect_batch, &service);
}

// --- timers -------------------------------------------------------------------------------------------------------------------

struct timers {
    int fd;
    long round;
};

// None of them expires while it is measured: the first would in an hour.
static struct itimerspec far_away(long offset_s)
{
    return (struct itimerspec){ .it_value.tv_sec = 3600 + offset_s };
}

static void timer_batch(void *context, long n)
{
    struct timers *timers = context;
    while (n-- > 0) {
        // To another place among the others each time.
        struct itimerspec time = far_away(timers->round++ * 7919 % 100000);
        if (timerfd_settime(timers->fd, 0, &time, NULL) < 0)
            give_up("timerfd_settime");
    }
}

// x timers are armed, one of them is armed anew.
static void point_timers(const struct row *row)
{
    struct timers timers = { 0 };
    allow_descriptors(row->x);
    for (long i = 0; i < row->x; i++) {
        struct itimerspec time = far_away(i * 100000 / row->x);
        timers.fd = (int)must(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create");
        must(timerfd_settime(timers.fd, 0, &time, NULL), "timerfd_settime");
    }
    measure(timer_batch, &timers);
}

void add_curves(void)
{
    static const long observers[] = { 0, 1, 10, 100, 1000 };
    add_ready_series(point_select, "select");
    add_ready_series(point_poll, "poll");
    add_ready_series(point_epoll_wait, "epoll_wait");
    FOR_EACH(count, decades)
        add_point(point_ctl, 0, 0, "epoll_ctl", "ADD and DEL", *count);
    FOR_EACH(count, observers)
        add_point(point_notify, EPOLLPRI, 0, "notify", "not interested", *count);
    FOR_EACH(count, observers)
        add_point(point_notify, EPOLLIN, 0, "notify", "interested", *count);
    FOR_EACH(count, waiters)
        add_point(point_waiters, EPOLLIN, 0, "waiters", "level", *count);
    FOR_EACH(count, waiters)
        add_point(point_waiters, EPOLLIN | EPOLLET, 0, "waiters", "edge", *count);
    FOR_EACH(count, waiters)
        add_point(point_accept, EPOLLIN, 0, "accept", "all are woken", *count);
    FOR_EACH(count, waiters)
        add_point(point_accept, EPOLLIN | EPOLLEXCLUSIVE, 0, "accept", "EXCLUSIVE", *count);
    FOR_EACH(count, decades)
        add_point(point_timers, 0, 0, "timers", "timerfd_settime", *count);
}
