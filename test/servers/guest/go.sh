#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Go's net/http: 100 clients with keep-alive, then with a connection per request.
. "$(dirname "$0")/lib.sh"
start() {
    "$HERE/build/go_http" serve 127.0.0.1:7070 >server.log 2>&1 &
    server=$!
    await_port 7070
}
load() {
    limited "$1" "$HERE/build/go_http" clients 127.0.0.1:7070 100 "$1" keep >client.log 2>&1 || fail "exit status $?"
    note "$(cat client.log)"
    limited "$1" "$HERE/build/go_http" clients 127.0.0.1:7070 20 "$1" close >client.log 2>&1 || fail "exit status $?"
    note "$(cat client.log)"
}
stop() {
    end $server
    [ $status = 0 ] || fail "the server: exit status $status"
}
measure
