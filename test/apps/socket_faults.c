// SPDX-License-Identifier: MPL-2.0
//
// Wild calls on sockets: wrong descriptors, bad pointers, lengths and counts beyond all reason, sockets by the thousand.
// Errors as on Linux where one is promised; in any case the kernel lives.
#include "inet.h"
#include "unix.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

static const int kinds[][2] = {{AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM}, {AF_UNIX, SOCK_SEQPACKET},
                               {AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_STREAM},
                               {AF_INET6, SOCK_DGRAM}};
enum { KINDS = sizeof kinds / sizeof *kinds };

// Two sockets that can talk to each other; where nothing connects pairs, the second is bound and the first sends there.
static struct pair talking(int kind) {
    int family = kinds[kind][0], type = kinds[kind][1];
    if (family == AF_UNIX)
        return unix_pair(type);
    if (type == SOCK_STREAM) {
        struct pipe_ends s = tcp_pair();
        return (struct pair){s.w, s.r};
    }
    int a = udp(), b = udp();
    bind4(b, local4(0));
    OK(connect4(a, name_of(b)));
    return (struct pair){a, b};
}

#define CALLS(fd, error)                                                                                               \
    do {                                                                                                               \
        struct sockaddr_un address_ = {.sun_family = AF_UNIX};                                                         \
        socklen_t length_ = sizeof address_;                                                                           \
        char byte_ = 0;                                                                                                \
        int value_ = 0;                                                                                                \
        struct iovec v_ = {&byte_, 1};                                                                                 \
        struct mmsghdr m_ = {.msg_hdr = {.msg_iov = &v_, .msg_iovlen = 1}};                                            \
        FAILS(bind(fd, SA(&address_), length_), error);                                                                \
        FAILS(connect(fd, SA(&address_), length_), error);                                                             \
        FAILS(listen(fd, 1), error);                                                                                   \
        FAILS(accept(fd, NULL, NULL), error);                                                                          \
        FAILS(accept4(fd, NULL, NULL, SOCK_CLOEXEC), error);                                                           \
        FAILS(getsockname(fd, SA(&address_), &length_), error);                                                        \
        FAILS(getpeername(fd, SA(&address_), &length_), error);                                                        \
        FAILS(send(fd, &byte_, 1, 0), error);                                                                          \
        FAILS(recv(fd, &byte_, 1, 0), error);                                                                          \
        FAILS(sendto(fd, &byte_, 1, 0, SA(&address_), length_), error);                                                \
        FAILS(sendmsg(fd, &m_.msg_hdr, 0), error);                                                                     \
        FAILS(recvmsg(fd, &m_.msg_hdr, 0), error);                                                                     \
        FAILS(sendmmsg(fd, &m_, 1, 0), error);                                                                         \
        FAILS(recvmmsg(fd, &m_, 1, 0, NULL), error);                                                                   \
        FAILS(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &value_, sizeof value_), error);                                \
        FAILS(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value_, &length_), error);                                          \
        FAILS(shutdown(fd, SHUT_RDWR), error);                                                                         \
    } while (0)

TEST(body_calls_on_what_is_no_socket) {
    struct pipe_ends p = make_pipe(0);
    int closed = (int)OK(dup(p.r));
    OK(close(closed));
    CALLS(closed, EBADF);
    CALLS(-1, EBADF);
    CALLS(1 << 30, EBADF);
    CALLS((int)0x80000000, EBADF);
    CALLS(p.r, ENOTSOCK);
    CALLS(p.w, ENOTSOCK);
    int event = (int)OK(eventfd(0, 0)), ep = ep_new();
    CALLS(event, ENOTSOCK);
    CALLS(ep, ENOTSOCK);
    int file = (int)OK(open("/proc/self/exe", O_RDONLY)), path = (int)OK(open("/proc/self/exe", O_PATH));
    CALLS(file, ENOTSOCK);
    CALLS(path, EBADF);
}

