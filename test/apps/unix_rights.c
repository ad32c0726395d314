// SPDX-License-Identifier: MPL-2.0
//
// Open files and credentials in messages.
#include "unix.h"

#include <sys/resource.h>

// Whether nobody has the other end of the pipe any more.
static bool is_closed(int reader) { return ask(reader, POLLIN) & POLLHUP; }

static void await_closed(int reader) {
    for (int i = 0; i < 3000 && !is_closed(reader); i++)
        sleep_ms(1);
    CHECK(is_closed(reader));
}

TEST(body_a_file_travels) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    char got[8];
    CHECK_EQ(OK(send_fd(s.a, p.w)), 1);
    OK(close(p.w));
    CHECK(!is_closed(p.r));
    struct received r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.count, 1);
    CHECK_EQ(r.flags, 0);
    CHECK_EQ(fcntl(r.fds[0], F_GETFD), 0);
    put_byte(r.fds[0]);
    take_byte(p.r);
    OK(close(r.fds[0]));
    CHECK(is_closed(p.r));
}

TEST(body_cloexec_of_what_came) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[8];
    OK(send_fd(s.a, 0));
    struct received r = receive_with(s.b, got, 8, 4096, MSG_CMSG_CLOEXEC);
    CHECK_EQ(fcntl(r.fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(r.flags, MSG_CMSG_CLOEXEC);
}

// The example of unix(7): files are a barrier behind their own bytes, not before them.
TEST(body_files_end_a_read) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[32];
    OK(write(s.a, "aaaa", 4));
    OK(send_fd(s.a, 0));
    OK(write(s.a, "bbbb", 4));
    struct received r = receive(s.b, got, 20);
    CHECK_EQ(r.length, 5);
    CHECK_EQ(r.count, 1);
    CHECK(memcmp(got, "aaaaf", 5) == 0);
    r = receive(s.b, got, 20);
    CHECK_EQ(r.length, 4);
    CHECK_EQ(r.count, 0);
    // Files come with the first byte of their message.
    OK(send_fds(s.a, "xyz", 3, (int[]){0, 1}, 2, 0));
    r = receive(s.b, got, 1);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.count, 2);
    r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 2);
    CHECK_EQ(r.count, 0);
}

TEST(body_files_of_two_messages_do_not_mix) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[32];
    OK(send_fd(s.a, 0));
    OK(send_fds(s.a, "gg", 2, (int[]){1, 2}, 2, 0));
    struct received r = receive(s.b, got, 20);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.count, 1);
    r = receive_with(s.b, got, 20, 4096, MSG_WAITALL | MSG_DONTWAIT);
    CHECK_EQ(r.length, 2);
    CHECK_EQ(r.count, 2);
}

TEST(body_a_plain_read_drops_files) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    char got[32];
    OK(write(s.a, "aa", 2));
    OK(send_fd(s.a, p.w));
    OK(write(s.a, "bb", 2));
    OK(close(p.w));
    CHECK_EQ(OK(read(s.b, got, 20)), 3);
    CHECK(is_closed(p.r));
    CHECK_EQ(OK(read(s.b, got, 20)), 2);
}

TEST(body_room_for_some_files) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    char got[8];
    // Room for one of three.
    OK(send_fds(s.a, "x", 1, (int[]){0, 1, p.w}, 3, 0));
    OK(close(p.w));
    struct received r = receive_with(s.b, got, 8, CMSG_LEN(sizeof(int)), 0);
    CHECK_EQ(r.count, 1);
    CHECK_EQ(r.flags, MSG_CTRUNC);
    CHECK(is_closed(p.r));
    // None at all.
    OK(send_fd(s.a, 0));
    r = receive_with(s.b, got, 8, 0, 0);
    CHECK_EQ(r.count, 0);
    CHECK_EQ(r.flags, MSG_CTRUNC);
    OK(send_fd(s.a, 0));
    r = receive_with(s.b, got, 8, CMSG_LEN(0), 0);
    CHECK_EQ(r.count, 0);
    CHECK_EQ(r.flags, MSG_CTRUNC);
    CHECK_EQ(r.control_length, 0);
    OK(send_fds(s.a, "x", 1, (int[]){0, 1}, 2, 0));
    r = receive_with(s.b, got, 8, CMSG_LEN(sizeof(int)) + 3, 0);
    CHECK_EQ(r.count, 1);
    CHECK_EQ(r.flags, MSG_CTRUNC);
}

