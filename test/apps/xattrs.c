// SPDX-License-Identifier: MPL-2.0
//
// Extended attributes of files in memory: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their kin.
#include "ep.h"

#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static char bytes[70000];

// A new directory in /dev/shm with a file, a directory, a link to the file, and a FIFO; the working directory from now on.
static void enter_new_directory(void) {
    char path[] = "/dev/shm/xattr-XXXXXX";
    CHECK(mkdtemp(path) != NULL);
    OK(chmod(path, 0755));
    OK(chdir(path));
    OK(close((int)OK(open("file", O_RDWR | O_CREAT, 0644))));
    OK(mkdir("dir", 0755));
    OK(symlink("file", "link"));
    OK(mkfifo("fifo", 0644));
    if (linux_before(6, 6))
        SKIP("tmpfs has user attributes since Linux 6.6");
}

static void leave_directory(void) {
    static const char *const names[] = {"file", "link", "fifo"};
    char path[64];
    for (int i = 0; i < 3; i++) unlink(names[i]);
    rmdir("dir");
    OK(syscall(SYS_getcwd, path, sizeof path));
    OK(rmdir(path));
}

static void expect_value(const char *path, const char *name, const char *value) {
    CHECK_EQ(OK(getxattr(path, name, bytes, sizeof bytes)), (long)strlen(value));
    CHECK_EQ(memcmp(bytes, value, strlen(value)), 0);
}

TEST(body_attributes_are_made_replaced_and_removed) {
    enter_new_directory();
    FAILS(getxattr("file", "user.a", bytes, 10), ENODATA);
    OK(setxattr("file", "user.a", "one", 3, 0));
    expect_value("file", "user.a", "one");
    OK(setxattr("file", "user.a", "three", 5, 0));
    expect_value("file", "user.a", "three");
    FAILS(setxattr("file", "user.a", "x", 1, XATTR_CREATE), EEXIST);
    FAILS(setxattr("file", "user.b", "x", 1, XATTR_REPLACE), ENODATA);
    FAILS(setxattr("file", "user.a", "x", 1, XATTR_CREATE | XATTR_REPLACE), EEXIST);
    FAILS(setxattr("file", "user.b", "x", 1, XATTR_CREATE | XATTR_REPLACE), ENODATA);
    OK(setxattr("file", "user.a", "x", 1, XATTR_REPLACE));
    OK(setxattr("file", "user.b", "", 0, XATTR_CREATE));
    expect_value("file", "user.a", "x");
    expect_value("file", "user.b", "");
    OK(removexattr("file", "user.a"));
    FAILS(removexattr("file", "user.a"), ENODATA);
    FAILS(getxattr("file", "user.a", bytes, 10), ENODATA);
    leave_directory();
}

TEST(body_sizes_of_attributes) {
    enter_new_directory();
    OK(setxattr("file", "user.a", "four", 4, 0));
    CHECK_EQ(OK(getxattr("file", "user.a", NULL, 0)), 4);
    FAILS(getxattr("file", "user.a", bytes, 3), ERANGE);
    FAILS(getxattr("file", "user.a", (void *)8, 4), EFAULT);
    memset(bytes, 'x', sizeof bytes);
    OK(setxattr("file", "user.long", bytes, 65536, 0));
    CHECK_EQ(OK(getxattr("file", "user.long", bytes, sizeof bytes)), 65536);
    FAILS(setxattr("file", "user.long", bytes, 65537, 0), E2BIG);
    FAILS(setxattr("file", "user.a", (void *)8, 1, 0), EFAULT);
    FAILS(setxattr("file", "user.a", "", 0, 4), EINVAL);
    expect_value("file", "user.a", "four");
    leave_directory();
}

TEST(body_names_of_attributes) {
    enter_new_directory();
    char name[300] = "user.";
    memset(name + 5, 'n', 251);
    FAILS(setxattr("file", name, "x", 1, 0), ERANGE);
    FAILS(getxattr("file", name, bytes, 1), ERANGE);
    FAILS(removexattr("file", name), ERANGE);
    name[255] = 0;
    OK(setxattr("file", name, "x", 1, 0));
    expect_value("file", name, "x");
    FAILS(setxattr("file", "", "x", 1, 0), ERANGE);
    FAILS(setxattr("file", "user.", "x", 1, 0), EINVAL);
    FAILS(getxattr("file", "user.", bytes, 1), EINVAL);
    FAILS(setxattr("file", "user", "x", 1, 0), EOPNOTSUPP);
    FAILS(setxattr("file", "other.a", "x", 1, 0), EOPNOTSUPP);
    FAILS(getxattr("file", "system.other", bytes, 1), EOPNOTSUPP);
    FAILS(setxattr("file", (char *)8, "x", 1, 0), EFAULT);
    FAILS(setxattr("none", "user.a", "x", 1, 0), ENOENT);
    FAILS(getxattr("file/none", "user.a", bytes, 1), ENOTDIR);
    leave_directory();
}

