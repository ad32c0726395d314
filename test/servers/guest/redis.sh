#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Redis, snapshots and append-only file on, under redis-benchmark's default tests, without and with pipelining.
. "$(dirname "$0")/lib.sh"
# The default tests of redis-benchmark 7.0 and their variants, one line of output each.
TESTS=20
cli() { limited 10 redis-cli "$@"; }

serve() {
    redis-server --bind 127.0.0.1 --port 6379 --dir "$WORK" --save 1 100 --appendonly yes --unixsocket "$WORK/socket" \
        >>server.log 2>&1 &
    server=$!
    await "Redis" answers
}
answers() { [ "$(redis-cli ping 2>/dev/null)" = PONG ]; }

start() {
    rm -rf dump.rdb appendonlydir server.log
    serve
}

benchmark() { # PIPELINE [HOW]...
    pipeline=$1 count=$((400 + 50 * $1))
    shift
    limited 60 redis-benchmark -q -c 50 -P "$pipeline" -n $count "$@" >benchmark.log 2>&1 ||
        fail "redis-benchmark -P $pipeline: exit status $?"
    done=$(tr '\r' '\n' <benchmark.log | grep -c 'requests per second')
    [ "$done" = $TESTS ] || fail "$done tests of $TESTS at -P $pipeline"
    ! grep -i error benchmark.log || fail "errors at -P $pipeline"
    requests=$((requests + TESTS * count))
}

load() {
    requests=0
    repeat "$1" benchmark 1
    repeat "$1" benchmark 16
    benchmark 4 -s "$WORK/socket"
    clients=$(cli info clients | tr -d '\r' | sed -n 's/^connected_clients://p')
    [ "$clients" = 1 ] || fail "$clients clients are still connected"
    counted=$(cli info stats | tr -d '\r' | sed -n 's/^total_commands_processed://p')
    [ "$counted" -ge $requests ] || fail "$counted commands processed of $requests"
    note "$requests requests"
}

# What was saved must be there again after a restart.
stop() {
    cli set kept "$requests" >/dev/null
    cli save >/dev/null
    persistence=$(cli info persistence | tr -d '\r')
    echo "$persistence" | grep -q rdb_last_bgsave_status:ok || fail "the snapshot failed"
    echo "$persistence" | grep -q aof_last_write_status:ok || fail "the append-only file failed"
    end $server
    serve
    [ "$(cli get kept)" = "$requests" ] || fail "a key is gone after a restart"
    cli flushall >/dev/null
    cli shutdown nosave >/dev/null 2>&1
    await "the end of Redis" is_gone $server
    wait $server || fail "redis-server: exit status $?"
    rm -rf dump.rdb appendonlydir
}
measure
