// SPDX-License-Identifier: MPL-2.0
//
// Streams between unix sockets: bytes, ends, buffers, flags.
#include "unix.h"

#include <linux/sockios.h>
#include <sys/select.h>
#include <sys/sendfile.h>

static char big[400000];

TEST(body_bytes_both_ways) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    CHECK_EQ(OK(write(s.a, "hello", 5)), 5);
    CHECK_EQ(OK(send(s.b, "back", 4, 0)), 4);
    CHECK_EQ(OK(recv(s.b, got, sizeof got, 0)), 5);
    CHECK(memcmp(got, "hello", 5) == 0);
    CHECK_EQ(OK(read(s.a, got, sizeof got)), 4);
    CHECK(memcmp(got, "back", 4) == 0);
}

TEST(body_writes_run_together) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[16];
    OK(write(s.a, "ab", 2));
    OK(write(s.a, "cd", 2));
    OK(write(s.a, "ef", 2));
    CHECK_EQ(OK(read(s.b, got, 5)), 5);
    CHECK(memcmp(got, "abcde", 5) == 0);
    CHECK_EQ(OK(read(s.b, got, 5)), 1);
    CHECK_EQ(got[0], 'f');
}

// A long write goes in pieces: those before a fault stay, the one that faults does not.
TEST(body_long_writes_that_fault) {
    enum { PIECE = 36544, ASKED = 200000 };
    static const size_t there[] = {1, 4096, 40000, PIECE - 1, PIECE, PIECE + 1, 65535, 65536, 90000, 2 * PIECE + 7};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        struct pair s = unix_pair(SOCK_STREAM);
        char *from = guarded_end(there[i]), *to = malloc(ASKED);
        long whole = (long)(there[i] / PIECE * PIECE);
        memset(from, 'x', there[i]);
        for (long at = 0; at < whole; at += PIECE)
            from[at] = (char)('a' + at / PIECE);
        OK(write(s.a, "-", 1));
        if (whole == 0)
            FAILS(write(s.a, from, ASKED), EFAULT);
        else
            CHECK_EQ(write(s.a, from, ASKED), whole);
        CHECK_EQ(OK(recv(s.b, to, ASKED, MSG_DONTWAIT)), whole + 1);
        CHECK(memcmp(to + 1, from, (size_t)whole) == 0);
        // What faulted leaves no trace.
        OK(write(s.a, "end", 3));
        CHECK_EQ(OK(recv(s.b, to, ASKED, MSG_DONTWAIT)), 3);
        CHECK(memcmp(to, "end", 3) == 0);
        free(to);
        OK(close(s.a));
        OK(close(s.b));
    }
}

static void *write_big(void *fd) {
    size_t done = 0;
    while (done < sizeof big)
        done += OK(write((int)(intptr_t)fd, big + done, sizeof big - done));
    return NULL;
}

TEST(body_a_long_write_waits_for_the_reader) {
    struct pair s = unix_pair(SOCK_STREAM);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 7 + i / 251);
    pthread_t writer = thread_run(write_big, (void *)(intptr_t)s.a);
    static char got[sizeof big];
    size_t done = 0;
    while (done < sizeof got)
        done += OK(read(s.b, got + done, done % 3 ? 5000 : 777));
    thread_join(writer);
    CHECK(memcmp(big, got, sizeof big) == 0);
}

TEST(body_a_write_is_cut_where_there_is_no_room) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    ssize_t first = OK(write(s.a, big, sizeof big));
    CHECK_LT(first, (ssize_t)sizeof big);
    CHECK_GT(first, 150000);
    FAILS(write(s.a, big, 1), EAGAIN);
    size_t total = first;
    CHECK_EQ(drain(s.b), total);
    CHECK_GT(OK(write(s.a, big, sizeof big)), 150000);
}

// How many writes of one byte fit, and when there is room again, depends on what each counts.
TEST(row_38_small_writes_count_more_than_their_bytes) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    int sent = 0;
    while (write(s.a, "x", 1) == 1)
        sent++;
    CHECK_EQ(errno, EAGAIN);
    CHECK_GT(sent, 100);
    CHECK_LT(sent, 1000);
    CHECK_EQ(ask(s.a, ALL), 0);
    // Three quarters must be free.
    int read_back = 0;
    char byte;
    while (ask(s.a, POLLOUT) == 0 && read(s.b, &byte, 1) == 1)
        read_back++;
    CHECK_GT(read_back, sent / 2);
    CHECK_LT(read_back, sent);
    CHECK_EQ(ask(s.a, ALL), OUT_ALL);
}

