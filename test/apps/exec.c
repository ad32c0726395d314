// SPDX-License-Identifier: MPL-2.0
//
// execve(2): arguments, environment, auxiliary vector, scripts, descriptors, what is kept and what not, errors.
#include "harness.h"

#include <elf.h>
#include <limits.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

// This program executes itself under these names; a constructor sees the name before `main` of the harness does and says
// what the new program was given.
static void tell(int argc, char **argv, char **environment);

__attribute__((constructor(101))) static void told_to(int argc, char **argv, char **environment) {
    if (argc > 0 && strcmp(argv[0], "tell") == 0)
        tell(argc, argv, environment);
    if (argc > 1 && strcmp(argv[1], "tell") == 0) // as a script's interpreter
        tell(argc, argv, environment);
    if (argc > 0 && !argv[0][0]) // executed without arguments
        tell(argc, argv, environment);
}

static char answer[65536];

static void tell(int argc, char **argv, char **environment) {
    char *at = answer;
    for (int i = 0; i < argc; i++)
        at += sprintf(at, "arg %.300s\n", argv[i]);
    for (int i = 0; environment[i]; i++)
        at += sprintf(at, "env %.300s\n", environment[i]);
    for (int fd = 3; fd < 40; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            at += sprintf(at, "fd %d\n", fd);
    sigset_t mask, pending;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigpending(&pending);
    struct sigaction usr1, usr2;
    sigaction(SIGUSR1, NULL, &usr1);
    sigaction(SIGUSR2, NULL, &usr2);
    at += sprintf(at, "blocked %d pending %d usr1 %d usr2 %d\n", sigismember(&mask, SIGHUP), sigismember(&pending, SIGHUP),
                  usr1.sa_handler == SIG_DFL, usr2.sa_handler == SIG_IGN);
    for (int fd = 24; fd < 26; fd++) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_OFD_GETLK, &lock) == 0)
            at += sprintf(at, "lock %d %d\n", fd, lock.l_type != F_UNLCK);
    }
    at += sprintf(at, "pid %d\n", getpid());
    const char *name = (const char *)getauxval(AT_EXECFN);
    at += sprintf(at, "execfn %s\n", name ? name : "?");
    ssize_t written = write(1, answer, (size_t)(at - answer));
    _exit(written == at - answer ? 0 : 99);
}

static const char *own_path(void) {
    static char path[200];
    if (!path[0])
        path[OK(readlink("/proc/self/exe", path, sizeof path - 1))] = 0;
    return path;
}

// Executes in a child whose standard output is read; the answer, and the child's pid.
static pid_t ask(const char *path, char *const argv[], char *const environment[], void (*before)(void)) {
    struct pipe_ends p = make_pipe(O_CLOEXEC);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(dup2(p.w, 1));
        if (before)
            before();
        execve(path, argv, environment);
        check_failed(__FILE__, __LINE__, "execve: %s", errno_name(errno));
    }
    OK(close(p.w));
    size_t length = 0;
    ssize_t n;
    while ((n = OK(read(p.r, answer + length, sizeof answer - 1 - length))) > 0)
        length += (size_t)n;
    answer[length] = 0;
    OK(close(p.r));
    int status = wait_status(child);
    if (status)
        check_failed(__FILE__, __LINE__, "status 0x%x, answer %s", (unsigned)status, answer);
    return child;
}

static void expect(const char *line) {
    if (!strstr(answer, line))
        check_failed(__FILE__, __LINE__, "no \"%s\" in: %s", line, answer);
}

static void expect_not(const char *line) {
    if (strstr(answer, line))
        check_failed(__FILE__, __LINE__, "\"%s\" in: %s", line, answer);
}

static char *const no_environment[] = {NULL};
static char *const just_tell[] = {"tell", NULL};

TEST(body_exec_arguments_and_environment) {
    char *const arguments[] = {"tell", "one", "", "with space", NULL};
    char *const environment[] = {"A=1", "EMPTY=", "odd", NULL};
    pid_t child = ask(own_path(), arguments, environment, NULL);
    expect("arg tell\narg one\narg \narg with space\nenv A=1\nenv EMPTY=\nenv odd\n");
    char line[700];
    snprintf(line, sizeof line, "pid %d\n", child);
    expect(line);
    snprintf(line, sizeof line, "execfn %s\n", own_path());
    expect(line);
}