TEST(body_no_number_free_for_a_file) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    char got[8];
    OK(send_fds(s.a, "x", 1, (int[]){0, p.w}, 2, 0));
    OK(close(p.w));
    int next = dup(0);
    OK(close(next));
    struct rlimit old, limit;
    OK(getrlimit(RLIMIT_NOFILE, &old));
    limit = old;
    limit.rlim_cur = next + 1;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    struct received r = receive(s.b, got, 8);
    OK(setrlimit(RLIMIT_NOFILE, &old));
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.count, 1);
    CHECK_EQ(r.flags, MSG_CTRUNC);
    CHECK(is_closed(p.r));
}

TEST(body_peeking_copies_files) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    char got[8];
    OK(send_fds(s.a, "xyz", 3, &p.w, 1, 0));
    OK(close(p.w));
    struct received one = receive_with(s.b, got, 8, 4096, MSG_PEEK);
    CHECK_EQ(one.count, 1);
    CHECK_EQ(one.length, 3);
    struct received two = receive(s.b, got, 8);
    CHECK_EQ(two.count, 1);
    CHECK_NE(one.fds[0], two.fds[0]);
    OK(close(one.fds[0]));
    CHECK(!is_closed(p.r));
    OK(close(two.fds[0]));
    CHECK(is_closed(p.r));
}

TEST(body_files_that_cannot_be_sent) {
    struct pair s = unix_pair(SOCK_STREAM);
    int many[254] = {0}, bad[2] = {0, -1};
    FAILS(send_fds(s.a, "x", 1, bad, 2, 0), EBADF);
    bad[1] = 100000;
    FAILS(send_fds(s.a, "x", 1, bad, 2, 0), EBADF);
    FAILS(send_fds(s.a, "x", 1, many, 254, 0), EINVAL);
    OK(send_fds(s.a, "x", 1, many, 253, 0));
    char got[8];
    struct received r = receive(s.b, got, 8);
    CHECK_EQ(r.count, 253);
    for (int i = 0; i < r.count; i++)
        OK(close(r.fds[i]));
}

TEST(body_control_messages_that_make_no_sense) {
    struct pair s = unix_pair(SOCK_STREAM);
    union {
        char bytes[128];
        struct cmsghdr header;
    } c = {0};
    struct iovec v = {"x", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = 32};
    c.header = (struct cmsghdr){.cmsg_len = 8, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    FAILS(sendmsg(s.a, &m, 0), EINVAL);
    c.header.cmsg_len = 33;
    FAILS(sendmsg(s.a, &m, 0), EINVAL);
    c.header.cmsg_len = (size_t)-1;
    FAILS(sendmsg(s.a, &m, 0), EINVAL);
    c.header.cmsg_len = 0;
    FAILS(sendmsg(s.a, &m, 0), EINVAL);
    c.header.cmsg_len = 20;
    c.header.cmsg_type = 77;
    FAILS(sendmsg(s.a, &m, 0), EINVAL);
    // Of another level: ignored.
    c.header.cmsg_level = 255;
    CHECK_EQ(OK(sendmsg(s.a, &m, 0)), 1);
    // Too short to hold a header: none.
    m.msg_controllen = 15;
    CHECK_EQ(OK(sendmsg(s.a, &m, 0)), 1);
    m.msg_controllen = 32;
    m.msg_control = BAD_POINTER;
    FAILS(sendmsg(s.a, &m, 0), EFAULT);
    m.msg_control = &c;
    m.msg_controllen = (size_t)1 << 40;
    FAILS(sendmsg(s.a, &m, 0), ENOBUFS);
    // No files in it.
    m.msg_controllen = 16;
    c.header = (struct cmsghdr){.cmsg_len = 16, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    CHECK_EQ(OK(sendmsg(s.a, &m, 0)), 1);
    char got[8];
    struct received r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 3);
    CHECK_EQ(r.count, 0);
}

TEST(body_files_in_messages_that_fail_are_not_kept) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    OK(close(s.b));
    FAILS(send_fds(s.a, "x", 1, &p.w, 1, MSG_NOSIGNAL), EPIPE);
    s = unix_pair(SOCK_STREAM);
    FAILS(send_fds(s.a, BAD_POINTER, 1, &p.w, 1, 0), EFAULT);
    CHECK_EQ(OK(send_fds(s.a, "", 0, &p.w, 1, 0)), 0);
    OK(close(p.w));
    CHECK(is_closed(p.r));
}

