// SPDX-License-Identifier: MPL-2.0
//
// Names: directories, links, renames, symbolic links, paths, the current directory.
#include "harness.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

static void touch(const char *name) { OK(close((int)OK(open(temp_path(name), O_WRONLY | O_CREAT | O_EXCL, 0600)))); }

static bool exists(const char *name) {
    struct stat status;
    return lstat(temp_path(name), &status) == 0;
}

static ino_t inode(const char *name) {
    struct stat status;
    OK(lstat(temp_path(name), &status));
    return status.st_ino;
}

static nlink_t links(const char *name) {
    struct stat status;
    OK(stat(temp_path(name), &status));
    return status.st_nlink;
}

TEST(body_mkdir_and_rmdir) {
    OK(mkdir(temp_path("d"), 0750));
    FAILS(mkdir(temp_path("d"), 0750), EEXIST);
    FAILS(mkdir(temp_path("none/d"), 0750), ENOENT);
    struct stat status;
    OK(stat(temp_path("d"), &status));
    CHECK(S_ISDIR(status.st_mode));
    CHECK_EQ(status.st_mode & 0777, 0750);
    touch("d/file");
    FAILS(rmdir(temp_path("d")), ENOTEMPTY);
    FAILS(rmdir(temp_path("d/file")), ENOTDIR);
    FAILS(mkdir(temp_path("d/file/x"), 0700), ENOTDIR);
    FAILS(unlink(temp_path("d")), EISDIR);
    OK(unlink(temp_path("d/file")));
    FAILS(rmdir(temp_path("d/.")), EINVAL);
    OK(rmdir(temp_path("d")));
    FAILS(rmdir(temp_path("d")), ENOENT);
    FAILS(rmdir("/"), EBUSY);
    CHECK(!exists("d"));
}

TEST(body_hard_links) {
    touch("a");
    OK(link(temp_path("a"), temp_path("b")));
    CHECK_EQ(inode("a"), inode("b"));
    CHECK_EQ(links("a"), 2);
    FAILS(link(temp_path("a"), temp_path("b")), EEXIST);
    FAILS(link(temp_path("none"), temp_path("c")), ENOENT);
    FAILS(link(temp_dir(), temp_path("c")), EPERM);
    OK(unlink(temp_path("a")));
    CHECK_EQ(links("b"), 1);
    FAILS(unlink(temp_path("a")), ENOENT);
}

TEST(body_rename) {
    touch("a");
    ino_t a = inode("a");
    OK(rename(temp_path("a"), temp_path("b")));
    CHECK(!exists("a"));
    CHECK_EQ(inode("b"), a);
    touch("c");
    OK(rename(temp_path("b"), temp_path("c"))); // over another file
    CHECK_EQ(inode("c"), a);
    OK(mkdir(temp_path("d"), 0700));
    OK(rename(temp_path("c"), temp_path("d/e")));
    CHECK_EQ(inode("d/e"), a);
    FAILS(rename(temp_path("none"), temp_path("x")), ENOENT);
    FAILS(rename(temp_path("d/e"), temp_path("d")), ENOTEMPTY); // over what it is in
    FAILS(rename(temp_path("d"), temp_path("d/e")), EINVAL); // below itself comes first
    FAILS(rename(temp_path("d"), temp_path("d/below")), EINVAL);
    touch("f");
    FAILS(rename(temp_path("d"), temp_path("f")), ENOTDIR);
    FAILS(rename(temp_path("f"), temp_path("d")), EISDIR);
    OK(mkdir(temp_path("g"), 0700));
    FAILS(rename(temp_path("g"), temp_path("d")), ENOTEMPTY);
    OK(unlink(temp_path("d/e")));
    OK(rename(temp_path("g"), temp_path("d"))); // over an empty directory
    OK(rename(temp_path("f"), temp_path("f")));
    CHECK(exists("f"));
}

TEST(body_renameat2) {
    touch("a");
    touch("b");
    ino_t a = inode("a"), b = inode("b");
    FAILS(renameat2(AT_FDCWD, temp_path("a"), AT_FDCWD, temp_path("b"), RENAME_NOREPLACE), EEXIST);
    OK(renameat2(AT_FDCWD, temp_path("a"), AT_FDCWD, temp_path("b"), RENAME_EXCHANGE));
    CHECK_EQ(inode("a"), b);
    CHECK_EQ(inode("b"), a);
    OK(renameat2(AT_FDCWD, temp_path("a"), AT_FDCWD, temp_path("c"), RENAME_NOREPLACE));
    FAILS(renameat2(AT_FDCWD, temp_path("c"), AT_FDCWD, temp_path("d"), 64), EINVAL);
}

