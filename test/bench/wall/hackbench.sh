#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# hackbench: 2 groups of 10 senders and 10 receivers, by sockets and by pipes.
#
# needs: hackbench
# package: rt-tests
# results: hackbench_pipes hackbench_sockets
# goal: 1.00
. "$(dirname "$0")/common.sh"

# load NAME OPTIONS...
load() {
    name=$1
    shift
    took=$(hackbench -g 2 -f 10 -l 100 "$@" | awk '/^Time:/ { print $2 }')
    # Each sender sends each message to each receiver.
    rate "hackbench_$name" messages/s $((2 * 10 * 10 * 100)) "$took"
}
load pipes -p
load sockets
