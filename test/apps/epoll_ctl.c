// SPDX-License-Identifier: MPL-2.0
//
// epoll_create(2), epoll_create1(2), epoll_ctl(2): arguments, errors, the identity of an entry. Rows 1 to 13, 18 to 20.
#include "ep.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/resource.h>

TEST(row_1_create_needs_a_positive_size) {
    FAILS(syscall(SYS_epoll_create, 0), EINVAL);
    FAILS(syscall(SYS_epoll_create, -1), EINVAL);
    FAILS(syscall(SYS_epoll_create, INT_MIN), EINVAL);
    int ep = (int)OK(syscall(SYS_epoll_create, 1));
    CHECK_EQ(OK(fcntl(ep, F_GETFD)), 0);
    OK(close(ep));
    OK(close((int)OK(syscall(SYS_epoll_create, INT_MAX))));
}

TEST(row_2_create1_unknown_flag) {
    FAILS(epoll_create1(1), EINVAL);
    FAILS(epoll_create1(O_NONBLOCK), EINVAL);
    FAILS(epoll_create1(EPOLL_CLOEXEC | 1), EINVAL);
    FAILS(epoll_create1(-1), EINVAL);
}

TEST(row_3_cloexec) {
    CHECK_EQ(OK(fcntl((int)OK(epoll_create1(EPOLL_CLOEXEC)), F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(ep_new(), F_GETFD)), 0);
}

TEST(row_4_the_instance_itself) {
    int ep = ep_new();
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 0), EINVAL);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, ep, EPOLLIN, 0), EINVAL);
    FAILS(ep_ctl(ep, EPOLL_CTL_DEL, ep, EPOLLIN, 0), EINVAL);
    int same = (int)OK(dup(ep));
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, same, EPOLLIN, 0), EINVAL);
}

TEST(row_5_not_an_epoll_fd) {
    struct pipe_ends p = make_pipe(0);
    struct epoll_event event;
    FAILS(ep_ctl(p.r, EPOLL_CTL_ADD, p.w, EPOLLOUT, 0), EINVAL);
    FAILS(ep_ctl(p.r, EPOLL_CTL_DEL, p.w, EPOLLOUT, 0), EINVAL);
    FAILS(epoll_wait(p.r, &event, 1, 0), EINVAL);
}

TEST(row_5_bad_descriptors_and_operations) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    struct epoll_event event;
    FAILS(ep_ctl(-1, EPOLL_CTL_ADD, event_fd, EPOLLIN, 0), EBADF);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, -1, EPOLLIN, 0), EBADF);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, 9999, EPOLLIN, 0), EBADF);
    FAILS(epoll_wait(-1, &event, 1, 0), EBADF);
    FAILS(ep_ctl(ep, 0, event_fd, EPOLLIN, 0), EINVAL);
    FAILS(ep_ctl(ep, 4, event_fd, EPOLLIN, 0), EINVAL);
    FAILS(ep_ctl(ep, -1, event_fd, EPOLLIN, 0), EINVAL);
}

TEST(row_6_add_twice) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN, 1);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, event_fd, EPOLLIN, 2), EEXIST);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, event_fd, 0, 2), EEXIST);
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(event.data.u64, 1);
}

TEST(row_7_a_dup_is_a_second_entry) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0), copy = (int)OK(dup(event_fd));
    ep_add(ep, event_fd, EPOLLIN, 1);
    ep_add(ep, copy, EPOLLIN, 2);
    struct epoll_event events[4];
    CHECK_EQ(OK(epoll_wait(ep, events, 4, 0)), 2);
    CHECK_EQ(events[0].data.u64 + events[1].data.u64, 3);
    CHECK_NE(events[0].data.u64, events[1].data.u64);
    ep_del(ep, event_fd);
    CHECK_EQ(OK(epoll_wait(ep, events, 4, 0)), 1);
    CHECK_EQ(events[0].data.u64, 2);
}

TEST(row_8_absent_entry) {
    int ep = ep_new(), event_fd = make_eventfd(0, 0);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, event_fd, EPOLLIN, 0), ENOENT);
    FAILS(ep_ctl(ep, EPOLL_CTL_DEL, event_fd, EPOLLIN, 0), ENOENT);
    ep_add(ep, event_fd, EPOLLIN, 0);
    ep_del(ep, event_fd);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, event_fd, EPOLLIN, 0), ENOENT);
    FAILS(ep_ctl(ep, EPOLL_CTL_DEL, event_fd, EPOLLIN, 0), ENOENT);
    ep_add(ep, event_fd, EPOLLIN, 0);
}

