// SPDX-License-Identifier: MPL-2.0
//
// What a datagram socket tells beside the bytes: the queue of errors, times, losses, original destinations; and several datagrams in one call
// (UDP_SEGMENT, UDP_GRO). Row 100.
#include "inet.h"

#include <linux/errqueue.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define SELECT_ERR_QUEUE 45
#define ORIGDSTADDR6 74

// A message with what came beside it.
struct received {
    char bytes[70000];
    struct sockaddr_storage from;
    _Alignas(8) char control[512];
    struct msghdr message;
};
static struct received last;

static ssize_t receive(int fd, int flags) {
    memset(&last.from, 0, sizeof last.from);
    static struct iovec in;
    in = (struct iovec){last.bytes, sizeof last.bytes};
    last.message = (struct msghdr){.msg_name = &last.from,
                                   .msg_namelen = sizeof last.from,
                                   .msg_iov = &in,
                                   .msg_iovlen = 1,
                                   .msg_control = last.control,
                                   .msg_controllen = sizeof last.control};
    return recvmsg(fd, &last.message, flags | MSG_DONTWAIT);
}

static ssize_t receive_soon(int fd, int flags) {
    ssize_t n = -1;
    for (int i = 0; i < 3000 && n < 0; i++) {
        n = receive(fd, flags);
        if (n < 0) sleep_ms(1);
    }
    return OK(n);
}

// The data of a control message of the last message; NULL if there is none.
static void *control(int level, int type, size_t size) {
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&last.message); at; at = CMSG_NXTHDR(&last.message, at))
        if (at->cmsg_level == level && at->cmsg_type == type) {
            CHECK_EQ(at->cmsg_len, CMSG_LEN(size));
            return CMSG_DATA(at);
        }
    return NULL;
}

// An address where nobody receives.
static in4 nowhere(void) {
    int fd = udp();
    bind4(fd, local4(0));
    in4 address = name_of(fd);
    close(fd);
    return address;
}

static void send4(int fd, in4 to, const void *bytes, size_t len) {
    CHECK_EQ(OK(sendto(fd, bytes, len, 0, SA(&to), sizeof to)), (long)len);
}

static struct sock_extended_err *refused(in4 to) {
    in4 *from = (in4 *)&last.from;
    CHECK_EQ(last.message.msg_flags & MSG_ERRQUEUE, MSG_ERRQUEUE);
    CHECK_EQ(last.message.msg_namelen, sizeof *from);
    CHECK_EQ(from->sin_port, to.sin_port);
    CHECK_EQ(from->sin_addr.s_addr, to.sin_addr.s_addr);
    struct sock_extended_err *error = control(IPPROTO_IP, IP_RECVERR, sizeof *error + sizeof(in4));
    CHECK(error != NULL);
    CHECK_EQ(error->ee_errno, ECONNREFUSED);
    CHECK_EQ(error->ee_origin, SO_EE_ORIGIN_ICMP);
    CHECK_EQ(error->ee_type, 3);
    CHECK_EQ(error->ee_code, 3);
    in4 *offender = (in4 *)SO_EE_OFFENDER(error);
    CHECK_EQ(offender->sin_family, AF_INET);
    CHECK_EQ(offender->sin_addr.s_addr, to.sin_addr.s_addr);
    CHECK_EQ(offender->sin_port, 0);
    return error;
}

TEST(row_100_the_queue_of_errors) {
    int fd = udp();
    in4 to = nowhere();
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    send4(fd, to, "hello", 5);
    // A socket that is not connected hears of it, too.
    await_mask(fd, ALL_EVENTS, POLLOUT | POLLERR);
    FAILS(recv(fd, last.bytes, 1, MSG_DONTWAIT), ECONNREFUSED);
    // The queue is an error that stays.
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT | POLLERR);
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE)), 5);
    CHECK_EQ(memcmp(last.bytes, "hello", 5), 0);
    refused(to);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT);
    CHECK_EQ(so_error(fd), 0);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
}

