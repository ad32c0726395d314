// SPDX-License-Identifier: MPL-2.0
//
// Long copies between the kernel and a program: whatever the alignment, and whatever its pages are at that moment.
#include "harness.h"

#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PAGE 4096
#define ROOM (20 * PAGE)

// Bytes that depend on their place and on the round.
static void paint(unsigned char *at, size_t len, unsigned round) {
    for (size_t i = 0; i < len; i++)
        at[i] = (unsigned char)(i * 7 + i / 251 + round * 31 + 1);
}

static void check_painted(const unsigned char *at, size_t len, unsigned round) {
    for (size_t i = 0; i < len; i++)
        if (at[i] != (unsigned char)(i * 7 + i / 251 + round * 31 + 1))
            check_failed(__FILE__, __LINE__, "byte %zu of %zu is wrong in round %u", i, len, round);
}

static void check_filled(const unsigned char *at, size_t len, unsigned char value) {
    for (size_t i = 0; i < len; i++)
        CHECK_EQ(at[i], value);
}

static unsigned char *pages(size_t len) {
    unsigned char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

// A file of painted bytes.
static int painted_file(size_t len, unsigned round) {
    int fd = OK(memfd_create("copies", 0));
    unsigned char *bytes = pages(len);
    paint(bytes, len, round);
    CHECK_EQ(OK(pwrite(fd, bytes, len, 0)), (ssize_t)len);
    OK(munmap(bytes, len));
    return fd;
}

// Through a pipe, a socket and a file.
struct channel {
    int in, out;
};

static struct channel open_channel(int kind) {
    if (kind == 0) {
        struct pipe_ends ends = make_pipe(0);
        return (struct channel){ends.w, ends.r};
    }
    if (kind == 1) {
        int ends[2];
        OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        return (struct channel){ends[0], ends[1]};
    }
    int fd = OK(memfd_create("copies", 0));
    return (struct channel){fd, OK(dup(fd))};
}

static void receive(struct channel c, int kind, unsigned char *at, size_t len) {
    if (kind == 2)
        OK(lseek(c.out, -(off_t)len, SEEK_CUR));
    for (size_t done = 0; done < len;) {
        ssize_t count = OK(read(c.out, at + done, len - done));
        CHECK_GT(count, 0);
        done += (size_t)count;
    }
}

TEST(body_long_copies_of_every_alignment) {
    static const size_t lengths[] = {1, 511, 1023, 1024, 1025, 4095, 4096, 4097, 5000, 8200, 20001, 40000};
    static const size_t offsets[] = {0, 1, 8, 3000, 4095};
    unsigned char *from = pages(ROOM), *to = pages(ROOM);
    unsigned round = 0;
    for (int kind = 0; kind < 3; kind++) {
        struct channel c = open_channel(kind);
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            for (size_t o = 0; o < 25; o++) {
                size_t len = lengths[l], here = offsets[o % 5], there = offsets[o / 5];
                memset(to, 0xEE, there + len + 100);
                paint(from + here, len, ++round);
                CHECK_EQ(OK(write(c.in, from + here, len)), (ssize_t)len);
                receive(c, kind, to + there, len);
                check_painted(to + there, len, round);
                check_filled(to, there, 0xEE);
                check_filled(to + there + len, 100, 0xEE);
            }
    }
}

TEST(body_long_copies_of_untouched_pages) {
    for (int kind = 0; kind < 3; kind++) {
        struct channel c = open_channel(kind);
        unsigned char *never_written = pages(ROOM), *never_touched = pages(ROOM);
        CHECK_EQ(OK(write(c.in, never_written + 5, 30000)), 30000);
        memset(never_touched, 1, 3); // only its first page
        receive(c, kind, never_touched + 3, 30000);
        check_filled(never_touched, 3, 1);
        check_filled(never_touched + 3, 30000, 0);
    }
}

TEST(body_long_copies_of_vectors) {
    unsigned char *from = pages(ROOM), *to = pages(ROOM);
    for (int kind = 0; kind < 3; kind++) {
        struct channel c = open_channel(kind);
        paint(from, 30000, 7);
        struct iovec out[] = {{from, 3}, {from + 3, 9000}, {from + 9003, 0}, {from + 9003, 900}, {from + 9903, 20097}};
        struct iovec in[] = {{to, 5000}, {to + 5000, 1}, {to + 5001, 24999}};
        CHECK_EQ(OK(writev(c.in, out, 5)), 30000);
        if (kind == 2)
            OK(lseek(c.out, 0, SEEK_SET));
        CHECK_EQ(OK(readv(c.out, in, 3)), 30000);
        check_painted(to, 30000, 7);
    }
}

TEST(body_long_copies_end_where_memory_ends) {
    int fd = painted_file(40000, 3);
    for (size_t usable = 900; usable < 14000; usable += 1231) {
        unsigned char *end = guarded_end(usable);
        CHECK_EQ(OK(pread(fd, end, usable + 2000, 0)), (ssize_t)usable);
        check_painted(end, usable, 3);
        int copy = OK(memfd_create("copies", 0));
        CHECK_EQ(OK(pwrite(copy, end, usable + 2000, 0)), (ssize_t)usable);
        CHECK_EQ(OK(lseek(copy, 0, SEEK_END)), (off_t)usable);
        OK(close(copy));
    }
}

TEST(body_long_copies_respect_protection) {
    unsigned char *from = pages(ROOM), *to = pages(ROOM);
    paint(from, 8192, 9);
    paint(to, 8192, 10);
    for (int kind = 0; kind < 2; kind++) {
        struct channel c = open_channel(kind);
        CHECK_EQ(OK(write(c.in, from, 8192)), 8192);
        OK(mprotect(to, ROOM, PROT_READ));
        FAILS(read(c.out, to, 8192), EFAULT);
        check_painted(to, 8192, 10);
        OK(mprotect(to, ROOM, PROT_READ | PROT_WRITE));
        // Nothing was lost.
        receive(c, kind, to, 8192);
        check_painted(to, 8192, 9);
        OK(mprotect(from, ROOM, PROT_NONE));
        FAILS(write(c.in, from, 8192), EFAULT);
        OK(mprotect(from, ROOM, PROT_READ | PROT_WRITE));
        paint(to, 8192, 10);
    }
    int fd = painted_file(8192, 11);
    OK(mprotect(to, ROOM, PROT_READ));
    FAILS(pread(fd, to, 8192, 0), EFAULT);
    check_painted(to, 8192, 10);
}

// A packet ends a read, also one that began with a stream of bytes; what does not fit of it is lost (pipe(2), O_DIRECT).
TEST(body_long_reads_end_with_a_packet) {
    unsigned char *from = pages(ROOM), *to = pages(ROOM);
    paint(from, 12000, 1);
    struct pipe_ends ends = make_pipe(0);
    for (int fits = 0; fits < 2; fits++) {
        OK(fcntl(ends.w, F_SETFL, 0));
        CHECK_EQ(OK(write(ends.w, from, 8192)), 8192);
        OK(fcntl(ends.w, F_SETFL, O_DIRECT));
        CHECK_EQ(OK(write(ends.w, from + 8192, 100)), 100);
        CHECK_EQ(OK(write(ends.w, from + 8292, 3000)), 3000);
        CHECK_EQ(OK(write(ends.w, from + 11292, 50)), 50);
        CHECK_EQ(OK(read(ends.r, to, fits ? 20000 : 8232)), fits ? 8292 : 8232);
        check_painted(to, fits ? 8292 : 8232, 1);
        CHECK_EQ(OK(read(ends.r, to + 8292, 20000)), 3000);
        CHECK_EQ(OK(read(ends.r, to + 11292, 20000)), 50);
        CHECK_EQ(memcmp(to + 8292, from + 8292, 3050), 0);
    }
}

// A packet that fits behind the last bytes of a stream joins them.
TEST(body_packets_join_a_stream_before_them) {
    unsigned char *from = pages(ROOM), *to = pages(ROOM);
    paint(from, 9000, 1);
    struct pipe_ends ends = make_pipe(0);
    CHECK_EQ(OK(write(ends.w, from, 5000)), 5000);
    OK(fcntl(ends.w, F_SETFL, O_DIRECT));
    CHECK_EQ(OK(write(ends.w, from + 5000, 100)), 100);
    CHECK_EQ(OK(write(ends.w, from + 5100, 3000)), 3000);
    CHECK_EQ(OK(write(ends.w, from + 8100, 92)), 92);
    CHECK_EQ(OK(write(ends.w, from + 8192, 1)), 1);
    CHECK_EQ(OK(read(ends.r, to, 5040)), 5040);
    // The page is full, so this one is a packet.
    CHECK_EQ(OK(write(ends.w, from + 8193, 9)), 9);
    CHECK_EQ(OK(read(ends.r, to + 5040, 20000)), 8193 - 5040);
    check_painted(to, 8193, 1);
}

// One read takes bytes of many writes, and ends with a message that carries a file.
TEST(body_long_reads_end_with_a_file) {
    unsigned char *from = pages(ROOM), *to = pages(ROOM);
    paint(from, 60000, 1);
    int ends[2];
    OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    for (size_t done = 0; done < 30000; done += 6000)
        CHECK_EQ(OK(write(ends[0], from + done, 6000)), 6000);
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {from + 30000, 20000};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(header), &ends[0], sizeof(int));
    CHECK_EQ(OK(sendmsg(ends[0], &message, 0)), 20000);
    CHECK_EQ(OK(write(ends[0], from + 50000, 10000)), 10000);
    CHECK_EQ(OK(read(ends[1], to, 60000)), 50000);
    CHECK_EQ(OK(read(ends[1], to + 50000, 30000)), 10000);
    check_painted(to, 60000, 1);
}

