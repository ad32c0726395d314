// SPDX-License-Identifier: MPL-2.0
//
// Random calls on random files, the same ones for the same seed on every kernel: what one answers and another does not is a
// difference. run.sh compares them.
//
//   differ FIRST COUNT STEPS        a line for each seed: its number, and for each step four digits of a hash of all answers so far
//   differ --show SEED STEPS        every call and its answer
//
// One thread, nothing blocks: the answers depend on nothing but the seed. Where Linux leaves something open (how much fits into a
// socket's buffer, what Nagle's algorithm holds back) the program does not go.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// --- answers ----------------------------------------------------------------------------------------------------------

static bool is_shown;
static uint64_t hash;
// The step under way.
static long now;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    for (const char *c = line; *c != 0; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
    if (is_shown) {
        static bool is_open;
        if (!is_open)
            printf("%4ld ", now);
        fputs(line, stdout);
        is_open = line[strlen(line) - 1] != '\n';
    }
}

// A result as text: the number, or the error's.
static const char *answer(long result) {
    static char texts[4][32];
    static int next;
    char *text = texts[next++ % 4];
    if (result < 0)
        snprintf(text, sizeof texts[0], "-%s", strerrorname_np(errno));
    else
        snprintf(text, sizeof texts[0], "%ld", result);
    return text;
}

// --- chance -----------------------------------------------------------------------------------------------------------

static uint64_t state;

static uint64_t chance(uint64_t below) {
    state += 0x9e3779b97f4a7c15;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

#define ONE_OF(array) (array)[chance(sizeof(array) / sizeof *(array))]

// --- files ------------------------------------------------------------------------------------------------------------

enum kind { PIPE, EVENT, STREAM, DATAGRAM, PACKET, TCP, UDP, LISTENER, EPOLL, TIMER, SIGNAL, FIFO, PLAIN, KINDS };
static const char *const names[] = {"pipe", "event", "stream", "datagram", "packet", "tcp", "udp",
                                    "listener", "epoll", "timer", "signal", "fifo", "plain"};

enum { SLOTS = 20, ROOM = 1 << 15 };
struct file {
    int fd;
    enum kind kind;
    // What was written to it, over its life: sockets take no more than ROOM.
    long written;
};
static struct file files[SLOTS];
static int count;
static uint64_t next_data;

static void keep(int fd, enum kind kind) {
    if (fd < 0)
        return;
    if (count == SLOTS)
        close(fd);
    else
        files[count++] = (struct file){fd, kind, 0};
}

static void made(const char *how, long result, int first, int second, enum kind kind) {
    say("%s %s: %s (%d, %d)\n", how, names[kind], answer(result), first, second);
    keep(first, kind);
    keep(second, kind);
}

static int listener(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    // Inherited by what is accepted.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (fd >= 0 && (bind(fd, (void *)&address, sizeof address) != 0 || listen(fd, 8) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

// A socket that connects to a listener, without waiting.
static int connecting(int to) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (getsockname(to, (void *)&address, &length) != 0)
        say("getsockname: %s\n", answer(-1));
    else
        say("connect %d to %d: %s\n", fd, to, answer(connect(fd, (void *)&address, length)));
    return fd;
}

static void make_file(void) {
    enum kind kind = (enum kind)chance(KINDS);
    int fds[2] = {-1, -1};
    long result = -1;
    switch (kind) {
    case PIPE:
        result = pipe2(fds, O_NONBLOCK | (chance(5) == 0 ? O_DIRECT : 0));
        break;
    case EVENT:
        result = fds[0] = eventfd((unsigned)chance(3), EFD_NONBLOCK | (chance(2) ? EFD_SEMAPHORE : 0));
        break;
    case STREAM:
    case DATAGRAM:
    case PACKET: {
        static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
        result = socketpair(AF_UNIX, types[kind - STREAM] | SOCK_NONBLOCK, 0, fds);
        break;
    }
    case TCP: {
        int from = listener();
        fds[0] = connecting(from);
        result = fds[1] = accept4(from, NULL, NULL, SOCK_NONBLOCK);
        close(from);
        break;
    }
    case UDP: {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        for (int i = 0; i < 2; i++) {
            fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
            result = bind(fds[i], (void *)&address, sizeof address);
        }
        for (int i = 0; i < 2; i++) {
            getsockname(fds[!i], (void *)&address, &length);
            result = connect(fds[i], (void *)&address, sizeof address);
        }
        break;
    }
    case LISTENER:
        result = fds[0] = listener();
        break;
    case EPOLL:
        result = fds[0] = epoll_create1(0);
        break;
    case TIMER:
        result = fds[0] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
        break;
    case SIGNAL: {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, chance(2) ? SIGUSR1 : SIGUSR2);
        result = fds[0] = signalfd(-1, &set, SFD_NONBLOCK);
        break;
    }
    case FIFO: {
        char name[] = "/tmp/differ.XXXXXX";
        close(mkstemp(name));
        unlink(name);
        result = mkfifo(name, 0600);
        fds[0] = open(name, (chance(4) == 0 ? O_RDWR : O_RDONLY) | O_NONBLOCK);
        fds[1] = open(name, O_WRONLY | O_NONBLOCK);
        unlink(name);
        break;
    }
    default:
        result = fds[0] = open(chance(2) ? "/dev/null" : "/dev/zero", O_RDWR | O_NONBLOCK);
        break;
    }
    made("make", result, fds[0], fds[1], kind);
}