TEST(row_100_each_entry_brings_its_error) {
    int fd = udp();
    in4 to = nowhere();
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    send4(fd, to, "one", 3);
    await_mask(fd, ALL_EVENTS, POLLOUT | POLLERR);
    FAILS(sendto(fd, "two", 3, 0, SA(&to), sizeof to), ECONNREFUSED);
    send4(fd, to, "three", 5);
    for (int i = 0; i < 3000 && so_error(fd) == 0; i++) sleep_ms(1);
    CHECK_EQ(so_error(fd), 0);
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE)), 3);
    CHECK_EQ(so_error(fd), ECONNREFUSED);
    // A look takes it.
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE | MSG_PEEK)), 5);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    CHECK_EQ(so_error(fd), 0);
}

TEST(row_100_an_entry_is_an_edge) {
    int fd = udp(), ep = (int)OK(epoll_create1(0));
    in4 to = nowhere();
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    for (int i = 0; i < 2; i++) {
        send4(fd, to, "x", 1);
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, 5000)), 1);
        CHECK_EQ(event.events, (uint32_t)EPOLLERR);
        CHECK_EQ(so_error(fd), ECONNREFUSED);
        CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 0);
    }
    // So is that there is another one.
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE)), 1);
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 5000)), 1);
    CHECK_EQ(event.events, (uint32_t)EPOLLERR);
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE)), 1);
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 0);
}

TEST(row_100_the_queue_as_an_exceptional_condition) {
    int fd = udp();
    in4 to = nowhere();
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    set_int(fd, SOL_SOCKET, SELECT_ERR_QUEUE, 1);
    CHECK_EQ(get_int(fd, SOL_SOCKET, SELECT_ERR_QUEUE), 1);
    send4(fd, to, "x", 1);
    await_mask(fd, ALL_EVENTS, POLLOUT | POLLERR | POLLPRI);
    set_int(fd, SOL_SOCKET, SELECT_ERR_QUEUE, 0);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT | POLLERR);
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE)), 1);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT);
}

TEST(row_100_who_hears_of_errors) {
    in4 to = nowhere(), other = nowhere();
    int fd = udp();
    // Connected to somebody else: not.
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    OK(connect4(fd, other));
    send4(fd, to, "x", 1);
    settle();
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    CHECK_EQ(so_error(fd), 0);
    // Connected without the option: only the pending error.
    fd = udp();
    OK(connect4(fd, to));
    CHECK_EQ(OK(send(fd, "x", 1, 0)), 1);
    await_mask(fd, ALL_EVENTS, POLLOUT | POLLERR);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    CHECK_EQ(so_error(fd), ECONNREFUSED);
    // The option taken back: what was queued goes, the pending error stays.
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    CHECK_EQ(OK(send(fd, "x", 1, 0)), 1);
    await_mask(fd, ALL_EVENTS, POLLOUT | POLLERR);
    set_int(fd, IPPROTO_IP, IP_RECVERR, 0);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    CHECK_EQ(so_error(fd), ECONNREFUSED);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT);
}

TEST(row_100_what_comes_back) {
    int fd = udp();
    in4 to = nowhere();
    static char bytes[4000];
    memset(bytes, 'b', sizeof bytes);
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    send4(fd, to, bytes, sizeof bytes);
    // As much as an ICMP message holds.
    CHECK_EQ(receive_soon(fd, MSG_ERRQUEUE), 520);
    CHECK_EQ(memcmp(last.bytes, bytes, 520), 0);
    refused(to);
    send4(fd, to, "hello", 5);
    await_mask(fd, ALL_EVENTS, POLLOUT | POLLERR);
    struct iovec in = {last.bytes, 2};
    struct msghdr message = {.msg_iov = &in, .msg_iovlen = 1};
    CHECK_EQ(OK(recvmsg(fd, &message, MSG_ERRQUEUE)), 2);
    CHECK_EQ(message.msg_flags, MSG_ERRQUEUE | MSG_TRUNC | MSG_CTRUNC);
}

