// SPDX-License-Identifier: MPL-2.0
//
// Datagrams and packets between unix sockets.
#include "unix.h"

#include <linux/sockios.h>

static char big[300000];

static int bound(struct name n) {
    int fd = unix_socket(SOCK_DGRAM);
    OK(bind_to(fd, n));
    return fd;
}

static ssize_t send_to(int fd, const void *bytes, size_t length, struct name n) {
    return sendto(fd, bytes, length, MSG_DONTWAIT, (struct sockaddr *)&n.address, n.length);
}

TEST(body_boundaries_stay) {
    for (int kind = 0; kind < 2; kind++) {
        struct pair s = unix_pair(kind ? SOCK_SEQPACKET : SOCK_DGRAM);
        char got[16];
        OK(send(s.a, "abc", 3, 0));
        OK(send(s.a, "", 0, 0));
        OK(send(s.a, "defgh", 5, 0));
        OK(send(s.a, "ij", 2, 0));
        CHECK_EQ(OK(recv(s.b, got, 16, 0)), 3);
        CHECK_EQ(ask(s.b, POLLIN), POLLIN);
        CHECK_EQ(OK(recv(s.b, got, 16, 0)), 0);
        // What does not fit is lost.
        struct received r = receive(s.b, got, 2);
        CHECK_EQ(r.length, 2);
        CHECK_EQ(r.flags, MSG_TRUNC);
        r = receive(s.b, got, 16);
        CHECK_EQ(r.length, 2);
        CHECK_EQ(r.flags, 0);
        CHECK(memcmp(got, "ij", 2) == 0);
    }
}

TEST(body_the_length_of_what_was_cut) {
    for (int kind = 0; kind < 2; kind++) {
        struct pair s = unix_pair(kind ? SOCK_SEQPACKET : SOCK_DGRAM);
        char got[16];
        int n;
        OK(send(s.a, "abcdef", 6, 0));
        OK(send(s.a, "x", 1, 0));
        OK(ioctl(s.b, FIONREAD, &n));
        CHECK_EQ(n, kind ? 7 : 6);
        CHECK_EQ(OK(recv(s.b, NULL, 0, MSG_PEEK | MSG_TRUNC)), 6);
        CHECK_EQ(OK(recv(s.b, got, 2, MSG_TRUNC)), 6);
        CHECK(memcmp(got, "ab", 2) == 0);
        CHECK_EQ(OK(recv(s.b, got, 16, MSG_PEEK)), 1);
        CHECK_EQ(OK(recv(s.b, got, 16, 0)), 1);
        FAILS(recv(s.b, got, 16, MSG_DONTWAIT), EAGAIN);
        FAILS(recv(s.b, got, 16, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
    }
}

TEST(body_large_messages) {
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 11 + i / 253);
    for (int kind = 0; kind < 2; kind++) {
        struct pair s = unix_pair(kind ? SOCK_SEQPACKET : SOCK_DGRAM);
        static char got[sizeof big];
        int limit;
        socklen_t length = sizeof limit;
        OK(getsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &limit, &length));
        for (int size = 1; size < limit - 32; size = size * 3 + 1) {
            CHECK_EQ(OK(send(s.a, big, size, 0)), size);
            memset(got, 0, sizeof got);
            CHECK_EQ(OK(recv(s.b, got, sizeof got, MSG_PEEK)), size);
            CHECK(memcmp(got, big, size) == 0);
            memset(got, 0, sizeof got);
            CHECK_EQ(OK(recv(s.b, got, sizeof got, 0)), size);
            CHECK(memcmp(got, big, size) == 0);
        }
        CHECK_EQ(OK(send(s.a, big, limit - 32, 0)), limit - 32);
        FAILS(send(s.a, big, limit - 31, 0), EMSGSIZE);
        FAILS(send(s.a, big, 1, MSG_DONTWAIT), limit > 170000 ? EAGAIN : 0);
        CHECK_EQ(OK(recv(s.b, got, sizeof got, 0)), limit - 32);
        CHECK(memcmp(got, big, limit - 32) == 0);
        FAILS(send(s.a, "x", 1, MSG_OOB), EOPNOTSUPP);
        FAILS(recv(s.a, got, 1, MSG_OOB), EOPNOTSUPP);
    }
}