// How far long writes go, and how much must be read until there is room again, depends on the pieces that they are cut into.
TEST(row_38_long_writes_go_as_far) {
    static const size_t each[] = {36544, 36545, 48832, 65536, 100000, sizeof big};
    static const size_t fit[] = {219264, 219269, 231872, 233152, 236544, 219264};
    static const size_t until[] = {183000, 183000, 184000, 197000, 200000, 183000};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
        size_t sent = 0, read_back = 0;
        ssize_t n;
        while ((n = write(s.a, big, each[i])) > 0)
            sent += (size_t)n;
        CHECK_EQ(sent, fit[i]);
        while (ask(s.a, POLLOUT) == 0)
            read_back += (size_t)OK(read(s.b, big, 1000));
        CHECK_EQ(read_back, until[i]);
        OK(close(s.a));
        OK(close(s.b));
    }
}

TEST(body_sndbuf_bounds_what_is_sent) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    int size = 8192, got;
    socklen_t length = sizeof got;
    OK(setsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    OK(getsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &got, &length));
    CHECK_EQ(got, 16384);
    ssize_t sent = OK(write(s.a, big, sizeof big));
    CHECK_GT(sent, 4000);
    CHECK_LT(sent, 30000);
    size = 0;
    OK(setsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    OK(getsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &got, &length));
    CHECK_EQ(got, 4608);
    size = -1;
    OK(setsockopt(s.a, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
    OK(getsockopt(s.a, SOL_SOCKET, SO_RCVBUF, &got, &length));
    CHECK_GE(got, 425984);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_SNDBUF, &size, 3), EINVAL);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_SNDBUF, BAD_POINTER, 4), EFAULT);
}

TEST(body_half_close) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    put_byte(s.a);
    OK(shutdown(s.a, SHUT_WR));
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(s.a, "x", 1), EPIPE);
    CHECK_EQ(ask(s.b, ALL), IN_ALL | OUT_ALL | POLLRDHUP);
    CHECK_EQ(OK(read(s.b, &byte, 1)), 1);
    CHECK_EQ(OK(read(s.b, &byte, 1)), 0);
    put_byte(s.b);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 1);
    CHECK_EQ(ask(s.a, ALL), OUT_ALL);
    OK(shutdown(s.b, SHUT_WR));
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
    CHECK_EQ(ask(s.b, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
}

TEST(body_shutdown_of_reading) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    put_byte(s.b);
    OK(shutdown(s.a, SHUT_RD));
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(s.b, "x", 1), EPIPE);
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP);
    CHECK_EQ(ask(s.b, ALL), OUT_ALL);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 1);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 0);
    FAILS(shutdown(s.a, 3), EINVAL);
    FAILS(shutdown(s.a, -1), EINVAL);
}

TEST(body_shutdown_wakes_both_sides) {
    struct pair s = unix_pair(SOCK_STREAM);
    int ep = ep_new();
    ep_add(ep, s.a, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_ready(ep), 0);
    OK(shutdown(s.a, SHUT_WR));
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    OK(shutdown(s.b, SHUT_WR));
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
}

TEST(body_close_with_unread_data_resets) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    int error;
    socklen_t length = sizeof error;
    put_byte(s.b);
    put_byte(s.a);
    OK(close(s.b));
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP | POLLERR);
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(s.a, "x", 1), EPIPE);
    // What came before is read first.
    CHECK_EQ(OK(read(s.a, &byte, 1)), 1);
    FAILS(read(s.a, &byte, 1), ECONNRESET);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 0);
    OK(getsockopt(s.a, SOL_SOCKET, SO_ERROR, &error, &length));
    CHECK_EQ(error, 0);
}

TEST(body_so_error_takes_the_reset) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    int error;
    socklen_t length = sizeof error;
    put_byte(s.a);
    OK(close(s.b));
    OK(getsockopt(s.a, SOL_SOCKET, SO_ERROR, &error, &length));
    CHECK_EQ(error, ECONNRESET);
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 0);
}

TEST(body_a_clean_close_is_the_end) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    OK(close(s.b));
    CHECK_EQ(ask(s.a, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 0);
}

