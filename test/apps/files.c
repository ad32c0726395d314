// SPDX-License-Identifier: MPL-2.0
//
// Regular files and descriptors: open and its flags, read, write, seek, vectors, truncation, stat, dup, fcntl, devices.
#include "harness.h"

#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

static int make_file(const char *name, const char *text) {
    int fd = (int)OK(open(temp_path(name), O_RDWR | O_CREAT | O_TRUNC, 0644));
    CHECK_EQ(OK(write(fd, text, strlen(text))), strlen(text));
    OK(lseek(fd, 0, SEEK_SET));
    return fd;
}

static void expect(int fd, off_t at, const char *text) {
    char buffer[200] = "";
    CHECK_EQ(OK(pread(fd, buffer, sizeof buffer, at)), strlen(text));
    CHECK(memcmp(buffer, text, strlen(text)) == 0);
}

static off_t size_of(int fd) {
    struct stat status;
    OK(fstat(fd, &status));
    return status.st_size;
}

TEST(body_open_creates_and_refuses) {
    const char *path = temp_path("file");
    FAILS(open(path, O_RDONLY), ENOENT);
    int fd = (int)OK(open(path, O_RDWR | O_CREAT | O_EXCL, 0640));
    FAILS(open(path, O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST);
    struct stat status;
    OK(fstat(fd, &status));
    CHECK(S_ISREG(status.st_mode));
    CHECK_EQ(status.st_size, 0);
    OK(open(path, O_RDWR | O_CREAT, 0640));
    FAILS(open(temp_dir(), O_RDWR), EISDIR);
    FAILS(open(temp_dir(), O_WRONLY | O_CREAT, 0600), EISDIR);
    FAILS(open(path, O_RDONLY | O_DIRECTORY), ENOTDIR);
    char below[300];
    snprintf(below, sizeof below, "%s/below", path);
    FAILS(open(below, O_RDONLY), ENOTDIR);
    FAILS(open("", O_RDONLY), ENOENT);
    char with_slash[300];
    snprintf(with_slash, sizeof with_slash, "%s/", path);
    FAILS(open(with_slash, O_RDONLY), ENOTDIR);
    char *long_name = malloc(5000);
    memset(long_name, 'a', 5000);
    long_name[4999] = 0;
    FAILS(open(long_name, O_RDONLY), ENAMETOOLONG);
    long_name[300] = 0;
    FAILS(open(long_name, O_RDONLY), ENAMETOOLONG);
    FAILS(syscall(SYS_open, BAD_POINTER, O_RDONLY), EFAULT);
    FAILS(syscall(SYS_open, guarded_end(0), O_RDONLY), EFAULT);
}

TEST(body_the_umask_counts) {
    umask(027);
    struct stat status;
    OK(fstat((int)OK(open(temp_path("file"), O_RDWR | O_CREAT, 0666)), &status));
    CHECK_EQ(status.st_mode & 07777, 0640);
}

TEST(body_the_lowest_descriptor_is_given) {
    int a = make_eventfd(0, 0), b = make_eventfd(0, 0), c = make_eventfd(0, 0);
    CHECK(b == a + 1 && c == b + 1);
    OK(close(a));
    OK(close(b));
    CHECK_EQ(OK(dup(c)), a);
    CHECK_EQ(OK(open("/dev/null", O_RDONLY)), b);
    FAILS(close(9999), EBADF);
    FAILS(close(-1), EBADF);
}

TEST(body_directions) {
    const char *path = temp_path("file");
    char byte;
    int w = (int)OK(open(path, O_WRONLY | O_CREAT, 0600)), r = (int)OK(open(path, O_RDONLY));
    FAILS(read(w, &byte, 1), EBADF);
    FAILS(write(r, &byte, 1), EBADF);
    FAILS(ftruncate(r, 0), EINVAL);
    FAILS(read(9999, &byte, 1), EBADF);
    FAILS(write(-1, &byte, 1), EBADF);
    FAILS(read((int)OK(open(temp_dir(), O_RDONLY)), &byte, 1), EISDIR);
}

TEST(body_read_write_and_position) {
    int fd = make_file("file", "0123456789");
    char buffer[20];
    CHECK_EQ(OK(read(fd, buffer, 4)), 4);
    CHECK_EQ(OK(write(fd, "XY", 2)), 2);
    CHECK_EQ(OK(lseek(fd, 0, SEEK_CUR)), 6);
    CHECK_EQ(OK(read(fd, buffer, 20)), 4);
    CHECK_EQ(OK(read(fd, buffer, 20)), 0);
    expect(fd, 0, "0123XY6789");
    CHECK_EQ(OK(read(fd, buffer, 0)), 0);
    CHECK_EQ(OK(write(fd, "", 0)), 0);
}

TEST(body_lseek_on_devices_without_a_place) {
    static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"};
    static const off_t offsets[] = {-5, 10, (off_t)1 << 62};
    char got[8];
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        int fd = (int)OK(open(names[i], O_RDONLY));
        for (int whence = SEEK_SET; whence <= SEEK_HOLE; whence++)
            for (unsigned j = 0; j < sizeof offsets / sizeof *offsets; j++)
                CHECK_EQ(OK(lseek(fd, offsets[j], whence)), 0);
        FAILS(lseek(fd, 0, 5), EINVAL);
        OK(read(fd, got, sizeof got));
        CHECK_EQ(OK(lseek(fd, 0, SEEK_CUR)), 0);
        CHECK_EQ(OK(pread(fd, got, sizeof got, 100)), i == 0 ? 0 : (ssize_t)sizeof got);
        OK(close(fd));
    }
}

