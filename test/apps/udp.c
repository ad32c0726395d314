// SPDX-License-Identifier: MPL-2.0
//
// Datagrams. Rows 37, 38 and 100.
#include "inet.h"

static struct pipe_ends udp_pair(void) {
    struct pipe_ends s = {udp(), udp()};
    bind4(s.r, local4(0));
    bind4(s.w, local4(0));
    OK(connect4(s.r, name_of(s.w)));
    OK(connect4(s.w, name_of(s.r)));
    return s;
}

static in4 bound(int fd) {
    bind4(fd, local4(0));
    return name_of(fd);
}

TEST(row_37_38_masks) {
    const short all = ALL_EVENTS | POLLRDNORM | POLLWRNORM | POLLWRBAND | POLLRDBAND;
    int fd = udp();
    CHECK_EQ(ask(fd, all), POLLOUT | POLLWRNORM | POLLWRBAND);
    struct pipe_ends s = udp_pair();
    put_byte(s.w);
    await_mask(s.r, all, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLWRBAND);
    FAILS(shutdown(fd, SHUT_RD), ENOTCONN);
    OK(shutdown(s.w, SHUT_RD));
    CHECK_EQ(ask(s.w, all), POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM | POLLWRBAND);
    OK(shutdown(s.w, SHUT_WR));
    CHECK_EQ(ask(s.w, all), POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM | POLLWRBAND | POLLHUP);
    FAILS(send(s.w, "x", 1, MSG_NOSIGNAL), EPIPE);
    char byte;
    CHECK_EQ(OK(recv(s.w, &byte, 1, 0)), 0);
}

