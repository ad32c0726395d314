// SPDX-License-Identifier: MPL-2.0
//
// pipe(2), pipe2(2) and the pipe's fcntls. Rows 87, 96, 97, and the general body of pipes.
#include "harness.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { CAPACITY = 65536, PAGE = 4096 };

static char page[PAGE];

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    OK(poll(&p, 1, 0));
    return p.revents;
}

static int unread(int fd) {
    int n = -1;
    OK(ioctl(fd, FIONREAD, &n));
    return n;
}

TEST(row_96_hup_when_the_last_writer_goes) {
    struct pipe_ends p = make_pipe(0);
    int copy = (int)OK(dup(p.w));
    CHECK_EQ(ask(p.r), 0);
    OK(close(p.w));
    CHECK_EQ(ask(p.r), 0);
    put_byte(copy);
    OK(close(copy));
    CHECK_EQ(ask(p.r), POLLIN | POLLHUP);
    take_byte(p.r);
    CHECK_EQ(ask(p.r), POLLHUP);
    CHECK_EQ(OK(read(p.r, page, 1)), 0);
}

TEST(row_96_err_for_the_writer) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    int copy = (int)OK(dup(p.r));
    CHECK_EQ(ask(p.w), POLLOUT);
    OK(close(p.r));
    CHECK_EQ(ask(p.w), POLLOUT);
    OK(close(copy));
    CHECK_EQ(ask(p.w), POLLOUT | POLLERR);
    CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    FAILS(write(p.w, page, 1), EPIPE);
}

TEST(row_96_err_for_the_writer_of_a_full_pipe) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    fill(p.w);
    CHECK_EQ(ask(p.w), 0);
    OK(close(p.r));
    CHECK_EQ(ask(p.w), POLLERR);
}

TEST(row_97_out_needs_room_for_pipe_buf) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    for (int i = 0; i < CAPACITY / PAGE; i++)
        CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    CHECK_EQ(ask(p.w), 0);
    FAILS(write(p.w, page, 1), EAGAIN);
    CHECK_EQ(OK(read(p.r, page, PAGE - 1)), PAGE - 1);
    CHECK_EQ(ask(p.w), 0);
    take_byte(p.r);
    CHECK_EQ(ask(p.w), POLLOUT);
    CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    CHECK_EQ(ask(p.w), 0);
}

static void read_a_byte(void *arg) { take_byte(*(int *)arg); }
static void read_a_page(void *arg) {
    char buffer[PAGE];
    CHECK_EQ(OK(read(*(int *)arg, buffer, PAGE)), PAGE);
}

TEST(row_97_a_wait_for_out_ends_with_room_for_pipe_buf) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    fill(p.w);
    struct pollfd out = {p.w, POLLOUT, 0};
    pthread_t reader = later(3, read_a_byte, &p.r);
    CHECK_EQ(OK(poll(&out, 1, 25)), 0);
    thread_join(reader);
    CHECK_EQ(OK(read(p.r, page, PAGE - 2)), PAGE - 2);
    CHECK_EQ(OK(poll(&out, 1, 1)), 0);
    take_byte(p.r);
    CHECK_EQ(OK(poll(&out, 1, -1)), 1);
    fill(p.w);
    reader = later(5, read_a_page, &p.r);
    CHECK_EQ(OK(poll(&out, 1, -1)), 1);
    thread_join(reader);
}