TEST(body_closing_the_receiver_closes_files_in_flight) {
    for (int kind = 0; kind < 3; kind++) {
        struct pair s = unix_pair((int[]){SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}[kind]);
        struct pipe_ends p = make_pipe(0);
        OK(send_fd(s.a, p.w));
        OK(close(p.w));
        OK(close(s.a));
        CHECK(!is_closed(p.r));
        OK(close(s.b));
        CHECK(is_closed(p.r));
    }
}

// Sockets that only their own queues hold.
static void leave_cycle(int kind, int length, int tail) {
    struct pair s[16];
    for (int i = 0; i < length; i++)
        s[i] = unix_pair(kind);
    // The receiving end of each goes into the queue of the next.
    for (int i = 0; i < length; i++)
        OK(send_fd(s[(i + 1) % length].a, s[i].b));
    OK(send_fd(s[0].a, tail));
    for (int i = 0; i < length; i++) {
        OK(close(s[i].a));
        OK(close(s[i].b));
    }
}

TEST(body_cycles_in_flight_are_collected) {
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int kind = 0; kind < 3; kind++)
        for (int length = 1; length <= 5; length += 2) {
            struct pipe_ends p = make_pipe(0);
            leave_cycle(kinds[kind], length, p.w);
            OK(close(p.w));
            // Any socket that closes starts the collector.
            struct pair s = unix_pair(SOCK_STREAM);
            OK(close(s.a));
            OK(close(s.b));
            await_closed(p.r);
            OK(close(p.r));
        }
}

TEST(body_what_can_still_be_received_is_kept) {
    struct pair outer = unix_pair(SOCK_STREAM), s = unix_pair(SOCK_STREAM), t = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    char got[8];
    // A circle of two, and a way in from outside.
    OK(send_fd(s.a, t.b));
    OK(send_fd(t.a, s.b));
    OK(send_fd(s.a, p.w));
    OK(send_fd(outer.a, t.b));
    OK(close(p.w));
    OK(close(s.a));
    OK(close(s.b));
    OK(close(t.a));
    OK(close(t.b));
    struct pair other = unix_pair(SOCK_STREAM);
    OK(close(other.a));
    OK(close(other.b));
    settle();
    CHECK(!is_closed(p.r));
    int tb = receive(outer.b, got, 1).fds[0];
    int sb = receive(tb, got, 1).fds[0];
    struct received r = receive(sb, got, 1);
    CHECK_EQ(r.count, 1);
    OK(close(r.fds[0]));
    r = receive(sb, got, 1);
    CHECK_EQ(r.count, 1);
    OK(close(r.fds[0]));
    CHECK(is_closed(p.r));
}

TEST(body_cycles_through_connections_that_wait) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5), c = unix_socket(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    OK(connect_to(c, n));
    // The listener itself is in the queue of a connection that it holds.
    OK(send_fd(c, l));
    OK(send_fd(c, p.w));
    OK(close(p.w));
    OK(close(l));
    // Nobody can accept it any more: Linux collects it now, if anybody anywhere gives it a reason, or later.
    OK(close(c));
    struct pair other = unix_pair(SOCK_STREAM);
    OK(close(other.a));
    await_closed(p.r);
}

