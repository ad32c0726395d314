// SPDX-License-Identifier: MPL-2.0
//
// inotify(7): the calls, masks, reading, limits. Row 95, and 87 for inotifies. Which events come is in inotify_events.c.
#include "ino.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>

TEST(body_inotify_init) {
    CHECK_EQ(OK(fcntl((int)OK(inotify_init()), F_GETFL)), O_RDONLY);
    CHECK_EQ(OK(fcntl((int)OK(inotify_init1(0)), F_GETFD)), 0);
    CHECK_EQ(OK(fcntl((int)OK(inotify_init1(IN_CLOEXEC)), F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl((int)OK(inotify_init1(IN_NONBLOCK)), F_GETFL)), O_NONBLOCK);
    FAILS(inotify_init1(1), EINVAL);
    FAILS(inotify_init1(O_APPEND), EINVAL);
    int fd = make_inotify();
    char byte;
    FAILS(write(fd, "x", 1), EBADF);
    FAILS(pread(fd, &byte, 1, 0), ESPIPE);
    CHECK_EQ(OK(lseek(fd, 5, SEEK_SET)), 0);
    FAILS(ioctl(fd, TIOCGWINSZ, &byte), ENOTTY);
}

TEST(body_inotify_add_watch_refuses) {
    enter_fresh();
    int fd = make_inotify();
    close(make_file("f"));
    OK(symlink("f", "link"));
    OK(symlink("nowhere", "dangling"));
    FAILS(inotify_add_watch(fd, "f", 0), EINVAL);
    FAILS(inotify_add_watch(fd, "f", 0x10000), EINVAL);
    FAILS(inotify_add_watch(fd, "f", IN_OPEN | 0x10000), EINVAL);
    FAILS(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), EINVAL);
    FAILS(inotify_add_watch(-1, "f", IN_OPEN), EBADF);
    FAILS(inotify_add_watch(make_eventfd(0, 0), "f", IN_OPEN), EINVAL);
    FAILS(inotify_add_watch(fd, "none", IN_OPEN), ENOENT);
    FAILS(inotify_add_watch(fd, "", IN_OPEN), ENOENT);
    FAILS(inotify_add_watch(fd, "f/x", IN_OPEN), ENOTDIR);
    FAILS(inotify_add_watch(fd, BAD_POINTER, IN_OPEN), EFAULT);
    FAILS(inotify_add_watch(fd, "f", IN_OPEN | IN_ONLYDIR), ENOTDIR);
    FAILS(inotify_add_watch(fd, "link", IN_OPEN | IN_ONLYDIR), ENOTDIR);
    FAILS(inotify_add_watch(fd, "dangling", IN_OPEN), ENOENT);
    watch(fd, "dangling", IN_OPEN | IN_DONT_FOLLOW);
    watch(fd, ".", IN_ONLYDIR | IN_OPEN);
    FAILS(inotify_rm_watch(-1, 1), EBADF);
    FAILS(inotify_rm_watch(make_eventfd(0, 0), 1), EINVAL);
    FAILS(inotify_rm_watch(fd, 77), EINVAL);
    FAILS(inotify_rm_watch(fd, -1), EINVAL);
    if (geteuid() == 0 && setuid(65534) == 0) {
        FAILS(inotify_add_watch(fd, "/etc/shadow", IN_OPEN), access("/etc/shadow", F_OK) == 0 ? EACCES : ENOENT);
    }
}

TEST(body_inotify_numbers) {
    enter_fresh();
    int fd = make_inotify();
    close(make_file("a"));
    close(make_file("b"));
    OK(link("a", "also_a"));
    CHECK_EQ(watch(fd, "a", IN_OPEN), 1);
    CHECK_EQ(watch(fd, "b", IN_OPEN), 2);
    CHECK_EQ(watch(fd, "also_a", IN_OPEN), 1); // A watch is on the file.
    OK(inotify_rm_watch(fd, 2));
    CHECK_EQ(watch(fd, "b", IN_OPEN), 3); // Numbers are not used again soon.
    CHECK_EQ(watch(make_inotify(), "b", IN_OPEN), 1);
    FAILS(inotify_rm_watch(fd, 2), EINVAL);
    SEEN(fd, "2:IGNORED");
}