TEST(body_lseek) {
    int fd = make_file("file", "0123456789");
    CHECK_EQ(OK(lseek(fd, -3, SEEK_END)), 7);
    CHECK_EQ(OK(lseek(fd, -2, SEEK_CUR)), 5);
    FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
    FAILS(lseek(fd, -6, SEEK_CUR), EINVAL);
    FAILS(lseek(fd, 0, 99), EINVAL);
    CHECK_EQ(OK(lseek(fd, 0, SEEK_CUR)), 5); // unmoved by the errors
    // Beyond the end: a hole of zeros.
    CHECK_EQ(OK(lseek(fd, 5000, SEEK_SET)), 5000);
    OK(write(fd, "z", 1));
    CHECK_EQ(size_of(fd), 5001);
    char hole[100];
    CHECK_EQ(OK(pread(fd, hole, 100, 4000)), 100);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(hole[i], 0);
    FAILS(lseek(9999, 0, SEEK_SET), EBADF);
}

TEST(body_append) {
    const char *path = temp_path("file");
    int fd = make_file("file", "start"), append = (int)OK(open(path, O_WRONLY | O_APPEND));
    OK(write(append, "+one", 4));
    OK(lseek(append, 0, SEEK_SET));
    OK(write(append, "+two", 4));
    expect(fd, 0, "start+one+two");
    CHECK_EQ(OK(lseek(append, 0, SEEK_CUR)), 13);
    // The flag can be set later.
    OK(fcntl(fd, F_SETFL, O_APPEND));
    CHECK_EQ(OK(fcntl(fd, F_GETFL)) & O_APPEND, O_APPEND);
    OK(write(fd, "!", 1));
    expect(fd, 0, "start+one+two!");
}

TEST(body_truncation) {
    int fd = make_file("file", "0123456789");
    OK(ftruncate(fd, 4));
    expect(fd, 0, "0123");
    OK(ftruncate(fd, 6));
    char buffer[10];
    CHECK_EQ(OK(pread(fd, buffer, 10, 0)), 6);
    CHECK(memcmp(buffer, "0123\0\0", 6) == 0); // what was cut does not come back
    OK(truncate(temp_path("file"), 1));
    CHECK_EQ(size_of(fd), 1);
    FAILS(ftruncate(fd, -1), EINVAL);
    FAILS(truncate(temp_dir(), 0), EISDIR);
    FAILS(truncate(temp_path("none"), 0), ENOENT);
    int again = (int)OK(open(temp_path("file"), O_WRONLY | O_TRUNC));
    CHECK_EQ(size_of(again), 0);
}