TEST(row_97_setpipe_sz) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    CHECK_EQ(OK(fcntl(p.w, F_GETPIPE_SZ)), CAPACITY);
    CHECK_EQ(OK(fcntl(p.r, F_SETPIPE_SZ, PAGE)), PAGE);
    CHECK_EQ(OK(fcntl(p.w, F_GETPIPE_SZ)), PAGE);
    CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    CHECK_EQ(ask(p.w), 0);
    FAILS(write(p.w, page, 1), EAGAIN);
    // Growing makes room and says so; sizes are rounded up to a power of two of pages.
    CHECK_EQ(OK(fcntl(p.w, F_SETPIPE_SZ, 3 * PAGE)), 4 * PAGE);
    CHECK_EQ(ask(p.w), POLLOUT);
    CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    FAILS(fcntl(p.w, F_SETPIPE_SZ, PAGE), EBUSY);
    CHECK_EQ(OK(fcntl(p.w, F_SETPIPE_SZ, 2 * PAGE)), 2 * PAGE);
    CHECK_EQ(unread(p.r), 2 * PAGE);
    CHECK_EQ(drain(p.r), 2 * PAGE);
    CHECK_EQ(OK(fcntl(p.w, F_SETPIPE_SZ, 1)), PAGE);
    CHECK_EQ(OK(fcntl(p.w, F_SETPIPE_SZ, 0)), PAGE);
    FAILS(fcntl(p.w, F_SETPIPE_SZ, 0xffffffffu), EINVAL);
    FAILS(fcntl(make_pipe(0).r, F_SETPIPE_SZ, 0x80000001u), EINVAL);
    FAILS(fcntl((int)OK(open("/dev/null", O_RDWR)), F_GETPIPE_SZ), EBADF);
}

static void write_a_page(void *arg) { CHECK_EQ(OK(write(*(int *)arg, page, PAGE)), PAGE); }

TEST(row_97_growing_wakes_a_writer) {
    struct pipe_ends p = make_pipe(0);
    OK(fcntl(p.w, F_SETPIPE_SZ, PAGE));
    CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    struct sleeper s;
    sleeper_start(&s, write_a_page, &p.w);
    sleeper_await_blocked(&s);
    CHECK(!s.done);
    OK(fcntl(p.w, F_SETPIPE_SZ, 2 * PAGE));
    sleeper_join(&s);
    CHECK_EQ(unread(p.r), 2 * PAGE);
}

TEST(row_97_contents_survive_a_resize) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    char in[6000], out[6000];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (char)(i * 7);
    // Move the ring's start away from zero first.
    CHECK_EQ(OK(write(p.w, in, 5000)), 5000);
    CHECK_EQ(OK(read(p.r, out, 5000)), 5000);
    CHECK_EQ(OK(write(p.w, in, sizeof in)), sizeof in);
    OK(fcntl(p.w, F_SETPIPE_SZ, 2 * CAPACITY));
    OK(fcntl(p.w, F_SETPIPE_SZ, 2 * PAGE));
    CHECK_EQ(OK(read(p.r, out, sizeof out)), sizeof out);
    CHECK(memcmp(in, out, sizeof in) == 0);
}

TEST(row_97_packets) {
    struct pipe_ends p = make_pipe(O_DIRECT | O_NONBLOCK);
    CHECK_EQ(OK(fcntl(p.w, F_GETFL)), O_WRONLY | O_DIRECT | O_NONBLOCK);
    CHECK_EQ(OK(write(p.w, "abc", 3)), 3);
    CHECK_EQ(OK(write(p.w, "defgh", 5)), 5);
    char buffer[8192];
    // A read returns one packet; what does not fit is lost.
    CHECK_EQ(OK(read(p.r, buffer, sizeof buffer)), 3);
    CHECK_EQ(OK(read(p.r, buffer, 2)), 2);
    CHECK(memcmp(buffer, "de", 2) == 0);
    FAILS(read(p.r, buffer, 1), EAGAIN);
    // More than PIPE_BUF is split into packets of PIPE_BUF.
    static char large[PAGE + 100];
    CHECK_EQ(OK(write(p.w, large, sizeof large)), sizeof large);
    CHECK_EQ(OK(read(p.r, buffer, sizeof buffer)), PAGE);
    CHECK_EQ(OK(read(p.r, buffer, sizeof buffer)), 100);
    FAILS(read(p.r, buffer, 1), EAGAIN);
}

TEST(row_97_packets_are_counted_in_slots) {
    struct pipe_ends p = make_pipe(O_DIRECT | O_NONBLOCK);
    for (int i = 0; i < CAPACITY / PAGE; i++) {
        CHECK_EQ(ask(p.w), POLLOUT);
        put_byte(p.w);
    }
    CHECK_EQ(ask(p.w), 0);
    FAILS(write(p.w, page, 1), EAGAIN);
    take_byte(p.r);
    CHECK_EQ(ask(p.w), POLLOUT);
}