TEST(body_inotify_masks) {
    enter_fresh();
    int fd = make_inotify(), f = make_file("f");
    CHECK_EQ(watch(fd, "f", IN_MODIFY), 1);
    OK(write(f, "x", 1));
    OK(fchmod(f, 0600));
    SEEN(fd, "1:MODIFY");
    // Another mask takes its place.
    CHECK_EQ(watch(fd, "f", IN_ATTRIB), 1);
    OK(write(f, "x", 1));
    OK(fchmod(f, 0600));
    SEEN(fd, "1:ATTRIB");
    CHECK_EQ(watch(fd, "f", IN_MODIFY | IN_MASK_ADD), 1);
    OK(write(f, "x", 1));
    OK(fchmod(f, 0600));
    SEEN(fd, "1:MODIFY 1:ATTRIB");
    FAILS(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_CREATE), EEXIST);
    OK(inotify_rm_watch(fd, 1));
    CHECK_EQ(watch(fd, "f", IN_MODIFY | IN_MASK_CREATE), 2);
    OK(write(f, "x", 1));
    SEEN(fd, "1:IGNORED 2:MODIFY");
    // Bits that are flags only make a mask that waits for nothing.
    CHECK_EQ(watch(fd, "f", IN_ISDIR), 2);
    OK(write(f, "x", 1));
    SEEN(fd, "");
}

TEST(body_inotify_oneshot) {
    enter_fresh();
    int fd = make_inotify(), f = make_file("f");
    watch(fd, "f", IN_MODIFY | IN_ATTRIB | IN_ONESHOT);
    OK(fchmod(f, 0600));
    OK(write(f, "x", 1));
    SEEN(fd, "1:ATTRIB 1:IGNORED");
    FAILS(inotify_rm_watch(fd, 1), EINVAL);
    CHECK_EQ(watch(fd, "f", IN_MODIFY), 2);
}

TEST(row_95_a_buffer_too_small_keeps_the_event) {
    enter_fresh();
    int fd = make_inotify();
    char bytes[256] __attribute__((aligned(8)));
    struct inotify_event *event = (void *)bytes;
    watch(fd, ".", IN_CREATE);
    FAILS(read(fd, bytes, 4), EAGAIN); // Nothing there is the first thing to say.
    OK(mkdir("name_of_16_bytes", 0700));
    for (size_t n = 0; n < 16 + 32; n += 3)
        FAILS(read(fd, bytes, n), EINVAL);
    CHECK_EQ(ask(fd), POLLIN);
    CHECK_EQ(OK(read(fd, bytes, 16 + 32)), 16 + 32);
    CHECK_EQ(event->wd, 1);
    CHECK_EQ(event->mask, IN_CREATE | IN_ISDIR);
    CHECK_EQ(event->len, 32);
    CHECK_EQ(strcmp(event->name, "name_of_16_bytes"), 0);
    for (size_t i = 16; i < 32; i++)
        CHECK_EQ(event->name[i], 0); // Padding.
    CHECK_EQ(ask(fd), 0);
    OK(mkdir("name_of_15_byte", 0700));
    CHECK_EQ(OK(read(fd, bytes, sizeof bytes)), 32);
}

TEST(row_95_what_does_not_fit_stays) {
    enter_fresh();
    int fd = make_inotify();
    char bytes[256];
    watch(fd, ".", IN_CREATE);
    OK(mkdir("a", 0700));
    OK(mkdir("a_long_name_for_a_directory", 0700));
    OK(mkdir("b", 0700));
    CHECK_EQ(OK(read(fd, bytes, 32 + 47)), 32);
    FAILS(read(fd, bytes, 47), EINVAL);
    CHECK_EQ(OK(read(fd, bytes, 48)), 48);
    SEEN(fd, "1:CREATE|DIR:b");
}

TEST(row_95_epoll_of_an_event_that_does_not_fit) {
    enter_fresh();
    int fd = make_inotify(), ep = ep_new();
    char bytes[64];
    ep_add(ep, fd, EPOLLIN, 1);
    watch(fd, ".", IN_CREATE);
    CHECK_EQ(ep_ready(ep), 0);
    OK(mkdir("a", 0700));
    FAILS(read(fd, bytes, 16), EINVAL);
    CHECK_EQ(ep_mask(ep), EPOLLIN);
    CHECK_EQ(OK(read(fd, bytes, 64)), 32);
    CHECK_EQ(ep_ready(ep), 0);
}

TEST(body_inotify_fionread) {
    enter_fresh();
    int fd = make_inotify(), left = -1;
    watch(fd, ".", IN_CREATE);
    OK(ioctl(fd, FIONREAD, &left));
    CHECK_EQ(left, 0);
    OK(mkdir("a", 0700));
    OK(mkdir("name_of_16_bytes", 0700));
    OK(ioctl(fd, FIONREAD, &left));
    CHECK_EQ(left, 32 + 48);
    OK(inotify_rm_watch(fd, 1));
    OK(ioctl(fd, FIONREAD, &left));
    CHECK_EQ(left, 32 + 48 + 16);
    FAILS(ioctl(fd, FIONREAD, BAD_POINTER), EFAULT);
    FAILS(read(fd, BAD_POINTER, 100), EFAULT); // As always, what was taken is lost.
    OK(ioctl(fd, FIONREAD, &left));
    CHECK_EQ(left, 48 + 16);
}