static struct file *any(void) { return count == 0 ? NULL : &files[chance((uint64_t)count)]; }

static struct file *any_of(enum kind kind) {
    struct file *found = NULL;
    uint64_t seen = 0;
    for (int i = 0; i < count; i++)
        if (files[i].kind == kind && chance(++seen) == 0)
            found = &files[i];
    return found;
}

static bool is_socket(enum kind kind) { return kind >= STREAM && kind <= UDP; }

// --- calls ------------------------------------------------------------------------------------------------------------

static void close_one(struct file *file) {
    say("close %d: %s\n", file->fd, answer(close(file->fd)));
    *file = files[--count];
}

static void duplicate(struct file *file) {
    int fd = dup(file->fd);
    say("dup %d: %s\n", file->fd, answer(fd));
    if (fd >= 0 && count < SLOTS) {
        struct file copy = *file;
        copy.fd = fd;
        copy.written = ROOM / 2 + file->written / 2;
        files[count++] = copy;
    } else if (fd >= 0) {
        close(fd);
    }
}

static char buffer[1 << 18];

static void put(struct file *file) {
    static const long lengths[] = {0, 1, 3, 100, 4096, 5000, 65536, 100000};
    static const uint64_t values[] = {0, 1, 2, 5, UINT64_MAX - 1, UINT64_MAX, UINT64_MAX - 3};
    long length = ONE_OF(lengths), result;
    if (file->kind == EVENT) {
        uint64_t value = ONE_OF(values);
        length = chance(8) == 0 ? 4 : 8;
        say("write %d %ld bytes %llx: %s\n", file->fd, length, (long long)value,
            answer(write(file->fd, &value, (size_t)length)));
        return;
    }
    if (file->kind == PIPE || file->kind == FIFO) {
        // On Linux a write that fails for want of room is an edge for who reads.
        struct pollfd poll_fd = {file->fd, POLLOUT, 0};
        if (poll(&poll_fd, 1, 0) == 0)
            return;
    }
    if (is_socket(file->kind)) {
        length %= 5000;
        if (file->written + length > ROOM)
            return;
    }
    memset(buffer, (int)chance(256), (size_t)length);
    result = write(file->fd, buffer, (size_t)length);
    say("write %d %ld: %s\n", file->fd, length, answer(result));
    if (result > 0)
        file->written += result;
}

static uint64_t sum(long length) {
    uint64_t sum = 0;
    for (long i = 0; i < length; i++)
        sum = sum * 31 + (unsigned char)buffer[i];
    return sum;
}

static void get(struct file *file) {
    static const size_t lengths[] = {0, 1, 2, 8, 100, 4096, 10000, 1 << 18};
    size_t length = ONE_OF(lengths);
    if (file->kind == SIGNAL) {
        struct signalfd_siginfo info[2] = {{0}, {0}};
        long result = read(file->fd, info, length > 100 ? sizeof info : sizeof *info);
        say("read signals %d: %s %u %u\n", file->fd, answer(result), info[0].ssi_signo, info[1].ssi_signo);
        return;
    }
    if (file->kind == PLAIN)
        length %= 5000;
    long result = read(file->fd, buffer, length);
    say("read %d %zu: %s", file->fd, length, answer(result));
    say(" %llx\n", (unsigned long long)(result > 0 ? sum(result) : 0));
}

static void receive(struct file *file) {
    static const int flags[] = {MSG_PEEK, MSG_TRUNC, MSG_PEEK | MSG_TRUNC, MSG_OOB, MSG_WAITALL, 0};
    static const size_t lengths[] = {0, 1, 10, 5000};
    size_t length = ONE_OF(lengths);
    int flag = ONE_OF(flags);
    // What a stream discards by MSG_TRUNC and whether it tells of the rest differs by the kind; its bytes are not copied.
    long result = recv(file->fd, buffer, length, flag | MSG_DONTWAIT);
    say("recv %d %zu %x: %s", file->fd, length, (unsigned)flag, answer(result));
    bool has_bytes = result > 0 && (flag & MSG_TRUNC) == 0;
    say(" %llx\n", (unsigned long long)(has_bytes ? sum(result) : 0));
}