struct family {
    unsigned char *bytes;
    struct pipe_ends go;
};

static void looks_at_what_it_inherited(void *arg) {
    struct family *f = arg;
    take_byte(f->go.r);
    check_painted(f->bytes, 40000, 1);
    // Its own copy does not reach the parent either.
    int fd = painted_file(40000, 3);
    CHECK_EQ(OK(pread(fd, f->bytes, 40000, 0)), 40000);
}

TEST(body_long_copies_do_not_reach_a_relative) {
    struct family f = {pages(ROOM), make_pipe(0)};
    paint(f.bytes, 40000, 1);
    pid_t child = fork_run(looks_at_what_it_inherited, &f);
    int fd = painted_file(40000, 2);
    CHECK_EQ(OK(pread(fd, f.bytes, 40000, 0)), 40000);
    put_byte(f.go.w);
    join_child(child);
    check_painted(f.bytes, 40000, 2);
}

TEST(body_long_copies_into_mappings_of_files) {
    for (int shared = 0; shared < 2; shared++) {
        int fd = painted_file(40000, 5), other = painted_file(40000, 6);
        int flags = shared ? MAP_SHARED : MAP_PRIVATE;
        unsigned char *map = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, flags, fd, 0), *seen = pages(ROOM);
        CHECK(map != MAP_FAILED);
        check_painted(map, 40000, 5); // mapped by reading
        CHECK_EQ(OK(pread(other, map, 40000, 0)), 40000);
        check_painted(map, 40000, 6);
        CHECK_EQ(OK(pread(fd, seen, 40000, 0)), 40000);
        check_painted(seen, 40000, shared ? 6 : 5);
    }
}