TEST(body_to_a_name_and_back) {
    struct name a = path_name(temp_path("a")), b = abstract_name("b");
    int x = bound(a), y = bound(b);
    char got[16];
    struct sockaddr_un from;
    socklen_t length = sizeof from;
    CHECK_EQ(OK(send_to(x, "to b", 4, b)), 4);
    CHECK_EQ(OK(recvfrom(y, got, 16, 0, (struct sockaddr *)&from, &length)), 4);
    CHECK_EQ(length, a.length);
    CHECK(strcmp(from.sun_path, a.address.sun_path) == 0);
    CHECK_EQ(OK(sendto(y, "to a", 4, 0, (struct sockaddr *)&from, length)), 4);
    length = sizeof from;
    CHECK_EQ(OK(recvfrom(x, got, 16, 0, (struct sockaddr *)&from, &length)), 4);
    CHECK_EQ(length, b.length);
    // A sender without a name.
    int z = unix_socket(SOCK_DGRAM);
    OK(send_to(z, "z", 1, b));
    length = sizeof from;
    OK(recvfrom(y, got, 16, 0, (struct sockaddr *)&from, &length));
    CHECK_EQ(length, 0);
    FAILS(send(z, "z", 1, 0), ENOTCONN);
    FAILS(send_to(z, "z", 1, abstract_name("none")), ECONNREFUSED);
    FAILS(send_to(z, "z", 1, path_name(temp_path("none"))), ENOENT);
    FAILS(sendto(z, "z", 1, 0, BAD_POINTER, 10), EFAULT);
    b.length = 2;
    FAILS(send_to(z, "z", 1, b), EINVAL);
    b.length = 500;
    FAILS(send_to(z, "z", 1, b), EINVAL);
}

TEST(body_connected_datagrams) {
    struct name a = abstract_name("a"), b = abstract_name("b"), c = abstract_name("c");
    int x = bound(a), y = bound(b), z = bound(c);
    char got[16];
    OK(connect_to(x, b));
    OK(send(x, "1", 1, 0));
    CHECK_EQ(OK(recv(y, got, 16, 0)), 1);
    struct sockaddr_un peer;
    socklen_t length = sizeof peer;
    OK(getpeername(x, (struct sockaddr *)&peer, &length));
    CHECK_EQ(length, b.length);
    FAILS(getpeername(y, (struct sockaddr *)&peer, &length), ENOTCONN);
    // Only the peer may send to a connected socket.
    OK(send_to(y, "2", 1, a));
    FAILS(send_to(z, "3", 1, a), EPERM);
    FAILS(connect_to(z, a), EPERM);
    // A connected socket may send elsewhere.
    OK(send_to(x, "4", 1, c));
    // Reconnecting, and dissolving.
    OK(connect_to(x, c));
    OK(send(x, "5", 1, 0));
    sa_family_t none[8] = {AF_UNSPEC};
    OK(connect(x, (struct sockaddr *)none, sizeof none));
    FAILS(send(x, "6", 1, 0), ENOTCONN);
    OK(send_to(z, "7", 1, a));
    FAILS(connect_to(x, path_name(temp_path("none"))), ENOENT);
    FAILS(connect_to(x, abstract_name("none")), ECONNREFUSED);
}

