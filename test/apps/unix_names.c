// SPDX-License-Identifier: MPL-2.0
//
// Names of unix sockets, and connecting by name.
#include "unix.h"

TEST(body_a_path_is_a_socket_file) {
    umask(027);
    int s = unix_socket(SOCK_STREAM);
    struct name n = path_name(temp_path("s"));
    OK(bind_to(s, n));
    struct stat st;
    OK(stat(n.address.sun_path, &st));
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_EQ(st.st_mode & 07777, 0750);
    FAILS(open(n.address.sun_path, O_RDWR), ENXIO);
    FAILS(bind_to(s, path_name(temp_path("other"))), EINVAL);
    FAILS(bind_to(unix_socket(SOCK_STREAM), n), EADDRINUSE);
    FAILS(bind_to(unix_socket(SOCK_DGRAM), n), EADDRINUSE);
    OK(close(s));
    FAILS(bind_to(unix_socket(SOCK_STREAM), n), EADDRINUSE);
    OK(unlink(n.address.sun_path));
    OK(bind_to(unix_socket(SOCK_STREAM), n));
}

TEST(body_paths_that_cannot_be_bound) {
    int s = unix_socket(SOCK_STREAM);
    FAILS(bind_to(s, path_name("/nonexistent/s")), ENOENT);
    FAILS(bind_to(s, path_name(temp_dir())), EADDRINUSE);
    struct name n = path_name(temp_path("s"));
    n.length = 1;
    FAILS(bind_to(s, n), EINVAL);
    n.length = 0;
    FAILS(bind_to(s, n), EINVAL);
    n.length = 111;
    FAILS(bind_to(s, n), EINVAL);
    n.length = 129;
    FAILS(bind_to(s, n), EINVAL);
    n.length = (socklen_t)-1;
    FAILS(bind_to(s, n), EINVAL);
    FAILS(bind(s, BAD_POINTER, 10), EFAULT);
    n = path_name(temp_path("s"));
    n.address.sun_family = AF_INET;
    FAILS(bind_to(s, n), EINVAL);
    n.address.sun_family = AF_UNSPEC;
    FAILS(bind_to(s, n), EINVAL);
    // A path without a terminator.
    n = path_name(temp_path("without"));
    n.length--;
    OK(bind_to(s, n));
    struct stat st;
    OK(stat(temp_path("without"), &st));
}

