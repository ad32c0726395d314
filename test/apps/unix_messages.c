// SPDX-License-Identifier: MPL-2.0
//
// The calls that carry messages: several at once, urgent data, hostile arguments.
#include "unix.h"

// ---- several at once --------------------------------------------------------------------------------------------------

static struct mmsghdr *messages(int count, char (*bytes)[8], struct iovec *v) {
    struct mmsghdr *m = calloc(count, sizeof *m);
    for (int i = 0; i < count; i++) {
        v[i] = (struct iovec){bytes[i], 8};
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    return m;
}

TEST(body_sendmmsg_and_recvmmsg) {
    struct pair s = unix_pair(SOCK_DGRAM);
    char out[5][8], in[8][8];
    struct iovec ov[5], iv[8];
    struct mmsghdr *o = messages(5, out, ov), *m = messages(8, in, iv);
    for (int i = 0; i < 5; i++) {
        memset(out[i], 'a' + i, 8);
        ov[i].iov_len = i + 1;
    }
    CHECK_EQ(OK(sendmmsg(s.a, o, 5, 0)), 5);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(o[i].msg_len, i + 1);
    CHECK_EQ(OK(recvmmsg(s.b, m, 2, 0, NULL)), 2);
    CHECK_EQ(m[1].msg_len, 2);
    CHECK_EQ(in[1][0], 'b');
    // With nothing left, the rest is not waited for.
    CHECK_EQ(OK(recvmmsg(s.b, m, 8, MSG_WAITFORONE, NULL)), 3);
    CHECK_EQ(m[2].msg_len, 5);
    FAILS(recvmmsg(s.b, m, 8, MSG_DONTWAIT, NULL), EAGAIN);
    CHECK_EQ(OK(recvmmsg(s.b, m, 0, 0, NULL)), 0);
    CHECK_EQ(OK(sendmmsg(s.a, o, 0, 0)), 0);
    // An error after the first ends it.
    ov[2].iov_base = BAD_POINTER;
    CHECK_EQ(OK(sendmmsg(s.a, o, 5, 0)), 2);
    FAILS(sendmmsg(s.a, o + 2, 3, 0), EFAULT);
    FAILS(sendmmsg(s.a, BAD_POINTER, 1, 0), EFAULT);
    FAILS(recvmmsg(s.b, BAD_POINTER, 1, MSG_DONTWAIT, NULL), EFAULT);
    struct timespec t = {0, 1000000000};
    FAILS(recvmmsg(s.b, m, 1, 0, &t), EINVAL);
    t.tv_nsec = 0;
    t.tv_sec = -1;
    FAILS(recvmmsg(s.b, m, 1, 0, &t), EINVAL);
    t.tv_sec = 100;
    CHECK_EQ(OK(recvmmsg(s.b, m, 2, 0, &t)), 2);
    CHECK_LE(t.tv_sec, 100);
    CHECK_GE(t.tv_sec, 50);
}

TEST(body_recvmmsg_and_errors) {
    struct pair s = unix_pair(SOCK_STREAM);
    char in[4][8];
    struct iovec iv[4];
    struct mmsghdr *m = messages(4, in, iv);
    put_byte(s.a);
    put_byte(s.b);
    OK(close(s.a));
    // An error that waits comes first; then what can be read, and the end as often as there is room.
    FAILS(recvmmsg(s.b, m, 4, 0, NULL), ECONNRESET);
    CHECK_EQ(OK(recvmmsg(s.b, m, 4, 0, NULL)), 4);
    CHECK_EQ(m[0].msg_len, 1);
    CHECK_EQ(m[3].msg_len, 0);
    // One that comes later is told the next time.
    s = unix_pair(SOCK_DGRAM);
    put_byte(s.a);
    put_byte(s.a);
    iv[1].iov_base = BAD_POINTER;
    CHECK_EQ(OK(recvmmsg(s.b, m, 2, 0, NULL)), 1);
    FAILS(recvmmsg(s.b, m, 2, 0, NULL), EFAULT);
    FAILS(recvmmsg(s.b, m, 2, MSG_DONTWAIT, NULL), EAGAIN);
}

// ---- urgent data ------------------------------------------------------------------------------------------------------

static int at_mark(int fd) {
    int n = -1;
    OK(ioctl(fd, 0x8905, &n));
    return n;
}

TEST(row_36_urgent_data_of_unix_sockets) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    int ep = ep_new();
    ep_add(ep, s.b, EPOLLPRI | EPOLLET, 0);
    CHECK_EQ(ask(s.b, ALL), OUT_ALL);
    FAILS(recv(s.b, got, 1, MSG_OOB), EINVAL);
    CHECK_EQ(OK(send(s.a, "abc", 3, MSG_OOB)), 3);
    CHECK_EQ(ask(s.b, ALL), IN_ALL | OUT_ALL | POLLPRI);
    CHECK_EQ(ep_mask(ep), EPOLLPRI);
    CHECK_EQ(at_mark(s.b), 0);
    // An ordinary read stops before it.
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 2);
    CHECK(memcmp(got, "ab", 2) == 0);
    CHECK_EQ(at_mark(s.b), 1);
    CHECK_EQ(OK(recv(s.b, got, 16, MSG_OOB | MSG_PEEK)), 1);
    CHECK_EQ(got[0], 'c');
    struct received r = receive_with(s.b, got, 16, 0, MSG_OOB);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.flags, MSG_OOB);
    FAILS(recv(s.b, got, 1, MSG_OOB), EINVAL);
    CHECK_EQ(ask(s.b, POLLPRI), 0);
    FAILS(recv(s.b, got, 16, MSG_DONTWAIT), EAGAIN);
}

