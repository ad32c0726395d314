// SPDX-License-Identifier: MPL-2.0
//
// inotify(7). Row 95, and 87 for inotifies. Tests note what they saw as text, one word per event: "watch:EVENT|EVENT:name".
#include "ep.h"

#include <dirent.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static int make_inotify(void) { return (int)OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)); }

static int watch(int fd, const char *path, uint32_t mask) { return (int)OK(inotify_add_watch(fd, path, mask)); }

static const char *event_name(uint32_t bit) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{IN_ACCESS, "ACCESS"},           {IN_MODIFY, "MODIFY"},
                 {IN_ATTRIB, "ATTRIB"},           {IN_CLOSE_WRITE, "CLOSE_WRITE"},
                 {IN_CLOSE_NOWRITE, "CLOSE"},     {IN_OPEN, "OPEN"},
                 {IN_MOVED_FROM, "MOVED_FROM"},   {IN_MOVED_TO, "MOVED_TO"},
                 {IN_CREATE, "CREATE"},           {IN_DELETE, "DELETE"},
                 {IN_DELETE_SELF, "DELETE_SELF"}, {IN_MOVE_SELF, "MOVE_SELF"},
                 {IN_UNMOUNT, "UNMOUNT"},         {IN_Q_OVERFLOW, "OVERFLOW"},
                 {IN_IGNORED, "IGNORED"},         {IN_ISDIR, "DIR"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].bit == bit)
            return names[i].name;
    return "?";
}

// Everything that is queued, as text; cookies of moves must come in pairs.
static const char *seen(int fd) {
    static char text[8192];
    char buffer[16384] __attribute__((aligned(8)));
    size_t length = 0;
    uint32_t cookie = 0;
    text[0] = 0;
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
        for (char *at = buffer; at < buffer + n;) {
            struct inotify_event *event = (void *)at;
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%d:", length ? " " : "", event->wd);
            const char *separator = "";
            for (uint32_t bit = 1; bit; bit <<= 1)
                if (event->mask & bit) {
                    length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", separator, event_name(bit));
                    separator = "|";
                }
            if (event->len)
                length += (size_t)snprintf(text + length, sizeof text - length, ":%s", event->name);
            if (event->mask & IN_MOVED_FROM) {
                cookie = event->cookie;
                CHECK_NE(cookie, 0);
            } else if (event->mask & IN_MOVED_TO) {
                CHECK(cookie == 0 || event->cookie == cookie);
            } else {
                CHECK_EQ(event->cookie, 0);
            }
            CHECK_EQ(event->len % 16, 0);
            at += sizeof *event + event->len;
        }
    }
    CHECK_EQ(errno, EAGAIN);
    return text;
}

#define SEEN(fd, wanted)                                                                                               \
    do {                                                                                                               \
        const char *seen_ = seen(fd);                                                                                  \
        if (strcmp(seen_, wanted) != 0)                                                                                \
            check_failed(__FILE__, __LINE__, "saw \"%s\" instead of \"%s\"", seen_, wanted);                           \
    } while (0)

static int make_file(const char *path) { return (int)OK(open(path, O_RDWR | O_CREAT, 0600)); }

static int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
    OK(poll(&p, 1, 0));
    return p.revents;
}

// A new directory as working directory, so that names are short.
static void enter_fresh(void) {
    OK(mkdir(temp_path("d"), 0700));
    OK(chdir(temp_path("d")));
}

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