static void send_urgent(struct file *file) {
    if (file->kind != TCP || file->written >= ROOM)
        return;
    file->written += 1;
    say("send urgent %d: %s\n", file->fd, answer(send(file->fd, "!", 1, MSG_OOB | MSG_NOSIGNAL)));
}

static void shut(struct file *file) {
    int how = (int)chance(4);
    say("shutdown %d %d: %s\n", file->fd, how, answer(shutdown(file->fd, how)));
}

static void ask(struct file *file) {
    int number = -1;
    long result = ioctl(file->fd, FIONREAD, &number);
    say("FIONREAD %d: %s %d\n", file->fd, answer(result), number);
    if (file->kind == PIPE || file->kind == FIFO) {
        static const int sizes[] = {1, 4096, 5000, 8192, 65536, 1 << 18};
        int size = ONE_OF(sizes);
        say("F_SETPIPE_SZ %d %d: %s\n", file->fd, size, answer(fcntl(file->fd, F_SETPIPE_SZ, size)));
        say("F_GETPIPE_SZ %d: %s\n", file->fd, answer(fcntl(file->fd, F_GETPIPE_SZ)));
    } else if (is_socket(file->kind)) {
        int error = -1;
        socklen_t length = sizeof error;
        result = getsockopt(file->fd, SOL_SOCKET, SO_ERROR, &error, &length);
        say("SO_ERROR %d: %s %d\n", file->fd, answer(result), error);
        if (chance(3) == 0) {
            static const int marks[] = {0, 1, 2, 50, 3000};
            int mark = ONE_OF(marks);
            result = setsockopt(file->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark);
            say("SO_RCVLOWAT %d %d: %s\n", file->fd, mark, answer(result));
        }
    } else if (file->kind == TIMER) {
        // One-shot and over when the call returns, or disarmed.
        struct itimerspec when = {.it_value.tv_nsec = chance(3) == 0 ? 0 : 1};
        say("timerfd_settime %d %ld: %s\n", file->fd, when.it_value.tv_nsec,
            answer(timerfd_settime(file->fd, 0, &when, NULL)));
        nanosleep(&(struct timespec){0, 3000000}, NULL);
    } else if (file->kind == SIGNAL) {
        int signal = chance(2) ? SIGUSR1 : SIGUSR2;
        say("kill %d: %s\n", signal, answer(kill(getpid(), signal)));
    }
}

static void meet(struct file *file) {
    if (file->kind != LISTENER)
        return;
    if (chance(2) == 0) {
        keep(connecting(file->fd), TCP);
    } else {
        int fd = accept4(file->fd, NULL, NULL, SOCK_NONBLOCK);
        say("accept %d: %s\n", file->fd, answer(fd));
        keep(fd, TCP);
    }
}

static const uint32_t bits[] = {EPOLLIN, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLPRI, EPOLLHUP, EPOLLRDNORM,
                                EPOLLWRNORM, EPOLLRDBAND, EPOLLWRBAND, EPOLLIN | EPOLLOUT};

