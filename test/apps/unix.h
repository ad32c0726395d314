// SPDX-License-Identifier: MPL-2.0
//
// What the tests of unix sockets share.
#ifndef UNIX_H
#define UNIX_H

#include "ask.h"
#include "ep.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

struct pair {
    int a, b;
};

static inline struct pair unix_pair(int type) {
    int fds[2];
    OK(socketpair(AF_UNIX, type, 0, fds));
    return (struct pair){fds[0], fds[1]};
}

static inline int unix_socket(int type) { return (int)OK(socket(AF_UNIX, type, 0)); }

struct name {
    struct sockaddr_un address;
    socklen_t length;
};

// A path; the terminator counts.
static inline struct name path_name(const char *path) {
    struct name n = {.address.sun_family = AF_UNIX};
    strcpy(n.address.sun_path, path);
    n.length = offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
    return n;
}

// An abstract name that no other test process uses.
static inline struct name abstract_name(const char *word) {
    struct name n = {.address.sun_family = AF_UNIX};
    int length = snprintf(n.address.sun_path + 1, sizeof n.address.sun_path - 1, "pollux-%s-%d", word, (int)getpid());
    n.length = offsetof(struct sockaddr_un, sun_path) + 1 + length;
    return n;
}

static inline int bind_to(int fd, struct name n) { return bind(fd, (struct sockaddr *)&n.address, n.length); }
static inline int connect_to(int fd, struct name n) { return connect(fd, (struct sockaddr *)&n.address, n.length); }

static inline int unix_listener(int type, struct name n, int backlog) {
    int fd = unix_socket(type);
    OK(bind_to(fd, n));
    OK(listen(fd, backlog));
    return fd;
}

#define ALL (POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND)
#define IN_ALL (POLLIN | POLLRDNORM)
#define OUT_ALL (POLLOUT | POLLWRNORM | POLLWRBAND)

// Sends `length` bytes and descriptors with them.
static inline ssize_t send_fds(int socket, const void *bytes, size_t length, const int *fds, int count, int flags) {
    char control[CMSG_SPACE(sizeof(int) * 254)] = {0};
    struct iovec v = {(void *)bytes, length};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
    m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
    return sendmsg(socket, &m, flags);
}

static inline ssize_t send_fd(int socket, int fd) { return send_fds(socket, "f", 1, &fd, 1, 0); }

struct received {
    ssize_t length;
    int flags;
    int fds[256];
    int count;
    struct ucred who;
    bool has_who;
    size_t control_length;
};

static inline struct received receive_with(int socket, void *bytes, size_t length, size_t room, int flags) {
    static char control[4096];
    struct received r = {0};
    struct iovec v = {bytes, length};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room ? control : NULL, .msg_controllen = room};
    r.length = recvmsg(socket, &m, flags);
    if (r.length < 0)
        return r;
    r.flags = m.msg_flags;
    r.control_length = m.msg_controllen;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        CHECK_EQ(c->cmsg_level, SOL_SOCKET);
        if (c->cmsg_type == SCM_RIGHTS) {
            int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(r.fds + r.count, CMSG_DATA(c), sizeof(int) * n);
            r.count += n;
        } else if (c->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&r.who, CMSG_DATA(c), sizeof r.who);
            r.has_who = true;
        }
    }
    return r;
}

static inline struct received receive(int socket, void *bytes, size_t length) {
    return receive_with(socket, bytes, length, 4096, 0);
}

#endif