TEST(row_100_too_long_a_datagram_is_in_the_queue) {
    int fd = udp();
    in4 to = nowhere();
    static char bytes[70000];
    FAILS(sendto(fd, bytes, 65508, 0, SA(&to), sizeof to), EMSGSIZE);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    FAILS(sendto(fd, bytes, 65508, 0, SA(&to), sizeof to), EMSGSIZE);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT | POLLERR);
    CHECK_EQ(so_error(fd), 0);
    CHECK_EQ(OK(receive(fd, MSG_ERRQUEUE)), 0);
    struct sock_extended_err *error = control(IPPROTO_IP, IP_RECVERR, sizeof *error + sizeof(in4));
    CHECK(error != NULL);
    CHECK_EQ(error->ee_errno, EMSGSIZE);
    CHECK_EQ(error->ee_origin, SO_EE_ORIGIN_LOCAL);
    CHECK_EQ(error->ee_info, 65535);
    CHECK_EQ(SO_EE_OFFENDER(error)->sa_family, AF_UNSPEC);
    FAILS(sendto(fd, bytes, 65536, 0, SA(&to), sizeof to), EMSGSIZE);
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
}

TEST(row_100_the_queue_of_errors_of_ipv6) {
    int fd = sock(AF_INET6, SOCK_DGRAM);
    in6 to = at6(in6addr_loopback, ntohs(nowhere().sin_port));
    set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    OK(sendto(fd, "six", 3, 0, SA(&to), sizeof to));
    CHECK_EQ(receive_soon(fd, MSG_ERRQUEUE), 3);
    struct sock_extended_err *error = control(IPPROTO_IPV6, IPV6_RECVERR, sizeof *error + sizeof(in6));
    CHECK(error != NULL);
    CHECK_EQ(error->ee_origin, SO_EE_ORIGIN_ICMP6);
    CHECK_EQ(error->ee_type, 1);
    CHECK_EQ(error->ee_code, 4);
    CHECK(IN6_IS_ADDR_LOOPBACK(&((in6 *)SO_EE_OFFENDER(error))->sin6_addr));
    // An IPv4 address has the option of IPv4.
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr);
    OK(sendto(fd, "map", 3, 0, SA(&to), sizeof to));
    settle();
    FAILS(receive(fd, MSG_ERRQUEUE), EAGAIN);
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    OK(sendto(fd, "map", 3, 0, SA(&to), sizeof to));
    CHECK_EQ(receive_soon(fd, MSG_ERRQUEUE), 3);
    error = control(IPPROTO_IPV6, IPV6_RECVERR, sizeof *error + sizeof(in6));
    CHECK(error != NULL);
    CHECK_EQ(error->ee_origin, SO_EE_ORIGIN_ICMP);
    CHECK(IN6_IS_ADDR_V4MAPPED(&((in6 *)SO_EE_OFFENDER(error))->sin6_addr));
    CHECK(IN6_IS_ADDR_V4MAPPED(&((in6 *)&last.from)->sin6_addr));
}

TEST(body_other_sockets_have_no_queue_of_errors) {
    int pair[2];
    FAILS(receive(tcp(), MSG_ERRQUEUE), EAGAIN);
    OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    FAILS(receive(pair[0], MSG_ERRQUEUE), EAGAIN);
}

static int bound_udp(void) {
    int fd = udp();
    bind4(fd, local4(0));
    return fd;
}

static void check_now(int64_t seconds) {
    struct timespec now;
    OK(clock_gettime(CLOCK_REALTIME, &now));
    CHECK_LE(seconds, now.tv_sec);
    CHECK_GE(seconds, now.tv_sec - 60);
}

TEST(body_the_time_of_a_datagram_in_four_forms) {
    static const int names[] = {29, 35, 63, 64}; // SO_TIMESTAMP, SO_TIMESTAMPNS, and those with 64 bits
    int fd = bound_udp(), from = udp();
    for (int i = 0; i < 4; i++) {
        set_int(fd, SOL_SOCKET, names[i], 1);
        // Linux shows the last one as the one before it, too.
        for (int k = 0; k < 4; k++) CHECK_EQ(get_int(fd, SOL_SOCKET, names[k]), k == i || (i == 3 && k == 2));
        send4(from, name_of(fd), "x", 1);
        CHECK_EQ(receive_soon(fd, 0), 1);
        int64_t *time = control(SOL_SOCKET, names[i], 16);
        CHECK(time != NULL);
        check_now(time[0]);
        CHECK(time[1] >= 0 && time[1] < (i % 2 == 0 ? 1000000 : 1000000000));
        CHECK(CMSG_NXTHDR(&last.message, CMSG_FIRSTHDR(&last.message)) == NULL);
    }
    // Each of them takes any of them back.
    set_int(fd, SOL_SOCKET, names[0], 0);
    for (int k = 0; k < 4; k++) CHECK_EQ(get_int(fd, SOL_SOCKET, names[k]), 0);
    send4(from, name_of(fd), "x", 1);
    CHECK_EQ(receive_soon(fd, 0), 1);
    CHECK(CMSG_FIRSTHDR(&last.message) == NULL);
}