static void control(struct file *epoll, struct file *file) {
    static const uint32_t modes[] = {0, 0, 0, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLET | EPOLLONESHOT, EPOLLEXCLUSIVE,
                                     EPOLLWAKEUP};
    static const int operations[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_MOD,
                                     EPOLL_CTL_DEL, 9};
    int operation = ONE_OF(operations);
    struct epoll_event event = {.events = ONE_OF(modes), .data.u64 = ++next_data};
    for (uint64_t n = chance(3); n > 0 || event.events == 0; n -= n > 0)
        event.events |= ONE_OF(bits);
    // On Linux whatever comes to a socket is an edge for who waits for one of these.
    if (event.events & EPOLLET)
        event.events &= ~(uint32_t)(EPOLLRDBAND | EPOLLPRI);
    // On Linux each datagram that is sent is an edge, room or not.
    if (file->kind == UDP && (event.events & EPOLLET))
        event.events &= ~(uint32_t)(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
    // On Linux an epoll tells those who watch it of EPOLLIN only.
    if (file->kind == EPOLL && (event.events & EPOLLRDNORM))
        event.events |= EPOLLIN;
    uint32_t wanted = event.events;
    long result = epoll_ctl(epoll->fd, operation, file->fd, &event);
    say("epoll_ctl %d %d %d (%s) %x %llu: %s\n", epoll->fd, operation, file->fd, names[file->kind], wanted,
        (unsigned long long)next_data, answer(result));
}

static void wait_for_events(struct file *epoll) {
    struct epoll_event events[16];
    int most = 1 + (int)chance(16);
    int ready = epoll_wait(epoll->fd, events, most, 0);
    say("epoll_wait %d %d: %s", epoll->fd, most, answer(ready));
    for (int i = 0; i < ready; i++)
        say(" [%llu %x]", (unsigned long long)events[i].data.u64, events[i].events);
    say("\n");
}

static void poll_all(void) {
    static const short wanted[] = {POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI, POLLRDHUP | POLLIN, 0,
                                   POLLRDNORM | POLLWRNORM, POLLRDBAND | POLLWRBAND, 0x7fff};
    struct pollfd fds[SLOTS];
    for (int i = 0; i < count; i++)
        fds[i] = (struct pollfd){files[i].fd, ONE_OF(wanted), 0};
    say("poll %d: %s", count, answer(poll(fds, (nfds_t)count, 0)));
    for (int i = 0; i < count; i++)
        say(" %d:%s:%x:%x", files[i].fd, names[files[i].kind], (unsigned short)fds[i].events, (unsigned short)fds[i].revents);
    say("\n");
}

static void select_all(void) {
    fd_set sets[3];
    for (int n = 0; n < 3; n++) {
        FD_ZERO(&sets[n]);
        for (int i = 0; i < count; i++)
            if (chance(2))
                FD_SET(files[i].fd, &sets[n]);
    }
    say("select: %s", answer(select(64, &sets[0], &sets[1], &sets[2], &(struct timeval){0, 0})));
    for (int i = 0; i < count; i++)
        say(" %d:%d%d%d", files[i].fd, !!FD_ISSET(files[i].fd, &sets[0]), !!FD_ISSET(files[i].fd, &sets[1]),
            !!FD_ISSET(files[i].fd, &sets[2]));
    say("\n");
}

// --- a run ------------------------------------------------------------------------------------------------------------

static void step(void) {
    struct file *file = any(), *epoll = any_of(EPOLL);
    uint64_t what = chance(100);
    if (file == NULL || (what < 14 && count < SLOTS - 2))
        make_file();
    else if (what < 17)
        close_one(file);
    else if (what < 19)
        duplicate(file);
    else if (what < 34)
        put(file);
    else if (what < 48)
        get(file);
    else if (what < 51 && is_socket(file->kind))
        receive(file);
    else if (what < 53)
        send_urgent(file);
    else if (what < 55)
        shut(file);
    else if (what < 60)
        ask(file);
    else if (what < 64)
        meet(file);
    else if (what < 80 && epoll != NULL)
        control(epoll, file);
    else if (what < 92 && epoll != NULL)
        wait_for_events(epoll);
    else if (what < 96)
        poll_all();
    else
        select_all();
}

// All answers so far, in four digits.
static void print_digest(void) {
    if (!is_shown)
        printf("%04x", (unsigned)(hash & 0xffff));
}

static void run(uint64_t seed, long steps) {
    hash = 0xcbf29ce484222325;
    state = seed;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (now = 0; now < steps; now++) {
        step();
        print_digest();
    }
    // What nobody has asked for yet.
    poll_all();
    for (int i = 0; i < count; i++)
        if (files[i].kind == EPOLL)
            wait_for_events(&files[i]);
    print_digest();
    printf("\n");
}

// A bare Linux has no loopback until it is switched on. Who may not finds it on.
static void switch_loopback_on(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
        request.ifr_flags |= IFF_UP;
        (void)ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

int main(int argc, char **argv) {
    close_range(3, ~0u, 0);
    switch_loopback_on();
    if (argc != 4) {
        fprintf(stderr, "usage: differ FIRST COUNT STEPS | differ --show SEED STEPS\n");
        return 2;
    }
    if (strcmp(argv[1], "--show") == 0) {
        is_shown = true;
        run(strtoull(argv[2], NULL, 0), atol(argv[3]));
        return 0;
    }
    uint64_t first = strtoull(argv[1], NULL, 0), seeds = strtoull(argv[2], NULL, 0);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        fflush(stdout);
        // A process of its own: descriptors, signals and buffers are fresh.
        pid_t child = fork();
        if (child == 0) {
            printf("%llu ", (unsigned long long)seed);
            run(seed, atol(argv[3]));
            fflush(stdout);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            printf("%llu died: %x\n", (unsigned long long)seed, (unsigned)status);
    }
    return 0;
}