TEST(body_urgent_data_that_is_not_asked_for_is_dropped) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    OK(send(s.a, "ab!", 3, MSG_OOB));
    OK(send(s.a, "cd", 2, 0));
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 2);
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 2);
    CHECK(memcmp(got, "cd", 2) == 0);
    CHECK_EQ(ask(s.b, POLLPRI), 0);
}

TEST(body_urgent_data_in_the_middle) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    OK(send(s.a, "ab!", 3, MSG_OOB));
    OK(send(s.a, "cd", 2, 0));
    CHECK_EQ(OK(recv(s.b, got, 1, MSG_OOB)), 1);
    CHECK_EQ(got[0], '!');
    // The mark stays where it was.
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 2);
    CHECK(memcmp(got, "ab", 2) == 0);
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 2);
    CHECK(memcmp(got, "cd", 2) == 0);
}

TEST(body_later_urgent_data_takes_the_place) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    OK(send(s.a, "a!", 2, MSG_OOB));
    OK(send(s.a, "b?", 2, MSG_OOB));
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 3);
    CHECK(memcmp(got, "a!b", 3) == 0);
    CHECK_EQ(OK(recv(s.b, got, 1, MSG_OOB)), 1);
    CHECK_EQ(got[0], '?');
}

TEST(body_urgent_data_inline) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    OK(setsockopt(s.b, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)));
    OK(send(s.a, "ab!", 3, MSG_OOB));
    OK(send(s.a, "cd", 2, 0));
    FAILS(recv(s.b, got, 1, MSG_OOB), EINVAL);
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 2);
    CHECK_EQ(at_mark(s.b), 1);
    CHECK_EQ(OK(recv(s.b, got, 16, 0)), 3);
    CHECK(memcmp(got, "!cd", 3) == 0);
    FAILS(send(s.a, "", 0, MSG_OOB), EOPNOTSUPP);
}

TEST(body_plain_reads_and_urgent_data) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    OK(send(s.a, "ab!", 3, MSG_OOB));
    OK(send(s.a, "cd", 2, 0));
    CHECK_EQ(OK(recv(s.b, got, 16, MSG_PEEK)), 2);
    CHECK_EQ(OK(read(s.b, got, 16)), 2);
    CHECK_EQ(OK(recv(s.b, got, 16, MSG_PEEK)), 2);
    CHECK(memcmp(got, "cd", 2) == 0);
    CHECK_EQ(OK(read(s.b, got, 16)), 2);
    CHECK(memcmp(got, "cd", 2) == 0);
}

// ---- hostile arguments --------------------------------------------------------------------------------------------------

TEST(body_headers_that_make_no_sense) {
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int kind = 0; kind < 3; kind++) {
        struct pair s = unix_pair(kinds[kind]);
        char byte = 'x';
        struct iovec v = {&byte, 1};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
        FAILS(sendmsg(s.a, BAD_POINTER, 0), EFAULT);
        FAILS(recvmsg(s.a, BAD_POINTER, 0), EFAULT);
        m.msg_iovlen = 1025;
        FAILS(sendmsg(s.a, &m, 0), EMSGSIZE);
        FAILS(recvmsg(s.a, &m, 0), EMSGSIZE);
        m.msg_iovlen = (size_t)-1;
        FAILS(sendmsg(s.a, &m, 0), EMSGSIZE);
        m.msg_iovlen = 1;
        m.msg_iov = BAD_POINTER;
        FAILS(sendmsg(s.a, &m, 0), EFAULT);
        FAILS(recvmsg(s.a, &m, MSG_DONTWAIT), EFAULT);
        m.msg_iov = &v;
        v.iov_len = (size_t)-1;
        FAILS(sendmsg(s.a, &m, 0), EINVAL);
        v.iov_len = 1;
        m.msg_name = &byte;
        m.msg_namelen = (socklen_t)-1;
        FAILS(sendmsg(s.a, &m, 0), EINVAL);
        FAILS(recvmsg(s.a, &m, MSG_DONTWAIT), EINVAL);
        m.msg_name = NULL;
        m.msg_namelen = 0;
        put_byte(s.b);
        m.msg_name = BAD_POINTER;
        m.msg_namelen = 100;
        CHECK_EQ(OK(recvmsg(s.a, &m, 0)), 1); // No name comes, so nothing is written.
        m.msg_name = NULL;
        // No vectors: an empty message.
        m.msg_iovlen = 0;
        CHECK_EQ(OK(sendmsg(s.a, &m, 0)), 0);
        if (kind > 0)
            CHECK_EQ(OK(recv(s.b, &byte, 1, 0)), 0);
    }
}