TEST(body_pread_and_pwrite) {
    int fd = make_file("file", "0123456789");
    char buffer[20];
    CHECK_EQ(OK(pread(fd, buffer, 3, 5)), 3);
    CHECK(memcmp(buffer, "567", 3) == 0);
    CHECK_EQ(OK(pread(fd, buffer, 3, 10)), 0);
    CHECK_EQ(OK(pread(fd, buffer, 9, 8)), 2);
    CHECK_EQ(OK(pwrite(fd, "ab", 2, 12)), 2);
    CHECK_EQ(OK(lseek(fd, 0, SEEK_CUR)), 0);
    CHECK_EQ(size_of(fd), 14);
    FAILS(pread(fd, buffer, 1, -1), EINVAL);
    FAILS(pwrite(fd, buffer, 1, -1), EINVAL);
}

TEST(body_vectors) {
    int fd = make_file("file", "");
    struct iovec out[3] = {{"abc", 3}, {NULL, 0}, {"defg", 4}};
    CHECK_EQ(OK(writev(fd, out, 3)), 7);
    expect(fd, 0, "abcdefg");
    char a[2], b[10];
    struct iovec in[2] = {{a, 2}, {b, 10}};
    OK(lseek(fd, 0, SEEK_SET));
    CHECK_EQ(OK(readv(fd, in, 2)), 7);
    CHECK(memcmp(a, "ab", 2) == 0 && memcmp(b, "cdefg", 5) == 0);
    CHECK_EQ(OK(preadv(fd, in, 2, 3)), 4);
    CHECK_EQ(OK(pwritev(fd, out, 1, 7)), 3);
    CHECK_EQ(size_of(fd), 10);
    struct iovec bad[2] = {{"ab", 2}, {BAD_POINTER, 5}};
    OK(lseek(fd, 0, SEEK_SET));
    CHECK_EQ(OK(writev(fd, bad, 2)), 2); // what there was before the fault
    FAILS(writev(fd, bad + 1, 1), EFAULT);
    FAILS(readv(fd, BAD_POINTER, 1), EFAULT);
    struct iovec huge[2] = {{a, (size_t)-1}, {b, 1}};
    FAILS(writev(fd, huge, 2), EINVAL);
}

TEST(body_stat) {
    int fd = make_file("file", "12345");
    struct stat by_fd, by_path, other;
    OK(fstat(fd, &by_fd));
    OK(stat(temp_path("file"), &by_path));
    CHECK(by_fd.st_ino == by_path.st_ino && by_fd.st_dev == by_path.st_dev);
    CHECK_EQ(by_fd.st_size, 5);
    CHECK_EQ(by_fd.st_nlink, 1);
    CHECK_EQ(by_fd.st_mode & 0777, 0644);
    CHECK_EQ(by_fd.st_uid, getuid());
    CHECK_GE(by_fd.st_blksize, 512);
    OK(fstat(make_file("other", ""), &other));
    CHECK_NE(other.st_ino, by_fd.st_ino);
    OK(stat(temp_dir(), &other));
    CHECK(S_ISDIR(other.st_mode));
    FAILS(stat(temp_path("none"), &other), ENOENT);
    FAILS(fstat(9999, &other), EBADF);
    FAILS(syscall(SYS_stat, temp_dir(), BAD_POINTER), EFAULT);
    OK(fstatat(fd, "", &other, AT_EMPTY_PATH));
    CHECK_EQ(other.st_ino, by_fd.st_ino);
    FAILS(fstatat(fd, "", &other, 0), ENOENT);
    OK(fstatat(9999, temp_dir(), &other, 0)); // an absolute path needs no directory
    FAILS(fstatat(9999, "name", &other, 0), EBADF);
    FAILS(fstatat(fd, "name", &other, 0), ENOTDIR);
    FAILS(fstatat(AT_FDCWD, "/", &other, 0x40000000), EINVAL);
}