TEST(body_exec_auxiliary_vector) {
    CHECK_EQ(getauxval(AT_PAGESZ), 4096);
    const Elf64_Phdr *headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
    CHECK(headers);
    CHECK_EQ(getauxval(AT_PHENT), sizeof(Elf64_Phdr));
    CHECK_GT(getauxval(AT_PHNUM), 2);
    bool loads_entry = false;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
        loads_entry |= headers[i].p_type == PT_LOAD && (headers[i].p_flags & PF_X);
    CHECK(loads_entry);
    CHECK_NE(getauxval(AT_ENTRY), 0);
    CHECK_EQ(getauxval(AT_UID), getuid());
    CHECK_EQ(getauxval(AT_EUID), geteuid());
    CHECK_EQ(getauxval(AT_GID), getgid());
    CHECK_EQ(getauxval(AT_SECURE), 0);
    CHECK_EQ(getauxval(AT_CLKTCK), 100);
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    CHECK(random);
    unsigned sum = 0;
    for (int i = 0; i < 16; i++)
        sum += random[i];
    CHECK_GT(sum, 0);
    CHECK(strcmp((const char *)getauxval(AT_PLATFORM), "x86_64") == 0);
}

static void open_some(void) {
    OK(dup2(1, 20));
    OK(dup3(1, 21, O_CLOEXEC));
    OK(dup2(1, 22));
    OK(fcntl(22, F_SETFD, FD_CLOEXEC));
}

TEST(body_exec_closes_what_is_marked) {
    ask(own_path(), just_tell, no_environment, open_some);
    expect("fd 20\n");
    expect_not("fd 21\n");
    expect_not("fd 22\n");
}

// The file `fd` and another description of it, `other`, with a record lock.
static void lock_file(int fd, int other) {
    char path[] = "/tmp/exec-lock-XXXXXX", by_fd[40];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    OK(dup2((int)OK(mkstemp(path)), fd));
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
    OK(dup2((int)OK(open(by_fd, O_RDWR | O_CLOEXEC)), other));
    OK(unlink(path));
    OK(fcntl(fd, F_SETLK, &lock));
}

static void lock_two(void) {
    lock_file(20, 24);
    lock_file(21, 25);
    // The descriptors of mkstemp would end the locks, too.
    for (int fd = 3; fd < 20; fd++)
        OK(fcntl(fd, F_GETFD) < 0 ? 0 : fcntl(fd, F_SETFD, 0));
    OK(fcntl(21, F_SETFD, FD_CLOEXEC));
}

TEST(body_exec_keeps_record_locks_of_what_stays_open) {
    ask(own_path(), just_tell, no_environment, lock_two);
    expect("lock 24 1\n");
    expect("lock 25 0\n");
}

static void prepare_signals(void) {
    count_signal(SIGUSR1, 0);
    CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    OK(sigprocmask(SIG_BLOCK, &set, NULL));
    OK(raise(SIGHUP));
}

TEST(body_exec_keeps_mask_pending_and_ignored) {
    ask(own_path(), just_tell, no_environment, prepare_signals);
    expect("blocked 1 pending 1 usr1 1 usr2 1\n");
}

static void *wait_forever(void *arg) {
    for (;;)
        pause();
    return arg;
}

static void start_threads(void) {
    for (int i = 0; i < 3; i++)
        thread_run(wait_forever, NULL);
}

TEST(body_exec_ends_the_other_threads) {
    pid_t child = ask(own_path(), just_tell, no_environment, start_threads);
    char line[40];
    snprintf(line, sizeof line, "pid %d\n", child);
    expect(line);
}

static void *exec_from_here(void *arg) {
    execve(own_path(), just_tell, no_environment);
    return arg;
}

static void exec_in_a_thread(void) {
    thread_run(exec_from_here, NULL);
    for (;;)
        pause();
}

TEST(body_exec_in_another_thread_takes_the_identity) {
    pid_t child = ask(own_path(), just_tell, no_environment, exec_in_a_thread);
    char line[40];
    snprintf(line, sizeof line, "pid %d\n", child);
    expect(line);
}