TEST(row_97_packet_mode_by_fcntl) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    OK(fcntl(p.w, F_SETFL, O_DIRECT | O_NONBLOCK));
    CHECK_EQ(OK(write(p.w, "yz", 2)), 2);
    CHECK_EQ(OK(write(p.w, "!", 1)), 1);
    char buffer[16];
    CHECK_EQ(OK(read(p.r, buffer, sizeof buffer)), 2);
    CHECK_EQ(OK(read(p.r, buffer, sizeof buffer)), 1);
}

TEST(row_87_nonblock_by_pipe2_fcntl_and_fionbio) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    int on = 1, off = 0;
    FAILS(read(p.r, page, 1), EAGAIN);
    CHECK_EQ(OK(fcntl(p.r, F_GETFL)), O_RDONLY | O_NONBLOCK);
    CHECK_EQ(OK(fcntl(p.w, F_GETFL)), O_WRONLY | O_NONBLOCK);
    p = make_pipe(0);
    set_nonblocking(p.r, true);
    FAILS(read(p.r, page, 1), EAGAIN);
    CHECK_EQ(OK(fcntl(p.w, F_GETFL)), O_WRONLY); // each end its own flag
    OK(ioctl(p.w, FIONBIO, &on));
    for (int i = 0; i < CAPACITY / PAGE; i++)
        CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    FAILS(write(p.w, page, PAGE), EAGAIN);
    OK(ioctl(p.w, FIONBIO, &off));
    pthread_t reader = later(10, read_a_page, &p.r);
    CHECK_EQ(OK(write(p.w, page, PAGE)), PAGE);
    thread_join(reader);
}

TEST(body_pipe_flags) {
    struct pipe_ends p = make_pipe(O_CLOEXEC);
    CHECK_EQ(OK(fcntl(p.r, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(p.w, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(make_pipe(0).r, F_GETFD)), 0);
    int fds[2] = {-5, -5};
    FAILS(pipe2(fds, O_APPEND), EINVAL);
    FAILS(pipe2(fds, -1), EINVAL);
    CHECK(fds[0] == -5 && fds[1] == -5);
    FAILS(syscall(SYS_pipe, BAD_POINTER), EFAULT);
    FAILS(syscall(SYS_pipe2, guarded_end(4), 0), EFAULT);
    int next = make_eventfd(0, 0);
    OK(close(next));
    FAILS(syscall(SYS_pipe2, BAD_POINTER, 0), EFAULT);
    CHECK_EQ(make_eventfd(0, 0), next); // nothing leaked
}

TEST(body_pipe_wrong_end) {
    struct pipe_ends p = make_pipe(0);
    FAILS(read(p.w, page, 1), EBADF);
    FAILS(write(p.r, page, 1), EBADF);
    FAILS(lseek(p.r, 0, SEEK_CUR), ESPIPE);
    FAILS(pread(p.r, page, 1, 0), ESPIPE);
    FAILS(pwrite(p.w, page, 1, 0), ESPIPE);
    struct stat status;
    OK(fstat(p.r, &status));
    CHECK(S_ISFIFO(status.st_mode));
    FAILS(ftruncate(p.w, 0), EINVAL);
}

TEST(body_pipe_zero_bytes) {
    struct pipe_ends p = make_pipe(0);
    CHECK_EQ(OK(read(p.r, page, 0)), 0);
    CHECK_EQ(OK(write(p.w, page, 0)), 0);
    CHECK_EQ(ask(p.r), 0);
}

TEST(body_pipe_fionread) {
    struct pipe_ends p = make_pipe(0);
    CHECK_EQ(unread(p.r), 0);
    CHECK_EQ(OK(write(p.w, page, 100)), 100);
    CHECK_EQ(OK(write(p.w, page, 23)), 23);
    CHECK_EQ(unread(p.r), 123);
    CHECK_EQ(unread(p.w), 123);
    FAILS(ioctl(p.r, FIONREAD, BAD_POINTER), EFAULT);
}

TEST(body_pipe_capacity) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    static char large[2 * CAPACITY];
    CHECK_EQ(OK(write(p.w, large, sizeof large)), CAPACITY);
    FAILS(write(p.w, large, 1), EAGAIN);
    CHECK_EQ(OK(read(p.r, large, sizeof large)), CAPACITY);
}

TEST(body_pipe_nonblocking_writes_up_to_pipe_buf_are_whole_or_nothing) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    OK(fcntl(p.w, F_SETPIPE_SZ, PAGE));
    CHECK_EQ(OK(write(p.w, page, PAGE - 10)), PAGE - 10);
    FAILS(write(p.w, page, 11), EAGAIN);
    FAILS(write(p.w, page, PAGE), EAGAIN);
    CHECK_EQ(OK(write(p.w, page, 10)), 10);
    CHECK_EQ(unread(p.r), PAGE);
}

