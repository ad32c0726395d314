#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# memcached with four threads and a client of 50 connections that pipelines 16 requests on each.
. "$(dirname "$0")/lib.sh"
start() {
    memcached -u nobody -t 4 -l 127.0.0.1 -p 11211 -m 64 >server.log 2>&1 &
    server=$!
    await_port 11211
}
load() {
    limited "$1" "$HERE/build/memcached_pipeline" 11211 50 16 "$1" >client.log 2>&1 || fail "the client: exit status $?"
    note "$(cat client.log)"
}
stop() {
    end $server
    [ $status = 0 ] || [ $status = 143 ] || fail "memcached: exit status $status"
}
measure