TEST(body_symbolic_links) {
    touch("target");
    OK(symlink("target", temp_path("link")));
    char text[100] = "";
    CHECK_EQ(OK(readlink(temp_path("link"), text, sizeof text)), 6);
    CHECK(strcmp(text, "target") == 0);
    CHECK_EQ(OK(readlink(temp_path("link"), text, 3)), 3);
    FAILS(readlink(temp_path("target"), text, 10), EINVAL);
    FAILS(readlink(temp_path("link"), text, 0), EINVAL);
    FAILS(symlink("x", temp_path("link")), EEXIST);
    struct stat status, of_target;
    OK(lstat(temp_path("link"), &status));
    CHECK(S_ISLNK(status.st_mode));
    CHECK_EQ(status.st_size, 6);
    OK(stat(temp_path("link"), &status));
    OK(stat(temp_path("target"), &of_target));
    CHECK_EQ(status.st_ino, of_target.st_ino);
    FAILS(open(temp_path("link"), O_RDONLY | O_NOFOLLOW), ELOOP);
    OK(open(temp_path("link"), O_RDONLY));
    // Dangling, to itself, through a directory.
    OK(symlink("nowhere", temp_path("dangling")));
    FAILS(open(temp_path("dangling"), O_RDONLY), ENOENT);
    FAILS(open(temp_path("dangling"), O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
    OK(open(temp_path("dangling"), O_RDWR | O_CREAT, 0600)); // creates what it points to
    CHECK(exists("nowhere"));
    OK(symlink("loop", temp_path("loop")));
    FAILS(open(temp_path("loop"), O_RDONLY), ELOOP);
    OK(symlink(temp_dir(), temp_path("here")));
    OK(open(temp_path("here/here/target"), O_RDONLY));
    OK(unlink(temp_path("link")));
    CHECK(exists("target"));
}

TEST(body_paths) {
    OK(mkdir(temp_path("d"), 0700));
    touch("file");
    OK(open(temp_path("d/../file"), O_RDONLY));
    OK(open(temp_path("./d/.././/file"), O_RDONLY));
    FAILS(open(temp_path("none/../file"), O_RDONLY), ENOENT);
    FAILS(open(temp_path("file/../file"), O_RDONLY), ENOTDIR);
    struct stat root, above;
    OK(stat("/", &root));
    OK(stat("/../..", &above));
    CHECK_EQ(root.st_ino, above.st_ino);
}

TEST(body_the_current_directory) {
    char before[PATH_MAX], now[PATH_MAX];
    CHECK(getcwd(before, sizeof before));
    OK(mkdir(temp_path("d"), 0700));
    OK(chdir(temp_path("d")));
    CHECK(getcwd(now, sizeof now));
    CHECK(strcmp(now, temp_path("d")) == 0);
    CHECK_EQ(syscall(SYS_getcwd, now, sizeof now), strlen(now) + 1);
    OK(close((int)OK(open("relative", O_CREAT | O_WRONLY, 0600))));
    CHECK(exists("d/relative"));
    OK(chdir(".."));
    OK(access("d/relative", F_OK));
    FAILS(chdir("d/relative"), ENOTDIR);
    FAILS(chdir("none"), ENOENT);
    FAILS(syscall(SYS_getcwd, now, 1), ERANGE);
    int fd = (int)OK(open("/", O_RDONLY | O_DIRECTORY));
    OK(fchdir(fd));
    CHECK(getcwd(now, sizeof now) && strcmp(now, "/") == 0);
    OK(chdir(before));
    OK(unlink(temp_path("d/relative")));
    FAILS(fchdir(make_eventfd(0, 0)), ENOTDIR);
}

TEST(body_calls_relative_to_a_directory) {
    int dir = (int)OK(open(temp_dir(), O_RDONLY | O_DIRECTORY));
    OK(mkdirat(dir, "d", 0700));
    int fd = (int)OK(openat(dir, "d/file", O_CREAT | O_RDWR, 0600));
    CHECK_GE(fd, 0);
    OK(linkat(dir, "d/file", dir, "second", 0));
    OK(symlinkat("d/file", dir, "link"));
    struct stat status;
    OK(fstatat(dir, "link", &status, AT_SYMLINK_NOFOLLOW));
    CHECK(S_ISLNK(status.st_mode));
    OK(faccessat(dir, "link", R_OK, 0));
    OK(renameat(dir, "second", dir, "d/third"));
    OK(unlinkat(dir, "d/third", 0));
    OK(unlinkat(dir, "d/file", 0));
    FAILS(unlinkat(dir, "d", 0), EISDIR);
    OK(unlinkat(dir, "d", AT_REMOVEDIR));
    FAILS(openat(fd, "x", O_RDONLY), ENOTDIR);
    FAILS(openat(9999, "x", O_RDONLY), EBADF);
}

TEST(body_reading_directories) {
    enum { FILES = 120 };
    char name[32];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "file-%d", i);
        touch(name);
    }
    DIR *directory = opendir(temp_dir());
    CHECK(directory);
    bool seen[FILES] = {false};
    int dots = 0;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        int number;
        if (entry->d_name[0] == '.') {
            dots++;
            CHECK(entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
            continue;
        }
        CHECK_EQ(sscanf(entry->d_name, "file-%d", &number), 1);
        CHECK(number >= 0 && number < FILES && !seen[number]);
        seen[number] = true;
        CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
        CHECK_EQ(entry->d_ino, inode(entry->d_name));
    }
    CHECK_EQ(dots, 2);
    for (int i = 0; i < FILES; i++)
        CHECK(seen[i]);
    rewinddir(directory);
    CHECK(readdir(directory));
    closedir(directory);
}

