// SPDX-License-Identifier: MPL-2.0
//
// Bytes over a connection, and its end: reads and writes, shutdown, reset, urgent data, options. Rows 28, 35, 36, 99, 100.
#include "inet.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/sendfile.h>

static void ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }

TEST(row_28_each_segment_is_an_edge) {
    struct pipe_ends s = tcp_pair();
    int ep = ep_new();
    ep_add(ep, s.r, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 4; i++) {
        put_byte(s.w);
        settle();
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_mask(ep), 0);
    }
    // Reading is none.
    take_byte(s.r);
    CHECK_EQ(ep_mask(ep), 0);
}

TEST(body_out_is_an_edge_when_there_is_room_again) {
    struct pipe_ends s = tcp_pair();
    int ep = ep_new();
    fill(s.w);
    CHECK_EQ(ask(s.w, POLLOUT), 0);
    ep_add(ep, s.w, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), 0);
    drain(s.r);
    await_mask(s.w, POLLOUT, POLLOUT);
    settle();
    drain(s.r);
    settle();
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_mask(ep), 0);
}

TEST(row_99_half_closed) {
    struct pipe_ends s = tcp_pair();
    SAY(s.w, "last words");
    OK(shutdown(s.w, SHUT_WR));
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP);
    HEAR(s.r, "last words");
    char byte;
    CHECK_EQ(OK(recv(s.r, &byte, 1, 0)), 0);
    CHECK_EQ(OK(recv(s.r, &byte, 1, 0)), 0);
    ignore_sigpipe();
    FAILS(send(s.w, "x", 1, 0), EPIPE);
    CHECK_EQ(ask(s.w, ALL_EVENTS), POLLOUT);
    // The other direction goes on.
    SAY(s.r, "still talking");
    await_readable(s.w);
    HEAR(s.w, "still talking");
    OK(shutdown(s.r, SHUT_WR));
    await_mask(s.w, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    in4 peer;
    socklen_t length = sizeof peer;
    FAILS(getpeername(s.r, SA(&peer), &length), ENOTCONN);
    FAILS(shutdown(s.r, SHUT_WR), ENOTCONN);
}

