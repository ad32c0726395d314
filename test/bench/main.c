// SPDX-License-Identifier: MPL-2.0

// bench: what system calls cost, one line of JSON per row.
//
//   bench [--list] [--batch-us N] [--limit-s N] [--curves | --no-curves] [--after ROW] [REGEX]
//
// --after: only the rows that come after this one, to go on where a machine has died.
// Each row runs in a process group of its own, which is killed when the row is done, and when it took longer than the
// limit. The exit status is 0 if no row failed; a row that the kernel does not support has not failed.

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/random.h>
#include <net/if.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

enum { MOST_ROWS = 400 };

static struct row rows[MOST_ROWS];
static int row_count;

static struct {
    bool list;
    bool curves;
    bool others;
    long batch_us;
    long limit_s;
    const char *after;
    regex_t names;
} options = { .curves = true, .others = true, .batch_us = 20000, .limit_s = 60 };

// --- the list ---------------------------------------------------------------------------------------------------------

static struct row *next_row(row_function *run, long first, long second)
{
    if (row_count == MOST_ROWS) {
        fprintf(stderr, "bench: more than %d rows\n", MOST_ROWS);
        exit(2);
    }
    struct row *row = &rows[row_count++];
    row->run = run;
    row->arguments[0] = first;
    row->arguments[1] = second;
    return row;
}

void add_row(row_function *run, long first, long second, const char *format, ...)
{
    struct row *row = next_row(run, first, second);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row->name, sizeof row->name, format, arguments);
    va_end(arguments);
}

void add_point(row_function *run, long first, long second, const char *curve, const char *series, long x)
{
    struct row *row = next_row(run, first, second);
    row->curve = curve;
    row->series = series;
    row->x = x;
    snprintf(row->name, sizeof row->name, "curve/%s/%s/%ld", curve, series, x);
}

// --- one row ----------------------------------------------------------------------------------------------------------

static void print_result(const struct row *row, const struct result *result)
{
    static const char *const names[] = { "ok", "unsupported", "failed" };
    printf("{\"row\":\"%s\",\"status\":\"%s\"", row->name, names[result->status]);
    if (row->curve != NULL)
        printf(",\"curve\":\"%s\",\"series\":\"%s\",\"x\":%ld", row->curve, row->series, row->x);
    if (result->status == ROW_OK) {
        printf(",\"operations\":%ld,\"batches\":[", result->operations);
        for (int i = 0; i < BATCHES; i++)
            printf("%s%.3f", i == 0 ? "" : ",", result->cost[i]);
        printf("]}\n");
    } else {
        // What is in there is our own text and strerror's: no quotes, no backslashes.
        printf(",\"why\":\"%s\"}\n", result->why);
    }
    fflush(stdout);
}

// Runs the row in a new process group. Returns its leader.
static pid_t start(const struct row *row, int result[2])
{
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        close(result[0]);
        measure_init(result[1], options.batch_us * 1000);
        row->run(row);
        fail("the row ended without a measurement");
    }
    if (child > 0)
        setpgid(child, child);
    return child;
}

// Waits for the result, the row's death, or the limit.
static void await(int fd, struct result *result)
{
    struct pollfd watched = { .fd = fd, .events = POLLIN };
    int ready = poll(&watched, 1, (int)(options.limit_s * 1000));
    result->status = ROW_FAILED;
    if (ready == 0) {
        snprintf(result->why, sizeof result->why, "no result within %ld s", options.limit_s);
        return;
    }
    if (read(fd, result, sizeof *result) != sizeof *result) {
        result->status = ROW_FAILED;
        snprintf(result->why, sizeof result->why, "the process died");
    }
}

static void describe_death(int status, struct result *result)
{
    if (result->status == ROW_FAILED && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        snprintf(result->why, sizeof result->why, "the process died of signal %d", WTERMSIG(status));
}

// Returns whether the row did not fail.
static bool run_row(const struct row *row)
{
    int pipe_ends[2];
    struct result result = { .status = ROW_FAILED, .why = "no process" };
    if (pipe(pipe_ends) == 0) {
        pid_t child = start(row, pipe_ends);
        close(pipe_ends[1]);
        if (child > 0) {
            int status = 0;
            await(pipe_ends[0], &result);
            // The row's peers, if it has any, and the row itself if it hangs.
            kill(-child, SIGKILL);
            while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
            describe_death(status, &result);
        }
        close(pipe_ends[0]);
    }
    print_result(row, &result);
    return result.status != ROW_FAILED;
}

// --- all rows -----------------------------------------------------------------------------------------------------------

static void usage(void)
{
    fprintf(stderr, "usage: bench [--list] [--batch-us N] [--limit-s N] [--curves | --no-curves] [--after ROW] [REGEX]\n");
    exit(2);
}

static long positive(const char *text)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (number <= 0 || number > 1000000 || *end != '\0')
        usage();
    return number;
}

static void parse(int argc, char **argv)
{
    static const struct option known[] = {
        { "list", no_argument, NULL, 'l' },          { "batch-us", required_argument, NULL, 'b' },
        { "limit-s", required_argument, NULL, 't' }, { "curves", no_argument, NULL, 'c' },
        { "no-curves", no_argument, NULL, 'n' },     { "after", required_argument, NULL, 'a' },
        { NULL, 0, NULL, 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'l': options.list = true; break;
        case 'b': options.batch_us = positive(optarg); break;
        case 't': options.limit_s = positive(optarg); break;
        case 'c': options.others = false; break;
        case 'n': options.curves = false; break;
        case 'a': options.after = optarg; break;
        default: usage();
        }
    }
    const char *pattern = optind < argc ? argv[optind++] : "";
    if (optind < argc || regcomp(&options.names, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        usage();
}

static bool is_wanted(const struct row *row)
{
    if (options.after != NULL) {
        if (strcmp(options.after, row->name) == 0)
            options.after = NULL;
        return false;
    }
    bool kind = row->curve != NULL ? options.curves : options.others;
    return kind && regexec(&options.names, row->name, 0, NULL, 0) == 0;
}

// The loopback interface may still be down: nobody but us has set this system up.
static void raise_loopback(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        return;
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    // Where this fails, the rows that need it will say so.
    ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
}

// In a machine that has no entropy of its own (it would not repeat itself) Linux makes each random number from scratch,
// and there is one in each TCP connection: 50 000 instructions. So it is told that it has some.
static void give_entropy(void)
{
    struct {
        struct rand_pool_info info;
        unsigned bytes[8];
    } seed = { .info = { .entropy_count = 256, .buf_size = sizeof seed.bytes } };
    int fd = open("/dev/urandom", O_WRONLY);
    if (fd < 0)
        return;
    ioctl(fd, RNDADDENTROPY, &seed);
    close(fd);
}

int main(int argc, char **argv)
{
    add_call_rows();
    add_switch_rows();
    add_select_poll_rows();
    add_epoll_rows();
    add_server_rows();
    add_bandwidth_rows();
    add_curves();
    parse(argc, argv);
    if (options.list) {
        for (const struct row *row = rows; row < rows + row_count; row++)
            if (is_wanted(row))
                puts(row->name);
        return 0;
    }
    struct utsname system;
    uname(&system);
    printf("{\"system\":\"%s\",\"release\":\"%s\",\"version\":\"%s\"}\n", system.sysname, system.release, system.version);
    fflush(stdout);
    raise_loopback();
    give_entropy();
    bool all_well = true;
    for (const struct row *row = rows; row < rows + row_count; row++)
        if (is_wanted(row))
            all_well = run_row(row) && all_well;
    return all_well ? 0 : 1;
}
