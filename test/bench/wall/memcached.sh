#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# memcached with 2 threads, loaded by memcslap with 8.
#
# needs: memcached memcslap
# package: memcached libmemcached-tools
# results: memcached_set memcached_get
. "$(dirname "$0")/common.sh"

start 11211 memcached -u root -l 127.0.0.1 -p 11211 -U 0 -t 2

# load TEST
load() {
    count=2000
    memcslap --servers=127.0.0.1:11211 --concurrency=8 --execute-number=$count --test="$1" |
        awk -v test="$1" -v work=$((8 * count)) \
            '/seconds/ { for (i = 2; i <= NF; i++) if ($i ~ /^seconds/) took = $(i - 1) }
             END { if (took > 0) printf "result memcached_%s %.0f requests/s\n", test, work / took }'
}
load set
load get