TEST(body_bad_pointers_for_sockets) {
    for (int kind = 0; kind < KINDS; kind++) {
        struct pair s = talking(kind);
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        struct mmsghdr m = {0};
        int fresh = sock(kinds[kind][0], kinds[kind][1]);
        FAILS(bind(fresh, BAD_POINTER, 16), EFAULT);
        FAILS(connect(fresh, BAD_POINTER, 16), EFAULT);
        FAILS(getsockname(s.a, BAD_POINTER, &length), EFAULT);
        FAILS(getsockname(s.a, SA(&address), BAD_POINTER), EFAULT);
        FAILS(getpeername(s.a, SA(&address), BAD_POINTER), EFAULT);
        FAILS(setsockopt(s.a, SOL_SOCKET, SO_REUSEADDR, BAD_POINTER, 4), EFAULT);
        FAILS(getsockopt(s.a, SOL_SOCKET, SO_TYPE, BAD_POINTER, &length), EFAULT);
        FAILS(getsockopt(s.a, SOL_SOCKET, SO_TYPE, &length, BAD_POINTER), EFAULT);
        FAILS(send(s.a, BAD_POINTER, 10, MSG_DONTWAIT), EFAULT);
        FAILS(sendmsg(s.a, BAD_POINTER, MSG_DONTWAIT), EFAULT);
        FAILS(recvmsg(s.b, BAD_POINTER, MSG_DONTWAIT), EFAULT);
        FAILS(sendmmsg(s.a, BAD_POINTER, 1, MSG_DONTWAIT), EFAULT);
        FAILS(recvmmsg(s.b, BAD_POINTER, 1, MSG_DONTWAIT, NULL), EFAULT);
        FAILS(recvmmsg(s.b, &m, 1, MSG_DONTWAIT, BAD_POINTER), EFAULT);
        m.msg_hdr.msg_iov = BAD_POINTER;
        m.msg_hdr.msg_iovlen = 2;
        FAILS(sendmsg(s.a, &m.msg_hdr, MSG_DONTWAIT), EFAULT);
        FAILS(recvmsg(s.b, &m.msg_hdr, MSG_DONTWAIT), EFAULT);
        char byte;
        put_byte(s.a);
        await_readable(s.b);
        FAILS(recv(s.b, BAD_POINTER, 1, MSG_DONTWAIT), EFAULT);
        // A stream keeps what could not be copied; a datagram or packet is gone.
        bool is_stream = kinds[kind][1] == SOCK_STREAM;
        CHECK_EQ(recv(s.b, &byte, 1, MSG_DONTWAIT), is_stream ? 1 : -1);
        OK(close(s.a));
        OK(close(s.b));
        OK(close(fresh));
    }
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD_POINTER), EFAULT);
    int next = (int)OK(dup(0)), after;
    OK(close(next));
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, guarded_end(4)), EFAULT);
    CHECK_EQ(after = (int)OK(dup(0)), next);
}

TEST(body_counts_beyond_reason) {
    for (int kind = 0; kind < KINDS; kind++) {
        struct pair s = talking(kind);
        static char bytes[16];
        static struct iovec v[1025];
        struct msghdr m = {.msg_iov = v};
        for (int i = 0; i < 1025; i++)
            v[i] = (struct iovec){bytes, i < 4};
        static const size_t counts[] = {1025, 0x7fffffff, 0x80000000, (size_t)1 << 40, (size_t)1 << 63, (size_t)-1};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            m.msg_iovlen = counts[i];
            FAILS(sendmsg(s.a, &m, MSG_DONTWAIT), EMSGSIZE);
            FAILS(recvmsg(s.b, &m, MSG_DONTWAIT), EMSGSIZE);
        }
        m.msg_iovlen = 1024;
        CHECK_EQ(OK(sendmsg(s.a, &m, MSG_DONTWAIT)), 4);
        await_readable(s.b);
        CHECK_EQ(OK(recvmsg(s.b, &m, MSG_DONTWAIT)), 4);
        // One vector that is not a length, and many that are too much together.
        v[0].iov_len = (size_t)1 << 63;
        FAILS(sendmsg(s.a, &m, MSG_DONTWAIT), EINVAL);
        FAILS(recvmsg(s.b, &m, MSG_DONTWAIT), EINVAL);
        for (int i = 0; i < 1024; i++)
            v[i] = (struct iovec){bytes, (size_t)1 << 40};
        CHECK_EQ(recvmsg(s.b, &m, MSG_DONTWAIT), -1);
        if (sendmsg(s.a, &m, MSG_DONTWAIT) > 0)
            CHECK_EQ(kinds[kind][1], SOCK_STREAM);
        // Control messages.
        static const size_t lengths[] = {(size_t)-1, (size_t)1 << 63, (size_t)1 << 31, (size_t)1 << 20};
        v[0] = (struct iovec){bytes, 1};
        m.msg_iovlen = 1;
        m.msg_control = bytes;
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            m.msg_controllen = lengths[i];
            FAILS(sendmsg(s.a, &m, MSG_DONTWAIT), ENOBUFS);
        }
        OK(close(s.a));
        OK(close(s.b));
    }
}

