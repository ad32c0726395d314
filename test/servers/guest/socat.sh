#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# socat between every two kinds of address: a process per connection, relays, datagrams.
. "$(dirname "$0")/lib.sh"
start() {
    head -c 300000 /dev/urandom >data
    # A direction goes on for so long after the other one has ended (-t); half a second is little on a slow machine.
    socat -t 60 TCP-LISTEN:5001,bind=127.0.0.1,fork,reuseaddr,backlog=64 EXEC:cat >tcp.log 2>&1 &
    echo=$!
    socat -t 60 UNIX-LISTEN:"$WORK/socket",fork TCP:127.0.0.1:5001 >unix.log 2>&1 &
    relay=$!
    socat -t 60 TCP6-LISTEN:5002,bind=[::1],fork,reuseaddr UNIX-CONNECT:"$WORK/socket" >tcp6.log 2>&1 &
    outer=$!
    socat UDP4-RECVFROM:5003,bind=127.0.0.1,fork EXEC:'tr a-z A-Z' >udp.log 2>&1 &
    udp=$!
    await_port 5001
    await_port 5002
    await "the unix socket" test -S socket
}
echoes() { # ADDRESS
    [ "$(limited 10 socat -t 60 - "$1" <data 2>client.log | md5sum)" = "$(md5sum <data)" ] || fail "$1 returned other data"
}
turn() {
    echoes TCP:127.0.0.1:5001
    echoes UNIX-CONNECT:"$WORK/socket"
    echoes TCP6:[::1]:5002
    # Four at a time.
    for _ in 1 2 3 4; do
        echoes TCP6:[::1]:5002 &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || exit 1; done
    pids=
    answer=$(echo hello | limited 10 socat -t 5 - UDP4:127.0.0.1:5003)
    [ "$answer" = HELLO ] || fail "UDP answered '$answer'"
    turns=$((turns + 1))
}
load() {
    turns=0
    repeat "$1" turn
    note "$turns turns of 8 connections"
}
stop() {
    for server in $outer $relay $echo $udp; do end "$server"; done
    rm -f socket
}
measure