TEST(body_boundaries_and_sources) {
    int one = udp(), two = udp();
    in4 address = bound(one), from;
    char bytes[16];
    CHECK_EQ(OK(sendto(two, "first", 5, 0, SA(&address), sizeof address)), 5);
    CHECK_EQ(OK(sendto(two, "", 0, 0, SA(&address), sizeof address)), 0);
    CHECK_EQ(OK(sendto(two, "third", 5, 0, SA(&address), sizeof address)), 5);
    socklen_t length = sizeof from;
    await_readable(one);
    int pending;
    OK(ioctl(one, FIONREAD, &pending));
    CHECK_EQ(pending, 5);
    CHECK_EQ(OK(recvfrom(one, bytes, sizeof bytes, MSG_PEEK, SA(&from), &length)), 5);
    CHECK_EQ(length, sizeof from);
    CHECK_EQ(ntohs(from.sin_port), port_of(two));
    CHECK_EQ(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_EQ(OK(recv(one, bytes, 2, 0)), 2);
    CHECK_EQ(OK(recv(one, bytes, sizeof bytes, 0)), 0);
    CHECK_EQ(OK(recv(one, bytes, 2, MSG_TRUNC)), 5);
    FAILS(recv(one, bytes, 2, MSG_DONTWAIT), EAGAIN);
    FAILS(send(one, bytes, 2, MSG_OOB), EOPNOTSUPP);
    FAILS(listen(one, 1), EOPNOTSUPP);
    FAILS(accept(one, NULL, NULL), EOPNOTSUPP);
}

TEST(body_addresses_of_datagram_sockets) {
    int fd = udp();
    FAILS(send(fd, "x", 1, 0), EDESTADDRREQ);
    in4 there = at4(0xc0000201, 80), none = local4(0);
    FAILS(bind(fd, SA(&there), sizeof there), EADDRNOTAVAIL);
    FAILS(sendto(fd, "x", 1, 0, SA(&none), sizeof none), EINVAL);
    FAILS(sendto(fd, "x", 1, 0, SA(&there), 3), EINVAL);
    in6 six = at6(in6addr_loopback, 9);
    FAILS(sendto(fd, "x", 1, 0, SA(&six), sizeof six), EAFNOSUPPORT);
    // Even a send that fails binds.
    CHECK_NE(port_of(fd), 0);
    int other = udp();
    in4 address = bound(other);
    OK(sendto(fd, "x", 1, 0, SA(&address), sizeof address));
    CHECK_EQ(name_of(fd).sin_addr.s_addr, htonl(INADDR_ANY));
    OK(connect4(fd, address));
    CHECK_EQ(name_of(fd).sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    in4 peer;
    socklen_t length = sizeof peer;
    OK(getpeername(fd, SA(&peer), &length));
    CHECK_EQ(peer.sin_port, address.sin_port);
    struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
    OK(connect(fd, &unspecified, sizeof unspecified));
    FAILS(getpeername(fd, SA(&peer), &length), ENOTCONN);
    FAILS(send(fd, "x", 1, 0), EDESTADDRREQ);
}

TEST(body_a_connected_socket_hears_only_its_peer) {
    struct pipe_ends s = udp_pair();
    int stranger = udp();
    in4 address = name_of(s.r);
    OK(sendto(stranger, "no", 2, 0, SA(&address), sizeof address));
    SAY(s.w, "yes");
    await_readable(s.r);
    HEAR(s.r, "yes");
    settle();
    CHECK_EQ(ask(s.r, POLLIN), 0);
    // What was queued before the connection stays.
    int fd = udp();
    address = bound(fd);
    OK(sendto(stranger, "early", 5, 0, SA(&address), sizeof address));
    OK(connect4(fd, name_of(s.w)));
    await_readable(fd);
    HEAR(fd, "early");
}

TEST(row_100_refused) {
    int gone, fd = udp();
    in4 nobody = dead_port(SOCK_DGRAM, &gone);
    // Without a connection nobody is told.
    OK(sendto(fd, "x", 1, 0, SA(&nobody), sizeof nobody));
    settle();
    CHECK_EQ(ask(fd, POLLIN), 0);
    OK(connect4(fd, nobody));
    CHECK_EQ(OK(send(fd, "x", 1, 0)), 1);
    await_mask(fd, POLLOUT, POLLERR | POLLOUT);
    FAILS(send(fd, "x", 1, 0), ECONNREFUSED);
    CHECK_EQ(OK(send(fd, "x", 1, 0)), 1);
    char byte;
    await_mask(fd, POLLOUT, POLLERR | POLLOUT);
    FAILS(recv(fd, &byte, 1, 0), ECONNREFUSED);
    CHECK_EQ(OK(send(fd, "x", 1, 0)), 1);
    await_mask(fd, POLLOUT, POLLERR | POLLOUT);
    CHECK_EQ(so_error(fd), ECONNREFUSED);
    CHECK_EQ(ask(fd, POLLOUT), POLLOUT);
}

TEST(row_28_each_datagram_is_an_edge) {
    struct pipe_ends s = udp_pair();
    int ep = ep_new();
    ep_add(ep, s.r, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 3; i++) {
        put_byte(s.w);
        settle();
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_mask(ep), 0);
    }
}

TEST(body_sizes_of_datagrams) {
    struct pipe_ends s = udp_pair();
    static char bytes[65536];
    set_int(s.r, SOL_SOCKET, SO_RCVBUF, 300000);
    FAILS(send(s.w, bytes, 65508, 0), EMSGSIZE);
    memset(bytes, 7, sizeof bytes);
    CHECK_EQ(OK(send(s.w, bytes, 65507, 0)), 65507);
    memset(bytes, 0, sizeof bytes);
    await_readable(s.r);
    CHECK_EQ(OK(recv(s.r, bytes, sizeof bytes, 0)), 65507);
    CHECK(bytes[0] == 7 && bytes[65506] == 7 && bytes[65507] == 0);
}

TEST(body_what_finds_no_room_is_dropped) {
    struct pipe_ends s = udp_pair();
    set_int(s.r, SOL_SOCKET, SO_RCVBUF, 8192);
    for (int i = 0; i < 500; i++)
        CHECK_EQ(OK(send(s.w, "0123456789", 10, 0)), 10);
    settle();
    int got = 0;
    char bytes[16];
    while (recv(s.r, bytes, sizeof bytes, MSG_DONTWAIT) == 10)
        got++;
    CHECK_GT(got, 3);
    CHECK_LT(got, 200);
    put_byte(s.w);
    await_readable(s.r);
}

TEST(body_messages_with_vectors) {
    struct pipe_ends s = udp_pair();
    char a[4], b[4];
    struct iovec out[2] = {{"abc", 3}, {"def", 3}}, in[2] = {{a, 4}, {b, 1}};
    in4 name;
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 2};
    CHECK_EQ(OK(sendmsg(s.w, &message, 0)), 6);
    await_readable(s.r);
    message = (struct msghdr){.msg_iov = in, .msg_iovlen = 2, .msg_name = &name, .msg_namelen = sizeof name};
    CHECK_EQ(OK(recvmsg(s.r, &message, 0)), 5);
    CHECK_EQ(message.msg_flags, MSG_TRUNC);
    CHECK_EQ(message.msg_namelen, sizeof name);
    CHECK(memcmp(a, "abcd", 4) == 0 && b[0] == 'e');
}