enum { WRITERS = 4, ROUNDS = 60, RECORD = 1000 };

static void *write_records(void *arg) {
    struct pipe_ends *p = ((void **)arg)[0];
    char record[RECORD];
    memset(record, (int)(intptr_t)((void **)arg)[1], sizeof record);
    for (int i = 0; i < ROUNDS; i++)
        CHECK_EQ(OK(write(p->w, record, sizeof record)), RECORD);
    return NULL;
}

TEST(body_pipe_writes_up_to_pipe_buf_are_atomic) {
    struct pipe_ends p = make_pipe(0);
    OK(fcntl(p.w, F_SETPIPE_SZ, 2 * PAGE));
    void *arguments[WRITERS][2];
    pthread_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        arguments[i][0] = &p;
        arguments[i][1] = (void *)(intptr_t)('a' + i);
        writers[i] = thread_run(write_records, arguments[i]);
    }
    int counts[WRITERS] = {0};
    for (int i = 0; i < WRITERS * ROUNDS; i++) {
        char record[RECORD];
        for (size_t got = 0; got < RECORD;)
            got += (size_t)OK(read(p.r, record + got, RECORD - got));
        for (int at = 1; at < RECORD; at++)
            CHECK_EQ(record[at], record[0]);
        counts[record[0] - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++) {
        thread_join(writers[i]);
        CHECK_EQ(counts[i], ROUNDS);
    }
}

static void *write_a_lot(void *arg) {
    static char large[5 * CAPACITY + 17];
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i % 251);
    CHECK_EQ(OK(write(*(int *)arg, large, sizeof large)), sizeof large);
    OK(close(*(int *)arg));
    return NULL;
}

TEST(body_pipe_a_blocking_write_writes_everything) {
    struct pipe_ends p = make_pipe(0);
    pthread_t writer = thread_run(write_a_lot, &p.w);
    size_t total = 0;
    char buffer[3001];
    ssize_t n;
    while ((n = OK(read(p.r, buffer, sizeof buffer))) > 0)
        for (ssize_t i = 0; i < n; i++, total++)
            CHECK_EQ((unsigned char)buffer[i], total % 251);
    CHECK_EQ(total, 5 * CAPACITY + 17);
    thread_join(writer);
}

TEST(body_pipe_a_read_returns_what_there_is) {
    struct pipe_ends p = make_pipe(0);
    CHECK_EQ(OK(write(p.w, "hello", 5)), 5);
    char buffer[100];
    CHECK_EQ(OK(read(p.r, buffer, sizeof buffer)), 5);
    CHECK(memcmp(buffer, "hello", 5) == 0);
}

static void write_a_byte(void *arg) { put_byte(*(int *)arg); }
static void close_it(void *arg) { OK(close(*(int *)arg)); }

TEST(body_pipe_a_read_waits_for_data_or_end) {
    struct pipe_ends p = make_pipe(0);
    pthread_t other = later(10, write_a_byte, &p.w);
    CHECK_EQ(OK(read(p.r, page, 10)), 1);
    thread_join(other);
    other = later(10, close_it, &p.w);
    CHECK_EQ(OK(read(p.r, page, 10)), 0);
    thread_join(other);
}