TEST(body_inotify_content) {
    enter_fresh();
    int fd = make_inotify();
    char bytes[8];
    watch(fd, ".", IN_ALL_EVENTS);
    int f = make_file("f");
    SEEN(fd, "1:CREATE:f 1:OPEN:f");
    watch(fd, "f", IN_ALL_EVENTS);
    OK(write(f, "hello", 5));
    SEEN(fd, "1:MODIFY:f 2:MODIFY");
    CHECK_EQ(OK(pread(f, bytes, 5, 0)), 5);
    SEEN(fd, "1:ACCESS:f 2:ACCESS");
    CHECK_EQ(OK(read(f, bytes, 5)), 0); // The end is not read.
    OK(write(f, "", 0));
    SEEN(fd, "");
    struct iovec vector = {bytes, 2};
    CHECK_EQ(OK(preadv(f, &vector, 1, 0)), 2);
    OK(pwrite(f, "x", 1, 0));
    SEEN(fd, "1:ACCESS:f 2:ACCESS 1:MODIFY:f 2:MODIFY");
    OK(ftruncate(f, 3));
    SEEN(fd, "1:MODIFY:f 2:MODIFY");
    OK(truncate("f", 3)); // To the same size.
    SEEN(fd, "1:MODIFY:f 2:MODIFY");
    OK(fallocate(f, 0, 0, 10));
    SEEN(fd, "1:MODIFY:f 2:MODIFY");
    OK(close(f));
    SEEN(fd, "1:CLOSE_WRITE:f 2:CLOSE_WRITE");
    OK(close((int)OK(open("f", O_RDONLY))));
    SEEN(fd, "1:OPEN:f 2:OPEN 1:CLOSE:f 2:CLOSE");
    OK(close((int)OK(open("f", O_PATH))));
    SEEN(fd, "");
    f = (int)OK(open("f", O_WRONLY | O_TRUNC));
    const char *order = seen(fd); // Linux opened last until 6.10 or so, and first since.
    CHECK(strcmp(order, "1:OPEN:f 2:OPEN 1:MODIFY:f 2:MODIFY") == 0 ||
          strcmp(order, "1:MODIFY:f 2:MODIFY 1:OPEN:f 2:OPEN") == 0);
    int copy = (int)OK(dup(f));
    OK(close(f));
    SEEN(fd, "");
    OK(close(copy)); // The last one counts.
    SEEN(fd, "1:CLOSE_WRITE:f 2:CLOSE_WRITE");
}

TEST(body_inotify_copies) {
    enter_fresh();
    int fd = make_inotify(), from = make_file("from"), to = make_file("to");
    struct pipe_ends p = make_pipe(0);
    OK(write(from, "0123456789", 10));
    watch(fd, "from", IN_ACCESS | IN_MODIFY);
    watch(fd, "to", IN_ACCESS | IN_MODIFY);
    off_t offset = 2;
    CHECK_EQ(OK(sendfile(to, from, &offset, 3)), 3);
    const char *text = seen(fd); // In either order.
    CHECK(strstr(text, "1:ACCESS") && strstr(text, "2:MODIFY"));
    loff_t in = 0, out = 0;
    CHECK_EQ(OK(copy_file_range(from, &in, to, &out, 4, 0)), 4);
    text = seen(fd);
    CHECK(strstr(text, "1:ACCESS") && strstr(text, "2:MODIFY"));
    in = 0;
    CHECK_EQ(OK(splice(from, &in, p.w, NULL, 4, 0)), 4);
    SEEN(fd, "1:ACCESS");
    out = 0;
    CHECK_EQ(OK(splice(p.r, NULL, to, &out, 4, 0)), 4);
    SEEN(fd, "2:MODIFY");
}

TEST(body_inotify_attributes) {
    enter_fresh();
    int fd = make_inotify();
    watch(fd, ".", IN_ALL_EVENTS & ~(IN_CREATE | IN_OPEN));
    int f = make_file("f");
    watch(fd, "f", IN_ALL_EVENTS);
    OK(fchmod(f, 0640));
    SEEN(fd, "1:ATTRIB:f 2:ATTRIB");
    OK(chmod("f", 0600));
    SEEN(fd, "1:ATTRIB:f 2:ATTRIB");
    OK(chown("f", getuid(), (gid_t)-1));
    SEEN(fd, "1:ATTRIB:f 2:ATTRIB");
    OK(chown("f", (uid_t)-1, (gid_t)-1));
    SEEN(fd, "");
    OK(futimens(f, NULL));
    SEEN(fd, "1:ATTRIB:f 2:ATTRIB");
    struct timespec accessed[2] = {{5, 0}, {0, UTIME_OMIT}}, modified[2] = {{0, UTIME_OMIT}, {6, 0}};
    OK(futimens(f, accessed));
    SEEN(fd, "1:ACCESS:f 2:ACCESS");
    OK(utimensat(AT_FDCWD, "f", modified, 0));
    SEEN(fd, "1:MODIFY:f 2:MODIFY");
    OK(mkdir("sub", 0700));
    OK(chmod("sub", 0755));
    SEEN(fd, "1:ATTRIB|DIR:sub");
    OK(chmod(".", 0755));
    SEEN(fd, "1:ATTRIB|DIR");
}

