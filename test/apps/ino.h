// SPDX-License-Identifier: MPL-2.0
//
// What tests of inotify share. They note what they saw as text, one word per event: "watch:EVENT|EVENT:name".
#ifndef INO_H
#define INO_H

#include "ep.h"

#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>

static inline int make_inotify(void) { return (int)OK(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)); }

static inline int watch(int fd, const char *path, uint32_t mask) { return (int)OK(inotify_add_watch(fd, path, mask)); }

static inline const char *event_name(uint32_t bit) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{IN_ACCESS, "ACCESS"},           {IN_MODIFY, "MODIFY"},
                 {IN_ATTRIB, "ATTRIB"},           {IN_CLOSE_WRITE, "CLOSE_WRITE"},
                 {IN_CLOSE_NOWRITE, "CLOSE"},     {IN_OPEN, "OPEN"},
                 {IN_MOVED_FROM, "MOVED_FROM"},   {IN_MOVED_TO, "MOVED_TO"},
                 {IN_CREATE, "CREATE"},           {IN_DELETE, "DELETE"},
                 {IN_DELETE_SELF, "DELETE_SELF"}, {IN_MOVE_SELF, "MOVE_SELF"},
                 {IN_UNMOUNT, "UNMOUNT"},         {IN_Q_OVERFLOW, "OVERFLOW"},
                 {IN_IGNORED, "IGNORED"},         {IN_ISDIR, "DIR"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].bit == bit)
            return names[i].name;
    return "?";
}

// Everything that is queued, as text; cookies of moves must come in pairs.
static inline const char *seen(int fd) {
    static char text[8192];
    char buffer[16384] __attribute__((aligned(8)));
    size_t length = 0;
    uint32_t cookie = 0;
    text[0] = 0;
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
        for (char *at = buffer; at < buffer + n;) {
            struct inotify_event *event = (void *)at;
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%d:", length ? " " : "", event->wd);
            const char *separator = "";
            for (uint32_t bit = 1; bit; bit <<= 1)
                if (event->mask & bit) {
                    length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", separator, event_name(bit));
                    separator = "|";
                }
            if (event->len)
                length += (size_t)snprintf(text + length, sizeof text - length, ":%s", event->name);
            if (event->mask & IN_MOVED_FROM) {
                cookie = event->cookie;
                CHECK_NE(cookie, 0);
            } else if (event->mask & IN_MOVED_TO) {
                CHECK(cookie == 0 || event->cookie == cookie);
            } else {
                CHECK_EQ(event->cookie, 0);
            }
            CHECK_EQ(event->len % 16, 0);
            at += sizeof *event + event->len;
        }
    }
    CHECK_EQ(errno, EAGAIN);
    return text;
}

#define SEEN(fd, wanted)                                                                                               \
    do {                                                                                                               \
        const char *seen_ = seen(fd);                                                                                  \
        if (strcmp(seen_, wanted) != 0)                                                                                \
            check_failed(__FILE__, __LINE__, "saw \"%s\" instead of \"%s\"", seen_, wanted);                           \
    } while (0)

static inline int make_file(const char *path) { return (int)OK(open(path, O_RDWR | O_CREAT, 0600)); }

static inline int ask(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLPRI};
    OK(poll(&p, 1, 0));
    return p.revents;
}

// A new directory as working directory, so that names are short.
static inline void enter_fresh(void) {
    OK(mkdir(temp_path("d"), 0700));
    OK(chdir(temp_path("d")));
}

#endif