TEST(body_getsockname_and_getpeername) {
    struct sockaddr_un got;
    socklen_t length = sizeof got;
    struct name n = path_name(temp_path("s"));
    int l = unix_listener(SOCK_STREAM, n, 5), c = unix_socket(SOCK_STREAM);
    FAILS(getpeername(c, (struct sockaddr *)&got, &length), ENOTCONN);
    OK(getsockname(c, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, 2);
    CHECK_EQ(got.sun_family, AF_UNIX);
    OK(connect_to(c, n));
    length = sizeof got;
    OK(getpeername(c, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, n.length);
    CHECK(strcmp(got.sun_path, n.address.sun_path) == 0);
    length = sizeof got;
    int s = (int)OK(accept(l, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, 2);
    length = sizeof got;
    OK(getsockname(s, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, n.length);
    length = sizeof got;
    OK(getpeername(s, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, 2);
    // A name that is too long for the buffer is cut, and its length told.
    memset(&got, 7, sizeof got);
    length = 5;
    OK(getsockname(l, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, n.length);
    CHECK_EQ(((char *)&got)[5], 7);
    length = (socklen_t)-1;
    FAILS(getsockname(l, (struct sockaddr *)&got, &length), EINVAL);
    FAILS(getsockname(l, (struct sockaddr *)&got, BAD_POINTER), EFAULT);
    length = 100;
    FAILS(getsockname(l, BAD_POINTER, &length), EFAULT);
    FAILS(getpeername(l, (struct sockaddr *)&got, &length), ENOTCONN);
    // A client may take a name when it is connected.
    struct name own = abstract_name("late");
    OK(bind_to(c, own));
    length = sizeof got;
    OK(getpeername(s, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, own.length);
}

TEST(body_abstract_names) {
    struct name n = abstract_name("a");
    int l = unix_listener(SOCK_STREAM, n, 5);
    FAILS(bind_to(unix_socket(SOCK_STREAM), n), EADDRINUSE);
    int c = unix_socket(SOCK_STREAM);
    OK(connect_to(c, n));
    struct sockaddr_un got;
    socklen_t length = sizeof got;
    OK(getpeername(c, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, n.length);
    CHECK(memcmp(&got, &n.address, length) == 0);
    // A different length is a different name.
    struct name longer = n;
    longer.length++;
    FAILS(connect_to(unix_socket(SOCK_STREAM), longer), ECONNREFUSED);
    // The name is free when its socket is closed; what was accepted does not keep it.
    int s = (int)OK(accept(l, NULL, NULL));
    OK(close(l));
    FAILS(connect_to(unix_socket(SOCK_STREAM), n), ECONNREFUSED);
    OK(bind_to(unix_socket(SOCK_STREAM), n));
    put_byte(s);
    take_byte(c);
}

TEST(body_autobind) {
    int s[3];
    struct sockaddr_un got[3];
    for (int i = 0; i < 3; i++) {
        s[i] = unix_socket(i == 2 ? SOCK_DGRAM : SOCK_STREAM);
        sa_family_t family = AF_UNIX;
        OK(bind(s[i], (struct sockaddr *)&family, sizeof family));
        socklen_t length = sizeof got[i];
        OK(getsockname(s[i], (struct sockaddr *)&got[i], &length));
        CHECK_EQ(length, 2 + 1 + 5);
        CHECK_EQ(got[i].sun_path[0], 0);
        CHECK_EQ(strspn(got[i].sun_path + 1, "0123456789abcdef"), 5);
        // Once more does nothing.
        OK(bind(s[i], (struct sockaddr *)&family, sizeof family));
        struct sockaddr_un again;
        length = sizeof again;
        OK(getsockname(s[i], (struct sockaddr *)&again, &length));
        CHECK(memcmp(&again, &got[i], length) == 0);
        FAILS(bind_to(s[i], abstract_name("x")), EINVAL);
    }
    CHECK(memcmp(got[0].sun_path + 1, got[1].sun_path + 1, 5) != 0);
}

TEST(body_connecting_to_what_is_not_there) {
    int c = unix_socket(SOCK_STREAM);
    FAILS(connect_to(c, path_name(temp_path("none"))), ENOENT);
    FAILS(connect_to(c, abstract_name("none")), ECONNREFUSED);
    int file = (int)OK(open(temp_path("file"), O_CREAT | O_RDWR, 0600));
    OK(close(file));
    FAILS(connect_to(c, path_name(temp_path("file"))), ECONNREFUSED);
    FAILS(connect_to(c, path_name(temp_dir())), ECONNREFUSED);
    // Bound, not listening.
    struct name n = path_name(temp_path("bound"));
    int b = unix_socket(SOCK_STREAM);
    OK(bind_to(b, n));
    FAILS(connect_to(c, n), ECONNREFUSED);
    FAILS(connect_to(unix_socket(SOCK_DGRAM), n), EPROTOTYPE);
    FAILS(connect_to(unix_socket(SOCK_SEQPACKET), n), EPROTOTYPE);
    OK(listen(b, 1));
    OK(connect_to(c, n));
    FAILS(connect_to(c, n), EISCONN);
    // Dead.
    OK(close(b));
    FAILS(connect_to(unix_socket(SOCK_STREAM), n), ECONNREFUSED);
    n.length = 2;
    FAILS(connect_to(unix_socket(SOCK_STREAM), n), EINVAL);
    n.address.sun_family = AF_UNSPEC;
    FAILS(connect_to(unix_socket(SOCK_STREAM), n), EINVAL);
    FAILS(connect(unix_socket(SOCK_STREAM), BAD_POINTER, 20), EFAULT);
}

static void as_nobody(void *name) {
    struct name *n = name;
    OK(setresgid(65534, 65534, 65534));
    OK(setresuid(65534, 65534, 65534));
    int allowed = n->address.sun_path[strlen(n->address.sun_path) - 1] == '1';
    int c = unix_socket(SOCK_STREAM);
    if (allowed)
        OK(connect_to(c, *n));
    else
        FAILS(connect_to(c, *n), EACCES);
    FAILS(bind_to(unix_socket(SOCK_STREAM), path_name(temp_path("mine"))), EACCES);
}

TEST(body_connecting_needs_write_permission) {
    if (geteuid() != 0)
        SKIP("needs root");
    OK(chmod(temp_dir(), 0755));
    struct name closed = path_name(temp_path("0")), open_ = path_name(temp_path("1"));
    unix_listener(SOCK_STREAM, closed, 5);
    unix_listener(SOCK_STREAM, open_, 5);
    OK(chmod(closed.address.sun_path, 0755));
    OK(chmod(open_.address.sun_path, 0722));
    join_child(fork_run(as_nobody, &closed));
    join_child(fork_run(as_nobody, &open_));
}

TEST(body_listening_and_accepting) {
    int s = unix_socket(SOCK_STREAM), d = unix_socket(SOCK_DGRAM);
    FAILS(listen(s, 1), EINVAL);
    FAILS(accept(s, NULL, NULL), EINVAL);
    FAILS(listen(d, 1), EOPNOTSUPP);
    FAILS(accept(d, NULL, NULL), EOPNOTSUPP);
    struct pair p = unix_pair(SOCK_STREAM);
    FAILS(listen(p.a, 1), EINVAL);
    FAILS(accept(p.a, NULL, NULL), EINVAL);
    int on = -1;
    socklen_t length = sizeof on;
    OK(bind_to(s, abstract_name("l")));
    OK(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &on, &length));
    CHECK_EQ(on, 0);
    OK(listen(s, -1));
    OK(listen(s, 3));
    OK(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &on, &length));
    CHECK_EQ(on, 1);
    set_nonblocking(s, true);
    FAILS(accept(s, NULL, NULL), EAGAIN);
    FAILS(connect_to(s, abstract_name("l")), EINVAL);
    int c = unix_socket(SOCK_STREAM);
    OK(connect_to(c, abstract_name("l")));
    FAILS(accept4(s, NULL, NULL, 0x1234), EINVAL);
    int a = (int)OK(accept4(s, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    CHECK_EQ(fcntl(a, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK_EQ(fcntl(a, F_GETFD), FD_CLOEXEC);
    char byte;
    FAILS(read(s, &byte, 1), EINVAL);
    FAILS(recv(s, &byte, 1, 0), EINVAL);
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(s, &byte, 1), ENOTCONN);
    FAILS(send(s, &byte, 1, 0), ENOTCONN);
}

TEST(body_accept_and_bad_pointers) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5), c = unix_socket(SOCK_STREAM);
    struct sockaddr_un got;
    OK(connect_to(c, n));
    FAILS(accept(l, (struct sockaddr *)&got, BAD_POINTER), EFAULT);
    // That connection is lost.
    set_nonblocking(l, true);
    FAILS(accept(l, NULL, NULL), EAGAIN);
    CHECK_EQ(ask(c, POLLIN | POLLHUP), POLLIN | POLLHUP);
}

TEST(body_a_connection_works_before_it_is_accepted) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5), c = unix_socket(SOCK_STREAM);
    char got[8];
    OK(connect_to(c, n));
    CHECK_EQ(ask(c, ALL), OUT_ALL);
    OK(write(c, "early", 5));
    OK(close(c));
    int s = (int)OK(accept(l, NULL, NULL));
    CHECK_EQ(OK(read(s, got, 8)), 5);
    CHECK_EQ(OK(read(s, got, 8)), 0);
}

TEST(body_the_masks_of_sockets_that_are_not_connected) {
    int s = unix_socket(SOCK_STREAM), q = unix_socket(SOCK_SEQPACKET), d = unix_socket(SOCK_DGRAM);
    CHECK_EQ(ask(s, ALL), OUT_ALL | POLLHUP);
    CHECK_EQ(ask(q, ALL), OUT_ALL | POLLHUP);
    CHECK_EQ(ask(d, ALL), OUT_ALL);
    struct name n = abstract_name("l");
    OK(bind_to(s, n));
    OK(listen(s, 5));
    CHECK_EQ(ask(s, ALL), 0);
    int ep = ep_new();
    ep_add(ep, s, EPOLLIN | EPOLLET, 0);
    for (int i = 0; i < 2; i++) {
        OK(connect_to(unix_socket(SOCK_STREAM), n));
        CHECK_EQ(ep_mask(ep), EPOLLIN);
        CHECK_EQ(ep_ready(ep), 0);
    }
    CHECK_EQ(ask(s, ALL), IN_ALL);
    OK(accept(s, NULL, NULL));
    CHECK_EQ(ask(s, ALL), IN_ALL);
    OK(accept(s, NULL, NULL));
    CHECK_EQ(ask(s, ALL), 0);
}

// Whoever watches a socket before it is connected goes on watching it.
TEST(row_21_a_registration_outlives_connecting) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5), c = unix_socket(SOCK_STREAM), ep = ep_new();
    ep_add(ep, c, EPOLLIN | EPOLLRDHUP, 0);
    CHECK_EQ(ep_mask(ep), EPOLLHUP);
    OK(connect_to(c, n));
    CHECK_EQ(ep_ready(ep), 0);
    int s = (int)OK(accept(l, NULL, NULL));
    put_byte(s);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    OK(close(s));
    CHECK_EQ(ep_mask(ep), EPOLLIN | EPOLLRDHUP | EPOLLHUP);
}

TEST(body_backlog_when_it_is_full) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 2), count = 0;
    for (;;) {
        int c = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
        if (connect_to(c, n) != 0)
            break;
        count++;
    }
    CHECK_EQ(errno, EAGAIN);
    CHECK_EQ(count, 3);
    // The failed socket can try again.
    int c = unix_socket(SOCK_STREAM | SOCK_NONBLOCK);
    FAILS(connect_to(c, n), EAGAIN);
    CHECK_EQ(ask(c, ALL), OUT_ALL | POLLHUP);
    OK(accept(l, NULL, NULL));
    OK(connect_to(c, n));
    struct timeval tv = {0, 50000};
    c = unix_socket(SOCK_STREAM);
    OK(setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
    FAILS(connect_to(c, n), EAGAIN);
}

static struct name waited_for;

static void connect_and_write(void *unused) {
    (void)unused;
    int c = unix_socket(SOCK_STREAM);
    OK(connect_to(c, waited_for));
    put_byte(c);
}

TEST(body_connect_waits_for_room) {
    waited_for = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, waited_for, 0);
    int first = unix_socket(SOCK_STREAM);
    OK(connect_to(first, waited_for));
    struct sleeper s;
    sleeper_start(&s, connect_and_write, NULL);
    sleeper_await_blocked(&s);
    OK(accept(l, NULL, NULL));
    sleeper_join(&s);
    take_byte((int)OK(accept(l, NULL, NULL)));
}

static void connect_refused(void *unused) {
    (void)unused;
    FAILS(connect_to(unix_socket(SOCK_STREAM), waited_for), ECONNREFUSED);
}

TEST(body_connect_waits_in_vain) {
    waited_for = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, waited_for, 0);
    int first = unix_socket(SOCK_STREAM);
    OK(connect_to(first, waited_for));
    struct sleeper s;
    sleeper_start(&s, connect_refused, NULL);
    sleeper_await_blocked(&s);
    OK(close(l));
    sleeper_join(&s);
    // Whoever was in the queue is reset.
    char byte;
    CHECK_EQ(ask(first, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP | POLLERR);
    FAILS(read(first, &byte, 1), ECONNRESET);
    CHECK_EQ(OK(read(first, &byte, 1)), 0);
}

static void accept_one(void *listener) {
    int s = (int)OK(accept((int)(intptr_t)listener, NULL, NULL));
    take_byte(s);
}

TEST(body_accept_waits) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5);
    struct sleeper s[2];
    for (int i = 0; i < 2; i++) {
        sleeper_start(&s[i], accept_one, (void *)(intptr_t)l);
        sleeper_await_blocked(&s[i]);
    }
    for (int i = 0; i < 2; i++) {
        int c = unix_socket(SOCK_STREAM);
        OK(connect_to(c, n));
        put_byte(c);
    }
    sleeper_join(&s[0]);
    sleeper_join(&s[1]);
    struct timeval tv = {0, 50000};
    OK(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    FAILS(accept(l, NULL, NULL), EAGAIN);
    count_signal(SIGUSR1, 0);
    tv.tv_sec = 0;
    tv.tv_usec = 0;
    OK(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    pthread_t t = later(20, interrupt_main, NULL);
    FAILS(accept(l, NULL, NULL), EINTR);
    thread_join(t);
}

TEST(body_shutdown_of_a_listener) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5);
    OK(shutdown(l, SHUT_RD));
    CHECK_EQ(ask(l, ALL), IN_ALL | POLLRDHUP);
    FAILS(accept(l, NULL, NULL), EINVAL);
    FAILS(connect_to(unix_socket(SOCK_STREAM), n), ECONNREFUSED);
    OK(shutdown(l, SHUT_WR));
    CHECK_EQ(ask(l, ALL), IN_ALL | POLLRDHUP | POLLHUP);
}

