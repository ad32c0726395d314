// SPDX-License-Identifier: MPL-2.0
//
// Netlink sockets of the protocol NETLINK_ROUTE: what C libraries and runtimes ask for interfaces and addresses. The machine may
// have more interfaces than the loopback.
#include "inet.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#define LOOPBACK 1

struct question {
    struct nlmsghdr header;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
    };
    char attributes[64];
};

static int route_socket(int type) { return (int)OK(socket(AF_NETLINK, type | SOCK_CLOEXEC, NETLINK_ROUTE)); }

static struct sockaddr_nl port_of_netlink(int fd) {
    struct sockaddr_nl name;
    socklen_t length = sizeof name;
    OK(getsockname(fd, SA(&name), &length));
    CHECK_EQ(length, sizeof name);
    CHECK_EQ(name.nl_family, AF_NETLINK);
    return name;
}

static struct question request(int type, int flags, size_t fixed) {
    return (struct question){.header = {
                            .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + fixed),
                            .nlmsg_type = (uint16_t)type,
                            .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
                            .nlmsg_seq = 77,
                        }};
}

static void attach(struct question *q, int type, const void *value, size_t length) {
    struct rtattr *attribute = (void *)((char *)q + NLMSG_ALIGN(q->header.nlmsg_len));
    attribute->rta_type = (uint16_t)type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(length);
    memcpy(RTA_DATA(attribute), value, length);
    q->header.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->header.nlmsg_len) + RTA_LENGTH(length));
}

static void ask_it(int fd, const struct question *q) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    CHECK_EQ(OK(sendto(fd, q, q->header.nlmsg_len, 0, SA(&kernel), sizeof kernel)), q->header.nlmsg_len);
}

static char buffer[65536];

static struct nlmsghdr *next_packet(int fd, ssize_t *length) {
    struct sockaddr_nl from;
    socklen_t from_length = sizeof from;
    *length = OK(recvfrom(fd, buffer, sizeof buffer, 0, SA(&from), &from_length));
    CHECK_EQ(from.nl_pid, 0);
    return (struct nlmsghdr *)buffer;
}

// Calls `each` with the messages of a dump, until its end.
static int dump(int fd, int type, int family, void (*each)(struct nlmsghdr *)) {
    struct question req = request(type, NLM_F_DUMP, sizeof(struct rtmsg));
    req.route.rtm_family = (unsigned char)family;
    ask_it(fd, &req);
    uint32_t port = port_of_netlink(fd).nl_pid;
    for (int count = 0;;) {
        ssize_t length;
        for (struct nlmsghdr *m = next_packet(fd, &length); NLMSG_OK(m, length); m = NLMSG_NEXT(m, length)) {
            CHECK_EQ(m->nlmsg_seq, 77);
            CHECK_EQ(m->nlmsg_pid, port);
            CHECK(m->nlmsg_flags & NLM_F_MULTI);
            if (m->nlmsg_type == NLMSG_DONE) {
                CHECK_EQ(*(int *)NLMSG_DATA(m), 0);
                return count;
            }
            CHECK_EQ(m->nlmsg_type, type - 2);
            each(m);
            count++;
        }
    }
}

static struct rtattr *attribute_of(struct nlmsghdr *m, size_t fixed, int type) {
    int length = (int)(m->nlmsg_len - NLMSG_SPACE(fixed));
    struct rtattr *a = (void *)((char *)NLMSG_DATA(m) + NLMSG_ALIGN(fixed));
    for (; RTA_OK(a, length); a = RTA_NEXT(a, length))
        if ((a->rta_type & NLA_TYPE_MASK) == type)
            return a;
    return NULL;
}

static int acknowledgement(int fd) {
    ssize_t length;
    struct nlmsghdr *m = next_packet(fd, &length);
    CHECK(NLMSG_OK(m, length));
    CHECK_EQ(m->nlmsg_type, NLMSG_ERROR);
    struct nlmsgerr *e = NLMSG_DATA(m);
    CHECK_EQ(e->msg.nlmsg_seq, 77);
    return e->error;
}

TEST(body_which_sockets_there_are) {
    route_socket(SOCK_RAW);
    route_socket(SOCK_DGRAM);
    FAILS(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), ESOCKTNOSUPPORT);
    FAILS(socket(AF_NETLINK, SOCK_RAW, 31), EPROTONOSUPPORT);
    FAILS(socket(AF_NETLINK, SOCK_RAW, -1), EPROTONOSUPPORT);
}

