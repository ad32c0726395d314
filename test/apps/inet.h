// SPDX-License-Identifier: MPL-2.0
//
// Short names for what the tests of TCP and UDP do. All is on the loopback; a peer's answer may take a moment on a kernel that
// sends packets, so masks are awaited.
#ifndef INET_H
#define INET_H

#include "ask.h"
#include "ep.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define ALL_EVENTS (POLLIN | POLLOUT | POLLRDHUP | POLLPRI)

typedef struct sockaddr_in in4;
typedef struct sockaddr_in6 in6;
#define SA(address) ((struct sockaddr *)(address))

static inline void await_mask(int fd, short events, int expected) {
    for (int i = 0; i < 3000 && ask(fd, events) != expected; i++)
        sleep_ms(1);
    CHECK_EQ(ask(fd, events), expected);
}

static inline in4 at4(uint32_t ip, uint16_t port) {
    return (in4){.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip), .sin_port = htons(port)};
}
static inline in4 local4(uint16_t port) { return at4(INADDR_LOOPBACK, port); }
static inline in6 at6(struct in6_addr ip, uint16_t port) {
    return (in6){.sin6_family = AF_INET6, .sin6_addr = ip, .sin6_port = htons(port)};
}

static inline int sock(int family, int type) { return (int)OK(socket(family, type, 0)); }
static inline int tcp(void) { return sock(AF_INET, SOCK_STREAM); }
static inline int udp(void) { return sock(AF_INET, SOCK_DGRAM); }

static inline void set_int(int fd, int level, int name, int value) {
    OK(setsockopt(fd, level, name, &value, sizeof value));
}
static inline int get_int(int fd, int level, int name) {
    int value = -12345;
    socklen_t length = sizeof value;
    OK(getsockopt(fd, level, name, &value, &length));
    return value;
}
static inline int so_error(int fd) { return get_int(fd, SOL_SOCKET, SO_ERROR); }

static inline in4 name_of(int fd) {
    in4 address = {0};
    socklen_t length = sizeof address;
    OK(getsockname(fd, SA(&address), &length));
    return address;
}
static inline uint16_t port_of(int fd) {
    in6 address = {0}; // the port lies at the same place in both
    socklen_t length = sizeof address;
    OK(getsockname(fd, SA(&address), &length));
    return ntohs(address.sin6_port);
}

static inline void bind4(int fd, in4 address) { OK(bind(fd, SA(&address), sizeof address)); }

// A listener on 127.0.0.1, at any port.
static inline int tcp_listener(int backlog) {
    int fd = tcp();
    bind4(fd, local4(0));
    OK(listen(fd, backlog));
    return fd;
}

static inline int connect4(int fd, in4 address) { return connect(fd, SA(&address), sizeof address); }

static inline int tcp_client(int listener) {
    int fd = tcp();
    OK(connect4(fd, local4(port_of(listener))));
    return fd;
}

// Two connected ends: `w` is the client, `r` the server.
static inline struct pipe_ends tcp_pair(void) {
    int listener = tcp_listener(1), client = tcp_client(listener), server = (int)OK(accept(listener, NULL, NULL));
    OK(close(listener));
    return (struct pipe_ends){.r = server, .w = client};
}

// A port of 127.0.0.1 where nobody is; `*keeper` keeps it so.
static inline in4 dead_port(int type, int *keeper) {
    *keeper = sock(AF_INET, type);
    bind4(*keeper, local4(0));
    in4 address = name_of(*keeper);
    if (type == SOCK_DGRAM)
        OK(close(*keeper));
    return address;
}

static inline void await_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK_EQ(OK(poll(&p, 1, 10000)), 1);
}

static inline void send_all(int fd, const char *bytes, size_t length) { CHECK_EQ(OK(send(fd, bytes, length, 0)), (long)length); }
#define SAY(fd, text) send_all(fd, text, sizeof(text) - 1)
#define HEAR(fd, text)                                                                                                 \
    do {                                                                                                               \
        char heard_[sizeof(text) + 16] = {0};                                                                          \
        CHECK_EQ(OK(recv(fd, heard_, sizeof heard_, 0)), (long)(sizeof(text) - 1));                                    \
        CHECK(memcmp(heard_, text, sizeof(text) - 1) == 0);                                                            \
    } while (0)

#endif