TEST(body_shut_for_reading_reads_what_is_there) {
    struct pipe_ends s = tcp_pair();
    char bytes[8];
    OK(shutdown(s.r, SHUT_RD));
    CHECK_EQ(ask(s.r, ALL_EVENTS), POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(OK(recv(s.r, bytes, 1, 0)), 0);
    // The peer does not know.
    SAY(s.w, "late");
    settle();
    HEAR(s.r, "late");
    CHECK_EQ(OK(recv(s.r, bytes, 1, 0)), 0);
    CHECK_EQ(ask(s.w, ALL_EVENTS), POLLOUT);
}

TEST(row_99_the_peer_closes) {
    struct pipe_ends s = tcp_pair();
    ignore_sigpipe();
    OK(close(s.w));
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP);
    char byte;
    CHECK_EQ(OK(recv(s.r, &byte, 1, 0)), 0);
    // The first send meets a reset, the second says so.
    CHECK_EQ(OK(send(s.r, "x", 1, 0)), 1);
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    FAILS(send(s.r, "x", 1, 0), EPIPE);
    CHECK_EQ(ask(s.r, ALL_EVENTS), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    FAILS(send(s.r, "x", 1, 0), EPIPE);
    CHECK_EQ(OK(recv(s.r, &byte, 1, 0)), 0);
}

TEST(row_99_reset_by_unread_data) {
    struct pipe_ends s = tcp_pair();
    ignore_sigpipe();
    SAY(s.w, "unread");
    await_readable(s.r);
    SAY(s.r, "answer");
    await_readable(s.w);
    OK(close(s.r));
    await_mask(s.w, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    HEAR(s.w, "answer");
    char byte;
    FAILS(recv(s.w, &byte, 1, 0), ECONNRESET);
    CHECK_EQ(OK(recv(s.w, &byte, 1, 0)), 0);
    FAILS(send(s.w, "x", 1, 0), EPIPE);
    CHECK_EQ(ask(s.w, ALL_EVENTS), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

TEST(row_99_reset_by_linger) {
    struct pipe_ends s = tcp_pair();
    struct linger linger = {1, 0};
    OK(setsockopt(s.w, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    OK(close(s.w));
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    CHECK_EQ(so_error(s.r), ECONNRESET);
    CHECK_EQ(so_error(s.r), 0);
    char byte;
    CHECK_EQ(OK(recv(s.r, &byte, 1, 0)), 0);
}

TEST(body_send_after_a_reset_says_so_once) {
    struct pipe_ends s = tcp_pair();
    struct linger linger = {1, 0};
    ignore_sigpipe();
    OK(setsockopt(s.w, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    OK(close(s.w));
    await_mask(s.r, POLLIN, POLLIN | POLLERR | POLLHUP);
    FAILS(send(s.r, "x", 1, 0), ECONNRESET);
    FAILS(send(s.r, "x", 1, 0), EPIPE);
}

TEST(body_a_peer_shut_both_ways_resets) {
    struct pipe_ends s = tcp_pair();
    OK(shutdown(s.w, SHUT_RDWR));
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP);
    CHECK_EQ(OK(send(s.r, "x", 1, 0)), 1);
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
    CHECK_EQ(so_error(s.r), EPIPE);
}

TEST(body_sigpipe) {
    struct pipe_ends s = tcp_pair();
    count_signal(SIGPIPE, 0);
    OK(shutdown(s.w, SHUT_WR));
    FAILS(send(s.w, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 0);
    FAILS(send(s.w, "x", 1, 0), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 1);
    FAILS(write(s.w, "x", 1), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 2);
}

TEST(row_36_100_urgent_data) {
    struct pipe_ends s = tcp_pair();
    char bytes[16];
    int mark;
    FAILS(recv(s.r, bytes, 1, MSG_OOB), EINVAL);
    SAY(s.w, "ab");
    CHECK_EQ(OK(send(s.w, "cd!", 3, MSG_OOB)), 3);
    SAY(s.w, "ef");
    await_mask(s.r, ALL_EVENTS, POLLIN | POLLPRI | POLLOUT);
    settle();
    OK(ioctl(s.r, SIOCATMARK, &mark));
    CHECK_EQ(mark, 0);
    CHECK_EQ(OK(recv(s.r, bytes, sizeof bytes, MSG_OOB | MSG_PEEK)), 1);
    CHECK_EQ(bytes[0], '!');
    CHECK_EQ(ask(s.r, POLLPRI), POLLPRI);
    // A read stops at the mark, and the next begins behind it.
    HEAR(s.r, "abcd");
    OK(ioctl(s.r, SIOCATMARK, &mark));
    CHECK_EQ(mark, 1);
    CHECK_EQ(OK(recv(s.r, bytes, sizeof bytes, MSG_OOB)), 1);
    CHECK_EQ(bytes[0], '!');
    CHECK_EQ(ask(s.r, POLLPRI), 0);
    FAILS(recv(s.r, bytes, sizeof bytes, MSG_OOB), EINVAL);
    HEAR(s.r, "ef");
    OK(ioctl(s.r, SIOCATMARK, &mark));
    CHECK_EQ(mark, 0);
}

TEST(body_urgent_data_in_line) {
    struct pipe_ends s = tcp_pair();
    char bytes[16];
    int mark;
    set_int(s.r, SOL_SOCKET, SO_OOBINLINE, 1);
    SAY(s.w, "ab");
    CHECK_EQ(OK(send(s.w, "!", 1, MSG_OOB)), 1);
    SAY(s.w, "c");
    settle();
    FAILS(recv(s.r, bytes, 1, MSG_OOB), EINVAL);
    CHECK_EQ(ask(s.r, POLLPRI), POLLPRI);
    HEAR(s.r, "ab");
    OK(ioctl(s.r, SIOCATMARK, &mark));
    CHECK_EQ(mark, 1);
    HEAR(s.r, "!c");
    CHECK_EQ(ask(s.r, POLLPRI), 0);
}

TEST(body_the_urgent_byte_alone_is_not_readable) {
    struct pipe_ends s = tcp_pair();
    CHECK_EQ(OK(send(s.w, "!", 1, MSG_OOB)), 1);
    await_mask(s.r, ALL_EVENTS, POLLPRI | POLLOUT);
    set_nonblocking(s.r, true);
    char byte;
    FAILS(recv(s.r, &byte, 1, 0), EAGAIN);
}

TEST(row_100_low_water) {
    struct pipe_ends s = tcp_pair();
    int ep = ep_new();
    set_int(s.r, SOL_SOCKET, SO_RCVLOWAT, 4);
    CHECK_EQ(get_int(s.r, SOL_SOCKET, SO_RCVLOWAT), 4);
    ep_add(ep, s.r, EPOLLIN, 0);
    SAY(s.w, "abc");
    settle();
    CHECK_EQ(ep_mask(ep), 0);
    SAY(s.w, "d");
    await_mask(s.r, POLLIN, POLLIN);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    HEAR(s.r, "abcd");
    // What is there can be read without waiting, and the end is always ready.
    SAY(s.w, "e");
    settle();
    char bytes[8];
    CHECK_EQ(OK(recv(s.r, bytes, sizeof bytes, MSG_DONTWAIT)), 1);
    SAY(s.w, "f");
    OK(shutdown(s.w, SHUT_WR));
    await_mask(s.r, POLLIN, POLLIN);
    HEAR(s.r, "f");
}

static void say_slowly(void *fd) {
    for (const char *c = "slowly"; *c; c++) {
        CHECK_EQ(OK(send(*(int *)fd, c, 1, 0)), 1);
        sleep_ms(2);
    }
}

TEST(body_waitall) {
    struct pipe_ends s = tcp_pair();
    pthread_t t = later(1, say_slowly, &s.w);
    char bytes[16];
    CHECK_EQ(OK(recv(s.r, bytes, 6, MSG_WAITALL)), 6);
    thread_join(t);
    CHECK(memcmp(bytes, "slowly", 6) == 0);
    SAY(s.w, "end");
    OK(shutdown(s.w, SHUT_WR));
    CHECK_EQ(OK(recv(s.r, bytes, sizeof bytes, MSG_WAITALL)), 3);
}

TEST(body_peek_trunc_and_dontwait) {
    struct pipe_ends s = tcp_pair();
    char bytes[16] = {0};
    FAILS(recv(s.r, bytes, 1, MSG_DONTWAIT), EAGAIN);
    SAY(s.w, "peekaboo");
    await_readable(s.r);
    settle();
    int pending;
    OK(ioctl(s.r, FIONREAD, &pending));
    CHECK_EQ(pending, 8);
    CHECK_EQ(OK(recv(s.r, bytes, 4, MSG_PEEK)), 4);
    CHECK_EQ(OK(recv(s.r, bytes, 4, MSG_PEEK)), 4);
    CHECK(memcmp(bytes, "peek", 4) == 0);
    // MSG_TRUNC throws away, without a buffer.
    CHECK_EQ(OK(recv(s.r, NULL, 4, MSG_TRUNC)), 4);
    HEAR(s.r, "aboo");
}

TEST(body_many_bytes_in_both_directions) {
    enum { TOTAL = 3 << 20, CHUNK = 50000 };
    struct pipe_ends s = tcp_pair();
    pid_t pid = OK(fork());
    char *bytes = malloc(CHUNK);
    if (pid == 0) {
        // Sends back what comes.
        for (ssize_t n; (n = OK(read(s.r, bytes, CHUNK))) > 0;)
            for (ssize_t sent = 0; sent < n;)
                sent += OK(write(s.r, bytes + sent, (size_t)(n - sent)));
        _exit(0);
    }
    OK(close(s.r));
    set_nonblocking(s.w, true);
    unsigned sent = 0, got = 0;
    while (got < TOTAL) {
        struct pollfd p = {.fd = s.w, .events = (short)(POLLIN | (sent < TOTAL ? POLLOUT : 0))};
        OK(poll(&p, 1, -1));
        if (p.revents & POLLOUT) {
            unsigned n = TOTAL - sent < CHUNK ? TOTAL - sent : CHUNK;
            for (unsigned i = 0; i < n; i++)
                bytes[i] = (char)((sent + i) * 7 >> 3);
            ssize_t w = write(s.w, bytes, n);
            CHECK(w > 0 || errno == EAGAIN);
            sent += w > 0 ? (unsigned)w : 0;
        }
        if (p.revents & POLLIN) {
            ssize_t n = OK(read(s.w, bytes, CHUNK));
            CHECK_GT(n, 0);
            for (unsigned i = 0; i < n; i++)
                CHECK_EQ(bytes[i], (char)((got + i) * 7 >> 3));
            got += (unsigned)n;
        }
    }
    OK(shutdown(s.w, SHUT_WR));
    join_child(pid);
}

TEST(body_small_buffers_bound_memory) {
    int listener = tcp();
    set_int(listener, SOL_SOCKET, SO_RCVBUF, 4096);
    bind4(listener, local4(0));
    OK(listen(listener, 1));
    int client = tcp();
    set_int(client, SOL_SOCKET, SO_SNDBUF, 8192);
    OK(connect4(client, name_of(listener)));
    int server = (int)OK(accept(listener, NULL, NULL));
    CHECK_EQ(get_int(server, SOL_SOCKET, SO_RCVBUF), 8192);
    CHECK_EQ(get_int(client, SOL_SOCKET, SO_SNDBUF), 16384);
    fill(client);
    settle();
    size_t held = drain(server);
    CHECK_GT(held, 2000);
    CHECK_LT(held, 64 << 10);
    await_mask(client, POLLOUT, POLLOUT);
}

static void block_in_send(void *fd) {
    char bytes[4096] = {0};
    ssize_t n;
    while ((n = send(*(int *)fd, bytes, sizeof bytes, MSG_NOSIGNAL)) > 0) {
    }
    CHECK(errno == ECONNRESET || errno == EPIPE);
}

TEST(body_a_blocked_sender_wakes_by_a_reset) {
    struct pipe_ends s = tcp_pair();
    struct sleeper t;
    sleeper_start(&t, block_in_send, &s.w);
    sleeper_await_blocked(&t);
    OK(close(s.r));
    sleeper_join(&t);
}

static void block_in_recv(void *fd) {
    char byte;
    CHECK_EQ(OK(recv(*(int *)fd, &byte, 1, 0)), 0);
}

TEST(body_a_blocked_reader_wakes_by_shutdown) {
    struct pipe_ends s = tcp_pair();
    struct sleeper t;
    sleeper_start(&t, block_in_recv, &s.r);
    sleeper_await_blocked(&t);
    OK(shutdown(s.r, SHUT_RD));
    sleeper_join(&t);
}

TEST(body_timeouts) {
    struct pipe_ends s = tcp_pair();
    char byte;
    OK(setsockopt(s.r, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 15000}, sizeof(struct timeval)));
    int64_t start = now_ns();
    FAILS(recv(s.r, &byte, 1, 0), EAGAIN);
    CHECK_GE(now_ns() - start, socket_timeout_at_least(15));
    struct timeval timeout;
    socklen_t length = sizeof timeout;
    OK(getsockopt(s.r, SOL_SOCKET, SO_RCVTIMEO, &timeout, &length));
    CHECK_EQ(length, sizeof timeout);
    CHECK_GE(timeout.tv_usec, 15000);
    FAILS(setsockopt(s.r, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 1000000}, sizeof(struct timeval)), EDOM);
    fill(s.w);
    set_nonblocking(s.w, false);
    OK(setsockopt(s.w, SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 15000}, sizeof(struct timeval)));
    FAILS(send(s.w, &byte, 1, 0), EAGAIN);
    // With a time limit a call is not restarted.
    count_signal(SIGUSR1, SA_RESTART);
    OK(setsockopt(s.r, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){100, 0}, sizeof(struct timeval)));
    drain(s.r);
    set_nonblocking(s.r, false);
    pthread_t t = later(1, interrupt_main, NULL);
    FAILS(recv(s.r, &byte, 1, 0), EINTR);
    thread_join(t);
}

TEST(body_options_of_tcp) {
    int fd = tcp();
    CHECK_EQ(get_int(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
    CHECK_EQ(get_int(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
    CHECK_EQ(get_int(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 7);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_CORK), 1);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE), 7200);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){0}, sizeof(int)), EINVAL);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){128}, sizeof(int)), EINVAL);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL), 75);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_KEEPCNT), 9);
    set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
    CHECK_EQ(get_int(fd, IPPROTO_TCP, TCP_MAXSEG), 536);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &(int){1}, sizeof(int)), EINVAL);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, 2), EINVAL);
    FAILS(setsockopt(fd, IPPROTO_TCP, 9999, &(int){1}, sizeof(int)), ENOPROTOOPT);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, BAD_POINTER, sizeof(int)), EFAULT);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, -1), EINVAL);
    FAILS(setsockopt(fd, 12345, 1, &(int){1}, sizeof(int)), ENOPROTOOPT);
    char name[16] = {0};
    OK(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    socklen_t length = sizeof name;
    OK(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    CHECK(strcmp(name, "reno") == 0);
    CHECK_EQ(length, sizeof name);
    FAILS(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "no such", 7), ENOENT);
    set_int(fd, IPPROTO_IP, IP_TOS, 0x10);
    CHECK_EQ(get_int(fd, IPPROTO_IP, IP_TOS), 0x10);
    CHECK_EQ(get_int(fd, IPPROTO_IP, IP_TTL), 64);
    set_int(fd, IPPROTO_IP, IP_TTL, 7);
    CHECK_EQ(get_int(fd, IPPROTO_IP, IP_TTL), 7);
    FAILS(setsockopt(fd, IPPROTO_IP, IP_TTL, &(int){300}, sizeof(int)), EINVAL);
    FAILS(setsockopt(fd, IPPROTO_IP, 9999, &(int){1}, sizeof(int)), ENOPROTOOPT);
    FAILS(setsockopt(fd, SOL_SOCKET, 9999, &(int){1}, sizeof(int)), ENOPROTOOPT);
    FAILS(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)), ENOPROTOOPT);
    // A short buffer gets what fits.
    unsigned char bytes[4] = {9, 9, 9, 9};
    length = 2;
    OK(getsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, bytes, &length));
    CHECK_EQ(length, 2);
    CHECK_EQ(bytes[0], 75);
    CHECK_EQ(bytes[2], 9);
    length = -1;
    FAILS(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, bytes, &length), EINVAL);
}

