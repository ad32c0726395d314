// SPDX-License-Identifier: MPL-2.0
//
// inotify(7): which events come for what, and in which order.
#include "ino.h"

#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

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
    if (linux_before(6, 8))
        return; // splice was not told.
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