TEST(body_what_came_before_connecting_elsewhere_is_lost) {
    struct name a = abstract_name("a"), b = abstract_name("b"), c = abstract_name("c");
    int x = bound(a), y = bound(b), z = bound(c), error;
    socklen_t length = sizeof error;
    (void)z;
    char got[4];
    OK(connect_to(x, b));
    OK(connect_to(y, a));
    OK(send(y, "1", 1, 0));
    OK(connect_to(x, c));
    FAILS(recv(x, got, 4, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(ask(y, ALL), OUT_ALL | POLLERR);
    OK(getsockopt(y, SOL_SOCKET, SO_ERROR, &error, &length));
    CHECK_EQ(error, ECONNRESET);
    CHECK_EQ(ask(y, ALL), OUT_ALL);
    // Where nothing is lost, there is no error.
    OK(connect_to(x, b));
    OK(connect_to(x, c));
    CHECK_EQ(ask(y, ALL), OUT_ALL);
}

TEST(body_a_dead_peer_refuses_once) {
    struct pair s = unix_pair(SOCK_DGRAM);
    OK(close(s.b));
    CHECK_EQ(ask(s.a, ALL), OUT_ALL);
    count_signal(SIGPIPE, 0);
    FAILS(send(s.a, "x", 1, 0), ECONNREFUSED);
    FAILS(send(s.a, "x", 1, 0), ENOTCONN);
    CHECK_EQ(signals_seen[SIGPIPE], 0);
    struct name n = abstract_name("dead");
    int x = unix_socket(SOCK_DGRAM), y = bound(n);
    OK(connect_to(x, n));
    OK(close(y));
    FAILS(send(x, "x", 1, 0), ECONNREFUSED);
    FAILS(send(x, "x", 1, 0), ENOTCONN);
}

TEST(row_98_the_queue_is_bounded_by_count) {
    struct name n = abstract_name("q");
    int r = bound(n), s = unix_socket(SOCK_DGRAM), sent = 0;
    char got[4];
    OK(connect_to(s, n));
    CHECK_EQ(ask(s, ALL), OUT_ALL);
    while (send(s, "x", 1, MSG_DONTWAIT) == 1)
        sent++;
    CHECK_EQ(errno, EAGAIN);
    FILE *f = fopen("/proc/sys/net/unix/max_dgram_qlen", "r");
    int limit = 0;
    CHECK(f && fscanf(f, "%d", &limit) == 1);
    CHECK_EQ(sent, limit + 1);
    CHECK_EQ(ask(s, ALL), 0);
    FAILS(send_to(unix_socket(SOCK_DGRAM), "x", 1, n), EAGAIN);
    // An edge when the peer reads.
    int ep = ep_new();
    ep_add(ep, s, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    OK(recv(r, got, 4, 0));
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_ready(ep), 0);
    OK(send(s, "x", 1, MSG_DONTWAIT));
    FAILS(send(s, "x", 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(ask(s, ALL), 0);
    CHECK_EQ(ep_ready(ep), 0);
    OK(close(r));
    CHECK_EQ(ask(s, ALL), OUT_ALL);
}

// Someone else filled the queue.
TEST(row_98_out_follows_a_queue_that_others_fill) {
    struct name n = abstract_name("q");
    int r = bound(n), s = unix_socket(SOCK_DGRAM), other = unix_socket(SOCK_DGRAM), ep = ep_new();
    char got[4];
    OK(connect_to(s, n));
    ep_add(ep, s, EPOLLOUT, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    while (send_to(other, "x", 1, n) == 1)
        ;
    CHECK_EQ(ep_ready(ep), 0);
    CHECK_EQ(ask(s, ALL), 0);
    OK(recv(r, got, 4, 0));
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
}

static struct name target;

static void send_blocking(void *unused) {
    (void)unused;
    int s = unix_socket(SOCK_DGRAM);
    CHECK_EQ(OK(sendto(s, "y", 1, 0, (struct sockaddr *)&target.address, target.length)), 1);
}

TEST(body_senders_wait_for_room) {
    target = abstract_name("q");
    int r = bound(target), s = unix_socket(SOCK_DGRAM), count = 0;
    char got[4];
    while (send_to(s, "x", 1, target) == 1)
        count++;
    struct sleeper senders[2];
    for (int i = 0; i < 2; i++) {
        sleeper_start(&senders[i], send_blocking, NULL);
        sleeper_await_blocked(&senders[i]);
    }
    for (int i = 0; i < count + 2; i++)
        CHECK_EQ(OK(recv(r, got, 4, 0)), 1);
    sleeper_join(&senders[0]);
    sleeper_join(&senders[1]);
    struct timeval tv = {0, 50000};
    while (send_to(s, "x", 1, target) == 1)
        ;
    OK(setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
    FAILS(sendto(s, "y", 1, 0, (struct sockaddr *)&target.address, target.length), EAGAIN);
}

static void send_refused(void *fd) { FAILS(send((int)(intptr_t)fd, "y", 1, 0), ECONNREFUSED); }

TEST(body_a_waiting_sender_sees_the_end) {
    struct name n = abstract_name("q");
    int r = bound(n), s = unix_socket(SOCK_DGRAM);
    OK(connect_to(s, n));
    while (send(s, "x", 1, MSG_DONTWAIT) == 1)
        ;
    struct sleeper sender;
    sleeper_start(&sender, send_refused, (void *)(intptr_t)s);
    sleeper_await_blocked(&sender);
    OK(close(r));
    sleeper_join(&sender);
}

TEST(body_shutdown_of_datagram_sockets) {
    struct pair s = unix_pair(SOCK_DGRAM);
    char got[4];
    count_signal(SIGPIPE, 0);
    OK(send(s.b, "x", 1, 0));
    OK(shutdown(s.a, SHUT_RD));
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP);
    CHECK_EQ(ask(s.b, ALL), OUT_ALL);
    FAILS(send(s.b, "y", 1, 0), EPIPE);
    CHECK_EQ(OK(recv(s.a, got, 4, 0)), 1);
    CHECK_EQ(OK(recv(s.a, got, 4, 0)), 0);
    FAILS(recv(s.a, got, 4, MSG_DONTWAIT), EAGAIN);
    OK(shutdown(s.a, SHUT_WR));
    FAILS(send(s.a, "y", 1, 0), EPIPE);
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
    CHECK_EQ(signals_seen[SIGPIPE], 0);
}

TEST(body_to_itself) {
    struct name n = abstract_name("self");
    int s = bound(n);
    char got[4];
    int count = 0;
    OK(connect_to(s, n));
    while (count < 100 && send(s, "x", 1, MSG_DONTWAIT) == 1)
        count++;
    CHECK_EQ(count, 100);
    CHECK_EQ(OK(recv(s, got, 4, 0)), 1);
}

TEST(body_a_datagram_that_cannot_be_copied_is_lost) {
    struct pair s = unix_pair(SOCK_DGRAM);
    char got[4];
    OK(send(s.a, "x", 1, 0));
    OK(send(s.a, "y", 1, 0));
    FAILS(recv(s.b, BAD_POINTER, 4, 0), EFAULT);
    CHECK_EQ(OK(recv(s.b, got, 4, 0)), 1);
    CHECK_EQ(got[0], 'y');
    FAILS(send(s.a, BAD_POINTER, 4, 0), EFAULT);
    FAILS(send(s.a, guarded_end(2), 4, 0), EFAULT);
    FAILS(recv(s.b, got, 4, MSG_DONTWAIT), EAGAIN);
}

TEST(body_bytes_in_flight_bound_the_sender) {
    struct pair s = unix_pair(SOCK_DGRAM);
    int sent = 0, n;
    char got[4];
    set_nonblocking(s.a, true);
    while (send(s.a, "x", 1, 0) == 1)
        sent++;
    CHECK_GT(sent, 100);
    CHECK_EQ(ask(s.a, ALL), 0);
    OK(ioctl(s.a, SIOCOUTQ, &n));
    CHECK_GE(n, 200000);
    for (int i = 0; i < sent; i++)
        OK(recv(s.b, got, 4, 0));
    OK(ioctl(s.a, SIOCOUTQ, &n));
    CHECK_EQ(n, 0);
    CHECK_EQ(ask(s.a, ALL), OUT_ALL);
}

// ---- packets ----------------------------------------------------------------------------------------------------------

TEST(body_packets_of_a_connection) {
    struct name n = abstract_name("p");
    int l = unix_listener(SOCK_SEQPACKET, n, 5), c = unix_socket(SOCK_SEQPACKET);
    char got[8];
    FAILS(send(c, "x", 1, 0), ENOTCONN);
    FAILS(recv(c, got, 8, 0), ENOTCONN);
    OK(connect_to(c, n));
    int s = (int)OK(accept(l, NULL, NULL));
    // A destination means nothing.
    CHECK_EQ(OK(send_to(c, "abc", 3, abstract_name("none"))), 3);
    OK(write(c, "", 0));
    CHECK_EQ(OK(read(s, got, 2)), 2);
    CHECK_EQ(OK(recv(s, got, 8, MSG_DONTWAIT)), 0);
    FAILS(recv(s, got, 8, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(ask(s, ALL), OUT_ALL);
    OK(send(c, "", 0, 0));
    CHECK_EQ(OK(recv(s, got, 8, 0)), 0);
    OK(send(c, "x", 1, 0));
    OK(close(c));
    CHECK_EQ(ask(s, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
    CHECK_EQ(OK(recv(s, got, 8, 0)), 1);
    CHECK_EQ(OK(recv(s, got, 8, 0)), 0);
    CHECK_EQ(OK(recv(s, got, 8, MSG_DONTWAIT)), 0);
    count_signal(SIGPIPE, 0);
    FAILS(send(s, "x", 1, 0), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 0);
}

TEST(body_packets_reset) {
    struct pair s = unix_pair(SOCK_SEQPACKET);
    char got[8];
    OK(send(s.a, "x", 1, 0));
    OK(close(s.b));
    FAILS(send(s.a, "x", 1, 0), ECONNRESET);
    FAILS(send(s.a, "x", 1, 0), EPIPE);
    s = unix_pair(SOCK_SEQPACKET);
    OK(send(s.a, "x", 1, 0));
    OK(close(s.b));
    FAILS(recv(s.a, got, 8, 0), ECONNRESET);
    CHECK_EQ(OK(recv(s.a, got, 8, 0)), 0);
}

TEST(body_errors_come_before_packets) {
    struct pair s = unix_pair(SOCK_SEQPACKET);
    char got[8];
    OK(send(s.b, "x", 1, 0));
    OK(send(s.a, "yy", 2, 0));
    OK(close(s.b));
    FAILS(recv(s.a, got, 8, MSG_PEEK), ECONNRESET);
    CHECK_EQ(OK(recv(s.a, got, 8, 0)), 1);
    CHECK_EQ(OK(recv(s.a, got, 8, 0)), 0);
    struct name a = abstract_name("a"), b = abstract_name("b"), c = abstract_name("c");
    int x = bound(a), y = bound(b), z = bound(c);
    (void)z;
    OK(connect_to(x, b));
    OK(connect_to(y, a));
    OK(send(x, "1", 1, 0));
    OK(send(y, "2", 1, 0));
    OK(connect_to(x, c));
    FAILS(recv(y, got, 8, 0), ECONNRESET);
    CHECK_EQ(OK(recv(y, got, 8, 0)), 1);
}

TEST(body_waitall_means_nothing_to_packets) {
    struct pair s = unix_pair(SOCK_SEQPACKET);
    char got[8];
    OK(send(s.a, "abc", 3, MSG_EOR));
    CHECK_EQ(OK(recv(s.b, got, 8, MSG_WAITALL)), 3);
    OK(send(s.a, "abc", 3, 0));
    struct received r = receive(s.b, got, 8);
    CHECK_EQ(r.flags, 0);
}