TEST(body_tcp_info) {
    struct pipe_ends s = tcp_pair();
    struct tcp_info info;
    socklen_t length = sizeof info;
    OK(getsockopt(s.r, IPPROTO_TCP, TCP_INFO, &info, &length));
    CHECK_EQ(info.tcpi_state, TCP_ESTABLISHED);
    CHECK_GT(info.tcpi_snd_mss, 500);
    CHECK_GT(info.tcpi_snd_cwnd, 0);
    OK(close(s.w));
    await_mask(s.r, POLLIN, POLLIN);
    length = sizeof info;
    OK(getsockopt(s.r, IPPROTO_TCP, TCP_INFO, &info, &length));
    CHECK_EQ(info.tcpi_state, TCP_CLOSE_WAIT);
    length = sizeof info;
    OK(getsockopt(tcp(), IPPROTO_TCP, TCP_INFO, &info, &length));
    CHECK_EQ(info.tcpi_state, TCP_CLOSE);
    length = sizeof info;
    OK(getsockopt(tcp_listener(3), IPPROTO_TCP, TCP_INFO, &info, &length));
    CHECK_EQ(info.tcpi_state, TCP_LISTEN);
}

TEST(body_queues_by_ioctl) {
    struct pipe_ends s = tcp_pair();
    int value;
    SAY(s.w, "12345");
    await_readable(s.r);
    OK(ioctl(s.r, SIOCINQ, &value));
    CHECK_EQ(value, 5);
    for (int i = 0; i < 100 && value != 0; i++) {
        settle();
        OK(ioctl(s.w, SIOCOUTQ, &value));
    }
    CHECK_EQ(value, 0);
    fill(s.w);
    OK(ioctl(s.w, SIOCOUTQ, &value));
    CHECK_GT(value, 0);
    FAILS(ioctl(tcp_listener(1), FIONREAD, &value), EINVAL);
    FAILS(ioctl(s.w, FIONREAD, BAD_POINTER), EFAULT);
    FAILS(ioctl(s.w, 0x12345678, &value), ENOTTY);
}

