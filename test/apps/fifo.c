// SPDX-License-Identifier: MPL-2.0
//
// Named pipes: mkfifo(3), the rules of open(2), hang-up of a FIFO. Rows 87, 96 and the general body of FIFOs.
#include "harness.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>

static char buffer[4096];

static const char *make_fifo(void) {
    const char *path = temp_path("fifo");
    OK(mkfifo(path, 0600));
    return path;
}

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
    OK(poll(&p, 1, 0));
    return p.revents;
}

struct opener {
    const char *path;
    int flags, fd;
};

static void open_it(void *arg) {
    struct opener *o = arg;
    o->fd = (int)OK(open(o->path, o->flags));
}

TEST(row_96_no_hup_before_the_first_writer) {
    const char *path = make_fifo();
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
    CHECK_EQ(ask(r), 0);
    CHECK_EQ(OK(read(r, buffer, 1)), 0); // no writer: the end
    int w = (int)OK(open(path, O_WRONLY | O_NONBLOCK));
    CHECK_EQ(ask(r), 0);
    FAILS(read(r, buffer, 1), EAGAIN);
    OK(close(w));
    CHECK_EQ(ask(r), POLLHUP);
    CHECK_EQ(OK(read(r, buffer, 1)), 0);
}

TEST(row_96_a_new_writer_ends_the_hup) {
    const char *path = make_fifo();
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), w = (int)OK(open(path, O_WRONLY));
    put_byte(w);
    OK(close(w));
    CHECK_EQ(ask(r), POLLIN | POLLHUP);
    w = (int)OK(open(path, O_WRONLY));
    CHECK_EQ(ask(r), POLLIN);
    take_byte(r);
    CHECK_EQ(ask(r), 0);
    put_byte(w);
    CHECK_EQ(ask(r), POLLIN);
}

TEST(row_96_a_new_reader_after_the_writer_went) {
    const char *path = make_fifo();
    int keep = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), w = (int)OK(open(path, O_WRONLY));
    put_byte(w);
    OK(close(w));
    // This reader has not seen a writer come and go.
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
    CHECK_EQ(ask(r), POLLIN);
    CHECK_EQ(ask(keep), POLLIN | POLLHUP);
}

TEST(row_96_err_for_a_fifo_writer) {
    const char *path = make_fifo();
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), w = (int)OK(open(path, O_WRONLY));
    CHECK_EQ(ask(w), POLLOUT);
    OK(close(r));
    CHECK_EQ(ask(w), POLLOUT | POLLERR);
    r = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
    CHECK_EQ(ask(w), POLLOUT);
}

TEST(row_96_epoll_and_a_fifo) {
    const char *path = make_fifo();
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), ep = (int)OK(epoll_create1(0));
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, r, &event));
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 0);
    int w = (int)OK(open(path, O_WRONLY));
    put_byte(w);
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
    CHECK_EQ(event.events, EPOLLIN);
    OK(close(w));
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
    CHECK_EQ(event.events, EPOLLIN | EPOLLHUP);
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 0);
}

TEST(row_87_fifo_opened_nonblocking) {
    const char *path = make_fifo();
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), w = (int)OK(open(path, O_WRONLY | O_NONBLOCK));
    FAILS(read(r, buffer, 1), EAGAIN);
    fill(w);
    FAILS(write(w, buffer, 1), EAGAIN);
    CHECK_EQ(drain(r), 65536);
}

TEST(body_fifo_read_open_waits_for_a_writer) {
    struct opener o = {make_fifo(), O_RDONLY, -1};
    struct sleeper s;
    sleeper_start(&s, open_it, &o);
    sleeper_await_blocked(&s);
    settle();
    CHECK(!s.done);
    int w = (int)OK(open(o.path, O_WRONLY));
    sleeper_join(&s);
    put_byte(w);
    take_byte(o.fd);
}

TEST(body_fifo_write_open_waits_for_a_reader) {
    struct opener o = {make_fifo(), O_WRONLY, -1};
    struct sleeper s;
    sleeper_start(&s, open_it, &o);
    sleeper_await_blocked(&s);
    settle();
    CHECK(!s.done);
    int r = (int)OK(open(o.path, O_RDONLY));
    sleeper_join(&s);
    put_byte(o.fd);
    take_byte(r);
}

TEST(body_fifo_open_is_satisfied_by_one_that_left_again) {
    struct opener o = {make_fifo(), O_RDONLY, -1};
    struct sleeper s;
    sleeper_start(&s, open_it, &o);
    sleeper_await_blocked(&s);
    settle();
    int w = (int)OK(open(o.path, O_WRONLY));
    put_byte(w);
    OK(close(w));
    sleeper_join(&s);
    take_byte(o.fd);
    CHECK_EQ(OK(read(o.fd, buffer, 1)), 0);
}

TEST(body_fifo_write_only_nonblocking_without_a_reader) {
    const char *path = make_fifo();
    FAILS(open(path, O_WRONLY | O_NONBLOCK), ENXIO);
    int both = (int)OK(open(path, O_RDWR));
    put_byte(both);
    take_byte(both);
    CHECK_EQ(ask(both), POLLOUT);
    int w = (int)OK(open(path, O_WRONLY | O_NONBLOCK));
    OK(close(both));
    CHECK_EQ(ask(w), POLLOUT | POLLERR);
}

TEST(body_fifo_data_goes_with_the_last_end) {
    const char *path = make_fifo();
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), w = (int)OK(open(path, O_WRONLY));
    put_byte(w);
    OK(close(w));
    OK(close(r));
    r = (int)OK(open(path, O_RDONLY | O_NONBLOCK));
    CHECK_EQ(OK(read(r, buffer, 1)), 0);
}


TEST(body_fifo_open_is_interrupted) {
    const char *path = make_fifo();
    count_signal(SIGUSR1, 0);
    pthread_t other = later(10, interrupt_main, NULL);
    FAILS(open(path, O_RDONLY), EINTR);
    thread_join(other);
    // The interrupted opener does not count as a reader.
    FAILS(open(path, O_WRONLY | O_NONBLOCK), ENXIO);
}

TEST(body_fifo_in_the_file_system) {
    const char *path = make_fifo();
    struct stat status;
    OK(stat(path, &status));
    CHECK(S_ISFIFO(status.st_mode));
    CHECK_EQ(status.st_mode & 0777, 0600);
    FAILS(mkfifo(path, 0600), EEXIST);
    int r = (int)OK(open(path, O_RDONLY | O_NONBLOCK)), w = (int)OK(open(path, O_WRONLY));
    OK(unlink(path));
    put_byte(w);
    take_byte(r);
    FAILS(lseek(r, 0, SEEK_SET), ESPIPE);
}