// A socket in the queue of a socket in the queue of a socket: the end of the first is no recursion.
TEST(body_long_chains_in_flight) {
    struct pair s = unix_pair(SOCK_STREAM);
    struct pipe_ends p = make_pipe(0);
    OK(send_fd(s.a, p.w));
    OK(close(p.w));
    OK(close(s.a));
    for (int i = 0; i < 2000; i++) {
        struct pair next = unix_pair(SOCK_STREAM);
        OK(send_fd(next.a, s.b));
        OK(close(s.b));
        OK(close(next.a));
        s = next;
    }
    CHECK(!is_closed(p.r));
    OK(close(s.b));
    await_closed(p.r);
}

static void floods(void *unused) {
    (void)unused;
    struct rlimit limit = {40, 40};
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    OK(setresgid(65533, 65533, 65533));
    OK(setresuid(65533, 65533, 65533));
    struct pair s = unix_pair(SOCK_STREAM);
    int fds[10] = {0}, sent = 0;
    while (send_fds(s.a, "x", 1, fds, 10, MSG_DONTWAIT) == 1)
        sent++;
    CHECK_EQ(errno, ETOOMANYREFS);
    CHECK_EQ(sent, 5);
    char got[1];
    OK(recv(s.b, got, 1, 0));
    CHECK_EQ(OK(send_fds(s.a, "x", 1, fds, 10, 0)), 1);
}

TEST(body_too_many_files_in_flight) {
    if (geteuid() != 0)
        SKIP("needs root");
    join_child(fork_run(floods, NULL));
}

// ---- credentials ------------------------------------------------------------------------------------------------------

static ssize_t send_creds(int socket, pid_t pid, uid_t uid, gid_t gid) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr header;
    } c = {0};
    struct ucred who = {pid, uid, gid};
    struct iovec v = {"c", 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
    c.header = (struct cmsghdr){CMSG_LEN(sizeof who), SOL_SOCKET, SCM_CREDENTIALS};
    memcpy(CMSG_DATA(&c.header), &who, sizeof who);
    return sendmsg(socket, &m, 0);
}

static void pass_credentials(int fd) { OK(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int))); }

TEST(body_credentials_come_to_whoever_asks) {
    for (int kind = 0; kind < 3; kind++) {
        struct pair s = unix_pair((int[]){SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}[kind]);
        char got[8];
        put_byte(s.a);
        CHECK(!receive(s.b, got, 1).has_who);
        pass_credentials(s.b);
        put_byte(s.a);
        struct received r = receive(s.b, got, 1);
        CHECK(r.has_who);
        CHECK_EQ(r.who.pid, getpid());
        CHECK_EQ(r.who.uid, getuid());
        CHECK_EQ(r.who.gid, getgid());
        // Asked for, and no room: cut.
        put_byte(s.a);
        r = receive_with(s.b, got, 1, 0, 0);
        CHECK_EQ(r.flags, MSG_CTRUNC);
        put_byte(s.a);
        r = receive_with(s.b, got, 1, CMSG_LEN(4), 0);
        CHECK_EQ(r.flags, MSG_CTRUNC);
        CHECK_EQ(r.control_length, CMSG_LEN(4));
    }
}

TEST(body_credentials_of_a_message_sent_before) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[8];
    put_byte(s.a);
    pass_credentials(s.b);
    put_byte(s.a);
    struct received r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.who.pid, 0);
    CHECK_EQ(r.who.uid, 65534);
    r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.who.pid, getpid());
}

static void sends_a_byte(void *fd) { put_byte((int)(intptr_t)fd); }

TEST(body_bytes_of_two_senders_do_not_mix) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[8];
    pass_credentials(s.b);
    put_byte(s.a);
    put_byte(s.a);
    pid_t child = fork_run(sends_a_byte, (void *)(intptr_t)s.a);
    join_child(child);
    put_byte(s.a);
    struct received r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 2);
    CHECK_EQ(r.who.pid, getpid());
    r = receive(s.b, got, 8);
    CHECK_EQ(r.length, 1);
    CHECK_EQ(r.who.pid, child);
    // A plain read does not look, but does not mix either.
    CHECK_EQ(OK(read(s.b, got, 8)), 1);
}

TEST(body_a_plain_read_with_credentials_stops_too) {
    struct pair s = unix_pair(SOCK_STREAM);
    char got[8];
    pass_credentials(s.b);
    put_byte(s.a);
    join_child(fork_run(sends_a_byte, (void *)(intptr_t)s.a));
    CHECK_EQ(OK(read(s.b, got, 8)), 1);
    CHECK_EQ(OK(read(s.b, got, 8)), 1);
}