TEST(body_vectors_and_messages) {
    struct pipe_ends s = tcp_pair();
    struct iovec out[3] = {{"ab", 2}, {NULL, 0}, {"cde", 3}};
    CHECK_EQ(OK(writev(s.w, out, 3)), 5);
    await_readable(s.r);
    char a[2], b[8];
    struct iovec in[2] = {{a, 2}, {b, 8}};
    CHECK_EQ(OK(readv(s.r, in, 2)), 5);
    CHECK(memcmp(a, "ab", 2) == 0 && memcmp(b, "cde", 3) == 0);
    in4 name = local4(9);
    char control[64];
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 3};
    CHECK_EQ(OK(sendmsg(s.w, &message, 0)), 5);
    await_readable(s.r);
    message = (struct msghdr){.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = in, .msg_iovlen = 2,
                              .msg_control = control, .msg_controllen = sizeof control, .msg_flags = 77};
    CHECK_EQ(OK(recvmsg(s.r, &message, 0)), 5);
    CHECK_EQ(message.msg_namelen, 0);
    CHECK_EQ(message.msg_controllen, 0);
    CHECK_EQ(message.msg_flags, 0);
    FAILS(recvmsg(s.r, BAD_POINTER, 0), EFAULT);
    FAILS(sendmsg(s.w, BAD_POINTER, 0), EFAULT);
    message.msg_iovlen = 5000;
    FAILS(sendmsg(s.w, &message, 0), EMSGSIZE);
}