TEST(body_what_was_shut_before_listening) {
    struct name n = abstract_name("l");
    int l = unix_socket(SOCK_STREAM);
    OK(bind_to(l, n));
    OK(shutdown(l, SHUT_WR));
    OK(listen(l, 5));
    CHECK_EQ(ask(l, ALL), 0);
    OK(connect_to(unix_socket(SOCK_STREAM), n));
    OK(shutdown(l, SHUT_RD));
    CHECK_EQ(ask(l, ALL), IN_ALL | POLLRDHUP | POLLHUP);
    // What waited is accepted still.
    OK(accept(l, NULL, NULL));
    FAILS(accept(l, NULL, NULL), EINVAL);
    l = unix_socket(SOCK_STREAM);
    n = abstract_name("m");
    OK(bind_to(l, n));
    OK(shutdown(l, SHUT_RD));
    OK(listen(l, 5));
    FAILS(connect_to(unix_socket(SOCK_STREAM), n), ECONNREFUSED);
}

TEST(body_shutdown_of_a_fresh_socket) {
    int s = unix_socket(SOCK_STREAM);
    OK(shutdown(s, SHUT_RDWR));
    CHECK_EQ(ask(s, ALL), IN_ALL | OUT_ALL | POLLRDHUP | POLLHUP);
    char byte;
    FAILS(read(s, &byte, 1), EINVAL);
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(s, &byte, 1), ENOTCONN);
}

