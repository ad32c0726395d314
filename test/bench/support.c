// SPDX-License-Identifier: MPL-2.0

// Building blocks of the rows. What fails here ends the row.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL)
        give_up("calloc");
    return memory;
}

void allow_descriptors(long count)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)count + 64;
    must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    must(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit(RLIMIT_NOFILE)");
}

int new_eventfd(unsigned value, int flags)
{
    return (int)must(eventfd(value, flags), "eventfd");
}

static void no_delay(int fd)
{
    int on = 1;
    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
}

int tcp_listener(struct sockaddr_in *address, int backlog)
{
    int fd = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket(AF_INET, SOCK_STREAM)");
    *address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof *address;
    must(bind(fd, (struct sockaddr *)address, size), "bind");
    must(listen(fd, backlog), "listen");
    must(getsockname(fd, (struct sockaddr *)address, &size), "getsockname");
    return fd;
}

int tcp_connection(const struct sockaddr_in *address)
{
    int fd = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket(AF_INET, SOCK_STREAM)");
    must(connect(fd, (const struct sockaddr *)address, sizeof *address), "connect");
    no_delay(fd);
    return fd;
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int listener = tcp_listener(&address, 1);
    fds[0] = tcp_connection(&address);
    fds[1] = (int)must(accept(listener, NULL, NULL), "accept");
    no_delay(fds[1]);
    close(listener);
}

static void socket_pair(enum stream kind, int fds[2])
{
    if (kind == TCP)
        tcp_pair(fds);
    else
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), "socketpair(AF_UNIX, SOCK_STREAM)");
}

struct ends new_stream(enum stream kind)
{
    int fds[2];
    if (kind == PIPE)
        must(pipe(fds), "pipe");
    else
        socket_pair(kind, fds);
    return (struct ends){ .read = fds[0], .write = fds[1] };
}

void new_duplex(enum stream kind, struct ends *ours, struct ends *theirs)
{
    if (kind == PIPE) {
        struct ends there = new_stream(PIPE), back = new_stream(PIPE);
        *ours = (struct ends){ .read = back.read, .write = there.write };
        *theirs = (struct ends){ .read = there.read, .write = back.write };
        return;
    }
    int fds[2];
    socket_pair(kind, fds);
    *ours = (struct ends){ .read = fds[0], .write = fds[0] };
    *theirs = (struct ends){ .read = fds[1], .write = fds[1] };
}

int new_epoll(void)
{
    return (int)must(epoll_create1(0), "epoll_create1");
}

void epoll_add(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.fd = fd };
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl(EPOLL_CTL_ADD)");
}

void start_process(peer_body *body, void *context)
{
    expect_switches();
    // Its end comes by the parent's kill of the group; should the parent itself be killed, by this.
    if (must(fork(), "fork") == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body(context);
        _exit(0);
    }
}

struct thread {
    peer_body *body;
    void *context;
};

static void *thread_main(void *argument)
{
    struct thread thread = *(struct thread *)argument;
    free(argument);
    thread.body(thread.context);
    return NULL;
}

void start_thread(peer_body *body, void *context)
{
    pthread_t id;
    pthread_attr_t attributes;
    struct thread *thread = allocate(1, sizeof *thread);
    *thread = (struct thread){ .body = body, .context = context };
    expect_switches();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    if (pthread_create(&id, &attributes, thread_main, thread) != 0)
        fail("pthread_create");
    pthread_attr_destroy(&attributes);
}

void read_byte(int fd)
{
    char byte;
    if (read(fd, &byte, 1) != 1)
        _exit(0);
}

void write_byte(int fd)
{
    if (write(fd, "x", 1) != 1)
        _exit(0);
}
