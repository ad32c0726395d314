// SPDX-License-Identifier: MPL-2.0
//
// Runs the test programs of the manifest, one after the other, and counts.
//
//   runner [--dir DIR] [--group GROUP]... [--list] [--brief] [FILTER]
//
// FILTER is a part of "PROGRAM NAME": a program, a row ("row_21_"), a word of a name. DIR holds the programs and the
// manifest; it defaults to the runner's own. Groups default to all.
//
// Streams the lines of the programs, ends with "N passed, N failed, N skipped", and exits with 0 if none failed. A test
// that a program planned but did not answer for (a crash, a hang of the whole program) counts as failed. Needs few
// syscalls, so that it can judge a young kernel: open, read, write, pipe, fork, execve, wait4, kill, poll.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// The harness gives each test 60 s; silence for longer means that the harness itself hangs.
enum { SILENCE_MS = 90 * 1000, MAX_GROUPS = 8 };

static const char *directory, *filter, *groups[MAX_GROUPS];
static int group_count;
static bool list_only, brief;
static int passed, failed, skipped;

static void out(const char *text) {
    for (size_t length = strlen(text); length > 0;) {
        ssize_t n = write(1, text, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            exit(2);
        text += n;
        length -= (size_t)n;
    }
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

// What one program has said so far.
struct answers {
    int planned, given;
};

static void take_line(const char *line, struct answers *a) {
    if (starts_with(line, "plan ")) {
        a->planned = atoi(line + 5);
        return;
    }
    bool ok = starts_with(line, "ok "), bad = starts_with(line, "not ok "), skip = starts_with(line, "skip ");
    passed += ok;
    failed += bad;
    skipped += skip;
    a->given += ok || bad || skip;
    if (brief && ok)
        return;
    out(line);
    out("\n");
}

// Copies a program's output line by line until its end; false if it fell silent.
static bool follow(int fd, struct answers *a) {
    char buffer[2048];
    size_t length = 0;
    for (;;) {
        struct pollfd p = {fd, POLLIN, 0};
        int ready = poll(&p, 1, SILENCE_MS);
        if (ready == 0)
            return false;
        ssize_t n = read(fd, buffer + length, sizeof buffer - 1 - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        length += (size_t)n;
        buffer[length] = 0;
        char *line = buffer, *end;
        while ((end = strchr(line, '\n'))) {
            *end = 0;
            take_line(line, a);
            line = end + 1;
        }
        length = strlen(line);
        if (line == buffer && length == sizeof buffer - 1)
            length = 0; // a line without end is nobody's
        memmove(buffer, line, length + 1);
    }
    return true;
}

static pid_t start(const char *path, char *const arguments[], int output) {
    pid_t child = fork();
    if (child != 0)
        return child;
    dup2(output, 1);
    dup2(output, 2);
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, 0);
    for (int fd = 3; fd < 16; fd++)
        close(fd);
    execv(path, arguments);
    out("# cannot execute the program\n");
    _exit(127);
}

static void run_program(const char *program, const char *test_filter) {
    char path[512], text[256];
    snprintf(path, sizeof path, "%s/%s", directory, program);
    int ends[2];
    if (pipe(ends) < 0) {
        out("# the runner cannot make a pipe\n");
        failed++;
        return;
    }
    char *arguments[] = {path, (char *)test_filter, NULL};
    pid_t child = start(path, arguments, ends[1]);
    close(ends[1]);
    struct answers a = {-1, 0};
    bool ended = child > 0 && follow(ends[0], &a);
    if (!ended && child > 0)
        kill(child, SIGKILL);
    close(ends[0]);
    int status = -1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    int missing = a.planned < 0 ? 1 : a.planned - a.given;
    if (missing > 0) {
        snprintf(text, sizeof text, "not ok %d tests without an answer [%s]: %s, status 0x%x\n", missing, program,
                 ended ? "the program ended" : "the program fell silent", (unsigned)status);
        out(text);
        failed += missing;
    }
}

static bool group_selected(const char *group) {
    if (group_count == 0)
        return true;
    for (int i = 0; i < group_count; i++)
        if (strcmp(group, groups[i]) == 0)
            return true;
    return false;
}

// A filter that names a program selects it whole; any other goes to the programs, which look for it in test names.
static void visit(const char *group, const char *program) {
    bool whole = filter && strcmp(filter, program) == 0;
    if (!group_selected(group) && !whole)
        return;
    if (list_only) {
        char text[256];
        snprintf(text, sizeof text, "%s %s\n", group, program);
        out(text);
        return;
    }
    run_program(program, whole ? NULL : filter);
}

static bool is_program(const char *manifest, const char *name) {
    char wanted[128];
    snprintf(wanted, sizeof wanted, " %s\n", name);
    return strstr(manifest, wanted) != NULL;
}

static char *read_manifest(void) {
    static char text[8192];
    char path[512];
    snprintf(path, sizeof path, "%s/manifest", directory);
    int fd = open(path, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length < 0) {
        fprintf(stderr, "runner: cannot read %s: %s\n", path, strerror(errno));
        exit(2);
    }
    close(fd);
    text[length] = 0;
    return text;
}

static void parse(int argc, char **argv) {
    static char own[512];
    snprintf(own, sizeof own, "%s", argv[0]);
    char *slash = strrchr(own, '/');
    directory = slash ? (*slash = 0, own) : ".";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            directory = argv[++i];
        else if (strcmp(argv[i], "--group") == 0 && i + 1 < argc && group_count < MAX_GROUPS)
            groups[group_count++] = argv[++i];
        else if (strcmp(argv[i], "--list") == 0)
            list_only = true;
        else if (strcmp(argv[i], "--brief") == 0)
            brief = true;
        else if (argv[i][0] != '-' && !filter)
            filter = argv[i];
        else {
            fprintf(stderr, "usage: runner [--dir DIR] [--group GROUP]... [--list] [--brief] [FILTER]\n");
            exit(2);
        }
    }
}

// A shell that starts the runner in the background, or nohup, has it ignore signals, and programs inherit that.
static void forget_inherited_signals(void) {
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv) {
    parse(argc, argv);
    forget_inherited_signals();
    char *manifest = read_manifest();
    bool one_program = filter && is_program(manifest, filter);
    for (char *line = manifest, *end; (end = strchr(line, '\n')); line = end + 1) {
        char group[32], program[64];
        if (*line == '#' || sscanf(line, "%31s %63s", group, program) != 2)
            continue;
        if (!one_program || strcmp(filter, program) == 0)
            visit(group, program);
    }
    if (list_only)
        return 0;
    char text[128];
    snprintf(text, sizeof text, "%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    out(text);
    return failed != 0 || passed == 0;
}