TEST(body_lengths_that_make_no_sense) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    static char got[4];
    FAILS(recv(s.a, got, (size_t)-1, 0), EAGAIN);
    put_byte(s.b);
    CHECK_EQ(syscall(SYS_recvfrom, s.a, got, (size_t)1 << 46, 0, NULL, NULL), 1);
    FAILS(send(s.a, BAD_POINTER, (size_t)-1, 0), EFAULT);
    struct sockaddr_un from;
    socklen_t length = (socklen_t)-1;
    put_byte(s.b);
    FAILS(recvfrom(s.a, got, 1, 0, (struct sockaddr *)&from, &length), EINVAL);
    put_byte(s.b);
    length = 1000;
    // Without a name, the length becomes zero.
    CHECK_EQ(OK(recvfrom(s.a, got, 1, 0, (struct sockaddr *)&from, &length)), 1);
    CHECK_EQ(length, 0);
    put_byte(s.b);
    FAILS(recvfrom(s.a, got, 1, 0, (struct sockaddr *)&from, BAD_POINTER), EFAULT);
}

TEST(body_options_that_make_no_sense) {
    struct pair s = unix_pair(SOCK_STREAM);
    int value = 1;
    socklen_t length = sizeof value;
    char large[5000] = {0};
    FAILS(setsockopt(s.a, SOL_SOCKET, 9999, &value, sizeof value), ENOPROTOOPT);
    FAILS(setsockopt(s.a, 6, 1, &value, sizeof value), EOPNOTSUPP);
    FAILS(getsockopt(s.a, 6, 1, &value, &length), EOPNOTSUPP);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_REUSEADDR, &value, (socklen_t)-1), EINVAL);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_REUSEADDR, &value, 0), EINVAL);
    OK(setsockopt(s.a, SOL_SOCKET, SO_REUSEADDR, large, sizeof large));
    FAILS(getsockopt(s.a, SOL_SOCKET, 9999, &value, &length), ENOPROTOOPT);
    FAILS(getsockopt(s.a, SOL_SOCKET, SO_TYPE, BAD_POINTER, &length), EFAULT);
    FAILS(getsockopt(s.a, SOL_SOCKET, SO_TYPE, &value, BAD_POINTER), EFAULT);
    length = (socklen_t)-1;
    FAILS(getsockopt(s.a, SOL_SOCKET, SO_TYPE, &value, &length), EINVAL);
    length = 2;
    value = -1;
    OK(getsockopt(s.a, SOL_SOCKET, SO_TYPE, &value, &length));
    CHECK_EQ(length, 2);
    CHECK_EQ(value, (int)0xffff0001);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_TYPE, &value, sizeof value), ENOPROTOOPT);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_PEERCRED, &value, sizeof value), ENOPROTOOPT);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_ERROR, &value, sizeof value), ENOPROTOOPT);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_ACCEPTCONN, &value, sizeof value), ENOPROTOOPT);
}

// Every call of the family with every kind of wrong descriptor and arguments from a small set of nasty values: whatever
// they answer, the kernel lives.
TEST(body_nothing_breaks) {
    static const long nasty[] = {0, 1, -1, 7, 16, 4096, 0x7fffffff, 0x80000000, -4096, 0x7ffffffffffff000};
    static const int calls[] = {SYS_bind,       SYS_connect,    SYS_listen,      SYS_accept4,    SYS_getsockname,
                                SYS_getpeername, SYS_sendto,    SYS_recvfrom,    SYS_sendmsg,    SYS_recvmsg,
                                SYS_setsockopt, SYS_getsockopt, SYS_sendmmsg,    SYS_recvmmsg,   SYS_shutdown,
                                SYS_socketpair, SYS_ioctl};
    static char page[8192];
    signal(SIGPIPE, SIG_IGN);
    unsigned seed = 1;
    struct pair s = {-1, -1};
    for (int round = 0; round < 4000; round++) {
        if (round % 50 == 0) {
            if (s.a >= 0) {
                close(s.a);
                close(s.b);
            }
            s = unix_pair((int[]){SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}[round / 50 % 3] | SOCK_NONBLOCK);
        }
        long a[6];
        for (int i = 0; i < 6; i++) {
            seed = seed * 1103515245 + 12345;
            unsigned pick = seed >> 16;
            a[i] = pick % 3 ? nasty[pick / 3 % 10] : (long)(page + pick % 64);
            page[pick % sizeof page] = (char)pick;
        }
        seed = seed * 1103515245 + 12345;
        int call = calls[(seed >> 16) % (sizeof calls / sizeof *calls)];
        if (call != SYS_socketpair)
            a[0] = seed & 0x100 ? s.a : s.b;
        if (call == SYS_ioctl && a[1] == 0x5421)
            continue;
        long result = syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
        if ((call == SYS_accept4 || call == SYS_socketpair) && result > s.b)
            close((int)result);
    }
    close_range(s.b + 1, ~0u, 0);
    struct pair t = unix_pair(SOCK_STREAM);
    put_byte(t.a);
    take_byte(t.b);
}
