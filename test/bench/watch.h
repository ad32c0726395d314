// SPDX-License-Identifier: MPL-2.0

// Measurements over sets of descriptors, for the rows and for the curves. None of them sleeps.

#ifndef WATCH_H
#define WATCH_H

#include "bench.h"

enum side { READABLE, WRITABLE };

// Each looks at all of `fds`, with `ready` of them ready, and no timeout.
void measure_select(const int *fds, long count, long ready, enum side side) __attribute__((noreturn));
void measure_poll(const int *fds, long count, long ready) __attribute__((noreturn));
void measure_epoll_wait(const int *fds, long count, long ready) __attribute__((noreturn));

// One EPOLL_CTL_ADD and one EPOLL_CTL_DEL while `others` more are registered.
void measure_add_del(long others) __attribute__((noreturn));

// `count` eventfds, the last `ready` of which are readable.
int *eventfds(long count, long ready);

#endif
