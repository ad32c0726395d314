// SPDX-License-Identifier: MPL-2.0
//
// eventfd(2). Rows S3, 84 to 86, and 87 for eventfds.
#include "harness.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

static const uint64_t LARGEST = UINT64_MAX - 1;

static ssize_t write_value(int fd, uint64_t value) { return write(fd, &value, sizeof value); }

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    OK(poll(&p, 1, 0));
    return p.revents;
}

TEST(row_S3_flags) {
    CHECK_EQ(OK(fcntl(make_eventfd(0, 0), F_GETFD)), 0);
    CHECK_EQ(OK(fcntl(make_eventfd(0, 0), F_GETFL)), O_RDWR);
    CHECK_EQ(OK(fcntl(make_eventfd(0, EFD_CLOEXEC), F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(make_eventfd(0, EFD_NONBLOCK), F_GETFL)), O_RDWR | O_NONBLOCK);
    make_eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
    FAILS(eventfd(0, 2), EINVAL);
    FAILS(eventfd(0, EFD_CLOEXEC | O_APPEND), EINVAL);
    FAILS(eventfd(0, -1), EINVAL);
    // The older call has no flags.
    int old = (int)OK(syscall(SYS_eventfd, 3));
    CHECK_EQ(take(old), 3);
}

TEST(row_S3_the_initial_value) {
    CHECK_EQ(take(make_eventfd(5, 0)), 5);
    CHECK_EQ(take(make_eventfd(UINT32_MAX, 0)), UINT32_MAX);
}

TEST(row_S3_writes_add_and_a_read_takes_all) {
    int fd = make_eventfd(1, EFD_NONBLOCK);
    put(fd, 2);
    put(fd, 0x100000000ull);
    CHECK_EQ(take(fd), 0x100000003ull);
    uint64_t value;
    FAILS(read(fd, &value, 8), EAGAIN);
    put(fd, 0);
    FAILS(read(fd, &value, 8), EAGAIN);
}

TEST(row_S3_84_eagain_both_ways) {
    int fd = make_eventfd(0, EFD_NONBLOCK);
    uint64_t value = 7;
    FAILS(read(fd, &value, 8), EAGAIN);
    CHECK_EQ(value, 7);
    put(fd, LARGEST);
    FAILS(write_value(fd, 1), EAGAIN);
    put(fd, 0);
    CHECK_EQ(take(fd), LARGEST);
    put(fd, LARGEST - 1);
    FAILS(write_value(fd, 2), EAGAIN);
    put(fd, 1);
    CHECK_EQ(take(fd), LARGEST);
}

static void write_five(void *arg) { put(*(int *)arg, 5); }
static void read_all(void *arg) { CHECK_EQ(take(*(int *)arg), LARGEST); }

TEST(row_S3_84_blocking_both_ways) {
    int fd = make_eventfd(0, 0);
    struct sleeper s;
    pthread_t writer = later(10, write_five, &fd);
    CHECK_EQ(take(fd), 5);
    thread_join(writer);
    put(fd, LARGEST);
    sleeper_start(&s, write_five, &fd);
    sleeper_await_blocked(&s);
    settle();
    CHECK(!s.done);
    CHECK_EQ(take(fd), LARGEST);
    sleeper_join(&s);
    CHECK_EQ(take(fd), 5);
    put(fd, LARGEST);
    pthread_t reader = later(10, read_all, &fd);
    put(fd, 9);
    thread_join(reader);
    CHECK_EQ(take(fd), 9);
}

TEST(row_S3_a_read_that_waits_shares_one_write) {
    // Two readers, two writes: each reader gets one.
    int fd = make_eventfd(0, 0);
    for (int round = 0; round < 3; round++) {
        pid_t readers[2];
        for (int i = 0; i < 2; i++) {
            readers[i] = (pid_t)OK(fork());
            if (readers[i] == 0)
                _exit(take(fd) != 1);
        }
        for (int i = 0; i < 2; i++)
            await_asleep(readers[i], readers[i]);
        put(fd, 1);
        int status;
        pid_t first = (pid_t)OK(waitpid(-1, &status, 0));
        CHECK_EQ(status, 0);
        put(fd, 1);
        CHECK_EQ(OK(waitpid(-1, &status, 0)), readers[0] + readers[1] - first);
        CHECK_EQ(status, 0);
    }
}

TEST(row_S3_dup_and_fork_share_the_counter) {
    int fd = make_eventfd(0, EFD_NONBLOCK), copy = (int)OK(dup(fd));
    put(fd, 1);
    put(copy, 2);
    CHECK_EQ(take(copy), 3);
    uint64_t value;
    FAILS(read(fd, &value, 8), EAGAIN);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        put(fd, 40);
        _exit(0);
    }
    join_child(child);
    OK(close(fd));
    CHECK_EQ(take(copy), 40);
}

TEST(row_84_short_buffers) {
    int fd = make_eventfd(1, EFD_NONBLOCK);
    char bytes[16] = {0};
    for (size_t n = 0; n < 8; n++) {
        FAILS(read(fd, bytes, n), EINVAL);
        FAILS(write(fd, bytes, n), EINVAL);
    }
    CHECK_EQ(OK(read(fd, bytes, 16)), 8);
    CHECK_EQ(bytes[0], 1);
}

TEST(row_84_the_largest_number_is_refused) {
    int fd = make_eventfd(0, 0);
    FAILS(write_value(fd, UINT64_MAX), EINVAL);
    put(fd, LARGEST);
    FAILS(write_value(fd, UINT64_MAX), EINVAL);
}