static void make_dir_later(void *unused) {
    (void)unused;
    OK(mkdir("later", 0700));
}

TEST(body_inotify_wakes) {
    enter_fresh();
    int fd = make_inotify(), ep = ep_new();
    struct epoll_event event;
    watch(fd, ".", IN_CREATE | IN_DELETE);
    ep_add(ep, fd, EPOLLIN | EPOLLET, 1);
    pthread_t thread = later(10, make_dir_later, NULL);
    CHECK_EQ(OK(epoll_wait(ep, &event, 1, -1)), 1);
    CHECK_EQ(event.events, EPOLLIN);
    thread_join(thread);
    CHECK_EQ(ep_ready(ep), 0);
    OK(rmdir("later")); // Another event is another edge.
    CHECK_EQ(ep_ready(ep), 1);
    SEEN(fd, "1:CREATE|DIR:later 1:DELETE|DIR:later");
    set_nonblocking(fd, false);
    thread = later(10, make_dir_later, NULL);
    char bytes[64];
    CHECK_EQ(OK(read(fd, bytes, sizeof bytes)), 32);
    thread_join(thread);
    OK(rmdir("later"));
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    CHECK_EQ(OK(select(fd + 1, &set, NULL, NULL, NULL)), 1);
}

TEST(body_inotify_waits_and_signals) {
    int fd = (int)OK(inotify_init1(0));
    char bytes[64];
    count_signal(SIGUSR1, 0);
    pthread_t other = later(10, interrupt_main, NULL);
    FAILS(read(fd, bytes, sizeof bytes), EINTR);
    thread_join(other);
}

TEST(body_inotify_sigio) {
    enter_fresh();
    int fd = make_inotify();
    watch(fd, ".", IN_CREATE);
    count_signal(SIGIO, 0);
    OK(fcntl(fd, F_SETOWN, getpid()));
    OK(fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC));
    CHECK_EQ(OK(fcntl(fd, F_GETFL)), O_NONBLOCK | O_ASYNC);
    OK(mkdir("a", 0700));
    CHECK_EQ(signals_seen[SIGIO], 1);
    OK(fcntl(fd, F_SETFL, O_NONBLOCK));
    OK(mkdir("b", 0700));
    CHECK_EQ(signals_seen[SIGIO], 1);
}

TEST(row_87_inotify_and_nonblock) {
    enter_fresh();
    int fd = (int)OK(inotify_init1(0)), on = 1;
    char bytes[64];
    set_nonblocking(fd, true);
    FAILS(read(fd, bytes, sizeof bytes), EAGAIN);
    set_nonblocking(fd, false);
    watch(fd, ".", IN_CREATE);
    OK(mkdir("a", 0700));
    CHECK_EQ(OK(read(fd, bytes, sizeof bytes)), 32);
    OK(ioctl(fd, FIONBIO, &on));
    FAILS(read(fd, bytes, sizeof bytes), EAGAIN);
}

static long limit(const char *name) {
    char path[100], text[32] = {0};
    snprintf(path, sizeof path, "/proc/sys/fs/inotify/%s", name);
    int fd = (int)OK(open(path, O_RDONLY));
    OK(read(fd, text, sizeof text - 1));
    OK(close(fd));
    return atol(text);
}