static const char *make_script(const char *name, const char *text, mode_t mode) {
    const char *path = temp_path(name);
    int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700));
    CHECK_EQ(OK(write(fd, text, strlen(text))), strlen(text));
    OK(fchmod(fd, mode));
    OK(close(fd));
    return path;
}

TEST(body_exec_of_a_script) {
    char text[PATH_MAX + 20], line[700];
    snprintf(text, sizeof text, "#! %s tell\nanything\n", own_path());
    const char *script = make_script("script", text, 0700);
    char *const arguments[] = {"ignored", "a1", "a2", NULL};
    ask(script, arguments, no_environment, NULL);
    // Interpreter, its one argument, the script, the arguments from the second on.
    snprintf(line, sizeof line, "arg %s\narg tell\narg %.90s\narg a1\narg a2\n", own_path(), script);
    expect(line);
}

TEST(body_exec_of_a_script_passes_one_argument_whole) {
    char text[PATH_MAX + 40];
    snprintf(text, sizeof text, "#!%s \t two words \n", own_path());
    // Not "tell", so the harness runs: it lists no test of that name and plans none.
    const char *script = make_script("script", text, 0700);
    struct pipe_ends p = make_pipe(O_CLOEXEC);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(dup2(p.w, 1));
        execve(script, just_tell, no_environment);
        _exit(98);
    }
    OK(close(p.w));
    char out[20] = "";
    CHECK_GT(OK(read(p.r, out, sizeof out - 1)), 0);
    CHECK(strcmp(out, "plan 0\n") == 0);
    CHECK_EQ(wait_status(child), 0);
}

TEST(body_exec_of_a_script_of_a_script) {
    char text[PATH_MAX + 20], line[700];
    snprintf(text, sizeof text, "#!%s tell\n", own_path());
    const char *inner = make_script("inner", text, 0700);
    snprintf(text, sizeof text, "#!%s\n", inner);
    const char *outer = make_script("outer", text, 0700);
    ask(outer, just_tell, no_environment, NULL);
    snprintf(line, sizeof line, "arg %s\narg tell\narg %s\narg %s\n", own_path(), inner, outer);
    expect(line);
    const char *self = temp_path("self");
    snprintf(text, sizeof text, "#!%s\n", self);
    make_script("self", text, 0700);
    FAILS(execve(self, just_tell, no_environment), ELOOP);
}

TEST(body_exec_errors) {
    FAILS(execve(temp_path("none"), just_tell, no_environment), ENOENT);
    FAILS(execve("", just_tell, no_environment), ENOENT);
    FAILS(execve(temp_dir(), just_tell, no_environment), EACCES);
    FAILS(execve(make_script("not-executable", "#!/bin/sh\n", 0600), just_tell, no_environment), EACCES);
    FAILS(execve(make_script("text", "hello\n", 0700), just_tell, no_environment), ENOEXEC);
    FAILS(execve(make_script("empty", "", 0700), just_tell, no_environment), ENOEXEC);
    FAILS(execve(make_script("lost", "#!/no/such/interpreter\n", 0700), just_tell, no_environment), ENOENT);
    FAILS(execve(make_script("nothing", "#!\n", 0700), just_tell, no_environment), ENOEXEC);
    FAILS(execve(make_script("below", "x", 0700), just_tell, no_environment), ENOEXEC);
    FAILS(execve(temp_path("below/x"), just_tell, no_environment), ENOTDIR);
    FAILS(syscall(SYS_execve, BAD_POINTER, just_tell, no_environment), EFAULT);
    FAILS(syscall(SYS_execve, own_path(), BAD_POINTER, no_environment), EFAULT);
    FAILS(syscall(SYS_execve, own_path(), just_tell, BAD_POINTER), EFAULT);
    char *const bad_argument[] = {"tell", BAD_POINTER, NULL};
    FAILS(syscall(SYS_execve, own_path(), bad_argument, no_environment), EFAULT);
}