TEST(body_sigpipe) {
    struct pair s = unix_pair(SOCK_STREAM);
    count_signal(SIGPIPE, 0);
    OK(close(s.b));
    FAILS(send(s.a, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 0);
    FAILS(send(s.a, "x", 1, 0), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 1);
    FAILS(write(s.a, "x", 1), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 2);
    FAILS(send(s.a, "", 0, 0), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 3);
}

TEST(body_peek) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    char got[8];
    FAILS(recv(s.b, got, 8, MSG_PEEK), EAGAIN);
    OK(write(s.a, "ab", 2));
    OK(write(s.a, "cd", 2));
    CHECK_EQ(OK(recv(s.b, got, 3, MSG_PEEK)), 3);
    CHECK(memcmp(got, "abc", 3) == 0);
    CHECK_EQ(OK(recv(s.b, got, 8, MSG_PEEK)), 4);
    CHECK(memcmp(got, "abcd", 4) == 0);
    CHECK_EQ(OK(recv(s.b, got, 3, 0)), 3);
    CHECK_EQ(OK(recv(s.b, got, 8, MSG_PEEK)), 1);
    CHECK_EQ(got[0], 'd');
}

TEST(body_peek_at_much) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 13 + i / 257);
    OK(write(s.a, big, 100));
    CHECK_EQ(OK(read(s.b, big + 300000, 50)), 50);
    ssize_t sent = OK(write(s.a, big + 100, 150000));
    static char got[sizeof big];
    CHECK_EQ(OK(recv(s.b, got, sizeof got, MSG_PEEK)), sent + 50);
    CHECK(memcmp(got, big + 50, sent + 50) == 0);
    CHECK_EQ(OK(recv(s.b, got, sizeof got, 0)), sent + 50);
    CHECK(memcmp(got, big + 50, sent + 50) == 0);
}

static void receive_all(void *fd) {
    char got[10];
    CHECK_EQ(OK(recv((int)(intptr_t)fd, got, 10, MSG_WAITALL)), 10);
}

TEST(body_waitall) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct sleeper reader;
    sleeper_start(&reader, receive_all, (void *)(intptr_t)s.b);
    sleeper_await_blocked(&reader);
    OK(write(s.a, "abcde", 5));
    settle();
    CHECK(!reader.done);
    OK(write(s.a, "fghij", 5));
    sleeper_join(&reader);
    // The end ends it, too; without waiting it is as much as there is.
    char got[10];
    OK(write(s.a, "abc", 3));
    CHECK_EQ(OK(recv(s.b, got, 10, MSG_WAITALL | MSG_DONTWAIT)), 3);
    OK(write(s.a, "abc", 3));
    OK(close(s.a));
    CHECK_EQ(OK(recv(s.b, got, 10, MSG_WAITALL)), 3);
}

TEST(body_waiting_for_more_takes_the_reset) {
    for (int peeks = 0; peeks < 2; peeks++) {
        struct pair s = unix_pair(SOCK_STREAM);
        char got[10];
        int error, flags = peeks ? MSG_PEEK : MSG_WAITALL;
        socklen_t length = sizeof error;
        OK(write(s.b, "abc", 3));
        put_byte(s.a);
        OK(close(s.b));
        CHECK_EQ(OK(recv(s.a, got, 10, flags)), 3);
        OK(getsockopt(s.a, SOL_SOCKET, SO_ERROR, &error, &length));
        // Who has enough leaves it.
        CHECK_EQ(error, peeks ? ECONNRESET : 0);
        OK(close(s.a));
    }
}

static void receive_low(void *fd) {
    char got[10];
    CHECK_EQ(OK(recv((int)(intptr_t)fd, got, 10, 0)), 4);
}

TEST(body_rcvlowat) {
    struct pair s = unix_pair(SOCK_STREAM);
    OK(setsockopt(s.b, SOL_SOCKET, SO_RCVLOWAT, &(int){4}, sizeof(int)));
    OK(write(s.a, "ab", 2));
    // `poll` does not look at it.
    CHECK_EQ(ask(s.b, POLLIN), POLLIN);
    struct sleeper reader;
    sleeper_start(&reader, receive_low, (void *)(intptr_t)s.b);
    sleeper_await_blocked(&reader);
    OK(write(s.a, "cd", 2));
    sleeper_join(&reader);
}