static bool is_listed(const char *path, const char *name) {
    long len = OK(listxattr(path, bytes, sizeof bytes));
    for (char *at = bytes; at < bytes + len; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

TEST(body_the_list_of_attributes) {
    enter_new_directory();
    CHECK(!is_listed("file", "user.a"));
    long before = OK(listxattr("file", NULL, 0));
    OK(setxattr("file", "user.a", "x", 1, 0));
    OK(setxattr("file", "user.bcd", "", 0, 0));
    CHECK(is_listed("file", "user.a"));
    CHECK(is_listed("file", "user.bcd"));
    CHECK_EQ(OK(listxattr("file", NULL, 0)), before + 7 + 9);
    FAILS(listxattr("file", bytes, (size_t)before + 15), ERANGE);
    CHECK_EQ(OK(listxattr("file", bytes, (size_t)before + 16)), before + 16);
    FAILS(listxattr("file", (char *)8, (size_t)before + 16), EFAULT);
    OK(removexattr("file", "user.a"));
    CHECK(!is_listed("file", "user.a"));
    leave_directory();
}

TEST(body_attributes_of_links_and_others) {
    enter_new_directory();
    OK(setxattr("link", "user.a", "file's", 6, 0));
    expect_value("file", "user.a", "file's");
    // Of the name space `user`, only files and directories have any.
    FAILS(lsetxattr("link", "user.a", "x", 1, 0), EPERM);
    FAILS(lgetxattr("link", "user.a", bytes, 1), ENODATA);
    FAILS(lremovexattr("link", "user.a"), EPERM);
    FAILS(setxattr("fifo", "user.a", "x", 1, 0), EPERM);
    FAILS(getxattr("fifo", "user.a", bytes, 1), ENODATA);
    OK(setxattr("dir", "user.a", "dir's", 5, 0));
    expect_value("dir", "user.a", "dir's");
    OK(removexattr("dir", "user.a"));
    leave_directory();
}

TEST(body_attributes_of_descriptors) {
    enter_new_directory();
    int fd = (int)OK(open("file", O_RDONLY)), path = (int)OK(open("file", O_PATH)), memory = (int)OK(memfd_create("m", 0));
    int pipe[2];
    OK(fsetxattr(fd, "user.a", "x", 1, 0));
    CHECK_EQ(OK(fgetxattr(fd, "user.a", bytes, 1)), 1);
    expect_value("file", "user.a", "x");
    FAILS(fgetxattr(path, "user.a", bytes, 1), EBADF);
    FAILS(fsetxattr(path, "user.a", bytes, 1, 0), EBADF);
    FAILS(flistxattr(path, bytes, 100), EBADF);
    FAILS(fremovexattr(path, "user.a"), EBADF);
    FAILS(fgetxattr(900, "user.a", bytes, 1), EBADF);
    OK(fremovexattr(fd, "user.a"));
    FAILS(getxattr("file", "user.a", bytes, 1), ENODATA);
    OK(fsetxattr(memory, "user.a", "x", 1, 0));
    CHECK_EQ(OK(fgetxattr(memory, "user.a", bytes, 1)), 1);
    OK(pipe2(pipe, 0));
    FAILS(fsetxattr(pipe[0], "user.a", "x", 1, 0), EPERM);
    FAILS(fgetxattr(pipe[0], "user.a", bytes, 1), ENODATA);
    int info = (int)OK(open("/proc/self/stat", O_RDONLY));
    FAILS(fsetxattr(info, "user.a", "x", 1, 0), EOPNOTSUPP);
    FAILS(fgetxattr(info, "user.a", bytes, 1), EOPNOTSUPP);
    leave_directory();
}

TEST(body_who_may_set_attributes) {
    enter_new_directory();
    if (getuid() != 0)
        SKIP("needs root");
    OK(setxattr("file", "user.a", "x", 1, 0));
    if (setxattr("file", "trusted.a", "x", 1, 0) != 0)
        SKIP("needs CAP_SYS_ADMIN");
    OK(lsetxattr("link", "trusted.a", "x", 1, 0));
    OK(setxattr("file", "security.pollux", "x", 1, 0));
    CHECK(is_listed("file", "trusted.a"));
    OK(chmod("dir", 01777));
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(setresuid(1000, 1000, 1000));
        CHECK_EQ(OK(getxattr("file", "user.a", bytes, 1)), 1);
        FAILS(setxattr("file", "user.a", "y", 1, 0), EACCES);
        FAILS(removexattr("file", "user.a"), EACCES);
        FAILS(setxattr("file", "other.a", "y", 1, 0), EACCES);
        FAILS(setxattr("file", "trusted.a", "y", 1, 0), EPERM);
        FAILS(getxattr("file", "trusted.a", bytes, 1), ENODATA);
        FAILS(removexattr("file", "trusted.a"), EPERM);
        CHECK(!is_listed("file", "trusted.a"));
        FAILS(setxattr("file", "security.pollux", "y", 1, 0), EPERM);
        CHECK_EQ(OK(getxattr("file", "security.pollux", bytes, 1)), 1);
        // Everybody may write to it, and nobody else may set attributes.
        FAILS(setxattr("dir", "user.a", "y", 1, 0), EPERM);
        _exit(0);
    }
    join_child(child);
    OK(chmod("file", 0));
    child = (pid_t)OK(fork());
    if (child == 0) {
        OK(setresuid(1000, 1000, 1000));
        FAILS(getxattr("file", "user.a", bytes, 1), EACCES);
        _exit(0);
    }
    join_child(child);
    leave_directory();
}

TEST(body_attributes_are_watched) {
    enter_new_directory();
    int watch = (int)OK(inotify_init1(IN_NONBLOCK));
    OK(inotify_add_watch(watch, "file", IN_ALL_EVENTS));
    struct stat before, after;
    OK(stat("file", &before));
    settle();
    OK(setxattr("file", "user.a", "x", 1, 0));
    OK(stat("file", &after));
    CHECK(after.st_ctim.tv_sec > before.st_ctim.tv_sec || after.st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    struct inotify_event event;
    CHECK_EQ(OK(read(watch, &event, sizeof event)), (long)sizeof event);
    CHECK_EQ(event.mask, IN_ATTRIB);
    FAILS(read(watch, &event, sizeof event), EAGAIN);
    OK(getxattr("file", "user.a", bytes, 1));
    FAILS(read(watch, &event, sizeof event), EAGAIN);
    OK(removexattr("file", "user.a"));
    CHECK_EQ(OK(read(watch, &event, sizeof event)), (long)sizeof event);
    CHECK_EQ(event.mask, IN_ATTRIB);
    leave_directory();
}

TEST(body_room_for_attributes) {
    enter_new_directory();
    if (mount("none", "dir", "tmpfs", 0, "nr_inodes=10") != 0)
        SKIP("needs CAP_SYS_ADMIN");
    memset(bytes, 'x', sizeof bytes);
    OK(close((int)OK(open("dir/file", O_RDWR | O_CREAT, 0644))));
    // What is left of ten inodes, a KiB for each.
    FAILS(setxattr("dir/file", "user.a", bytes, 9000, 0), ENOSPC);
    OK(setxattr("dir/file", "user.a", bytes, 6000, 0));
    FAILS(setxattr("dir/file", "user.b", bytes, 6000, 0), ENOSPC);
    // So an inode has no room where an attribute has it.
    struct statfs room;
    OK(statfs("dir", &room));
    CHECK_EQ(room.f_ffree, 2);
    for (int i = 0; i < 2; i++) {
        char name[] = "dir/0";
        name[4] += (char)i;
        OK(close((int)OK(open(name, O_RDWR | O_CREAT, 0644))));
    }
    FAILS(open("dir/2", O_RDWR | O_CREAT, 0644), ENOSPC);
    OK(unlink("dir/0"));
    OK(unlink("dir/1"));
    OK(removexattr("dir/file", "user.a"));
    // 40 bytes, the name and the value are what counts.
    FAILS(setxattr("dir/file", "user.a", bytes, 8147, 0), ENOSPC);
    OK(setxattr("dir/file", "user.a", bytes, 8146, 0));
    OK(removexattr("dir/file", "user.a"));
    OK(setxattr("dir/file", "user.b", bytes, 6000, 0));
    OK(unlink("dir/file"));
    OK(close((int)OK(open("dir/other", O_RDWR | O_CREAT, 0644))));
    OK(setxattr("dir/other", "user.a", bytes, 6000, 0));
    OK(mount("none", "dir", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    FAILS(setxattr("dir/other", "user.a", "x", 1, 0), EROFS);
    FAILS(removexattr("dir/other", "user.a"), EROFS);
    CHECK_EQ(OK(getxattr("dir/other", "user.a", NULL, 0)), 6000);
    OK(umount("dir"));
    leave_directory();
}