TEST(body_pipe_sigpipe_kills_by_default) {
    struct pipe_ends p = make_pipe(0);
    OK(close(p.r));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        CHECK_EQ(write(p.w, page, 1), 1);
        _exit(0);
    }
    int status = wait_status(child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

TEST(body_pipe_epipe_while_blocked) {
    struct pipe_ends p = make_pipe(0);
    count_signal(SIGPIPE, 0);
    fill(p.w);
    set_nonblocking(p.w, false);
    pthread_t closer = later(10, close_it, &p.r);
    FAILS(write(p.w, page, 1), EPIPE);
    CHECK_EQ(signals_seen[SIGPIPE], 1);
    thread_join(closer);
}

TEST(body_pipe_a_partial_write_before_epipe_counts) {
    struct pipe_ends p = make_pipe(0);
    count_signal(SIGPIPE, 0);
    static char large[CAPACITY + PAGE];
    pthread_t closer = later(10, close_it, &p.r);
    CHECK_EQ(OK(write(p.w, large, sizeof large)), CAPACITY);
    thread_join(closer);
    CHECK_EQ(signals_seen[SIGPIPE], 1);
}

TEST(body_pipe_vectors) {
    struct pipe_ends p = make_pipe(0);
    char a[3], b[4];
    struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdefg", 5}}, in[2] = {{a, 3}, {b, 4}};
    CHECK_EQ(OK(writev(p.w, out, 3)), 7);
    CHECK_EQ(OK(readv(p.r, in, 2)), 7);
    CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "defg", 4) == 0);
    FAILS(readv(p.r, in, -1), EINVAL);
    FAILS(writev(p.w, out, 1025), EINVAL);
    CHECK_EQ(OK(writev(p.w, out, 0)), 0);
}

TEST(body_pipe_bad_pointers) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    FAILS(write(p.w, BAD_POINTER, 1), EFAULT);
    if (!linux_before(6, 15)) // older kernels leave an empty page in the pipe
        CHECK_EQ(ask(p.r), 0);
    put_byte(p.w);
    FAILS(read(p.r, BAD_POINTER, 1), EFAULT);
    CHECK_EQ(OK(read(p.r, page, 1)), 1); // the byte is still there
}


static void interrupt_then_write_a_byte(void *arg) {
    interrupt_main(NULL);
    settle();
    write_a_byte(arg);
}

TEST(body_pipe_waits_and_signals) {
    struct pipe_ends p = make_pipe(0);
    count_signal(SIGUSR1, 0);
    pthread_t other = later(10, interrupt_main, NULL);
    FAILS(read(p.r, page, 1), EINTR);
    thread_join(other);
    // A write that had begun returns what it had done.
    static char large[CAPACITY + 1];
    other = later(20, interrupt_main, NULL);
    CHECK_EQ(OK(write(p.w, large, sizeof large)), CAPACITY);
    thread_join(other);
    other = later(10, interrupt_main, NULL);
    FAILS(write(p.w, large, 1), EINTR);
    thread_join(other);
    CHECK_EQ(signals_seen[SIGUSR1], 3);
    drain(p.r);
    set_nonblocking(p.r, false);
    count_signal(SIGUSR1, SA_RESTART);
    other = later(10, interrupt_then_write_a_byte, &p.w);
    CHECK_EQ(OK(read(p.r, page, 1)), 1);
    CHECK_EQ(signals_seen[SIGUSR1], 4);
    thread_join(other);
}

TEST(body_pipe_through_proc_self_fd) {
    struct pipe_ends p = make_pipe(O_NONBLOCK);
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p.r);
    ssize_t n = OK(readlink(path, target, sizeof target - 1));
    target[n] = 0;
    CHECK(strncmp(target, "pipe:[", 6) == 0);
    // A new description of the same pipe, with the other direction.
    int writer = (int)OK(open(path, O_WRONLY | O_NONBLOCK));
    put_byte(writer);
    take_byte(p.r);
}