TEST(body_getdents64_buffers) {
    touch("a");
    touch("b");
    int fd = (int)OK(open(temp_dir(), O_RDONLY | O_DIRECTORY));
    char small[4], room[32];
    FAILS(syscall(SYS_getdents64, fd, small, sizeof small), EINVAL);
    int entries = 0;
    while (OK(syscall(SYS_getdents64, fd, room, sizeof room)) > 0)
        entries++;
    CHECK_EQ(entries, 4);
    CHECK_EQ(OK(syscall(SYS_getdents64, fd, room, sizeof room)), 0);
    OK(lseek(fd, 0, SEEK_SET));
    CHECK_GT(OK(syscall(SYS_getdents64, fd, room, sizeof room)), 0);
    FAILS(syscall(SYS_getdents64, make_eventfd(0, 0), room, sizeof room), ENOTDIR);
    OK(lseek(fd, 0, SEEK_SET));
    FAILS(syscall(SYS_getdents64, fd, BAD_POINTER, 100), EFAULT);
}

TEST(body_removing_while_reading) {
    char name[32];
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "file-%d", i);
        touch(name);
    }
    DIR *directory = opendir(temp_dir());
    struct dirent *entry;
    int removed = 0;
    while ((entry = readdir(directory)))
        if (entry->d_name[0] != '.') {
            OK(unlink(temp_path(entry->d_name)));
            removed++;
        }
    CHECK_EQ(removed, 60);
    closedir(directory);
}

TEST(body_a_removed_directory) {
    OK(mkdir(temp_path("d"), 0700));
    int fd = (int)OK(open(temp_path("d"), O_RDONLY | O_DIRECTORY));
    OK(rmdir(temp_path("d")));
    FAILS(openat(fd, "file", O_CREAT | O_WRONLY, 0600), ENOENT);
    char room[64];
    CHECK(syscall(SYS_getdents64, fd, room, sizeof room) >= -1);
}

TEST(body_mknod) {
    OK(mknod(temp_path("regular"), S_IFREG | 0600, 0));
    struct stat status;
    OK(stat(temp_path("regular"), &status));
    CHECK(S_ISREG(status.st_mode));
    OK(mknod(temp_path("fifo"), S_IFIFO | 0600, 0));
    OK(stat(temp_path("fifo"), &status));
    CHECK(S_ISFIFO(status.st_mode));
    FAILS(mknod(temp_path("fifo"), S_IFIFO | 0600, 0), EEXIST);
}