TEST(body_ports) {
    int one = route_socket(SOCK_RAW), two = route_socket(SOCK_RAW);
    struct sockaddr_nl any = {.nl_family = AF_NETLINK}, wrong = {.nl_family = AF_INET};
    CHECK_EQ(port_of_netlink(one).nl_pid, 0);
    OK(bind(one, SA(&any), sizeof any));
    CHECK_EQ(port_of_netlink(one).nl_pid, getpid());
    OK(bind(two, SA(&any), sizeof any));
    uint32_t other = port_of_netlink(two).nl_pid;
    CHECK(other != 0 && other != (uint32_t)getpid());
    any.nl_pid = other;
    OK(bind(two, SA(&any), sizeof any));
    FAILS(bind(one, SA(&any), sizeof any), EINVAL);
    FAILS(bind(route_socket(SOCK_RAW), SA(&any), sizeof any), EADDRINUSE);
    FAILS(bind(one, SA(&wrong), sizeof wrong), EINVAL);
    FAILS(bind(one, SA(&any), 4), EINVAL);
    close(two);
    OK(bind(route_socket(SOCK_RAW), SA(&any), sizeof any));
    FAILS(listen(one, 1), EOPNOTSUPP);
    FAILS(accept(one, NULL, NULL), EOPNOTSUPP);
    FAILS(shutdown(one, SHUT_RD), EOPNOTSUPP);
    FAILS(send(one, "", 0, MSG_OOB), EOPNOTSUPP);
}

static int loopbacks;

static void look_at_link(struct nlmsghdr *m) {
    struct ifinfomsg *link = NLMSG_DATA(m);
    if (link->ifi_index != LOOPBACK)
        return;
    loopbacks++;
    CHECK_EQ(link->ifi_type, 772);
    CHECK(link->ifi_flags & IFF_LOOPBACK);
    CHECK(!strcmp(RTA_DATA(attribute_of(m, sizeof *link, IFLA_IFNAME)), "lo"));
    CHECK_EQ(*(uint32_t *)RTA_DATA(attribute_of(m, sizeof *link, IFLA_MTU)), 65536);
}

TEST(body_links) {
    int fd = route_socket(SOCK_RAW);
    CHECK(dump(fd, RTM_GETLINK, AF_UNSPEC, look_at_link) >= 1);
    CHECK_EQ(loopbacks, 1);
    struct question req = request(RTM_GETLINK, 0, sizeof req.link);
    req.link.ifi_index = LOOPBACK;
    ask_it(fd, &req);
    ssize_t length;
    look_at_link(next_packet(fd, &length));
    CHECK_EQ(loopbacks, 2);
    req.link.ifi_index = 987654;
    ask_it(fd, &req);
    CHECK_EQ(acknowledgement(fd), -ENODEV);
    req.link.ifi_index = 0;
    ask_it(fd, &req);
    CHECK_EQ(acknowledgement(fd), -EINVAL);
    attach(&req, IFLA_IFNAME, "lo", 3);
    ask_it(fd, &req);
    look_at_link(next_packet(fd, &length));
    CHECK_EQ(loopbacks, 3);
}

static int families[2];

static void look_at_address(struct nlmsghdr *m) {
    struct ifaddrmsg *address = NLMSG_DATA(m);
    if (address->ifa_index != LOOPBACK)
        return;
    const unsigned char *ip = RTA_DATA(attribute_of(m, sizeof *address, IFA_ADDRESS));
    if (address->ifa_family == AF_INET) {
        CHECK_EQ(address->ifa_prefixlen, 8);
        CHECK(ip[0] == 127 && ip[3] == 1);
        families[0]++;
    } else {
        CHECK_EQ(address->ifa_prefixlen, 128);
        CHECK_EQ(ip[15], 1);
        families[1]++;
    }
}

TEST(body_addresses) {
    int fd = route_socket(SOCK_DGRAM);
    dump(fd, RTM_GETADDR, AF_INET, look_at_address);
    CHECK_EQ(families[0], 1);
    CHECK_EQ(families[1], 0);
    dump(fd, RTM_GETADDR, AF_UNSPEC, look_at_address);
    CHECK_EQ(families[0], 2);
    struct question req = request(RTM_GETADDR, 0, sizeof req.address);
    req.address.ifa_family = AF_INET;
    ask_it(fd, &req);
    CHECK_EQ(acknowledgement(fd), -EOPNOTSUPP);
}

static int local_routes;

static void look_at_route(struct nlmsghdr *m) {
    struct rtmsg *route = NLMSG_DATA(m);
    local_routes += route->rtm_type == RTN_LOCAL && route->rtm_family == AF_INET && route->rtm_dst_len == 8;
}

TEST(body_routes) {
    int fd = route_socket(SOCK_RAW);
    CHECK(dump(fd, RTM_GETROUTE, AF_INET, look_at_route) >= 3);
    CHECK_EQ(local_routes, 1);
    struct question req = request(RTM_GETROUTE, 0, sizeof req.route);
    req.route.rtm_family = AF_INET;
    req.route.rtm_dst_len = 32;
    attach(&req, RTA_DST, "\177\0\0\5", 4);
    ask_it(fd, &req);
    ssize_t length;
    struct nlmsghdr *m = next_packet(fd, &length);
    struct rtmsg *route = NLMSG_DATA(m);
    CHECK_EQ(m->nlmsg_type, RTM_NEWROUTE);
    CHECK_EQ(route->rtm_type, RTN_LOCAL);
    CHECK_EQ(*(uint32_t *)RTA_DATA(attribute_of(m, sizeof *route, RTA_OIF)), LOOPBACK);
}