TEST(body_statx) {
    int fd = make_file("file", "12345");
    struct stat status;
    struct statx extended;
    OK(fstat(fd, &status));
    OK(statx(AT_FDCWD, temp_path("file"), 0, STATX_BASIC_STATS, &extended));
    CHECK_EQ(extended.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    CHECK_EQ(extended.stx_size, 5);
    CHECK_EQ(extended.stx_ino, status.st_ino);
    CHECK_EQ(extended.stx_mode, status.st_mode);
    CHECK_EQ(makedev(extended.stx_dev_major, extended.stx_dev_minor), status.st_dev);
    OK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &extended));
    CHECK_EQ(extended.stx_size, 5);
    FAILS(statx(AT_FDCWD, temp_path("none"), 0, STATX_SIZE, &extended), ENOENT);
    FAILS(statx(AT_FDCWD, "/", 0, STATX__RESERVED, &extended), EINVAL);
    FAILS(syscall(SYS_statx, AT_FDCWD, "/", 0, STATX_SIZE, BAD_POINTER), EFAULT);
}

TEST(body_times_change) {
    int fd = make_file("file", "");
    struct stat before, after;
    OK(fstat(fd, &before));
    CHECK_GT(before.st_mtim.tv_sec, 1577836800);
    sleep_ms(15);
    OK(write(fd, "x", 1));
    OK(fstat(fd, &after));
    CHECK(after.st_mtim.tv_sec > before.st_mtim.tv_sec || after.st_mtim.tv_nsec > before.st_mtim.tv_nsec);
    struct timespec times[2] = {{1000, 5}, {2000, 6}};
    OK(futimens(fd, times));
    OK(fstat(fd, &after));
    CHECK(after.st_atim.tv_sec == 1000 && after.st_mtim.tv_sec == 2000);
    CHECK(after.st_atim.tv_nsec == 5 && after.st_mtim.tv_nsec == 6);
    times[0].tv_nsec = UTIME_OMIT;
    times[1].tv_nsec = UTIME_NOW;
    OK(utimensat(AT_FDCWD, temp_path("file"), times, 0));
    OK(fstat(fd, &after));
    CHECK(after.st_atim.tv_sec == 1000 && after.st_mtim.tv_sec > 1577836800);
}

TEST(body_chmod_and_access) {
    int fd = make_file("file", "");
    const char *path = temp_path("file");
    struct stat status;
    OK(fchmod(fd, 0751));
    OK(fstat(fd, &status));
    CHECK_EQ(status.st_mode & 07777, 0751);
    OK(chmod(path, 0600));
    OK(stat(path, &status));
    CHECK_EQ(status.st_mode & 07777, 0600);
    OK(access(path, F_OK));
    OK(access(path, R_OK | W_OK));
    FAILS(access(path, X_OK), EACCES); // for root, too
    FAILS(access(temp_path("none"), F_OK), ENOENT);
    FAILS(access(path, 99), EINVAL);
    OK(faccessat(AT_FDCWD, path, R_OK, AT_EACCESS));
    OK(fchown(fd, (uid_t)-1, (gid_t)-1));
}