TEST(body_inotify_names_come_and_go) {
    enter_fresh();
    int fd = make_inotify();
    watch(fd, ".", IN_CREATE | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF);
    OK(mkdir("sub", 0700));
    OK(symlink("f", "link"));
    OK(mkfifo("fifo", 0600));
    OK(mknod("node", S_IFREG | 0600, 0));
    close(make_file("f"));
    SEEN(fd, "1:CREATE|DIR:sub 1:CREATE:link 1:CREATE:fifo 1:CREATE:node 1:CREATE:f");
    watch(fd, "f", IN_ALL_EVENTS & ~IN_OPEN);
    watch(fd, "sub", IN_ALL_EVENTS);
    OK(link("f", "again"));
    SEEN(fd, "2:ATTRIB 1:CREATE:again");
    OK(unlink("f"));
    SEEN(fd, "2:ATTRIB 1:DELETE:f");
    OK(unlink("again")); // The last name.
    SEEN(fd, "2:ATTRIB 2:DELETE_SELF 2:IGNORED 1:DELETE:again");
    FAILS(inotify_rm_watch(fd, 2), EINVAL);
    OK(rmdir("sub"));
    SEEN(fd, "3:DELETE_SELF 3:IGNORED 1:DELETE|DIR:sub");
    OK(unlink("link"));
    OK(unlink("fifo"));
    SEEN(fd, "1:DELETE:link 1:DELETE:fifo");
    OK(unlink("node"));
    OK(rmdir(temp_path("d")));
    SEEN(fd, "1:DELETE:node"); // It is the working directory still.
    OK(chdir("/"));
    SEEN(fd, "1:DELETE_SELF 1:IGNORED");
}

TEST(body_inotify_an_open_file_outlives_its_name) {
    enter_fresh();
    int fd = make_inotify(), f = make_file("f");
    watch(fd, ".", IN_ALL_EVENTS);
    watch(fd, "f", IN_ALL_EVENTS);
    OK(unlink("f"));
    SEEN(fd, "2:ATTRIB 1:DELETE:f");
    OK(write(f, "x", 1));
    SEEN(fd, "1:MODIFY:f 2:MODIFY");
    OK(close(f));
    SEEN(fd, "1:CLOSE_WRITE:f 2:CLOSE_WRITE 2:DELETE_SELF 2:IGNORED");
}

TEST(body_inotify_excl_unlink) {
    enter_fresh();
    int fd = make_inotify(), f = make_file("f");
    watch(fd, ".", IN_ALL_EVENTS | IN_EXCL_UNLINK);
    watch(fd, "f", IN_ALL_EVENTS | IN_EXCL_UNLINK);
    OK(write(f, "x", 1));
    OK(unlink("f"));
    SEEN(fd, "1:MODIFY:f 2:MODIFY 2:ATTRIB 1:DELETE:f");
    OK(write(f, "x", 1));
    SEEN(fd, "");
    OK(fchmod(f, 0644)); // Not by way of the open file, but of the inode.
    SEEN(fd, "1:ATTRIB:f 2:ATTRIB");
    OK(close(f));
    SEEN(fd, "2:DELETE_SELF 2:IGNORED");
}