TEST(body_timestamping_of_what_comes) {
    int fd = bound_udp(), from = udp(), flags = 1 << 3 | 1 << 4; // RX_SOFTWARE, SOFTWARE
    for (int name = 37; name <= 65; name += 65 - 37) {
        set_int(fd, SOL_SOCKET, name, flags);
        CHECK_EQ(get_int(fd, SOL_SOCKET, name), flags);
        send4(from, name_of(fd), "x", 1);
        CHECK_EQ(receive_soon(fd, 0), 1);
        int64_t *time = control(SOL_SOCKET, name, 48);
        CHECK(time != NULL);
        check_now(time[0]);
        for (int i = 2; i < 6; i++) CHECK_EQ(time[i], 0);
    }
    FAILS(setsockopt(fd, SOL_SOCKET, 37, &(int){1 << 30}, 4), EINVAL);
    set_int(fd, SOL_SOCKET, 37, 0);
    send4(from, name_of(fd), "x", 1);
    CHECK_EQ(receive_soon(fd, 0), 1);
    CHECK(CMSG_FIRSTHDR(&last.message) == NULL);
}

TEST(body_how_many_were_lost) {
    int fd = bound_udp(), from = udp();
    set_int(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    CHECK_EQ(get_int(fd, SOL_SOCKET, SO_RXQ_OVFL), 1);
    set_int(fd, SOL_SOCKET, SO_RCVBUF, 0);
    for (int i = 0; i < 20; i++) send4(from, name_of(fd), "x", 1);
    settle();
    int came = 0;
    while (receive(fd, 0) == 1) {
        CHECK(control(SOL_SOCKET, SO_RXQ_OVFL, 4) == NULL);
        came++;
    }
    CHECK(came >= 1 && came < 10);
    send4(from, name_of(fd), "x", 1);
    CHECK_EQ(receive_soon(fd, 0), 1);
    uint32_t *lost = control(SOL_SOCKET, SO_RXQ_OVFL, 4);
    CHECK(lost != NULL);
    CHECK_EQ(*lost, 20 - came);
}

TEST(body_the_original_destination) {
    int fd = sock(AF_INET6, SOCK_DGRAM), from = udp(), from6 = sock(AF_INET6, SOCK_DGRAM);
    in6 any = at6(in6addr_any, 0);
    OK(bind(fd, SA(&any), sizeof any));
    in4 to = at4(0x7f000003, port_of(fd));
    in6 to6 = at6(in6addr_loopback, port_of(fd));
    set_int(fd, IPPROTO_IPV6, ORIGDSTADDR6, 1);
    OK(sendto(from6, "x", 1, 0, SA(&to6), sizeof to6));
    CHECK_EQ(receive_soon(fd, 0), 1);
    in6 *original6 = control(IPPROTO_IPV6, ORIGDSTADDR6, sizeof *original6);
    CHECK(original6 != NULL);
    CHECK_EQ(original6->sin6_port, to6.sin6_port);
    CHECK(IN6_IS_ADDR_LOOPBACK(&original6->sin6_addr));
    set_int(fd, IPPROTO_IP, IP_ORIGDSTADDR, 1);
    send4(from, to, "x", 1);
    CHECK_EQ(receive_soon(fd, 0), 1);
    in4 *original = control(IPPROTO_IP, IP_ORIGDSTADDR, sizeof *original);
    CHECK(original != NULL);
    CHECK_EQ(original->sin_family, AF_INET);
    CHECK_EQ(original->sin_port, to.sin_port);
    CHECK_EQ(original->sin_addr.s_addr, to.sin_addr.s_addr);
    CHECK(control(IPPROTO_IPV6, ORIGDSTADDR6, sizeof *original6) == NULL);
}

// ---- several datagrams in one call ------------------------------------------------------------------------------------------

static char pattern(size_t at) { return (char)(at * 7 + at / 251); }

static void fill_pattern(char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) bytes[i] = pattern(i);
}

