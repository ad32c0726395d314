// SPDX-License-Identifier: MPL-2.0
//
// The program side of the harness: registration, one child per test, the watchdog, and `main`.
//
// Output, one line per event, read by `runner`:
//   plan N                         first line: N tests follow
//   ok row 21 level_... [program]
//   not ok row 22 edge_... [program]
//   skip body name [program]: reason
//   # detail of a failure, before its "not ok"
#include "harness.h"

#include <stdarg.h>
#include <sys/resource.h>

enum { MAX_TESTS = 256, SKIPPED = 77 };

// Against hangs only, so generous; WATCHDOG_SECONDS in the environment shortens it where hangs are expected (mutants).
static unsigned watchdog_seconds(void) {
    const char *text = getenv("WATCHDOG_SECONDS");
    int seconds = text ? atoi(text) : 0;
    return seconds > 0 ? (unsigned)seconds : 60;
}

struct test {
    const char *name;
    test_fn *fn;
    const char *file;
    int line;
};

static struct test tests[MAX_TESTS];
static int test_count;
static const struct test *current;
static const char *program;

void harness_register(const char *name, test_fn *fn, const char *file, int line) {
    if (test_count == MAX_TESTS)
        abort();
    tests[test_count++] = (struct test){name, fn, file, line};
}

// "row_53_54_wakes" becomes "row 53 54 wakes": the row numbers of a name are its leading parts that look like one.
static void title(const char *name, char *out, size_t size) {
    bool in_rows = strncmp(name, "row_", 4) == 0 || strncmp(name, "body_", 5) == 0;
    snprintf(out, size, "%s", name);
    for (char *at = out; in_rows && (at = strchr(at, '_')); at++) {
        *at = ' ';
        const char *word = at + 1;
        if (*word == 'S')
            word++;
        size_t digits = strspn(word, "0123456789");
        in_rows = digits > 0 && word[digits] == '_';
    }
}

static void say(const char *format, va_list arguments) {
    char text[1024];
    int length = vsnprintf(text, sizeof text - 1, format, arguments);
    if (length > (int)sizeof text - 2)
        length = sizeof text - 2;
    text[length++] = '\n';
    for (int done = 0; done < length;) {
        ssize_t n = write(1, text + done, (size_t)(length - done));
        if (n <= 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (n > 0)
            done += (int)n;
    }
}

static void print_line(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

void check_failed(const char *file, int line, const char *format, ...) {
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_line("# %s:%d: %s: %s", file, line, current ? current->name : "?", text);
    _exit(1);
}

void skip(const char *format, ...) {
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_line("# reason: %s", text);
    _exit(SKIPPED);
}

// Runs one test in a child that leads a process group, so that what it leaves behind can be ended with it.
static int run_one(const struct test *test) {
    current = test;
    pid_t child = fork();
    if (child < 0) {
        print_line("# fork failed: %s", errno_name(errno));
        return 1;
    }
    if (child == 0) {
        setpgid(0, 0);
        temp_belongs_to(getpid());
        alarm(watchdog_seconds());
        test->fn();
        exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    kill(-child, SIGKILL);
    temp_remove(child);
    if (WIFSIGNALED(status)) {
        int signal = WTERMSIG(status);
        print_line("# %s:%d: %s: ended by signal %d%s", test->file, test->line, test->name, signal,
                   signal == SIGALRM ? " (the watchdog: it hung)" : "");
        return 1;
    }
    return WEXITSTATUS(status);
}

static void report(const struct test *test, int result) {
    char what[200];
    title(test->name, what, sizeof what);
    if (result == 0)
        print_line("ok %s [%s]", what, program);
    else if (result == SKIPPED)
        print_line("skip %s [%s]", what, program);
    else
        print_line("not ok %s [%s]", what, program);
}

static bool selected(const struct test *test, const char *filter) {
    return !filter || strstr(test->name, filter);
}

int main(int argc, char **argv) {
    const char *slash = strrchr(argv[0], '/');
    program = slash ? slash + 1 : argv[0];
    const char *filter = argc > 1 ? argv[1] : NULL;
    if (filter && strcmp(filter, "--list") == 0) {
        for (int i = 0; i < test_count; i++)
            print_line("%s %s", program, tests[i].name);
        return 0;
    }
    int planned = 0, failed = 0;
    for (int i = 0; i < test_count; i++)
        planned += selected(&tests[i], filter);
    print_line("plan %d", planned);
    for (int i = 0; i < test_count; i++) {
        if (!selected(&tests[i], filter))
            continue;
        int result = run_one(&tests[i]);
        report(&tests[i], result);
        failed += result != 0 && result != SKIPPED;
    }
    return failed != 0;
}