// The length of one control message is any number; the buffer is only so long.
TEST(body_lengths_of_control_messages) {
    for (int kind = 0; kind < KINDS; kind++) {
        static const size_t lengths[] = {0, 1, 15, 16, 17, 20, 24, 25, 64, 65, 0x7fffffff, (size_t)1 << 62, (size_t)-8, (size_t)-1};
        struct pair s = talking(kind);
        char byte = 0;
        struct iovec v = {&byte, 1};
        for (int level = 0; level < 50; level++)
            for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
                union {
                    struct cmsghdr header;
                    char bytes[64];
                } c = {.header = {.cmsg_len = lengths[i], .cmsg_level = level, .cmsg_type = 1 + (int)i % 8}};
                memset(c.bytes + 16, 0xff, 48);
                struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
                if (sendmsg(s.a, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
                    continue;
                await_readable(s.b);
                OK(recv(s.b, &byte, 1, MSG_DONTWAIT));
            }
        OK(close(s.a));
        OK(close(s.b));
    }
}

TEST(body_lengths_beyond_reason) {
    const size_t huge = (size_t)1 << 30;
    char *bytes = mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(bytes != MAP_FAILED);
    for (int kind = 0; kind < KINDS; kind++) {
        struct pair s = talking(kind);
        bool is_stream = kinds[kind][1] == SOCK_STREAM;
        int most = INT32_MAX / 2;
        OK(setsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &most, sizeof most));
        if (is_stream) {
            ssize_t sent = OK(send(s.a, bytes, huge, MSG_DONTWAIT));
            CHECK_GT(sent, 0);
            CHECK_LT(sent, (ssize_t)huge);
            CHECK_GT(OK(recv(s.b, bytes, huge, MSG_DONTWAIT)), 0);
        } else {
            FAILS(send(s.a, bytes, huge, MSG_DONTWAIT), EMSGSIZE);
            FAILS(recv(s.b, bytes, huge, MSG_DONTWAIT), EAGAIN);
        }
        FAILS(sendto(s.a, bytes, 1, MSG_DONTWAIT, SA(bytes), (socklen_t)-1), EINVAL);
        FAILS(sendto(s.a, bytes, 1, MSG_DONTWAIT, SA(bytes), 1 << 20), EINVAL);
        FAILS(bind(s.a, SA(bytes), (socklen_t)-1), EINVAL);
        FAILS(bind(s.a, SA(bytes), 129), EINVAL);
        FAILS(connect(s.a, SA(bytes), 0x80000000), EINVAL);
        FAILS(setsockopt(s.a, SOL_SOCKET, SO_RCVBUF, bytes, 0x80000000), EINVAL);
        OK(setsockopt(s.a, SOL_SOCKET, SO_RCVBUF, bytes, 0x7fffffff));
        for (int name = 1; name < 80; name++)
            setsockopt(s.a, SOL_SOCKET, name, guarded_end(2), 2);
        OK(close(s.a));
        OK(close(s.b));
    }
}

// With a buffer by force, what bounds a message is what Linux finds memory in one piece for.
TEST(body_packets_are_bounded) {
    const size_t most = (4 << 20) - 320 + 17 * 4096;
    char *bytes = mmap(NULL, most + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(bytes != MAP_FAILED);
    for (int kind = 0; kind < 2; kind++) {
        struct pair s = unix_pair(kind ? SOCK_SEQPACKET : SOCK_DGRAM);
        int size = 100 << 20;
        if (setsockopt(s.a, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
            SKIP("needs CAP_NET_ADMIN");
        FAILS(send(s.a, bytes, most + 1, 0), ENOBUFS);
        CHECK_EQ(OK(send(s.a, bytes, most, 0)), (ssize_t)most);
        CHECK_EQ(OK(recv(s.b, bytes, most, 0)), (ssize_t)most);
    }
}

static int raise_limit(int wanted) {
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    if (limit.rlim_cur < (rlim_t)wanted)
        limit.rlim_cur = limit.rlim_max < (rlim_t)wanted ? limit.rlim_max : (rlim_t)wanted;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    return (int)limit.rlim_cur;
}

TEST(body_thousands_of_sockets) {
    int limit = raise_limit(4000), last = 0;
    for (int round = 0; round < 2; round++) {
        int kind = 0, fd;
        while ((fd = socket(kinds[kind % KINDS][0], kinds[kind % KINDS][1], 0)) >= 0) {
            // A name for each, of the kernel's choice.
            struct sockaddr_storage any = {.ss_family = (sa_family_t)kinds[kind % KINDS][0]};
            OK(bind(fd, SA(&any), any.ss_family == AF_UNIX ? 2 : any.ss_family == AF_INET ? sizeof(in4) : sizeof(in6)));
            last = fd;
            kind++;
        }
        CHECK_EQ(errno, EMFILE);
        CHECK_EQ(last, limit - 1);
        int fds[2];
        FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), EMFILE);
        // Room for one is not enough for two.
        OK(close(last));
        FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), EMFILE);
        CHECK_EQ(OK(dup(0)), last);
        OK(close_range(3, ~0u, 0));
    }
}

