// SPDX-License-Identifier: MPL-2.0
//
// From nothing to a connection: connect, listen, accept, backlog, ports. Rows 81, 87, 99 and S1.
#include "inet.h"

TEST(row_99_a_fresh_socket) {
    int fd = tcp();
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT | POLLHUP);
    char byte;
    FAILS(recv(fd, &byte, 1, 0), ENOTCONN);
    signal(SIGPIPE, SIG_IGN);
    FAILS(send(fd, "x", 1, 0), EPIPE);
    FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
    FAILS(shutdown(fd, SHUT_RDWR), ENOTCONN);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    in4 address;
    socklen_t length = sizeof address;
    FAILS(getpeername(fd, SA(&address), &length), ENOTCONN);
    FAILS(accept(fd, NULL, NULL), EINVAL);
    CHECK_EQ(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
}

TEST(body_connect_and_accept) {
    int listener = tcp_listener(8), client = tcp();
    CHECK_EQ(get_int(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    OK(connect4(client, local4(port_of(listener))));
    in4 peer;
    socklen_t length = sizeof peer;
    int server = (int)OK(accept4(listener, SA(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    CHECK_EQ(length, sizeof peer);
    CHECK_EQ(peer.sin_port, name_of(client).sin_port);
    CHECK_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_EQ(fcntl(server, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK_EQ(fcntl(server, F_GETFD), FD_CLOEXEC);
    in4 other;
    length = sizeof other;
    OK(getpeername(client, SA(&other), &length));
    CHECK_EQ(other.sin_port, htons(port_of(listener)));
    CHECK_EQ(port_of(server), port_of(listener));
    FAILS(connect4(client, local4(port_of(listener))), EISCONN);
    FAILS(connect4(listener, local4(port_of(listener))), EISCONN);
    FAILS(listen(client, 1), EINVAL);
    FAILS(bind(client, SA(&other), sizeof other), EINVAL);
    SAY(client, "hello");
    await_readable(server);
    HEAR(server, "hello");
    SAY(server, "you");
    HEAR(client, "you");
}

TEST(row_99_connect_refused) {
    int keeper, fd = tcp();
    in4 nobody = dead_port(SOCK_STREAM, &keeper);
    FAILS(connect4(fd, nobody), ECONNREFUSED);
    CHECK_EQ(so_error(fd), 0);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT | POLLHUP);
    // It may be used again.
    int listener = tcp_listener(1);
    OK(connect4(fd, local4(port_of(listener))));
}

TEST(row_99_refused_without_blocking) {
    int keeper, fd = tcp();
    in4 nobody = dead_port(SOCK_STREAM, &keeper);
    set_nonblocking(fd, true);
    FAILS(connect4(fd, nobody), EINPROGRESS);
    await_mask(fd, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    CHECK_EQ(so_error(fd), ECONNREFUSED);
    CHECK_EQ(so_error(fd), 0);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    char byte;
    CHECK_EQ(OK(recv(fd, &byte, 1, 0)), 0);
    FAILS(connect4(fd, nobody), ECONNABORTED);
    FAILS(connect4(fd, nobody), EINPROGRESS);
    await_mask(fd, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    FAILS(connect4(fd, nobody), ECONNREFUSED);
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT | POLLHUP);
}

TEST(row_99_connect_without_blocking) {
    int listener = tcp_listener(1), fd = tcp(), ep = ep_new();
    set_nonblocking(fd, true);
    ep_add(ep, fd, EPOLLIN | EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT | EPOLLHUP);
    FAILS(connect4(fd, local4(port_of(listener))), EINPROGRESS);
    await_mask(fd, ALL_EVENTS, POLLOUT);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(so_error(fd), 0);
    OK(connect4(fd, local4(port_of(listener))));
    FAILS(connect4(fd, local4(port_of(listener))), EISCONN);
}

TEST(body_bad_addresses) {
    int fd = tcp();
    in4 there = at4(0xc0000201, 80); // 192.0.2.1 is nobody's
    FAILS(bind(fd, SA(&there), sizeof there), EADDRNOTAVAIL);
    FAILS(bind(fd, SA(&there), 4), EINVAL);
    FAILS(bind(fd, SA(&there), -1), EINVAL);
    FAILS(bind(fd, BAD_POINTER, sizeof there), EFAULT);
    in6 six = at6(in6addr_loopback, 0);
    FAILS(bind(fd, SA(&six), sizeof six), EAFNOSUPPORT);
    FAILS(connect(fd, SA(&six), sizeof six), EAFNOSUPPORT);
    FAILS(connect(fd, SA(&there), 1), EINVAL);
    FAILS(connect(fd, BAD_POINTER, sizeof there), EFAULT);
    FAILS(socket(AF_INET, 77, 0), EINVAL);
    FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    FAILS(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP), EPROTONOSUPPORT);
    FAILS(socket(200, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(listen(make_eventfd(0, 0), 1), ENOTSOCK);
    FAILS(listen(-1, 1), EBADF);
    int pair[2];
    FAILS(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP);
}

TEST(body_ports_keep_others_away) {
    int one = tcp(), two = tcp();
    bind4(one, local4(0));
    in4 address = name_of(one);
    CHECK_NE(address.sin_port, 0);
    FAILS(bind(two, SA(&address), sizeof address), EADDRINUSE);
    in4 any = at4(INADDR_ANY, ntohs(address.sin_port));
    FAILS(bind(two, SA(&any), sizeof any), EADDRINUSE);
    in4 other = at4(0x7f000002, ntohs(address.sin_port));
    OK(bind(two, SA(&other), sizeof other));
    // The number comes back with the socket.
    OK(close(one));
    one = tcp();
    OK(bind(one, SA(&address), sizeof address));
}

TEST(body_reuseaddr) {
    int one = tcp(), two = tcp();
    set_int(one, SOL_SOCKET, SO_REUSEADDR, 1);
    set_int(two, SOL_SOCKET, SO_REUSEADDR, 1);
    bind4(one, local4(0));
    in4 address = name_of(one);
    OK(bind(two, SA(&address), sizeof address));
    OK(listen(one, 1));
    // Only one of them can listen, and nobody binds to a listener.
    FAILS(listen(two, 1), EADDRINUSE);
    int three = tcp();
    set_int(three, SOL_SOCKET, SO_REUSEADDR, 1);
    FAILS(bind(three, SA(&address), sizeof address), EADDRINUSE);
}

// A server that closes first leaves its port taken, unless both said SO_REUSEADDR.
static void time_wait(bool reuse) {
    int listener = tcp();
    set_int(listener, SOL_SOCKET, SO_REUSEADDR, reuse);
    bind4(listener, local4(0));
    OK(listen(listener, 1));
    in4 address = name_of(listener);
    int client = tcp_client(listener), server = (int)OK(accept(listener, NULL, NULL));
    OK(close(listener));
    OK(close(server));
    char byte;
    CHECK_EQ(OK(recv(client, &byte, 1, 0)), 0);
    OK(close(client));
    settle();
    int again = tcp();
    FAILS(bind(again, SA(&address), sizeof address), EADDRINUSE);
    set_int(again, SOL_SOCKET, SO_REUSEADDR, 1);
    if (reuse)
        OK(bind(again, SA(&address), sizeof address));
    else
        FAILS(bind(again, SA(&address), sizeof address), EADDRINUSE);
}

TEST(body_time_wait) { time_wait(false); }
TEST(body_time_wait_with_reuseaddr) { time_wait(true); }

TEST(body_no_time_wait_after_the_client_closed) {
    int listener = tcp_listener(1);
    in4 address = name_of(listener);
    int client = tcp_client(listener), server = (int)OK(accept(listener, NULL, NULL));
    OK(close(listener));
    OK(close(client));
    char byte;
    CHECK_EQ(OK(recv(server, &byte, 1, 0)), 0);
    OK(close(server));
    settle();
    bind4(tcp(), address);
}

TEST(body_reuseport_spreads) {
    enum { SERVERS = 4, CLIENTS = 64 };
    int servers[SERVERS], counts[SERVERS] = {0};
    in4 address = local4(0);
    for (int i = 0; i < SERVERS; i++) {
        servers[i] = tcp();
        set_int(servers[i], SOL_SOCKET, SO_REUSEPORT, 1);
        bind4(servers[i], address);
        OK(listen(servers[i], CLIENTS));
        address = name_of(servers[i]);
        set_nonblocking(servers[i], true);
    }
    for (int i = 0; i < CLIENTS; i++)
        OK(connect4(tcp(), address));
    settle();
    for (int i = 0; i < SERVERS; i++)
        while (accept(servers[i], NULL, NULL) >= 0)
            counts[i]++;
    for (int i = 0; i < SERVERS; i++)
        CHECK_GT(counts[i], 0);
    CHECK_EQ(counts[0] + counts[1] + counts[2] + counts[3], CLIENTS);
    FAILS(bind(tcp(), SA(&address), sizeof address), EADDRINUSE);
}

TEST(body_the_backlog_is_bounded) {
    int listener = tcp_listener(1), clients[4];
    in4 address = name_of(listener);
    // One more than the backlog fits.
    for (int i = 0; i < 4; i++) {
        clients[i] = tcp();
        set_nonblocking(clients[i], true);
        FAILS(connect4(clients[i], address), EINPROGRESS);
    }
    await_mask(clients[0], POLLOUT, POLLOUT);
    await_mask(clients[1], POLLOUT, POLLOUT);
    settle();
    CHECK_EQ(ask(clients[2], ALL_EVENTS), 0);
    FAILS(connect4(clients[2], address), EALREADY);
    FAILS(send(clients[2], "x", 1, 0), EAGAIN);
    char byte;
    FAILS(recv(clients[2], &byte, 1, 0), EAGAIN);
    // Room for two more. Linux sends its SYN again after a second.
    for (int i = 0; i < 4; i++)
        OK(close((int)OK(accept(listener, NULL, NULL))));
    await_mask(clients[2], POLLOUT, POLLOUT);
    await_mask(clients[3], POLLOUT, POLLOUT);
}

static void do_connect(void *address) { OK(connect4(tcp(), *(in4 *)address)); }

TEST(body_connect_blocks_while_the_backlog_is_full) {
    int listener = tcp_listener(0);
    in4 address = name_of(listener);
    OK(connect4(tcp(), address));
    struct sleeper s;
    sleeper_start(&s, do_connect, &address);
    sleeper_await_blocked(&s);
    CHECK(!s.done);
    OK(accept(listener, NULL, NULL));
    sleeper_join(&s);
    OK(accept(listener, NULL, NULL));
}

TEST(body_connect_with_a_timeout) {
    int listener = tcp_listener(0), fd = tcp();
    in4 address = name_of(listener);
    OK(connect4(tcp(), address));
    OK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 20000}, sizeof(struct timeval)));
    int64_t start = now_ns();
    FAILS(connect4(fd, address), EINPROGRESS);
    CHECK_GE(now_ns() - start, socket_timeout_at_least(20));
    FAILS(connect4(fd, address), EALREADY);
}

TEST(body_closing_a_listener_resets_its_queue) {
    int listener = tcp_listener(4), client = tcp_client(listener);
    OK(close(listener));
    await_mask(client, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    char byte;
    FAILS(recv(client, &byte, 1, 0), ECONNRESET);
    CHECK_EQ(OK(recv(client, &byte, 1, 0)), 0);
}

static void do_accept(void *fd) { FAILS(accept(*(int *)fd, NULL, NULL), EINVAL); }

TEST(body_shutdown_of_a_listener) {
    int listener = tcp_listener(4);
    struct sleeper s;
    sleeper_start(&s, do_accept, &listener);
    sleeper_await_blocked(&s);
    OK(shutdown(listener, SHUT_WR));
    CHECK_EQ(get_int(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
    OK(shutdown(listener, SHUT_RD));
    sleeper_join(&s);
    CHECK_EQ(get_int(listener, SOL_SOCKET, SO_ACCEPTCONN), 0);
    CHECK_EQ(ask(listener, ALL_EVENTS), POLLOUT | POLLHUP);
    OK(listen(listener, 4));
    tcp_client(listener);
}

TEST(body_accept_takes_turns_and_timeouts) {
    int listener = tcp_listener(4);
    set_nonblocking(listener, true);
    FAILS(accept(listener, NULL, NULL), EAGAIN);
    set_nonblocking(listener, false);
    OK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 10000}, sizeof(struct timeval)));
    FAILS(accept(listener, NULL, NULL), EAGAIN);
    FAILS(accept4(listener, NULL, NULL, 1), EINVAL);
}

TEST(body_accept_without_a_free_number_leaves_the_connection) {
    int listener = tcp_listener(4), client = tcp_client(listener);
    struct rlimit_ {
        unsigned long now, max;
    } old, small;
    OK(syscall(SYS_prlimit64, 0, 7, NULL, &old));
    int spare = (int)OK(dup(client));
    small = (struct rlimit_){(unsigned long)spare, old.max};
    OK(close(spare));
    OK(syscall(SYS_prlimit64, 0, 7, &small, NULL));
    FAILS(accept(listener, NULL, NULL), EMFILE);
    CHECK_EQ(ask(listener, POLLIN), POLLIN);
    OK(syscall(SYS_prlimit64, 0, 7, &old, NULL));
    int server = (int)OK(accept(listener, NULL, NULL));
    SAY(client, "still here");
    await_readable(server);
    HEAR(server, "still here");
}

TEST(row_S1_each_connection_is_an_edge_of_its_listener) {
    int listener = tcp_listener(8), ep = ep_new();
    ep_add(ep, listener, EPOLLIN | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), 0);
    for (int i = 0; i < 3; i++) {
        tcp_client(listener);
        await_mask(listener, POLLIN, POLLIN);
        settle();
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_mask(ep), 0);
    }
}

TEST(body_connect_to_itself) {
    int fd = tcp();
    bind4(fd, local4(0));
    OK(connect4(fd, name_of(fd)));
    CHECK_EQ(ask(fd, ALL_EVENTS), POLLOUT);
    SAY(fd, "echo");
    HEAR(fd, "echo");
    OK(shutdown(fd, SHUT_WR));
    char byte;
    CHECK_EQ(OK(recv(fd, &byte, 1, 0)), 0);
}

TEST(body_dissolving_a_connection) {
    struct pipe_ends s = tcp_pair();
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    OK(connect(s.w, &none, sizeof none));
    CHECK_EQ(ask(s.w, ALL_EVENTS) & (POLLOUT | POLLHUP), POLLOUT | POLLHUP);
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    char byte;
    FAILS(recv(s.r, &byte, 1, 0), ECONNRESET);
    so_error(s.w);
    int listener = tcp_listener(1);
    OK(connect4(s.w, local4(port_of(listener))));
}

TEST(body_the_unspecified_address_is_this_machine) {
    int listener = tcp();
    bind4(listener, at4(INADDR_ANY, 0));
    OK(listen(listener, 4));
    int client = tcp();
    OK(connect4(client, at4(INADDR_ANY, port_of(listener))));
    CHECK_EQ(name_of(client).sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_EQ(name_of((int)OK(accept(listener, NULL, NULL))).sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    OK(connect4(tcp(), at4(0x7f010203, port_of(listener))));
    CHECK_EQ(name_of((int)OK(accept(listener, NULL, NULL))).sin_addr.s_addr, htonl(0x7f010203));
}

TEST(body_ipv6_hears_both) {
    int listener = sock(AF_INET6, SOCK_STREAM);
    in6 any = at6(in6addr_any, 0);
    OK(bind(listener, SA(&any), sizeof any));
    OK(listen(listener, 4));
    OK(connect4(tcp(), local4(port_of(listener))));
    in6 peer;
    socklen_t length = sizeof peer;
    OK(accept(listener, SA(&peer), &length));
    CHECK_EQ(length, sizeof peer);
    CHECK(IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
    int six = sock(AF_INET6, SOCK_STREAM);
    in6 there = at6(in6addr_loopback, port_of(listener));
    OK(connect(six, SA(&there), sizeof there));
    length = sizeof peer;
    OK(accept(listener, SA(&peer), &length));
    CHECK(IN6_IS_ADDR_LOOPBACK(&peer.sin6_addr));
    in4 taken = at4(INADDR_ANY, port_of(listener));
    FAILS(bind(tcp(), SA(&taken), sizeof taken), EADDRINUSE);
    FAILS(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)), EINVAL);
}

TEST(body_ipv6_only) {
    int listener = sock(AF_INET6, SOCK_STREAM);
    set_int(listener, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    in6 any = at6(in6addr_any, 0);
    OK(bind(listener, SA(&any), sizeof any));
    OK(listen(listener, 4));
    FAILS(connect4(tcp(), local4(port_of(listener))), ECONNREFUSED);
    bind4(tcp(), at4(INADDR_ANY, port_of(listener)));
}

// n connections wake n threads that wait in accept.
static void accept_one(void *fd) { OK(close((int)OK(accept(*(int *)fd, NULL, NULL)))); }

TEST(row_53_connections_wake_acceptors) {
    int listener = tcp_listener(8);
    struct sleeper s[4];
    for (int i = 0; i < 4; i++)
        sleeper_start(&s[i], accept_one, &listener);
    for (int i = 0; i < 4; i++)
        sleeper_await_blocked(&s[i]);
    for (int i = 0; i < 4; i++)
        tcp_client(listener);
    for (int i = 0; i < 4; i++)
        sleeper_join(&s[i]);
}

// Processes that share a listener by epoll, each waiting exclusively.
static void serve(void *fd) {
    int listener = *(int *)fd, ep = ep_new();
    set_nonblocking(listener, true);
    ep_add(ep, listener, EPOLLIN | EPOLLEXCLUSIVE, 0);
    for (;;) {
        struct epoll_event event;
        OK(epoll_wait(ep, &event, 1, -1));
        int server = accept(listener, NULL, NULL);
        if (server < 0) {
            CHECK_EQ(errno, EAGAIN);
            continue;
        }
        char byte;
        CHECK_EQ(OK(recv(server, &byte, 1, 0)), 1);
        CHECK_EQ(OK(send(server, &byte, 1, 0)), 1);
        OK(close(server));
        if (byte == 'q')
            return;
    }
}

TEST(row_32_exclusive_acceptors) {
    enum { SERVERS = 3 };
    int listener = tcp_listener(64);
    pid_t servers[SERVERS];
    for (int i = 0; i < SERVERS; i++)
        servers[i] = fork_run(serve, &listener);
    for (int i = 0; i < 60 + SERVERS; i++) {
        int client = tcp_client(listener);
        char byte = i < 60 ? 'x' : 'q';
        CHECK_EQ(OK(send(client, &byte, 1, 0)), 1);
        CHECK_EQ(OK(recv(client, &byte, 1, 0)), 1);
        OK(close(client));
    }
    for (int i = 0; i < SERVERS; i++)
        join_child(servers[i]);
}
