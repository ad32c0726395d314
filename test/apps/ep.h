// SPDX-License-Identifier: MPL-2.0
//
// Short names for what almost every epoll test does.
#ifndef EP_H
#define EP_H

#include "harness.h"

#include <sys/epoll.h>

static inline int ep_new(void) { return (int)OK(epoll_create1(0)); }

static inline int ep_ctl(int ep, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(ep, op, fd, &event);
}

#define ep_add(ep, fd, events, data) OK(ep_ctl(ep, EPOLL_CTL_ADD, fd, events, data))
#define ep_mod(ep, fd, events, data) OK(ep_ctl(ep, EPOLL_CTL_MOD, fd, events, data))
#define ep_del(ep, fd) OK(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL))

// The number of events ready now, at most 16.
#define ep_ready(ep)                                                                                                   \
    ({                                                                                                                 \
        struct epoll_event ready_[16];                                                                                 \
        OK(epoll_wait(ep, ready_, 16, 0));                                                                             \
    })

// The mask of the only event ready now; 0 when there is none.
#define ep_mask(ep)                                                                                                    \
    ({                                                                                                                 \
        struct epoll_event mask_[2] = {{0}, {0}};                                                                      \
        CHECK_LE(OK(epoll_wait(ep, mask_, 2, 0)), 1);                                                                  \
        mask_[0].events;                                                                                               \
    })

#endif