static void claims(void *fd) {
    int s = (int)(intptr_t)fd;
    pid_t parent = getppid();
    OK(setresgid(1000, 2000, 3000));
    OK(setresuid(1000, 2000, 3000));
    OK(send_creds(s, getpid(), 1000, 3000));
    OK(send_creds(s, getpid(), 2000, 1000));
    FAILS(send_creds(s, parent, 1000, 1000), EPERM);
    FAILS(send_creds(s, getpid(), 0, 1000), EPERM);
    FAILS(send_creds(s, getpid(), 1000, 0), EPERM);
}

TEST(body_claiming_to_be_somebody) {
    if (geteuid() != 0)
        SKIP("needs root");
    struct pair s = unix_pair(SOCK_STREAM);
    char got[8];
    pass_credentials(s.b);
    OK(send_creds(s.a, 1, 77, 88));
    struct received r = receive(s.b, got, 1);
    CHECK_EQ(r.who.pid, 1);
    CHECK_EQ(r.who.uid, 77);
    CHECK_EQ(r.who.gid, 88);
    FAILS(send_creds(s.a, 4000000, 0, 0), ESRCH);
    FAILS(send_creds(s.a, -1, 0, 0), ESRCH);
    join_child(fork_run(claims, (void *)(intptr_t)s.a));
    CHECK_EQ(receive(s.b, got, 1).who.gid, 3000);
    CHECK_EQ(receive(s.b, got, 1).who.uid, 2000);
}

static void check_peer(int fd, pid_t pid, uid_t uid, gid_t gid) {
    struct ucred who;
    socklen_t length = sizeof who;
    OK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length));
    CHECK_EQ(length, sizeof who);
    CHECK_EQ(who.pid, pid);
    CHECK_EQ(who.uid, uid);
    CHECK_EQ(who.gid, gid);
}

static struct name server;

static void connects_as_other(void *unused) {
    (void)unused;
    pid_t listens = getppid();
    OK(setresgid(50, 51, 52));
    OK(setresuid(60, 61, 62));
    int c = unix_socket(SOCK_STREAM);
    check_peer(c, 0, -1, -1);
    OK(connect_to(c, server));
    check_peer(c, listens, 0, 0);
    char byte;
    CHECK_EQ(OK(read(c, &byte, 1)), 1);
}

TEST(body_peercred) {
    if (geteuid() != 0)
        SKIP("needs root");
    struct pair s = unix_pair(SOCK_STREAM);
    check_peer(s.a, getpid(), 0, 0);
    s = unix_pair(SOCK_DGRAM);
    check_peer(s.a, getpid(), 0, 0);
    server = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, server, 5);
    pid_t child = fork_run(connects_as_other, NULL);
    int c = (int)OK(accept(l, NULL, NULL));
    check_peer(c, child, 61, 51);
    put_byte(c);
    join_child(child);
    // Credentials of the time of connecting stay.
    check_peer(c, child, 61, 51);
    char context[64];
    socklen_t length = sizeof context;
    FAILS(getsockopt(c, SOL_SOCKET, SO_PEERSEC, context, &length), ENOPROTOOPT);
}

TEST(body_passcred_is_inherited_and_binds) {
    struct name n = abstract_name("l");
    int l = unix_listener(SOCK_STREAM, n, 5), c = unix_socket(SOCK_STREAM), on = 0;
    pass_credentials(l);
    pass_credentials(c);
    OK(connect_to(c, n));
    struct sockaddr_un got;
    socklen_t length = sizeof got;
    int s = (int)OK(accept(l, (struct sockaddr *)&got, &length));
    CHECK_EQ(length, 8);
    length = sizeof on;
    OK(getsockopt(s, SOL_SOCKET, SO_PASSCRED, &on, &length));
    CHECK_EQ(on, 1);
    put_byte(c);
    char byte;
    CHECK_EQ(receive(s, &byte, 1).who.pid, getpid());
}