TEST(row_9_del_ignores_the_event) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    OK(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, event_fd, NULL));
    CHECK_EQ(ep_ready(ep), 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    OK(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, event_fd, BAD_POINTER));
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_10_bad_event_pointer) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    FAILS(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, event_fd, NULL), EFAULT);
    FAILS(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, event_fd, BAD_POINTER), EFAULT);
    FAILS(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, event_fd, ~0ul << 47), EFAULT);
    // Eleven of the twelve bytes.
    FAILS(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, event_fd, guarded_end(11)), EFAULT);
    CHECK_EQ(ep_ready(ep), 0);
    struct epoll_event *event = guarded_end(12);
    *event = (struct epoll_event){.events = EPOLLIN, .data.u64 = 7};
    OK(epoll_ctl(ep, EPOLL_CTL_ADD, event_fd, event));
    FAILS(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_MOD, event_fd, BAD_POINTER), EFAULT);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
}

TEST(row_10_a_fault_comes_before_other_errors) {
    FAILS(syscall(SYS_epoll_ctl, -1, EPOLL_CTL_ADD, -1, BAD_POINTER), EFAULT);
    FAILS(syscall(SYS_epoll_ctl, -1, EPOLL_CTL_DEL, -1, BAD_POINTER), EBADF);
}

TEST(row_10_wait_into_a_bad_buffer) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    FAILS(syscall(SYS_epoll_wait, ep, ~0ul << 47, 1, 0), EFAULT);
    ep_add(ep, event_fd, EPOLLIN, 0);
    FAILS(syscall(SYS_epoll_wait, ep, BAD_POINTER, 1, 0), EFAULT);
    FAILS(syscall(SYS_epoll_wait, ep, NULL, 1, 0), EFAULT);
    CHECK_EQ(ep_ready(ep), 1);
}

TEST(row_11_any_alignment) {
    int ep = ep_new(), one = make_eventfd(1, 0), two = make_eventfd(1, 0);
    char buffer[64];
    for (int offset = 0; offset < 16; offset++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788ull};
        memcpy(buffer + offset, &event, sizeof event);
        OK(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, one, buffer + offset));
        OK(syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, two, buffer + offset));
        memset(buffer, 0, sizeof buffer);
        CHECK_EQ(OK(syscall(SYS_epoll_wait, ep, buffer + offset, 2, 0)), 2);
        for (int i = 0; i < 2; i++) {
            memcpy(&event, buffer + offset + 12 * i, sizeof event);
            CHECK_EQ(event.events, EPOLLIN);
            CHECK_EQ(event.data.u64, 0x1122334455667788ull);
        }
        ep_del(ep, one);
        ep_del(ep, two);
    }
}

TEST(row_12_packed_event) {
    CHECK_EQ(sizeof(struct epoll_event), 12);
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    unsigned char raw[14];
    memset(raw, 0xee, sizeof raw);
    ep_add(ep, event_fd, EPOLLIN, 0x0807060504030201ull);
    CHECK_EQ(OK(syscall(SYS_epoll_wait, ep, raw, 1, 0)), 1);
    static const unsigned char expected[14] = {1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xee, 0xee};
    CHECK(memcmp(raw, expected, sizeof raw) == 0);
}

TEST(row_13_files_that_cannot_be_polled) {
    int ep = ep_new();
    int file = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0600));
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, file, EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_MOD, file, EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_DEL, file, EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, (int)OK(open(temp_dir(), O_RDONLY | O_DIRECTORY)), EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, (int)OK(open("/dev/null", O_RDWR)), EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, (int)OK(open("/dev/zero", O_RDWR)), EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, (int)OK(open("/proc/self/exe", O_RDONLY)), EPOLLIN, 0), EPERM);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, (int)OK(open("/proc/self/stat", O_RDONLY)), EPOLLIN, 0), EPERM);
}

TEST(row_13_path_only_descriptor) {
    int ep = ep_new();
    int path_fd = (int)OK(open(temp_dir(), O_PATH));
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, path_fd, EPOLLIN, 0), EBADF);
    FAILS(ep_ctl(path_fd, EPOLL_CTL_ADD, make_eventfd(0, 0), EPOLLIN, 0), EBADF);
}

