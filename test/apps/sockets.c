// SPDX-License-Identifier: MPL-2.0
//
// Readiness of sockets: what pipes cannot show. Rows S1, 22, 35 to 38, 71, 81, 87, 98 to 100.
#include "ep.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/un.h>

static int ask(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    OK(poll(&p, 1, 0));
    return p.revents;
}

static struct pipe_ends pair(int type) {
    int fds[2];
    OK(socketpair(AF_UNIX, type, 0, fds));
    return (struct pipe_ends){fds[0], fds[1]};
}

static struct sockaddr_in loopback(void) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

// Two connected ends over the loopback.
static struct pipe_ends tcp_pair(void) {
    int listener = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in address = loopback();
    socklen_t length = sizeof address;
    OK(bind(listener, (struct sockaddr *)&address, length));
    OK(listen(listener, 1));
    OK(getsockname(listener, (struct sockaddr *)&address, &length));
    int client = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect(client, (struct sockaddr *)&address, length));
    int server = (int)OK(accept(listener, NULL, NULL));
    OK(close(listener));
    return (struct pipe_ends){client, server};
}

static void await_mask(int fd, short events, int expected) {
    for (int i = 0; i < 3000 && ask(fd, events) != expected; i++)
        sleep_ms(1);
    CHECK_EQ(ask(fd, events), expected);
}

TEST(row_35_rdhup_of_a_unix_socket) {
    struct pipe_ends s = pair(SOCK_STREAM);
    int ep = ep_new();
    ep_add(ep, s.r, EPOLLIN | EPOLLRDHUP, 0);
    CHECK_EQ(ep_ready(ep), 0);
    OK(shutdown(s.w, SHUT_WR));
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLRDHUP);
    OK(close(s.w));
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLRDHUP | EPOLLHUP);
}