TEST(body_timeouts) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct timeval tv = {0, 50000}, got;
    socklen_t length = sizeof got;
    char byte;
    OK(setsockopt(s.a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    OK(setsockopt(s.a, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
    OK(getsockopt(s.a, SOL_SOCKET, SO_RCVTIMEO, &got, &length));
    CHECK_EQ(length, sizeof got);
    CHECK_EQ(got.tv_sec, 0);
    CHECK_GE(got.tv_usec, 50000);
    int64_t start = now_ns();
    FAILS(read(s.a, &byte, 1), EAGAIN);
    CHECK_GE(now_ns() - start, socket_timeout_at_least(50));
    start = now_ns();
    ssize_t sent = OK(write(s.a, big, sizeof big));
    CHECK_LT(sent, (ssize_t)sizeof big);
    CHECK_GE(now_ns() - start, socket_timeout_at_least(50));
    FAILS(write(s.a, big, 1), EAGAIN);
    tv.tv_usec = 1000000;
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), EDOM);
    FAILS(setsockopt(s.a, SOL_SOCKET, SO_RCVTIMEO, &tv, 8), EINVAL);
}

// With a limit, an interrupted call is not restarted.
TEST(body_timeouts_and_signals) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct timeval tv = {30, 0};
    char byte;
    OK(setsockopt(s.a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    count_signal(SIGUSR1, SA_RESTART);
    pthread_t t = later(20, interrupt_main, NULL);
    FAILS(read(s.a, &byte, 1), EINTR);
    thread_join(t);
}

static void put_byte_later(void *fd) { put_byte((int)(intptr_t)fd); }

static void interrupt_then_put(void *fd) {
    interrupt_main(NULL);
    sleep_ms(20);
    put_byte((int)(intptr_t)fd);
}

TEST(body_signals_restart_reads) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    count_signal(SIGUSR1, 0);
    pthread_t t = later(20, interrupt_main, NULL);
    FAILS(read(s.a, &byte, 1), EINTR);
    thread_join(t);
    count_signal(SIGUSR1, SA_RESTART);
    t = later(20, interrupt_then_put, (void *)(intptr_t)s.b);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 1);
    CHECK_EQ(signals_seen[SIGUSR1], 2);
    thread_join(t);
}

TEST(body_a_write_that_is_interrupted_says_how_much) {
    struct pair s = unix_pair(SOCK_STREAM);
    count_signal(SIGUSR1, SA_RESTART);
    pthread_t t = later(20, interrupt_main, NULL);
    ssize_t sent = OK(write(s.a, big, sizeof big));
    CHECK_LT(sent, (ssize_t)sizeof big);
    CHECK_GT(sent, 150000);
    thread_join(t);
}

TEST(body_ioctls_count) {
    struct pair s = unix_pair(SOCK_STREAM);
    int n = -1;
    OK(ioctl(s.a, FIONREAD, &n));
    CHECK_EQ(n, 0);
    OK(ioctl(s.a, SIOCOUTQ, &n));
    CHECK_EQ(n, 0);
    OK(write(s.a, "abc", 3));
    OK(write(s.a, "de", 2));
    OK(ioctl(s.b, SIOCINQ, &n));
    CHECK_EQ(n, 5);
    OK(ioctl(s.a, SIOCOUTQ, &n));
    CHECK_GE(n, 5);
    int before = n;
    char got[4];
    OK(read(s.b, got, 4));
    OK(ioctl(s.b, FIONREAD, &n));
    CHECK_EQ(n, 1);
    OK(ioctl(s.a, SIOCOUTQ, &n));
    CHECK_LT(n, before);
    OK(ioctl(s.b, SIOCATMARK, &n));
    CHECK_EQ(n, 0);
    FAILS(ioctl(s.b, FIONREAD, BAD_POINTER), EFAULT);
    FAILS(ioctl(s.b, 0x5401, &n), ENOTTY);
}

TEST(body_faults_lose_nothing) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    char got[8];
    FAILS(write(s.a, BAD_POINTER, 3), EFAULT);
    FAILS(read(s.b, got, 3), EAGAIN);
    OK(write(s.a, "abc", 3));
    FAILS(read(s.b, BAD_POINTER, 3), EFAULT);
    CHECK_EQ(OK(read(s.b, got, 8)), 3);
    // A piece that cannot be read as a whole is not sent at all.
    FAILS(write(s.a, guarded_end(2), 3), EFAULT);
    FAILS(read(s.b, got, 3), EAGAIN);
    struct iovec v[2] = {{"xy", 2}, {BAD_POINTER, 2}};
    FAILS(writev(s.a, v, 2), EFAULT);
    FAILS(read(s.b, got, 3), EAGAIN);
}

TEST(body_vectors) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct iovec out[3] = {{"ab", 2}, {NULL, 0}, {"cde", 3}};
    CHECK_EQ(OK(writev(s.a, out, 3)), 5);
    char x[2], y[8];
    struct iovec in[2] = {{x, 2}, {y, 8}};
    CHECK_EQ(OK(readv(s.b, in, 2)), 5);
    CHECK(memcmp(x, "ab", 2) == 0 && memcmp(y, "cde", 3) == 0);
}

