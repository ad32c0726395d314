#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# `python3 -m http.server`, a thread per connection, fetched from by curl, one after another and in parallel.
. "$(dirname "$0")/lib.sh"
start() {
    mkdir -p html
    head -c 1000 /dev/urandom >html/small
    head -c 1048576 /dev/urandom >html/large
    /usr/bin/python3 -m http.server --bind 127.0.0.1 --directory html 8000 >server.log 2>&1 &
    server=$!
    await_port 8000
}
fetch() { # CURL-OPTION...
    limited 10 curl -sS --fail "$@" -o "got#1" 'http://127.0.0.1:8000/small?[1-20]' >client.log 2>&1 ||
        fail "curl $*: exit status $?"
    for file in got*; do cmp -s "$file" html/small || fail "$file is damaged"; done
    rm -f got*
    fetched=$((fetched + 20))
}
turn() {
    fetch
    fetch --parallel --parallel-max 10
    limited 10 curl -sS --fail -o got http://127.0.0.1:8000/large >client.log 2>&1 || fail "curl: exit status $?"
    cmp -s got html/large || fail "the large file is damaged"
    rm -f got
}
load() {
    fetched=0
    repeat "$1" turn
    note "$fetched small files"
}
stop() {
    end $server
    ! grep -E 'Traceback|Exception' server.log || fail "the server complains"
}
measure
