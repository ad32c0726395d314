#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Ncat: an echo server over TCP and over a unix socket, a chat of two clients, datagrams.
. "$(dirname "$0")/lib.sh"
start() {
    # No more than a pipe holds: ncat writes to its child without reading from it, on Linux as well.
    head -c 60000 /dev/urandom >data
    ncat -l -k 127.0.0.1 5001 -e /bin/cat >tcp.log 2>&1 &
    tcp=$!
    ncat -l -k -U "$WORK/socket" -e /bin/cat >unix.log 2>&1 &
    unix=$!
    await_port 5001
    await "the unix socket" test -S socket
}
# The server forgets the rest of the echo when its client has no more to say, so that one goes on until all is there.
echoes() {
    rm -f echo
    { cat data; await "the echo" is_whole; } | limited 10 ncat "$@" >echo 2>client.log
    cmp -s data echo || fail "ncat $*: other data"
}
is_whole() { [ "$(wc -c <echo)" = 60000 ]; }
turn() {
    echoes 127.0.0.1 5001
    echoes -U "$WORK/socket"
    limited 10 ncat -l -u 127.0.0.1 5004 -c 'head -n 1 >datagram' 2>udp.log &
    receiver=$!
    rm -f datagram
    # The receiver may not be there yet: a datagram is lost then, as datagrams are.
    await "a datagram" datagram_arrives
    kill $receiver 2>/dev/null
    wait $receiver
    turns=$((turns + 1))
}
datagram_arrives() {
    echo hello | ncat -u -w 1 127.0.0.1 5004 2>/dev/null
    [ "$(cat datagram 2>/dev/null)" = hello ]
}
load() {
    turns=0
    repeat "$1" turn
    note "$turns turns"
}
stop() {
    end $tcp
    end $unix
    rm -f socket
}
measure