TEST(body_long_copies_of_a_file_onto_itself) {
    int fd = painted_file(40000, 4);
    unsigned char *map = mmap(NULL, 40000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    CHECK_EQ(OK(pwrite(fd, map, 40000, 0)), 40000);
    check_painted(map, 40000, 4);
    CHECK_EQ(OK(pread(fd, map, 40000, 0)), 40000);
    check_painted(map, 40000, 4);
}

TEST(body_long_writes_to_a_file_that_fault) {
    const size_t lens[] = {1, 100, PAGE, PAGE + 1, 5 * PAGE - 1, 17 * PAGE + 3}, offsets[] = {0, 100, PAGE};
    unsigned char *used = pages(ROOM); // Something for new pages of the file to hold by mistake.
    memset(used, 0xee, ROOM);
    OK(munmap(used, ROOM));
    unsigned char *end = pages(ROOM + PAGE) + ROOM, *seen = pages(ROOM);
    OK(munmap(end, PAGE));
    for (unsigned i = 0; i < sizeof lens / sizeof *lens; i++)
        for (unsigned j = 0; j < sizeof offsets / sizeof *offsets; j++) {
            size_t len = lens[i], offset = offsets[j];
            int fd = OK(memfd_create("copies", 0));
            paint(end - len, len, i);
            CHECK_EQ(OK(pwrite(fd, end - len, len + 2 * PAGE, (off_t)offset)), (ssize_t)len);
            CHECK_EQ(OK(lseek(fd, 0, SEEK_END)), (off_t)(offset + len));
            FAILS(pwrite(fd, end, 2 * PAGE, 0), EFAULT);
            OK(ftruncate(fd, ROOM));
            CHECK_EQ(OK(pread(fd, seen, ROOM, 0)), ROOM);
            check_filled(seen, offset, 0);
            check_painted(seen + offset, len, i);
            check_filled(seen + offset + len, ROOM - offset - len, 0);
            OK(close(fd));
        }
}

// Moves `len` bytes from one file to the other by the call of this number.
static void move_bytes(int call, int from, off_t at, int to, off_t target, size_t len) {
    OK(lseek(to, target, SEEK_SET));
    if (call == 0)
        while (len > 0)
            len -= (size_t)OK(sendfile(to, from, &at, len));
    else if (call == 1)
        while (len > 0)
            len -= (size_t)OK(copy_file_range(from, &at, to, NULL, len, 0));
    else {
        struct pipe_ends p = make_pipe(0);
        while (len > 0) {
            ssize_t got = OK(splice(from, &at, p.w, NULL, len, 0));
            for (ssize_t put = 0; put < got;)
                put += OK(splice(p.r, NULL, to, NULL, (size_t)(got - put), 0));
            len -= (size_t)got;
        }
        close(p.r);
        close(p.w);
    }
}

TEST(body_long_copies_between_files) {
    const size_t sources[] = {0, 1, PAGE - 1, PAGE + 904}, targets[] = {0, 1, PAGE + 1}, len = 17 * PAGE + 123;
    unsigned char *seen = pages(ROOM + ROOM), *all = pages(ROOM);
    int from = painted_file(ROOM, 5);
    paint(all, ROOM, 5);
    for (int call = 0; call < 3; call++)
        for (unsigned i = 0; i < sizeof sources / sizeof *sources; i++)
            for (unsigned j = 0; j < sizeof targets / sizeof *targets; j++) {
                int to = OK(memfd_create("copies", 0));
                move_bytes(call, from, (off_t)sources[i], to, (off_t)targets[j], len);
                CHECK_EQ(OK(pread(to, seen, ROOM + ROOM, 0)), (ssize_t)(targets[j] + len));
                check_filled(seen, targets[j], 0);
                CHECK_EQ(memcmp(seen + targets[j], all + sources[i], len), 0);
                OK(close(to));
            }
}

static _Atomic bool over;

static void *forks_again_and_again(void *unused) {
    (void)unused;
    while (!over) {
        pid_t child = fork();
        CHECK_GE(child, 0);
        if (child == 0)
            _exit(0);
        CHECK_EQ(wait_status(child), 0);
    }
    return NULL;
}

// What read(2) has put into a page stays there, although another thread's fork(2) shares and copies pages meanwhile.
TEST(body_long_copies_while_another_thread_forks) {
    unsigned char *to = pages(ROOM);
    int files[2] = {painted_file(60000, 1), painted_file(60000, 2)};
    pthread_t thread = thread_run(forks_again_and_again, NULL);
    for (unsigned round = 0; round < 40; round++) {
        CHECK_EQ(OK(pread(files[round % 2], to + 1, 60000, 0)), 60000);
        check_painted(to + 1, 60000, 1 + round % 2);
    }
    over = true;
    thread_join(thread);
}

static unsigned char *moving;

static void *maps_again_and_again(void *unused) {
    (void)unused;
    while (!over) {
        OK(madvise(moving, ROOM, MADV_DONTNEED));
        OK(mprotect(moving, ROOM / 2, PROT_READ));
        CHECK(mmap(moving, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == moving);
    }
    return NULL;
}

// Nobody knows how far such a copy gets; but it ends, and what it leaves alone is as it was.
TEST(body_long_copies_while_another_thread_unmaps) {
    unsigned char *around = pages(ROOM + 2 * PAGE);
    paint(around, PAGE, 1);
    paint(around + PAGE + ROOM, PAGE, 2);
    moving = around + PAGE;
    int fd = painted_file(60000, 3);
    pthread_t thread = thread_run(maps_again_and_again, NULL);
    for (unsigned round = 0; round < 100; round++) {
        ssize_t in = pread(fd, moving + 9, 60000, 0);
        CHECK(in > 0 || errno == EFAULT);
        ssize_t out = pwrite(fd, moving + 9, 60000, 60000);
        CHECK(out > 0 || errno == EFAULT);
    }
    over = true;
    thread_join(thread);
    check_painted(around, PAGE, 1);
    check_painted(around + PAGE + ROOM, PAGE, 2);
}