TEST(body_exec_of_a_broken_elf) {
    Elf64_Ehdr header;
    int own = (int)OK(open("/proc/self/exe", O_RDONLY));
    CHECK_EQ(OK(read(own, &header, sizeof header)), sizeof header);
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segment;
    } file = {.header = header};
    const char *path = temp_path("elf");
    for (int broken = 0; broken < 6; broken++) {
        file.header = header;
        size_t size = sizeof file;
        switch (broken) {
        case 0:
            file.header.e_machine = EM_ARM;
            break;
        case 1:
            file.header.e_phoff = 1ul << 40;
            break;
        case 2:
            file.header.e_phentsize = 7;
            break;
        case 3:
            file.header.e_phnum = 0;
            break;
        case 4:
            size = 20;
            break;
        default:
            file.header.e_type = ET_REL;
        }
        int fd = (int)OK(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700));
        OK(write(fd, &file, size));
        OK(close(fd));
        long result = execve(path, just_tell, no_environment);
        CHECK_EQ(result, -1);
        CHECK(errno == ENOEXEC || errno == EIO || errno == EINVAL || errno == ELIBBAD);
    }
}

TEST(body_exec_too_much) {
    // One string of more than 32 pages.
    char *large = malloc(140000);
    memset(large, 'a', 140000);
    large[139999] = 0;
    char *const one[] = {"tell", large, NULL};
    FAILS(execve(own_path(), one, no_environment), E2BIG);
    // More than a quarter of the stack's limit in total.
    OK(setrlimit(RLIMIT_STACK, &(struct rlimit){8 << 20, 8 << 20}));
    large[100000] = 0;
    char *many[32];
    many[0] = "tell";
    for (int i = 1; i < 31; i++)
        many[i] = large;
    many[31] = NULL;
    FAILS(execve(own_path(), many, no_environment), E2BIG);
    many[10] = NULL;
    ask(own_path(), many, no_environment, NULL); // a million bytes are fine
    expect("arg tell\narg aaaa");
}

TEST(body_exec_without_arguments) {
    // Since Linux 5.18 an empty argument list becomes one empty string.
    char *const nothing[] = {NULL}, *const list[] = {"LIST=1", NULL};
    ask(own_path(), nothing, list, NULL);
    expect("arg \nenv LIST=1\n");
    ask(own_path(), NULL, list, NULL);
    expect("arg \nenv LIST=1\n");
}

TEST(body_execveat) {
    int directory = (int)OK(open(temp_dir(), O_RDONLY | O_DIRECTORY));
    int self = (int)OK(open(own_path(), O_RDONLY | O_CLOEXEC));
    struct pipe_ends p = make_pipe(O_CLOEXEC);
    pid_t child = (pid_t)OK(fork());
    if (child == 0) {
        OK(dup2(p.w, 1));
        syscall(SYS_execveat, self, "", just_tell, no_environment, AT_EMPTY_PATH);
        _exit(96);
    }
    CHECK_EQ(wait_status(child), 0);
    answer[OK(read(p.r, answer, sizeof answer - 1))] = 0;
    expect("arg tell\n");
    FAILS(syscall(SYS_execveat, directory, "none", just_tell, no_environment, 0), ENOENT);
}

TEST(body_exec_after_vfork) {
    struct pipe_ends p = make_pipe(O_CLOEXEC);
    const char *path = own_path();
    pid_t child = vfork();
    if (child == 0) {
        dup2(p.w, 1);
        execve(path, just_tell, no_environment);
        _exit(95);
    }
    CHECK_EQ(wait_status(child), 0);
    answer[OK(read(p.r, answer, sizeof answer - 1))] = 0;
    expect("arg tell\n");
}

TEST(body_exec_a_busy_text_file) {
    char copy_from[PATH_MAX];
    snprintf(copy_from, sizeof copy_from, "%s", own_path());
    const char *path = temp_path("busy");
    int from = (int)OK(open(copy_from, O_RDONLY)), to = (int)OK(open(path, O_WRONLY | O_CREAT, 0700));
    static char block[65536];
    ssize_t n;
    while ((n = OK(read(from, block, sizeof block))) > 0)
        CHECK_EQ(OK(write(to, block, (size_t)n)), n);
    FAILS(execve(path, just_tell, no_environment), ETXTBSY); // open for writing
    OK(close(to));
    ask(path, just_tell, no_environment, NULL);
}