TEST(body_acknowledgements) {
    int fd = route_socket(SOCK_RAW);
    // Nobody answers what is no request, or no message.
    struct question req = request(RTM_GETLINK, 0, sizeof req.link);
    req.header.nlmsg_flags = 0;
    ask_it(fd, &req);
    OK(send(fd, "short", 5, 0));
    FAILS(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT), EAGAIN);
    // An acknowledgement is sent if asked for, or of an error.
    req = request(NLMSG_NOOP, NLM_F_ACK, 0);
    ask_it(fd, &req);
    CHECK_EQ(acknowledgement(fd), 0);
    req = request(RTM_GETLINK, NLM_F_ACK, sizeof req.link);
    req.link.ifi_index = LOOPBACK;
    ask_it(fd, &req);
    ssize_t length;
    CHECK_EQ(next_packet(fd, &length)->nlmsg_type, RTM_NEWLINK);
    CHECK_EQ(acknowledgement(fd), 0);
    req = request(2000, 0, sizeof req.link);
    ask_it(fd, &req);
    CHECK_EQ(acknowledgement(fd), -EOPNOTSUPP);
    // An error brings the request back, unless that is not wanted.
    req = request(RTM_GETLINK, 0, sizeof req.link);
    ask_it(fd, &req);
    CHECK_EQ(OK(recv(fd, buffer, sizeof buffer, 0)), NLMSG_HDRLEN + 4 + req.header.nlmsg_len);
    set_int(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    CHECK_EQ(get_int(fd, SOL_NETLINK, NETLINK_CAP_ACK), 1);
    ask_it(fd, &req);
    CHECK_EQ(OK(recv(fd, buffer, sizeof buffer, 0)), NLMSG_HDRLEN + 4 + NLMSG_HDRLEN);
}

TEST(body_only_one_dump_at_a_time) {
    int fd = route_socket(SOCK_RAW);
    // So little room that the dump is not over before it is read.
    set_int(fd, SOL_SOCKET, SO_RCVBUF, 1);
    struct question req = request(RTM_GETLINK, NLM_F_DUMP, sizeof req.link);
    ask_it(fd, &req);
    CHECK_EQ(ask(fd, POLLIN), POLLIN);
    // It would find no room for `EBUSY`.
    ask_it(fd, &req);
    FAILS(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT), ENOBUFS);
    ssize_t length;
    while (next_packet(fd, &length)->nlmsg_type != NLMSG_DONE) {
    }
    FAILS(recv(fd, buffer, sizeof buffer, MSG_DONTWAIT), EAGAIN);
}

TEST(body_cut_and_peeked) {
    int fd = route_socket(SOCK_RAW);
    struct question req = request(RTM_GETLINK, 0, sizeof req.link);
    req.link.ifi_index = LOOPBACK;
    CHECK_EQ(ask(fd, POLLIN), 0);
    ask_it(fd, &req);
    CHECK_EQ(ask(fd, POLLIN), POLLIN);
    ssize_t whole = OK(recv(fd, buffer, 1, MSG_PEEK | MSG_TRUNC));
    CHECK(whole > 100);
    CHECK_EQ(OK(recv(fd, buffer, sizeof buffer, MSG_PEEK)), whole);
    struct iovec part = {buffer, 16};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    CHECK_EQ(OK(recvmsg(fd, &message, 0)), 16);
    CHECK_EQ(message.msg_flags, MSG_TRUNC);
    FAILS(recv(fd, buffer, 1, MSG_DONTWAIT), EAGAIN);
}

TEST(body_groups) {
    int fd = route_socket(SOCK_RAW);
    struct sockaddr_nl name = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    OK(bind(fd, SA(&name), sizeof name));
    set_int(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV4_IFADDR);
    CHECK_EQ(port_of_netlink(fd).nl_groups, RTMGRP_LINK | RTMGRP_IPV4_IFADDR);
    set_int(fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
    CHECK_EQ(port_of_netlink(fd).nl_groups, RTMGRP_IPV4_IFADDR);
    int none = 0;
    FAILS(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &none, sizeof none), EINVAL);
}

TEST(body_what_the_c_library_makes_of_it) {
    struct ifaddrs *list, *one;
    OK(getifaddrs(&list));
    int found = 0;
    for (one = list; one; one = one->ifa_next) {
        if (strcmp(one->ifa_name, "lo") || !one->ifa_addr || one->ifa_addr->sa_family != AF_INET)
            continue;
        CHECK_EQ(((in4 *)one->ifa_addr)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
        CHECK_EQ(((in4 *)one->ifa_netmask)->sin_addr.s_addr, htonl(0xff000000));
        CHECK(one->ifa_flags & IFF_LOOPBACK);
        found++;
    }
    CHECK_EQ(found, 1);
    freeifaddrs(list);
    CHECK_EQ(if_nametoindex("lo"), LOOPBACK);
    struct if_nameindex *names = if_nameindex();
    CHECK(names != NULL);
    CHECK(!strcmp(names[0].if_name, "lo"));
    if_freenameindex(names);
}