// The next datagram has these bytes of the pattern.
static void expect_part(int fd, size_t start, size_t len) {
    CHECK_EQ(receive_soon(fd, 0), (long)len);
    for (size_t i = 0; i < len; i++) CHECK_EQ(last.bytes[i], pattern(start + i));
}

TEST(body_segments_arrive_one_by_one) {
    static const struct {
        int segment;
        size_t len;
    } cases[] = {{100, 250}, {100, 300}, {100, 100}, {100, 99}, {1, 5}, {1000, 64000}, {5000, 64000}, {40000, 60000}, {65535, 1000}};
    int fd = bound_udp(), from = udp();
    static char bytes[65000];
    fill_pattern(bytes, sizeof bytes);
    CHECK_EQ(get_int(from, IPPROTO_UDP, UDP_SEGMENT), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t segment = (size_t)cases[i].segment;
        set_int(from, IPPROTO_UDP, UDP_SEGMENT, cases[i].segment);
        CHECK_EQ(get_int(from, IPPROTO_UDP, UDP_SEGMENT), cases[i].segment);
        send4(from, name_of(fd), bytes, cases[i].len);
        for (size_t at = 0; at < cases[i].len; at += segment)
            expect_part(fd, at, cases[i].len - at < segment ? cases[i].len - at : segment);
        FAILS(receive(fd, 0), EAGAIN);
    }
    send4(from, name_of(fd), "", 0);
    CHECK_EQ(receive_soon(fd, 0), 0);
}

TEST(body_segments_arrive_as_one_where_they_may) {
    int fd = bound_udp(), from = udp();
    static char bytes[65000];
    fill_pattern(bytes, sizeof bytes);
    CHECK_EQ(get_int(fd, IPPROTO_UDP, UDP_GRO), 0);
    set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
    CHECK_EQ(get_int(fd, IPPROTO_UDP, UDP_GRO), 1);
    set_int(from, IPPROTO_UDP, UDP_SEGMENT, 1000);
    send4(from, name_of(fd), bytes, 60500);
    expect_part(fd, 0, 60500);
    int *segment = control(IPPROTO_UDP, UDP_GRO, sizeof *segment);
    CHECK(segment != NULL);
    CHECK_EQ(*segment, 1000);
    // One that is not several says nothing.
    send4(from, name_of(fd), bytes, 1000);
    expect_part(fd, 0, 1000);
    CHECK(control(IPPROTO_UDP, UDP_GRO, sizeof *segment) == NULL);
}

TEST(body_segments_of_one_message) {
    int fd = bound_udp(), from = udp();
    in4 to = name_of(fd);
    char bytes[250];
    fill_pattern(bytes, sizeof bytes);
    struct iovec out = {bytes, sizeof bytes};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4)];
    } control = {.header = {.cmsg_len = CMSG_LEN(2), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT}};
    *(uint16_t *)CMSG_DATA(&control.header) = 100;
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &out, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    CHECK_EQ(OK(sendmsg(from, &message, 0)), 250);
    expect_part(fd, 0, 100);
    expect_part(fd, 100, 100);
    expect_part(fd, 200, 50);
    // It counts more than the option.
    set_int(from, IPPROTO_UDP, UDP_SEGMENT, 10);
    *(uint16_t *)CMSG_DATA(&control.header) = 0;
    CHECK_EQ(OK(sendmsg(from, &message, 0)), 250);
    expect_part(fd, 0, 250);
    control.header.cmsg_len = CMSG_LEN(4);
    FAILS(sendmsg(from, &message, 0), EINVAL);
    control.header.cmsg_len = CMSG_LEN(2);
    control.header.cmsg_type = UDP_GRO;
    FAILS(sendmsg(from, &message, 0), EINVAL);
}