TEST(row_35_99_rdhup_of_tcp) {
    struct pipe_ends s = tcp_pair();
    CHECK_EQ(ask(s.r, POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
    OK(shutdown(s.w, SHUT_WR));
    await_mask(s.r, POLLIN | POLLOUT | POLLRDHUP, POLLIN | POLLOUT | POLLRDHUP);
    OK(shutdown(s.r, SHUT_WR));
    await_mask(s.r, POLLIN | POLLOUT | POLLRDHUP, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

TEST(row_36_100_pri_of_tcp) {
    struct pipe_ends s = tcp_pair();
    int ep = ep_new();
    ep_add(ep, s.r, EPOLLPRI, 0);
    CHECK_EQ(ep_ready(ep), 0);
    CHECK_EQ(OK(send(s.w, "!", 1, MSG_OOB)), 1);
    await_mask(s.r, POLLPRI, POLLPRI);
    CHECK_EQ(ep_mask(ep), EPOLLPRI);
    char byte;
    CHECK_EQ(OK(recv(s.r, &byte, 1, MSG_OOB)), 1);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_81_select_and_urgent_data) {
    struct pipe_ends s = tcp_pair();
    CHECK_EQ(OK(send(s.w, "!", 1, MSG_OOB)), 1);
    fd_set except;
    FD_ZERO(&except);
    FD_SET(s.r, &except);
    CHECK_EQ(OK(select(s.r + 1, NULL, NULL, &except, NULL)), 1);
    CHECK(FD_ISSET(s.r, &except));
}

TEST(row_37_rdnorm_and_wrnorm_of_sockets) {
    struct pipe_ends s = pair(SOCK_STREAM);
    put_byte(s.w);
    CHECK_EQ(ask(s.r, POLLRDNORM | POLLWRNORM), POLLRDNORM | POLLWRNORM);
    s = tcp_pair();
    CHECK_EQ(ask(s.r, POLLRDNORM | POLLWRNORM), POLLWRNORM);
    put_byte(s.w);
    await_mask(s.r, POLLRDNORM | POLLWRNORM, POLLRDNORM | POLLWRNORM);
}

TEST(row_38_wrband_of_sockets) {
    struct pipe_ends s = pair(SOCK_STREAM);
    CHECK_EQ(ask(s.r, POLLWRBAND | POLLRDBAND), POLLWRBAND);
    s = pair(SOCK_DGRAM);
    CHECK_EQ(ask(s.r, POLLWRBAND | POLLRDBAND), POLLWRBAND);
}

TEST(row_71_poll_reports_rdhup_only_when_asked) {
    struct pipe_ends s = pair(SOCK_STREAM);
    OK(shutdown(s.w, SHUT_WR));
    CHECK_EQ(ask(s.r, POLLIN), POLLIN);
    CHECK_EQ(ask(s.r, POLLIN | POLLRDHUP), POLLIN | POLLRDHUP);
    CHECK_EQ(ask(s.r, 0), 0);
}

TEST(row_87_nonblocking_sockets) {
    struct pipe_ends s = pair(SOCK_STREAM);
    char byte;
    int on = 1;
    set_nonblocking(s.r, true);
    FAILS(recv(s.r, &byte, 1, 0), EAGAIN);
    OK(ioctl(s.w, FIONBIO, &on));
    FAILS(recv(s.w, &byte, 1, 0), EAGAIN);
}

TEST(row_98_out_of_a_unix_datagram_follows_the_peers_queue) {
    struct pipe_ends s = pair(SOCK_DGRAM);
    set_nonblocking(s.w, true);
    int sent = 0;
    while (send(s.w, "x", 1, 0) == 1)
        sent++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_GT(sent, 0);
    int ep = ep_new();
    ep_add(ep, s.w, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    for (int i = 0; i < sent; i++)
        take_byte(s.r);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
}

TEST(row_99_the_states_of_tcp) {
    const short all = POLLIN | POLLOUT | POLLRDHUP;
    int fresh = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_EQ(ask(fresh, all), POLLOUT | POLLHUP);
    struct pipe_ends s = tcp_pair();
    CHECK_EQ(ask(s.r, all), POLLOUT);
    // Nobody listens there.
    struct sockaddr_in address = loopback();
    socklen_t length = sizeof address;
    int bound = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(bind(bound, (struct sockaddr *)&address, length));
    OK(getsockname(bound, (struct sockaddr *)&address, &length));
    set_nonblocking(fresh, true);
    CHECK_EQ(connect(fresh, (struct sockaddr *)&address, length), -1);
    CHECK(errno == EINPROGRESS || errno == ECONNREFUSED);
    await_mask(fresh, all, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
}

TEST(row_100_rcvlowat_counts) {
    struct pipe_ends s = tcp_pair();
    OK(setsockopt(s.r, SOL_SOCKET, SO_RCVLOWAT, &(int){3}, sizeof(int)));
    put_byte(s.w);
    put_byte(s.w);
    settle();
    CHECK_EQ(ask(s.r, POLLIN), 0);
    put_byte(s.w);
    await_mask(s.r, POLLIN, POLLIN);
}

TEST(row_100_an_error_of_udp) {
    struct sockaddr_in address = loopback();
    socklen_t length = sizeof address;
    int gone = (int)OK(socket(AF_INET, SOCK_DGRAM, 0)), s = (int)OK(socket(AF_INET, SOCK_DGRAM, 0));
    OK(bind(gone, (struct sockaddr *)&address, length));
    OK(getsockname(gone, (struct sockaddr *)&address, &length));
    OK(close(gone));
    OK(connect(s, (struct sockaddr *)&address, length));
    CHECK_EQ(OK(send(s, "x", 1, 0)), 1);
    await_mask(s, 0, POLLERR);
    FAILS(send(s, "x", 1, 0), ECONNREFUSED);
}

TEST(row_S1_22_edges_of_a_unix_socket) {
    struct pipe_ends s = pair(SOCK_STREAM);
    int ep = ep_new();
    ep_add(ep, s.r, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 4; i++) {
        put_byte(s.w);
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
    }
}

TEST(row_S1_accept_is_in) {
    int listener = (int)OK(socket(AF_INET, SOCK_STREAM, 0)), ep = ep_new();
    struct sockaddr_in address = loopback();
    socklen_t length = sizeof address;
    OK(bind(listener, (struct sockaddr *)&address, length));
    OK(listen(listener, 8));
    OK(getsockname(listener, (struct sockaddr *)&address, &length));
    ep_add(ep, listener, EPOLLIN, 0);
    CHECK_EQ(ep_ready(ep), 0);
    int client = (int)OK(socket(AF_INET, SOCK_STREAM, 0));
    OK(connect(client, (struct sockaddr *)&address, length));
    await_mask(listener, POLLIN, POLLIN);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    OK(accept(listener, NULL, NULL));
    CHECK_EQ(ep_ready(ep), 0);
}