TEST(body_kinds_of_sockets) {
    FAILS(socket(AF_UNIX, SOCK_STREAM, 2), EPROTONOSUPPORT);
    OK(socket(AF_UNIX, SOCK_STREAM, 1));
    FAILS(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
    FAILS(socket(AF_UNIX, 11, 0), EINVAL);
    FAILS(socket(AF_UNIX, -1, 0), EINVAL);
    FAILS(socket(AF_UNIX, SOCK_STREAM | 0x100, 0), EINVAL);
    FAILS(socket(200, SOCK_STREAM, 0), EAFNOSUPPORT);
    FAILS(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
    int fds[2], kind;
    socklen_t length = sizeof kind;
    FAILS(socketpair(AF_UNIX, SOCK_STREAM, 0, BAD_POINTER), EFAULT);
    int raw = unix_socket(SOCK_RAW);
    OK(getsockopt(raw, SOL_SOCKET, SO_TYPE, &kind, &length));
    CHECK_EQ(kind, SOCK_DGRAM);
    OK(getsockopt(raw, SOL_SOCKET, SO_DOMAIN, &kind, &length));
    CHECK_EQ(kind, AF_UNIX);
    OK(getsockopt(raw, SOL_SOCKET, SO_PROTOCOL, &kind, &length));
    CHECK_EQ(kind, 0);
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
    CHECK_EQ(fcntl(fds[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CHECK_EQ(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(fcntl(fds[0], F_GETFL) & O_ACCMODE, O_RDWR);
}

static bool listed(const char *name) {
    FILE *f = fopen("/proc/net/unix", "r");
    char line[512];
    bool found = false;
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f))
        found |= strstr(line, name) != NULL;
    fclose(f);
    return found;
}

TEST(body_proc_net_unix) {
    struct name n = path_name(temp_path("listed"));
    int l = unix_listener(SOCK_STREAM, n, 5);
    CHECK(listed(n.address.sun_path));
    CHECK(listed(" 00010000 0001 01 "));
    OK(close(l));
    CHECK(!listed(n.address.sun_path));
}

TEST(body_siocunixfile) {
    if (geteuid() != 0)
        SKIP("needs root");
    struct name n = path_name(temp_path("s"));
    int s = unix_socket(SOCK_STREAM);
    FAILS(ioctl(s, 0x89e0, 0), ENOENT);
    OK(bind_to(s, n));
    int fd = (int)OK(ioctl(s, 0x89e0, 0));
    struct stat one, other;
    OK(fstat(fd, &one));
    OK(stat(n.address.sun_path, &other));
    CHECK_EQ(one.st_ino, other.st_ino);
    char byte;
    FAILS(read(fd, &byte, 1), EBADF);
}
