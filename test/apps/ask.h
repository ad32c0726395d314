// SPDX-License-Identifier: MPL-2.0
//
// What poll(2) says at once of one file.
#ifndef ASK_H
#define ASK_H

#include "harness.h"

#include <poll.h>

static inline int ask(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    OK(poll(&p, 1, 0));
    return p.revents;
}

#endif