TEST(body_faults_lose_nothing) {
    struct pipe_ends s = tcp_pair();
    FAILS(send(s.w, BAD_POINTER, 10, 0), EFAULT);
    SAY(s.w, "safe");
    await_readable(s.r);
    FAILS(recv(s.r, BAD_POINTER, 10, 0), EFAULT);
    HEAR(s.r, "safe");
    CHECK_EQ(OK(send(s.w, "", 0, 0)), 0);
    CHECK_EQ(OK(read(s.r, NULL, 0)), 0);
}

TEST(body_sendfile_and_splice) {
    struct pipe_ends s = tcp_pair(), p = make_pipe(0);
    int file = (int)OK(open(temp_path("data"), O_RDWR | O_CREAT, 0600));
    SAY(s.w, "into the file");
    await_readable(s.r);
    CHECK_EQ(OK(splice(s.r, NULL, p.w, NULL, 100, 0)), 13);
    CHECK_EQ(OK(splice(p.r, NULL, file, NULL, 100, 0)), 13);
    off_t offset = 5;
    CHECK_EQ(OK(sendfile(s.r, file, &offset, 100)), 8);
    CHECK_EQ(offset, 13);
    await_readable(s.w);
    HEAR(s.w, "the file");
    CHECK_EQ(OK(write(p.w, "piped", 5)), 5);
    CHECK_EQ(OK(splice(p.r, NULL, s.r, NULL, 100, 0)), 5);
    await_readable(s.w);
    HEAR(s.w, "piped");
}