TEST(body_many_messages) {
    struct pipe_ends s = udp_pair();
    char texts[4][8] = {"a", "bb", "ccc", "dddd"}, room[4][8] = {{0}};
    struct iovec out[4], in[4];
    struct mmsghdr m[4];
    for (int i = 0; i < 4; i++) {
        out[i] = (struct iovec){texts[i], (size_t)i + 1};
        in[i] = (struct iovec){room[i], sizeof room[i]};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &out[i], .msg_iovlen = 1}};
    }
    CHECK_EQ(OK(sendmmsg(s.w, m, 4, 0)), 4);
    CHECK_EQ(m[2].msg_len, 3);
    await_readable(s.r);
    settle();
    for (int i = 0; i < 4; i++)
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &in[i], .msg_iovlen = 1}};
    CHECK_EQ(OK(recvmmsg(s.r, m, 4, MSG_WAITFORONE, NULL)), 4);
    for (int i = 0; i < 4; i++)
        CHECK(m[i].msg_len == (unsigned)i + 1 && memcmp(room[i], texts[i], (size_t)i + 1) == 0);
    SAY(s.w, "one");
    await_readable(s.r);
    CHECK_EQ(OK(recvmmsg(s.r, m, 4, MSG_WAITFORONE, NULL)), 1);
    FAILS(recvmmsg(s.r, m, 4, MSG_DONTWAIT, NULL), EAGAIN);
}

// The only control message, which must be of this kind.
static void *only_control(struct msghdr *message, int level, int type) {
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    CHECK(c != NULL);
    CHECK_EQ(c->cmsg_level, level);
    CHECK_EQ(c->cmsg_type, type);
    CHECK(CMSG_NXTHDR(message, c) == NULL);
    return CMSG_DATA(c);
}

static struct msghdr receive_with_control(int fd) {
    static char byte;
    static _Alignas(struct cmsghdr) char control[256];
    static struct iovec in = {&byte, 1};
    struct msghdr message = {.msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    await_readable(fd);
    CHECK_EQ(OK(recvmsg(fd, &message, 0)), 1);
    return message;
}

TEST(body_pktinfo_and_timestamp) {
    int one = udp(), two = udp();
    bind4(one, at4(INADDR_ANY, 0));
    in4 to = at4(0x7f000005, port_of(one));
    set_int(one, IPPROTO_IP, IP_PKTINFO, 1);
    OK(sendto(two, "x", 1, 0, SA(&to), sizeof to));
    struct msghdr message = receive_with_control(one);
    struct in_pktinfo *info = only_control(&message, IPPROTO_IP, IP_PKTINFO);
    CHECK_EQ(info->ipi_addr.s_addr, htonl(0x7f000005));
    CHECK_EQ(info->ipi_spec_dst.s_addr, htonl(0x7f000005));
    CHECK_EQ(info->ipi_ifindex, 1);
    set_int(one, IPPROTO_IP, IP_PKTINFO, 0);
    set_int(one, SOL_SOCKET, SO_TIMESTAMP, 1);
    struct timespec now;
    OK(clock_gettime(CLOCK_REALTIME, &now));
    OK(sendto(two, "x", 1, 0, SA(&to), sizeof to));
    message = receive_with_control(one);
    struct timeval *time = only_control(&message, SOL_SOCKET, SO_TIMESTAMP);
    CHECK_GE(time->tv_sec, now.tv_sec - 1);
    CHECK_LE(time->tv_sec, now.tv_sec + 60);
    set_int(one, SOL_SOCKET, SO_TIMESTAMP, 0);
    set_int(one, IPPROTO_IP, IP_RECVTTL, 1);
    set_int(two, IPPROTO_IP, IP_TTL, 33);
    OK(sendto(two, "x", 1, 0, SA(&to), sizeof to));
    message = receive_with_control(one);
    CHECK_EQ(*(int *)only_control(&message, IPPROTO_IP, IP_TTL), 33);
}

TEST(body_pktinfo_chooses_the_source) {
    int one = udp(), two = udp();
    in4 to = bound(one), from;
    struct iovec out = {"x", 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo)), .cmsg_type = IP_PKTINFO}};
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f000009)};
    memcpy(CMSG_DATA(&control.header), &info, sizeof info);
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &out, .msg_iovlen = 1,
                             .msg_control = &control, .msg_controllen = sizeof control};
    CHECK_EQ(OK(sendmsg(two, &message, 0)), 1);
    char byte;
    socklen_t length = sizeof from;
    CHECK_EQ(OK(recvfrom(one, &byte, 1, 0, SA(&from), &length)), 1);
    CHECK_EQ(from.sin_addr.s_addr, htonl(0x7f000009));
    control.header.cmsg_type = 12345;
    FAILS(sendmsg(two, &message, 0), EINVAL);
    control.header.cmsg_len = 3;
    FAILS(sendmsg(two, &message, 0), EINVAL);
}