TEST(body_a_thousand_connections_that_wait) {
    raise_limit(4000);
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5000), t = tcp_listener(5000), count = 0;
    for (; count < 1000; count++) {
        int c = unix_socket(SOCK_STREAM), d = tcp();
        OK(connect_to(c, n));
        OK(connect4(d, local4(port_of(t))));
        OK(send(c, "x", 1, 0));
        OK(send(d, "x", 1, 0));
    }
    for (int i = 0; i < 100; i++) {
        int c = (int)OK(accept(l, NULL, NULL)), d = (int)OK(accept(t, NULL, NULL));
        char byte;
        CHECK_EQ(OK(recv(c, &byte, 1, 0)), 1);
        CHECK_EQ(OK(recv(d, &byte, 1, 0)), 1);
    }
    OK(close(l));
    OK(close(t));
    OK(close_range(3, ~0u, 0));
    struct pair s = unix_pair(SOCK_STREAM);
    put_byte(s.a);
    take_byte(s.b);
}

// ---- by chance --------------------------------------------------------------------------------------------------------

static unsigned seed = 1;

static unsigned chance(unsigned below) {
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

static long nasty(void) {
    static const long values[] = {0,    1,  -1,   2,  3,          4,          7,          8,    15,
                                  16,   24, 110,  128, 4096,      0x7fffffff, 0x80000000, -4096, 0x7ffffffffffff000,
                                  1024, 20, 0x40, 41, 0x4000, 65536};
    return values[chance(sizeof values / sizeof *values)];
}

// Behind it is room for whatever is received there.
enum { PAGE = 8192, ROOM = 16 << 20 };
static char *page;

// Something that a call may take for an address, a vector, a message, a number.
static void *thing(void) {
    char *at = page + chance(PAGE / 64) * 64;
    static struct iovec v[8];
    switch (chance(6)) {
    case 0:
        return BAD_POINTER;
    case 1:
        *(in4 *)at = local4((uint16_t)chance(65536));
        break;
    case 2:
        *(struct sockaddr_un *)page = (struct sockaddr_un){.sun_family = AF_UNIX, .sun_path = "\0wild"};
        return page;
    case 3:
        for (int i = 0; i < 8; i++)
            v[i] = (struct iovec){chance(4) ? page : BAD_POINTER, chance(4) ? chance(64) : (size_t)nasty()};
        *(struct msghdr *)at = (struct msghdr){.msg_name = chance(2) ? page : NULL,
                                               .msg_namelen = (socklen_t)nasty(),
                                               .msg_iov = v,
                                               .msg_iovlen = chance(4) ? chance(9) : (size_t)nasty(),
                                               .msg_control = chance(2) ? page + 64 : NULL,
                                               .msg_controllen = (size_t)nasty()};
        break;
    case 4:
        *(struct cmsghdr *)(page + 64) = (struct cmsghdr){
            .cmsg_len = (size_t)nasty(), .cmsg_level = chance(2) ? SOL_SOCKET : (int)chance(50), .cmsg_type = (int)chance(40)};
        break;
    case 5:
        *(long *)at = nasty();
        break;
    }
    return at;
}

TEST(body_wild_calls_on_all_kinds) {
    static const int calls[] = {SYS_bind,     SYS_connect,    SYS_listen,     SYS_accept4,  SYS_getsockname, SYS_getpeername,
                                SYS_sendto,   SYS_recvfrom,   SYS_sendmsg,    SYS_recvmsg,  SYS_setsockopt,  SYS_getsockopt,
                                SYS_sendmmsg, SYS_recvmmsg,   SYS_shutdown,   SYS_read,     SYS_write,       SYS_readv,
                                SYS_writev,   SYS_socketpair, SYS_setsockopt, SYS_getsockopt};
    signal(SIGPIPE, SIG_IGN);
    page = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    for (int round = 0; round < 300; round++) {
        struct pair s = talking(round % KINDS);
        int fresh = sock(kinds[round % KINDS][0], kinds[round % KINDS][1]);
        set_nonblocking(s.a, true);
        set_nonblocking(s.b, true);
        set_nonblocking(fresh, true);
        for (int step = 0; step < 40; step++) {
            int call = calls[chance(sizeof calls / sizeof *calls)];
            long a[6];
            for (int i = 0; i < 6; i++)
                a[i] = chance(2) ? nasty() : (long)thing();
            if (call != SYS_socketpair)
                a[0] = (int[]){s.a, s.b, fresh}[chance(3)];
            if (call == SYS_setsockopt || call == SYS_getsockopt) {
                a[1] = (int[]){SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6, 17, 255}[chance(6)];
                a[2] = chance(80);
                a[3] = (long)thing();
                a[4] = call == SYS_getsockopt ? (long)thing() : nasty();
            }
            syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
        }
        OK(close_range(3, ~0u, 0));
    }
    struct pair s = talking(3);
    put_byte(s.a);
    take_byte(s.b);
}