TEST(body_inotify_moves) {
    enter_fresh();
    int fd = make_inotify();
    OK(mkdir("one", 0700));
    OK(mkdir("two", 0700));
    close(make_file("one/f"));
    watch(fd, "one", IN_ALL_EVENTS);
    watch(fd, "two", IN_ALL_EVENTS);
    watch(fd, "one/f", IN_ALL_EVENTS);
    OK(rename("one/f", "two/g"));
    SEEN(fd, "1:MOVED_FROM:f 2:MOVED_TO:g 3:MOVE_SELF");
    OK(rename("two/g", "two/h"));
    SEEN(fd, "2:MOVED_FROM:g 2:MOVED_TO:h 3:MOVE_SELF");
    OK(rename("two/h", "two/h"));
    OK(link("two/h", "one/same"));
    OK(rename("two/h", "one/same")); // Two names of one file: nothing happens.
    SEEN(fd, "3:ATTRIB 1:CREATE:same");
    // Onto another one, which ends by that.
    close(make_file("one/victim"));
    watch(fd, "one/victim", IN_ALL_EVENTS);
    seen(fd);
    OK(rename("two/h", "one/victim"));
    SEEN(fd, "2:MOVED_FROM:h 1:MOVED_TO:victim 4:ATTRIB 3:MOVE_SELF 4:DELETE_SELF 4:IGNORED");
    OK(mkdir("one/sub", 0700));
    watch(fd, "one/sub", IN_ALL_EVENTS);
    seen(fd);
    OK(rename("one/sub", "two/sub"));
    SEEN(fd, "1:MOVED_FROM|DIR:sub 2:MOVED_TO|DIR:sub 5:MOVE_SELF");
    // A watch goes with its file, and the events with the new name.
    close(make_file("two/sub/x"));
    OK(chmod("two/sub", 0755));
    SEEN(fd, "5:CREATE:x 5:OPEN:x 5:CLOSE_WRITE:x 2:ATTRIB|DIR:sub 5:ATTRIB|DIR");
}

TEST(body_inotify_moves_in_and_out) {
    enter_fresh();
    int fd = make_inotify();
    OK(mkdir("one", 0700));
    OK(mkdir("two", 0700));
    close(make_file("one/f"));
    watch(fd, "two", IN_ALL_EVENTS);
    OK(rename("one/f", "two/f"));
    SEEN(fd, "1:MOVED_TO:f");
    OK(rename("two/f", "one/f"));
    SEEN(fd, "1:MOVED_FROM:f");
}

TEST(body_inotify_exchange) {
    enter_fresh();
    int fd = make_inotify();
    close(make_file("a"));
    close(make_file("b"));
    watch(fd, ".", IN_MOVE);
    watch(fd, "a", IN_MOVE_SELF);
    watch(fd, "b", IN_MOVE_SELF);
    OK(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 2 /* RENAME_EXCHANGE */));
    SEEN(fd, "1:MOVED_FROM:a 1:MOVED_TO:b 2:MOVE_SELF 1:MOVED_FROM:b 1:MOVED_TO:a 3:MOVE_SELF");
}

TEST(body_inotify_directories) {
    enter_fresh();
    int fd = make_inotify();
    OK(mkdir("sub", 0700));
    watch(fd, ".", IN_ALL_EVENTS);
    watch(fd, "sub", IN_ALL_EVENTS);
    int dir = (int)OK(open("sub", O_RDONLY | O_DIRECTORY));
    SEEN(fd, "1:OPEN|DIR:sub 2:OPEN|DIR");
    char bytes[1024];
    OK(syscall(SYS_getdents64, dir, bytes, sizeof bytes));
    SEEN(fd, "1:ACCESS|DIR:sub 2:ACCESS|DIR");
    CHECK_EQ(OK(syscall(SYS_getdents64, dir, bytes, sizeof bytes)), 0);
    SEEN(fd, "1:ACCESS|DIR:sub 2:ACCESS|DIR"); // At the end, too.
    OK(close(dir));
    SEEN(fd, "1:CLOSE|DIR:sub 2:CLOSE|DIR");
    close(make_file("sub/f")); // Only the next directory hears.
    SEEN(fd, "2:CREATE:f 2:OPEN:f 2:CLOSE_WRITE:f");
    OK(stat("sub/f", &(struct stat){0}));
    OK(access("sub/f", R_OK));
    SEEN(fd, "");
}