TEST(body_nothing_to_move) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    char byte;
    CHECK_EQ(OK(write(s.a, "", 0)), 0);
    CHECK_EQ(OK(read(s.b, &byte, 0)), 0);
    FAILS(recv(s.b, &byte, 0, 0), EAGAIN);
    FAILS(read(s.b, &byte, 1), EAGAIN);
}

TEST(body_files_go_through) {
    struct pair s = unix_pair(SOCK_STREAM);
    int file = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    OK(write(file, "0123456789", 10));
    off_t offset = 2;
    CHECK_EQ(OK(sendfile(s.a, file, &offset, 5)), 5);
    CHECK_EQ(offset, 7);
    char got[16];
    CHECK_EQ(OK(read(s.b, got, 16)), 5);
    CHECK(memcmp(got, "23456", 5) == 0);
    struct pipe_ends p = make_pipe(0);
    OK(write(p.w, "spliced", 7));
    CHECK_EQ(OK(splice(p.r, NULL, s.a, NULL, 100, 0)), 7);
    CHECK_EQ(OK(splice(s.b, NULL, p.w, NULL, 4, 0)), 4);
    CHECK_EQ(OK(read(p.r, got, 16)), 4);
    CHECK(memcmp(got, "spli", 4) == 0);
    CHECK_EQ(OK(read(s.b, got, 16)), 3);
}

TEST(body_what_a_socket_is_not) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    FAILS(lseek(s.a, 0, SEEK_SET), ESPIPE);
    FAILS(pread(s.a, &byte, 1, 0), ESPIPE);
    FAILS(pwrite(s.a, &byte, 1, 0), ESPIPE);
    FAILS(ftruncate(s.a, 0), EINVAL);
    struct stat st;
    OK(fstat(s.a, &st));
    CHECK(S_ISSOCK(st.st_mode));
    char link[64], self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", s.a);
    ssize_t n = OK(readlink(self, link, sizeof link - 1));
    link[n] = 0;
    CHECK(strncmp(link, "socket:[", 8) == 0);
    FAILS(open(self, O_RDWR), ENXIO);
    struct pipe_ends p = make_pipe(0);
    FAILS(send(p.w, "x", 1, 0), ENOTSOCK);
    FAILS(listen(p.w, 1), ENOTSOCK);
    FAILS(send(-1, "x", 1, 0), EBADF);
}

TEST(row_22_each_write_is_an_edge) {
    struct pair s = unix_pair(SOCK_STREAM);
    int ep = ep_new();
    ep_add(ep, s.b, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 4; i++) {
        put_byte(s.a);
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
    }
}

// Every message that was read whole gives an edge to a writer with room, whatever it knew before.
TEST(row_22_each_read_of_a_whole_message_is_an_edge_for_the_writer) {
    struct pair s = unix_pair(SOCK_STREAM);
    int ep = ep_new();
    char got[2];
    ep_add(ep, s.a, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    OK(write(s.a, "ab", 2));
    OK(write(s.a, "cd", 2));
    CHECK_EQ(ep_ready(ep), 0);
    OK(read(s.b, got, 1));
    CHECK_EQ(ep_ready(ep), 0);
    OK(read(s.b, got, 1));
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    OK(read(s.b, got, 2));
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_22_no_edge_while_there_is_little_room) {
    struct pair s = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    int ep = ep_new(), sent = 0;
    char got[64];
    while (write(s.a, "0123456789", 10) == 10)
        sent++;
    ep_add(ep, s.a, EPOLLOUT | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    for (int i = 0; i < sent / 2; i++)
        OK(read(s.b, got, 10));
    CHECK_EQ(ep_ready(ep), 0);
    for (int i = sent / 2; i < sent; i++)
        OK(read(s.b, got, 10));
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
}

TEST(row_35_epoll_sees_the_end) {
    struct pair s = unix_pair(SOCK_STREAM);
    int ep = ep_new();
    ep_add(ep, s.a, EPOLLRDHUP | EPOLLET, 0);
    CHECK_EQ(ep_ready(ep), 0);
    OK(close(s.b));
    CHECK_EQ(ep_mask(ep), EPOLLRDHUP | EPOLLHUP);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_98_select_sees_sockets) {
    struct pair s = unix_pair(SOCK_STREAM);
    fd_set r, w;
    struct timeval zero = {0, 0};
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(s.a, &r);
    FD_SET(s.a, &w);
    CHECK_EQ(OK(select(s.a + 1, &r, &w, NULL, &zero)), 1);
    CHECK(!FD_ISSET(s.a, &r) && FD_ISSET(s.a, &w));
    put_byte(s.b);
    FD_SET(s.a, &r);
    FD_SET(s.a, &w);
    CHECK_EQ(OK(select(s.a + 1, &r, &w, NULL, &zero)), 2);
}

TEST(body_a_blocked_read_wakes) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    pthread_t t = later(20, put_byte_later, (void *)(intptr_t)s.b);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 1);
    thread_join(t);
}