enum { WATCH_LIMIT = 3000 };

static long read_limit(void) {
    char text[32] = "";
    int fd = (int)OK(open("/proc/sys/fs/epoll/max_user_watches", O_RDONLY));
    CHECK_GT(OK(read(fd, text, sizeof text - 1)), 0);
    CHECK_EQ(text[strlen(text) - 1], '\n');
    close(fd);
    return strtol(text, NULL, 10);
}

static bool write_limit(long limit) {
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", limit);
    int fd = open("/proc/sys/fs/epoll/max_user_watches", O_WRONLY);
    bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
    close(fd);
    return written;
}

// Adds watches until ENOSPC: the number that fit, and one of them.
static int add_until_full(int *last_ep, int *last_fd) {
    int fds[100];
    for (int i = 0; i < 100; i++)
        fds[i] = make_eventfd(0, 0);
    for (int count = 0;; count += 100) {
        int ep = ep_new();
        for (int i = 0; i < 100; i++) {
            if (ep_ctl(ep, EPOLL_CTL_ADD, fds[i], EPOLLIN, 0) != 0) {
                CHECK_EQ(errno, ENOSPC);
                return count + i;
            }
            *last_ep = ep;
            *last_fd = fds[i];
        }
        CHECK_LE(count, WATCH_LIMIT);
    }
}

// As another user, so that the watches of the machine's other programs do not count.
static void run_into_the_limit(void *arg) {
    (void)arg;
    OK(setuid(54321));
    int ep = -1, fd = -1;
    CHECK_EQ(add_until_full(&ep, &fd), WATCH_LIMIT);
    int extra = make_eventfd(0, 0), other = ep_new();
    FAILS(ep_ctl(other, EPOLL_CTL_ADD, extra, EPOLLIN, 0), ENOSPC);
    // One watch freed is one watch to have; closing an instance frees all of its own.
    ep_del(ep, fd);
    ep_add(other, extra, EPOLLIN, 0);
    FAILS(ep_ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 0), ENOSPC);
    OK(close(ep));
    ep_add(other, fd, EPOLLIN, 0);
}

TEST(row_18_max_user_watches) {
    long before = read_limit();
    CHECK_GT(before, 0);
    if (geteuid() != 0 || !write_limit(WATCH_LIMIT))
        SKIP("needs the right to lower /proc/sys/fs/epoll/max_user_watches");
    CHECK_EQ(read_limit(), WATCH_LIMIT);
    pid_t child = fork_run(run_into_the_limit, NULL);
    int status = wait_status(child);
    CHECK(write_limit(before));
    CHECK_EQ(status, 0);
    CHECK_EQ(read_limit(), before);
}

TEST(row_19_unknown_bits_are_ignored) {
    const uint32_t unknown = 0x0fff0000u | 0x0000c000u | 0x800u;
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN | unknown, 0);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    ep_mod(ep, event_fd, EPOLLOUT | unknown, 0);
    CHECK_EQ(ep_mask(ep), EPOLLOUT);
    ep_mod(ep, event_fd, unknown, 0);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(row_20_no_events_asked) {
    int ep = ep_new();
    struct pipe_ends a = make_pipe(0), b = make_pipe(0);
    ep_add(ep, a.r, 0, 1);
    ep_add(ep, b.w, 0, 2);
    put_byte(a.w);
    CHECK_EQ(ep_ready(ep), 0);
    OK(close(a.w));
    struct epoll_event event;
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(event.events, EPOLLHUP);
    CHECK_EQ(event.data.u64, 1);
    ep_del(ep, a.r);
    OK(close(b.r));
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, 0)), 1);
    CHECK_EQ(event.events, EPOLLERR);
    CHECK_EQ(event.data.u64, 2);
}

TEST(row_20_mod_to_no_events_silences) {
    int ep = ep_new(), event_fd = make_eventfd(1, 0);
    ep_add(ep, event_fd, EPOLLIN, 0);
    CHECK_EQ(ep_ready(ep), 1);
    ep_mod(ep, event_fd, 0, 0);
    CHECK_EQ(ep_ready(ep), 0);
    ep_mod(ep, event_fd, EPOLLIN, 0);
    CHECK_EQ(ep_ready(ep), 1);
}