TEST(body_the_segment_of_a_connection) {
    int listener = tcp();
    FAILS(setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &(int){87}, sizeof(int)), EINVAL);
    FAILS(setsockopt(listener, IPPROTO_TCP, TCP_MAXSEG, &(int){32768}, sizeof(int)), EINVAL);
    for (int bytes = 88; bytes > 0; bytes -= 88) {
        set_int(listener, IPPROTO_TCP, TCP_MAXSEG, bytes);
        CHECK_EQ(get_int(listener, IPPROTO_TCP, TCP_MAXSEG), bytes);
    }
    set_int(listener, IPPROTO_TCP, TCP_MAXSEG, 0);
    CHECK_EQ(get_int(listener, IPPROTO_TCP, TCP_MAXSEG), 536);
    set_int(listener, IPPROTO_TCP, TCP_MAXSEG, 800);
    bind4(listener, local4(0));
    OK(listen(listener, 2));
    // The smaller of the two wishes, less the time stamps, is that of both.
    int client = tcp_client(listener), server = (int)OK(accept(listener, NULL, NULL));
    CHECK_EQ(get_int(client, IPPROTO_TCP, TCP_MAXSEG), 788);
    CHECK_EQ(get_int(server, IPPROTO_TCP, TCP_MAXSEG), 788);
    client = tcp();
    set_int(client, IPPROTO_TCP, TCP_MAXSEG, 700);
    OK(connect4(client, local4(port_of(listener))));
    server = (int)OK(accept(listener, NULL, NULL));
    CHECK_EQ(get_int(client, IPPROTO_TCP, TCP_MAXSEG), 688);
    CHECK_EQ(get_int(server, IPPROTO_TCP, TCP_MAXSEG), 688);
    // Too late for this one.
    set_int(client, IPPROTO_TCP, TCP_MAXSEG, 600);
    CHECK_EQ(get_int(client, IPPROTO_TCP, TCP_MAXSEG), 688);
    // Not too late for the next.
    set_int(listener, IPPROTO_TCP, TCP_MAXSEG, 500);
    client = tcp_client(listener);
    CHECK_EQ(get_int(client, IPPROTO_TCP, TCP_MAXSEG), 488);
}