static bool set_limit(const char *name, const char *value) {
    char path[100];
    snprintf(path, sizeof path, "/proc/sys/fs/inotify/%s", name);
    int fd = open(path, O_WRONLY);
    return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

TEST(body_inotify_limits) {
    enter_fresh();
    CHECK_GT(limit("max_queued_events"), 0);
    CHECK_GT(limit("max_user_watches"), 0);
    long instances = limit("max_user_instances");
    if (instances > 300)
        SKIP("this machine allows %ld inotifies", instances);
    int fd = make_inotify(), made = 0;
    watch(fd, ".", IN_OPEN);
    while (made < instances && inotify_init1(0) >= 0)
        made++;
    CHECK_LT(made, instances);
    FAILS(inotify_init1(0), EMFILE);
    OK(close(fd));
    OK(inotify_init1(0));
    FAILS(inotify_init1(0), EMFILE);
}

TEST(body_inotify_limits_can_be_set) {
    if (!on_pollux())
        SKIP("would change the limits of this machine");
    enter_fresh();
    CHECK(!set_limit("max_queued_events", "-1"));
    CHECK(!set_limit("max_user_watches", "many"));
    CHECK(set_limit("max_queued_events", "2"));
    int fd = make_inotify();
    CHECK(set_limit("max_queued_events", "16384"));
    watch(fd, ".", IN_CREATE);
    OK(mkdir("a", 0700));
    OK(mkdir("b", 0700));
    OK(mkdir("c", 0700));
    OK(mkdir("d", 0700));
    SEEN(fd, "1:CREATE|DIR:a 1:CREATE|DIR:b -1:OVERFLOW");
    OK(mkdir("e", 0700));
    SEEN(fd, "1:CREATE|DIR:e");
    char old[32];
    snprintf(old, sizeof old, "%ld", limit("max_user_watches"));
    CHECK(set_limit("max_user_watches", "2"));
    watch(fd, "a", IN_OPEN);
    FAILS(inotify_add_watch(fd, "b", IN_OPEN), ENOSPC);
    FAILS(inotify_add_watch(make_inotify(), "b", IN_OPEN), ENOSPC);
    watch(fd, "a", IN_CREATE); // Not a new one.
    OK(inotify_rm_watch(fd, 1));
    watch(fd, "b", IN_OPEN);
    CHECK(set_limit("max_user_watches", old));
}

TEST(body_inotify_overflow) {
    enter_fresh();
    if (limit("max_queued_events") > 20000)
        SKIP("this machine's queues are too long for a test");
    int fd = make_inotify(), f = make_file("f"), g = make_file("g");
    watch(fd, "f", IN_MODIFY);
    watch(fd, "g", IN_MODIFY);
    long most = limit("max_queued_events");
    for (long i = 0; i <= most / 2; i++) {
        OK(pwrite(f, "x", 1, 0));
        OK(pwrite(g, "x", 1, 0));
    }
    struct inotify_event event = {0};
    long normal = 0, overflow = 0;
    for (ssize_t n; (n = read(fd, &event, sizeof event)) > 0;) {
        bool is_overflow = event.wd == -1 && event.mask == IN_Q_OVERFLOW && event.len == 0;
        CHECK(is_overflow || event.mask == IN_MODIFY);
        CHECK_EQ(overflow, 0); // It is the last.
        overflow += is_overflow;
        normal += !is_overflow;
    }
    CHECK_EQ(normal, most);
    CHECK_EQ(overflow, 1);
}

TEST(body_inotify_several_at_once) {
    enter_fresh();
    int one = make_inotify(), two = make_inotify();
    watch(one, ".", IN_CREATE);
    watch(two, ".", IN_DELETE);
    OK(mkdir("a", 0700));
    OK(rmdir("a"));
    SEEN(one, "1:CREATE|DIR:a");
    SEEN(two, "1:DELETE|DIR:a");
    OK(close(one));
    OK(mkdir("a", 0700));
    OK(rmdir("a"));
    SEEN(two, "1:DELETE|DIR:a");
}

TEST(body_inotify_fdinfo) {
    enter_fresh();
    int fd = make_inotify();
    close(make_file("f"));
    watch(fd, ".", IN_ALL_EVENTS);
    watch(fd, "f", IN_OPEN | IN_MODIFY);
    struct stat st;
    char path[64], text[2048] = {0}, wanted[128];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    OK(read((int)OK(open(path, O_RDONLY)), text, sizeof text - 1));
    const char *at = strstr(text, "inotify wd:2 ");
    CHECK(at);
    OK(stat("f", &st));
    snprintf(wanted, sizeof wanted, "inotify wd:2 ino:%lx sdev:", (unsigned long)st.st_ino);
    CHECK(strncmp(at, wanted, strlen(wanted)) == 0);
    CHECK(strstr(at, " mask:22 ignored_mask:0 "));
    at = strstr(at, "inotify wd:1 "); // The latest first.
    CHECK(at);
    CHECK(strstr(at, " mask:fff ignored_mask:0 "));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    memset(text, 0, sizeof text);
    OK(readlink(path, text, sizeof text - 1));
    CHECK_EQ(strcmp(text, "anon_inode:inotify"), 0);
}

TEST(body_inotify_next_number) {
    enter_fresh();
    int fd = make_inotify();
    errno = 0;
    int answer = ioctl(fd, _IOW('I', 0, int32_t), 40);
    if (answer != 0 && errno == ENOTTY && !on_pollux())
        SKIP("this Linux is built without checkpoint and restore");
    CHECK_EQ(answer, 0);
    FAILS(ioctl(fd, _IOW('I', 0, int32_t), 0), EINVAL);
    FAILS(ioctl(fd, _IOW('I', 0, int32_t), -1), EINVAL);
    CHECK_EQ(watch(fd, ".", IN_OPEN), 40);
    OK(mkdir("a", 0700));
    CHECK_EQ(watch(fd, "a", IN_OPEN), 41);
}
