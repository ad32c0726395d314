#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Redis with 50 clients, without and with pipelining.
#
# needs: redis-check-rdb redis-benchmark
# package: redis-tools
# results: redis_set redis_get redis_set_pipelined redis_get_pipelined
# goal: 1.30
. "$(dirname "$0")/common.sh"

# Debian's redis-server is a link to this program, which looks at its name.
ln -sf "$(command -v redis-check-rdb)" /tmp/redis-server
start 6379 /tmp/redis-server --save '' --appendonly no

# load SUFFIX OPTIONS...
load() {
    suffix=$1
    shift
    redis-benchmark --csv -t set,get -c 50 "$@" |
        awk -F '"' -v suffix="$suffix" \
            '$2 == "SET" || $2 == "GET" { printf "result redis_%s%s %s requests/s\n", tolower($2), suffix, $4 }'
}
load "" -n 20000
load _pipelined -n 100000 -P 16