TEST(row_36_100_urgent_data_that_meets_a_reset) {
    for (int unread = 0; unread < 2; unread++) {
        struct pipe_ends s = tcp_pair();
        int mark = -1;
        if (unread) {
            OK(write(s.w, "abc", 3));
            await_mask(s.r, POLLIN, POLLIN);
        }
        OK(shutdown(s.r, SHUT_RDWR));
        await_mask(s.w, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP);
        CHECK_EQ(OK(send(s.w, "!", 1, MSG_OOB)), 1);
        // Nobody takes it, so the connection is reset; that it was urgent shows all the same.
        await_mask(s.r, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLPRI | POLLERR | POLLHUP);
        await_mask(s.w, ALL_EVENTS, POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP);
        char byte;
        FAILS(recv(s.r, &byte, 1, MSG_OOB), ENOTCONN);
        OK(ioctl(s.r, SIOCATMARK, &mark));
        CHECK_EQ(mark, !unread);
        if (unread) {
            char bytes[8];
            CHECK_EQ(OK(read(s.r, bytes, sizeof bytes)), 3);
        }
        CHECK_EQ(so_error(s.r), ECONNRESET);
        CHECK_EQ(ask(s.r, ALL_EVENTS), POLLIN | POLLOUT | POLLRDHUP | POLLPRI | POLLHUP);
        CHECK_EQ(so_error(s.w), EPIPE);
    }
}