static void close_later(void *fd) { close((int)(intptr_t)fd); }

TEST(body_a_blocked_read_sees_the_peer_close) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    pthread_t t = later(20, close_later, (void *)(intptr_t)s.b);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 0);
    thread_join(t);
}

static void shutdown_later(void *fd) { shutdown((int)(intptr_t)fd, SHUT_RD); }

TEST(body_a_blocked_read_sees_its_own_shutdown) {
    struct pair s = unix_pair(SOCK_STREAM);
    char byte;
    pthread_t t = later(20, shutdown_later, (void *)(intptr_t)s.a);
    CHECK_EQ(OK(read(s.a, &byte, 1)), 0);
    thread_join(t);
}

TEST(body_a_blocked_write_sees_the_peer_close) {
    struct pair s = unix_pair(SOCK_STREAM);
    signal(SIGPIPE, SIG_IGN);
    fill(s.a);
    set_nonblocking(s.a, false);
    pthread_t t = later(20, close_later, (void *)(intptr_t)s.b);
    // Something was not read.
    FAILS(write(s.a, "x", 1), ECONNRESET);
    FAILS(write(s.a, "x", 1), EPIPE);
    thread_join(t);
}

TEST(body_a_blocked_write_sees_the_peer_shut_down) {
    struct pair s = unix_pair(SOCK_STREAM);
    count_signal(SIGPIPE, 0);
    fill(s.a);
    set_nonblocking(s.a, false);
    pthread_t t = later(20, shutdown_later, (void *)(intptr_t)s.b);
    FAILS(write(s.a, "x", 1), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 0);
    FAILS(write(s.a, "x", 1), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 1);
    thread_join(t);
}

static void child_echoes(void *fd) {
    char got[100];
    ssize_t n;
    while ((n = OK(read((int)(intptr_t)fd, got, sizeof got))) > 0)
        OK(write((int)(intptr_t)fd, got, n));
}

TEST(body_over_fork) {
    struct pair s = unix_pair(SOCK_STREAM);
    pid_t child = fork();
    if (child == 0) {
        close(s.a);
        child_echoes((void *)(intptr_t)s.b);
        _exit(0);
    }
    OK(close(s.b));
    char got[100];
    for (int i = 0; i < 10; i++) {
        OK(write(s.a, "0123456789", 10));
        CHECK_EQ(OK(recv(s.a, got, 10, MSG_WAITALL)), 10);
    }
    OK(shutdown(s.a, SHUT_WR));
    CHECK_EQ(OK(read(s.a, got, 10)), 0);
    join_child(child);
}

// Four threads write and four read one pair of sockets: nothing is lost, nothing comes twice.
enum { ROUNDS = 200 };
static struct pair shared;
static _Atomic long sum_written, sum_read;

static void *write_numbers(void *first) {
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t n = (uintptr_t)first * ROUNDS + i;
        CHECK_EQ(OK(write(shared.a, &n, sizeof n)), sizeof n);
        sum_written += n;
    }
    return NULL;
}

static void *read_numbers(void *unused) {
    (void)unused;
    uint64_t n;
    while (OK(recv(shared.b, &n, sizeof n, 0)) == sizeof n)
        sum_read += n;
    return NULL;
}

TEST(body_four_threads_on_each_side) {
    shared = unix_pair(SOCK_SEQPACKET);
    pthread_t writers[4], readers[4];
    for (intptr_t i = 0; i < 4; i++) {
        readers[i] = thread_run(read_numbers, NULL);
        writers[i] = thread_run(write_numbers, (void *)i);
    }
    for (int i = 0; i < 4; i++)
        thread_join(writers[i]);
    OK(shutdown(shared.a, SHUT_WR));
    for (int i = 0; i < 4; i++)
        thread_join(readers[i]);
    CHECK_EQ(sum_read, sum_written);
}