TEST(body_ipv6_datagrams) {
    int one = sock(AF_INET6, SOCK_DGRAM), two = sock(AF_INET6, SOCK_DGRAM), four = udp();
    in6 any = at6(in6addr_any, 0), from;
    OK(bind(one, SA(&any), sizeof any));
    set_int(one, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    in6 to = at6(in6addr_loopback, port_of(one));
    OK(sendto(two, "x", 1, 0, SA(&to), sizeof to));
    struct msghdr message = receive_with_control(one);
    struct in6_pktinfo *info = only_control(&message, IPPROTO_IPV6, IPV6_PKTINFO);
    CHECK(IN6_IS_ADDR_LOOPBACK(&info->ipi6_addr));
    in4 to4 = local4(port_of(one));
    OK(sendto(four, "y", 1, 0, SA(&to4), sizeof to4));
    char byte;
    socklen_t length = sizeof from;
    await_readable(one);
    CHECK_EQ(OK(recvfrom(one, &byte, 1, 0, SA(&from), &length)), 1);
    CHECK(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
    // And back, from IPv6 to IPv4.
    OK(sendto(one, "z", 1, 0, SA(&from), sizeof from));
    await_readable(four);
    HEAR(four, "z");
}

TEST(body_broadcast_needs_permission) {
    int fd = udp();
    in4 all = at4(0x7fffffff, 9);
    FAILS(sendto(fd, "x", 1, 0, SA(&all), sizeof all), EACCES);
    FAILS(connect4(fd, all), EACCES);
    set_int(fd, SOL_SOCKET, SO_BROADCAST, 1);
    OK(sendto(fd, "x", 1, 0, SA(&all), sizeof all));
}

TEST(body_sharing_a_port) {
    int one = udp(), two = udp(), three = udp();
    set_int(one, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(two, SOL_SOCKET, SO_REUSEADDR, 1);
    in4 address = bound(one);
    OK(bind(two, SA(&address), sizeof address));
    FAILS(bind(three, SA(&address), sizeof address), EADDRINUSE);
    FAILS(bind(one, SA(&address), sizeof address), EINVAL);
}

TEST(body_multicast) {
    int one = udp(), two = udp(), sender = udp();
    struct ip_mreq request = {.imr_multiaddr.s_addr = htonl(0xef010203), .imr_interface.s_addr = htonl(INADDR_LOOPBACK)};
    set_int(one, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(two, SOL_SOCKET, SO_REUSEADDR, 1);
    bind4(one, at4(INADDR_ANY, 0));
    bind4(two, at4(INADDR_ANY, port_of(one)));
    OK(setsockopt(one, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
    FAILS(setsockopt(one, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request), EADDRINUSE);
    OK(setsockopt(two, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request));
    OK(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &request.imr_interface, sizeof request.imr_interface));
    in4 group = at4(0xef010203, port_of(one));
    OK(sendto(sender, "many", 4, 0, SA(&group), sizeof group));
    await_readable(one);
    await_readable(two);
    HEAR(one, "many");
    HEAR(two, "many");
    OK(setsockopt(one, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request));
    FAILS(setsockopt(one, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request), EADDRNOTAVAIL);
    set_int(one, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    OK(sendto(sender, "few", 3, 0, SA(&group), sizeof group));
    await_readable(two);
    HEAR(two, "few");
    CHECK_EQ(ask(one, POLLIN), 0);
    // It is about copies that come back; the loopback's own way is not one of them.
    set_int(sender, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
    OK(sendto(sender, "still", 5, 0, SA(&group), sizeof group));
    await_readable(two);
    HEAR(two, "still");
    request.imr_multiaddr.s_addr = htonl(INADDR_LOOPBACK);
    FAILS(setsockopt(one, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request), EINVAL);
}

static void echo_once(void *fd) {
    char bytes[64];
    in4 from;
    socklen_t length = sizeof from;
    long n = OK(recvfrom(*(int *)fd, bytes, sizeof bytes, 0, SA(&from), &length));
    CHECK_EQ(OK(sendto(*(int *)fd, bytes, (size_t)n, 0, SA(&from), length)), n);
}

TEST(row_54_one_datagram_wakes_one) {
    int fd = udp(), client = udp();
    in4 address = bound(fd);
    struct sleeper s[3];
    for (int i = 0; i < 3; i++)
        sleeper_start(&s[i], echo_once, &fd);
    for (int i = 0; i < 3; i++)
        sleeper_await_blocked(&s[i]);
    for (int i = 0; i < 3; i++) {
        OK(sendto(client, "ping", 4, 0, SA(&address), sizeof address));
        await_readable(client);
        HEAR(client, "ping");
    }
    for (int i = 0; i < 3; i++)
        sleeper_join(&s[i]);
}

TEST(body_datagrams_after_shutdown) {
    struct pipe_ends s = udp_pair();
    char byte;
    put_byte(s.w);
    await_readable(s.r);
    OK(shutdown(s.r, SHUT_RD));
    CHECK_EQ(OK(recv(s.r, &byte, 1, MSG_DONTWAIT)), 1);
    // Only those that would wait see the end.
    FAILS(recv(s.r, &byte, 1, MSG_DONTWAIT), EAGAIN);
    CHECK_EQ(OK(recv(s.r, &byte, 1, 0)), 0);
    put_byte(s.w);
    for (int i = 0; i < 3000 && recv(s.r, &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 1; i++)
        sleep_ms(1);
    CHECK_EQ(OK(recv(s.r, &byte, 1, MSG_DONTWAIT)), 1);
}

// An error after some messages is told the next time.
TEST(row_100_an_error_of_recvmmsg_is_kept) {
    struct pipe_ends s = udp_pair();
    char byte;
    for (int i = 0; i < 3; i++) {
        put_byte(s.w);
        await_readable(s.r);
    }
    struct iovec v[2] = {{&byte, 1}, {BAD_POINTER, 1}};
    struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = v, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = v + 1, .msg_iovlen = 1}}};
    CHECK_EQ(OK(recvmmsg(s.r, m, 2, 0, NULL)), 1);
    CHECK_EQ(ask(s.r, POLLIN), POLLIN | POLLERR);
    FAILS(recvmmsg(s.r, m, 2, 0, NULL), EFAULT);
    CHECK_EQ(OK(recvmmsg(s.r, m, 1, 0, NULL)), 1);
    CHECK_EQ(ask(s.r, POLLIN), 0);
}

TEST(body_faults_of_datagrams) {
    struct pipe_ends s = udp_pair();
    FAILS(send(s.w, BAD_POINTER, 10, 0), EFAULT);
    settle();
    CHECK_EQ(ask(s.r, POLLIN), 0);
    SAY(s.w, "lost");
    await_readable(s.r);
    FAILS(recv(s.r, BAD_POINTER, 10, 0), EFAULT);
    // As on Linux, it stays gone.
    FAILS(recv(s.r, &s, 1, MSG_DONTWAIT), EAGAIN);
    FAILS(setsockopt(s.r, IPPROTO_UDP, 9999, &(int){1}, sizeof(int)), ENOPROTOOPT);
}