TEST(body_dup_family) {
    int fd = make_file("file", "0123456789");
    int copy = (int)OK(dup(fd));
    OK(lseek(fd, 3, SEEK_SET));
    CHECK_EQ(OK(lseek(copy, 0, SEEK_CUR)), 3);
    CHECK_EQ(OK(dup2(fd, 50)), 50);
    CHECK_EQ(OK(dup2(fd, fd)), fd);
    CHECK_EQ(OK(dup3(fd, 51, O_CLOEXEC)), 51);
    CHECK_EQ(OK(fcntl(51, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(50, F_GETFD)), 0);
    FAILS(dup3(fd, fd, 0), EINVAL);
    FAILS(dup3(fd, 52, O_NONBLOCK), EINVAL);
    FAILS(dup(9999), EBADF);
    FAILS(dup2(9999, 52), EBADF);
    FAILS(dup2(fd, -1), EBADF);
    CHECK_EQ(OK(fcntl(fd, F_DUPFD, 60)), 60);
    CHECK_EQ(OK(fcntl(fd, F_DUPFD, 60)), 61);
    CHECK_EQ(OK(fcntl(fd, F_DUPFD_CLOEXEC, 60)), 62);
    CHECK_EQ(OK(fcntl(62, F_GETFD)), FD_CLOEXEC);
    FAILS(fcntl(fd, F_DUPFD, -1), EINVAL);
    OK(fcntl(50, F_SETFD, FD_CLOEXEC));
    CHECK_EQ(OK(fcntl(50, F_GETFD)), FD_CLOEXEC);
    CHECK_EQ(OK(fcntl(fd, F_GETFD)), 0); // the descriptor's, not the description's
    FAILS(fcntl(fd, 9999), EINVAL);
    FAILS(fcntl(9999, F_GETFD), EBADF);
}

TEST(body_status_flags) {
    int fd = (int)OK(open(temp_path("file"), O_RDWR | O_CREAT | O_EXCL | O_TRUNC | O_APPEND, 0600));
    CHECK_EQ(OK(fcntl(fd, F_GETFL)) & ~0100000, O_RDWR | O_APPEND); // creation flags do not stay
    // Only some can be changed, never the direction.
    OK(fcntl(fd, F_SETFL, O_RDONLY | O_NONBLOCK | O_CREAT));
    CHECK_EQ(OK(fcntl(fd, F_GETFL)) & ~0100000, O_RDWR | O_NONBLOCK);
    OK(fcntl((int)OK(dup(fd)), F_SETFL, 0));
    CHECK_EQ(OK(fcntl(fd, F_GETFL)) & ~0100000, O_RDWR); // the description's
}

TEST(body_close_range) {
    int a = make_eventfd(0, 0), b = make_eventfd(0, 0), c = make_eventfd(0, 0);
    OK(syscall(SYS_close_range, b, c, 4)); // CLOSE_RANGE_CLOEXEC
    CHECK_EQ(OK(fcntl(b, F_GETFD)), FD_CLOEXEC);
    OK(syscall(SYS_close_range, b, ~0u, 0));
    OK(fcntl(a, F_GETFD));
    FAILS(fcntl(b, F_GETFD), EBADF);
    FAILS(fcntl(c, F_GETFD), EBADF);
    FAILS(syscall(SYS_close_range, 5, 4, 0), EINVAL);
}

TEST(body_devices) {
    char buffer[16];
    memset(buffer, 1, sizeof buffer);
    int null = (int)OK(open("/dev/null", O_RDWR)), zero = (int)OK(open("/dev/zero", O_RDWR));
    CHECK_EQ(OK(read(null, buffer, 16)), 0);
    CHECK_EQ(OK(write(null, buffer, 16)), 16);
    CHECK_EQ(OK(read(zero, buffer, 16)), 16);
    for (int i = 0; i < 16; i++)
        CHECK_EQ(buffer[i], 0);
    CHECK_EQ(OK(write(zero, buffer, 16)), 16);
    struct stat status;
    OK(fstat(null, &status));
    CHECK(S_ISCHR(status.st_mode));
    CHECK_EQ(status.st_rdev, makedev(1, 3));
    int full = (int)OK(open("/dev/full", O_RDWR));
    FAILS(write(full, buffer, 1), ENOSPC);
    uint64_t random[2] = {0, 0};
    CHECK_EQ(OK(read((int)OK(open("/dev/urandom", O_RDONLY)), random, 16)), 16);
    CHECK_NE(random[0], random[1]);
    CHECK_EQ(OK(syscall(SYS_getrandom, random, 16, 0)), 16);
    CHECK_NE(random[0], random[1]);
    FAILS(syscall(SYS_getrandom, random, 16, 99), EINVAL);
    FAILS(syscall(SYS_getrandom, BAD_POINTER, 16, 0), EFAULT);
    struct winsize size;
    FAILS(ioctl(null, TIOCGWINSZ, &size), ENOTTY);
    CHECK_EQ(isatty(null), 0);
    CHECK_EQ(OK(read(null, BAD_POINTER, 5)), 0);
}

TEST(body_sync_calls) {
    int fd = make_file("file", "abc");
    OK(fsync(fd));
    OK(fdatasync(fd));
    FAILS(fsync(make_pipe(0).r), EINVAL);
    FAILS(fsync(9999), EBADF);
}

TEST(body_sendfile) {
    int from = make_file("from", "0123456789"), to = make_file("to", "");
    off_t at = 2;
    CHECK_EQ(OK(sendfile(to, from, &at, 5)), 5);
    CHECK_EQ(at, 7);
    CHECK_EQ(OK(lseek(from, 0, SEEK_CUR)), 0);
    CHECK_EQ(OK(sendfile(to, from, NULL, 100)), 10);
    expect(to, 0, "234560123456789");
    struct pipe_ends p = make_pipe(0);
    at = 8;
    CHECK_EQ(OK(sendfile(p.w, from, &at, 100)), 2);
    take_byte(p.r);
    take_byte(p.r);
}

TEST(body_an_unlinked_file_lives_on) {
    int fd = make_file("file", "still here");
    OK(unlink(temp_path("file")));
    struct stat status;
    OK(fstat(fd, &status));
    CHECK_EQ(status.st_nlink, 0);
    expect(fd, 0, "still here");
    OK(write(fd, "S", 1));
    expect(fd, 0, "Still here");
}

TEST(body_large_files) {
    int fd = make_file("file", "");
    static char block[65536];
    for (int i = 0; i < 32; i++) {
        memset(block, i, sizeof block);
        CHECK_EQ(OK(write(fd, block, sizeof block)), sizeof block);
    }
    CHECK_EQ(size_of(fd), 32 * 65536);
    for (int i = 31; i >= 0; i--) {
        char byte;
        CHECK_EQ(OK(pread(fd, &byte, 1, i * 65536 + 777)), 1);
        CHECK_EQ(byte, i);
    }
}

struct appender {
    int fd;
    char letter;
};

static void *append_lines(void *arg) {
    struct appender *a = arg;
    char line[64];
    memset(line, a->letter, sizeof line);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(OK(write(a->fd, line, sizeof line)), sizeof line);
    return NULL;
}

TEST(body_appends_of_threads_do_not_mix) {
    pthread_t threads[4];
    struct appender appenders[4];
    for (int i = 0; i < 4; i++) {
        appenders[i] = (struct appender){(int)OK(open(temp_path("file"), O_WRONLY | O_CREAT | O_APPEND, 0600)), (char)('a' + i)};
        threads[i] = thread_run(append_lines, &appenders[i]);
    }
    for (int i = 0; i < 4; i++)
        thread_join(threads[i]);
    int fd = (int)OK(open(temp_path("file"), O_RDONLY));
    CHECK_EQ(size_of(fd), 4 * 100 * 64);
    char line[64];
    while (OK(read(fd, line, sizeof line)) == sizeof line)
        for (int i = 1; i < 64; i++)
            CHECK_EQ(line[i], line[0]);
}

TEST(body_statfs) {
    struct statfs status;
    OK(statfs("/", &status));
    CHECK_GT(status.f_bsize, 0);
    OK(statfs("/proc", &status));
    CHECK_EQ(status.f_type, 0x9fa0);
    FAILS(statfs("/no/such", &status), ENOENT);
}

TEST(body_shared_memory_objects) {
    if (access("/dev/shm", W_OK) != 0)
        SKIP("no /dev/shm here");
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/apps-test-%d", getpid());
    int fd = (int)OK(open(path, O_RDWR | O_CREAT | O_EXCL, 0600));
    OK(ftruncate(fd, 4096));
    OK(pwrite(fd, "shm", 3, 10));
    char back[3];
    CHECK_EQ(OK(pread((int)OK(open(path, O_RDONLY)), back, 3, 10)), 3);
    CHECK(memcmp(back, "shm", 3) == 0);
    struct statfs status;
    OK(fstatfs(fd, &status));
    CHECK_EQ(status.f_type, 0x01021994); // tmpfs
    OK(unlink(path));
}