TEST(body_limits_of_segments) {
    int fd = udp();
    in4 to = nowhere();
    static char bytes[70000];
    FAILS(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &(int){-1}, 4), EINVAL);
    FAILS(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &(int){65536}, 4), EINVAL);
    FAILS(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &(char){1}, 1), EINVAL);
    set_int(fd, IPPROTO_UDP, UDP_SEGMENT, 10);
    // 64 before Linux 6.9, 128 since.
    send4(fd, to, bytes, 640);
    FAILS(sendto(fd, bytes, 1281, 0, SA(&to), sizeof to), EINVAL);
    FAILS(sendto(fd, bytes, 65508, 0, SA(&to), sizeof to), EMSGSIZE);
    // What nobody receives comes back as one.
    set_int(fd, IPPROTO_UDP, UDP_SEGMENT, 100);
    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    send4(fd, to, bytes, 250);
    CHECK_EQ(receive_soon(fd, MSG_ERRQUEUE), 250);
    refused(to);
}

TEST(body_segments_to_a_group) {
    int fd = udp(), gro = udp(), from = udp();
    in4 to = at4(0xe0000063, 0); // 224.0.0.99
    set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(gro, SOL_SOCKET, SO_REUSEADDR, 1);
    bind4(fd, at4(INADDR_ANY, 0));
    bind4(gro, at4(INADDR_ANY, port_of(fd)));
    to.sin_port = htons(port_of(fd));
    struct ip_mreqn group = {.imr_multiaddr = to.sin_addr, .imr_address.s_addr = htonl(INADDR_LOOPBACK)};
    OK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
    OK(setsockopt(gro, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group));
    OK(setsockopt(from, IPPROTO_IP, IP_MULTICAST_IF, &group, sizeof group));
    static char bytes[250];
    fill_pattern(bytes, sizeof bytes);
    set_int(from, IPPROTO_UDP, UDP_SEGMENT, 100);
    send4(from, to, bytes, sizeof bytes);
    for (size_t at = 0; at < 250; at += 100) {
        expect_part(fd, at, at < 200 ? 100 : 50);
        expect_part(gro, at, at < 200 ? 100 : 50);
    }
}

// ---- other options ----------------------------------------------------------------------------------------------------------

TEST(body_the_mtu_of_a_peer) {
    int fd = udp(), fd6 = sock(AF_INET6, SOCK_DGRAM);
    FAILS(getsockopt(fd, IPPROTO_IP, IP_MTU, &(int){0}, &(socklen_t){4}), ENOTCONN);
    OK(connect4(fd, local4(9)));
    CHECK_EQ(get_int(fd, IPPROTO_IP, IP_MTU), 65535);
    in6 to = at6(in6addr_loopback, 9);
    OK(connect(fd6, SA(&to), sizeof to));
    CHECK_EQ(get_int(fd6, IPPROTO_IPV6, IPV6_MTU), 65536);
}

TEST(body_times_to_send_at) {
    struct {
        int clock;
        unsigned flags;
    } txtime = {CLOCK_MONOTONIC, 0}, shown;
    int fd = udp();
    in4 to = nowhere();
    struct iovec out = {"x", 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(8)];
    } control = {.header = {.cmsg_len = CMSG_LEN(8), .cmsg_level = SOL_SOCKET, .cmsg_type = 61}};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &out, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    FAILS(sendmsg(fd, &message, 0), EINVAL);
    OK(setsockopt(fd, SOL_SOCKET, 61, &txtime, sizeof txtime));
    CHECK_EQ(OK(sendmsg(fd, &message, 0)), 1);
    socklen_t length = sizeof shown;
    OK(getsockopt(fd, SOL_SOCKET, 61, &shown, &length));
    CHECK_EQ(length, 8);
    CHECK_EQ(shown.clock, CLOCK_MONOTONIC);
    FAILS(setsockopt(fd, SOL_SOCKET, 61, &txtime, 4), EINVAL);
    txtime.flags = 4;
    FAILS(setsockopt(fd, SOL_SOCKET, 61, &txtime, sizeof txtime), EINVAL);
    txtime.flags = 0;
    txtime.clock = 99;
    FAILS(setsockopt(fd, SOL_SOCKET, 61, &txtime, sizeof txtime), EINVAL);
}