TEST(body_inotify_unnamed_files) {
    enter_fresh();
    int fd = make_inotify();
    watch(fd, ".", IN_ALL_EVENTS & ~(IN_OPEN | IN_MODIFY | IN_CLOSE));
    int f = open(".", O_RDWR | O_TMPFILE, 0600);
    if (f < 0)
        SKIP("the file system has no O_TMPFILE");
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", f);
    OK(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    SEEN(fd, "1:CREATE:named");
}

TEST(body_inotify_exec) {
    enter_fresh();
    int fd = make_inotify(), f = make_file("program"), self = (int)OK(open("/proc/self/exe", O_RDONLY));
    for (ssize_t n; (n = sendfile(f, self, NULL, 1 << 20)) > 0;) {
    }
    OK(fchmod(f, 0700));
    OK(close(f));
    watch(fd, ".", IN_ALL_EVENTS);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(dup2((int)OK(open("/dev/null", O_WRONLY)), 1));
        execl("./program", "program", "--list", NULL);
        _exit(1);
    }
    join_child(child);
    SEEN(fd, "1:OPEN:program 1:ACCESS:program 1:CLOSE:program");
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

TEST(body_inotify_symlinks) {
    enter_fresh();
    int fd = make_inotify();
    close(make_file("f"));
    OK(symlink("f", "link"));
    watch(fd, "link", IN_ALL_EVENTS);
    watch(fd, "link", IN_ALL_EVENTS | IN_DONT_FOLLOW);
    OK(close((int)OK(open("link", O_RDONLY))));
    SEEN(fd, "1:OPEN 1:CLOSE");
    OK(unlink("link"));
    SEEN(fd, "2:ATTRIB 2:DELETE_SELF 2:IGNORED");
}

TEST(body_inotify_equal_events_merge) {
    enter_fresh();
    int fd = make_inotify(), f = make_file("f"), g = make_file("g");
    watch(fd, ".", IN_MODIFY | IN_ACCESS);
    for (int i = 0; i < 5; i++)
        OK(write(f, "x", 1));
    OK(write(g, "x", 1));
    OK(write(f, "x", 1));
    OK(pread(f, &(char){0}, 1, 0));
    OK(write(f, "x", 1));
    SEEN(fd, "1:MODIFY:f 1:MODIFY:g 1:MODIFY:f 1:ACCESS:f 1:MODIFY:f");
    // Once read, an event can come again.
    OK(write(f, "x", 1));
    SEEN(fd, "1:MODIFY:f");
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

TEST(body_inotify_unmount) {
    enter_fresh();
    OK(mkdir("mnt", 0700));
    if (mount("none", "mnt", "tmpfs", 0, NULL) != 0)
        SKIP("may not mount");
    int fd = make_inotify();
    close(make_file("mnt/f"));
    watch(fd, "mnt", IN_CREATE);
    watch(fd, "mnt/f", IN_OPEN);
    OK(umount("mnt"));
    const char *text = seen(fd); // In whichever order.
    CHECK(strstr(text, "1:UNMOUNT|DIR 1:IGNORED"));
    CHECK(strstr(text, "2:UNMOUNT 2:IGNORED"));
    FAILS(inotify_rm_watch(fd, 1), EINVAL);
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

static void *make_and_remove(void *arg) {
    char name[16];
    snprintf(name, sizeof name, "%ld", (long)arg);
    for (int i = 0; i < 100; i++) {
        close(make_file(name));
        OK(unlink(name));
    }
    return NULL;
}

TEST(body_inotify_races) {
    enter_fresh();
    int fd = make_inotify();
    watch(fd, ".", IN_CREATE | IN_DELETE);
    pthread_t threads[3];
    for (long i = 0; i < 3; i++)
        threads[i] = thread_run(make_and_remove, (void *)i);
    for (int i = 0; i < 100; i++) {
        // Watches come and go meanwhile, with the files or before them.
        int number = inotify_add_watch(fd, "1", IN_ALL_EVENTS);
        if (number > 0 && i % 2)
            (void)inotify_rm_watch(fd, number);
    }
    for (int i = 0; i < 3; i++)
        thread_join(threads[i]);
    long created = 0, deleted = 0;
    char bytes[4096] __attribute__((aligned(8)));
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;)
        for (char *at = bytes; at < bytes + n;) {
            struct inotify_event *event = (void *)at;
            created += event->wd == 1 && event->mask & IN_CREATE;
            deleted += event->wd == 1 && event->mask & IN_DELETE;
            at += sizeof *event + event->len;
        }
    CHECK_EQ(created, 300);
    CHECK_EQ(deleted, 300);
}