TEST(row_84_poll_masks) {
    int fd = make_eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(ask(fd), POLLOUT);
    put(fd, 1);
    CHECK_EQ(ask(fd), POLLIN | POLLOUT);
    put(fd, LARGEST - 1);
    CHECK_EQ(ask(fd), POLLIN);
    take(fd);
    CHECK_EQ(ask(fd), POLLOUT);
    put(fd, LARGEST - 1);
    CHECK_EQ(ask(fd), POLLIN | POLLOUT);
}

// Linux counted only the first eight bytes of a longer write until 6.6 or so, and refuses it since.
TEST(row_85_a_write_longer_than_eight_bytes) {
    int fd = make_eventfd(0, EFD_NONBLOCK);
    uint64_t values[2] = {3, 4};
    ssize_t n = write(fd, values, 16);
    if (linux_before(6, 6) && n == 8) {
        CHECK_EQ(take(fd), 3);
        return;
    }
    CHECK_EQ(n, -1);
    CHECK_EQ(errno, EINVAL);
    FAILS(write(fd, values, 9), EINVAL);
    FAILS(read(fd, values, 8), EAGAIN);
}

TEST(row_86_semaphore) {
    int fd = make_eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(ask(fd), POLLIN | POLLOUT);
        CHECK_EQ(take(fd), 1);
    }
    uint64_t value;
    FAILS(read(fd, &value, 8), EAGAIN);
    CHECK_EQ(ask(fd), POLLOUT);
    put(fd, 2);
    CHECK_EQ(take(fd), 1);
    CHECK_EQ(take(fd), 1);
    FAILS(read(fd, &value, 8), EAGAIN);
}

static void take_one(void *arg) { CHECK_EQ(take(*(int *)arg), 1); }

TEST(row_86_one_write_serves_several_readers) {
    int fd = make_eventfd(0, EFD_SEMAPHORE);
    struct sleeper readers[3];
    for (int i = 0; i < 3; i++) {
        sleeper_start(&readers[i], take_one, &fd);
        sleeper_await_blocked(&readers[i]);
    }
    put(fd, 3);
    for (int i = 0; i < 3; i++)
        sleeper_join(&readers[i]);
    CHECK_EQ(ask(fd), POLLOUT);
}

TEST(row_87_nonblock_by_fcntl_and_fionbio) {
    int fd = make_eventfd(0, 0), on = 1, off = 0;
    uint64_t value;
    set_nonblocking(fd, true);
    FAILS(read(fd, &value, 8), EAGAIN);
    CHECK_EQ(OK(fcntl(fd, F_GETFL)), O_RDWR | O_NONBLOCK);
    set_nonblocking(fd, false);
    pthread_t writer = later(10, write_five, &fd);
    CHECK_EQ(take(fd), 5);
    thread_join(writer);
    OK(ioctl(fd, FIONBIO, &on));
    CHECK_EQ(OK(fcntl(fd, F_GETFL)), O_RDWR | O_NONBLOCK);
    FAILS(read(fd, &value, 8), EAGAIN);
    // The flag is the description's: a dup has it too.
    FAILS(read((int)OK(dup(fd)), &value, 8), EAGAIN);
    OK(ioctl(fd, FIONBIO, &off));
    writer = later(10, write_five, &fd);
    CHECK_EQ(take(fd), 5);
    thread_join(writer);
    FAILS(ioctl(fd, FIONBIO, BAD_POINTER), EFAULT);
}

TEST(body_eventfd_bad_pointers) {
    int fd = make_eventfd(1, EFD_NONBLOCK);
    FAILS(read(fd, BAD_POINTER, 8), EFAULT);
    FAILS(write(fd, BAD_POINTER, 8), EFAULT);
    FAILS(write(fd, guarded_end(7), 8), EFAULT);
}

TEST(body_eventfd_vectors_and_offsets) {
    int fd = make_eventfd(0, EFD_NONBLOCK);
    uint64_t value = 6;
    struct iovec vector = {&value, 8};
    CHECK_EQ(OK(writev(fd, &vector, 1)), 8);
    value = 0;
    CHECK_EQ(OK(readv(fd, &vector, 1)), 8);
    CHECK_EQ(value, 6);
    FAILS(ioctl(fd, TIOCGWINSZ, &value), ENOTTY);
    CHECK_EQ(OK(lseek(fd, 5, SEEK_SET)), 0); // accepted, without effect
    OK(writev(fd, &vector, 1));
    FAILS(pread(fd, &value, 8, 0), ESPIPE);
}

TEST(body_eventfd_fdinfo) {
    int fd = make_eventfd(0x1234, 0);
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = (int)OK(open(path, O_RDONLY));
    ssize_t n = OK(read(info, text, sizeof text - 1));
    text[n] = 0;
    CHECK(strstr(text, "eventfd-count:             1234\n"));
}


static void interrupt_then_write_five(void *arg) {
    interrupt_main(NULL);
    settle();
    write_five(arg);
}

TEST(body_eventfd_waits_and_signals) {
    int fd = make_eventfd(0, 0);
    uint64_t value;
    count_signal(SIGUSR1, 0);
    pthread_t other = later(10, interrupt_main, NULL);
    FAILS(read(fd, &value, 8), EINTR);
    thread_join(other);
    // With SA_RESTART the read goes on and gets the value.
    count_signal(SIGUSR1, SA_RESTART);
    other = later(10, interrupt_then_write_five, &fd);
    CHECK_EQ(take(fd), 5);
    CHECK_EQ(signals_seen[SIGUSR1], 2);
    thread_join(other);
}
