#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# The benchmarks of perf that are about notification.
#
# needs: perf
# package: linux-perf
# results: perf_epoll_wait perf_epoll_ctl perf_sched_pipe
# goal: 1.00
. "$(dirname "$0")/common.sh"

# The closing line of both: `Averaged 1234 operations/sec (+- 1.0%), total secs = 3`.
averaged() { awk -v name="$1" '/^Averaged/ { print "result", name, $2, "operations/s" }'; }
perf bench epoll wait -t 2 -r 3 2>&1 | averaged perf_epoll_wait
perf bench epoll ctl -t 2 -r 3 2>&1 | averaged perf_epoll_ctl
perf bench -f simple sched pipe -l 10000 | awk '{ if ($1 > 0) printf "result perf_sched_pipe %.0f round-trips/s\n", 10000 / $1 }'
