#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# The programs of faults/, one result each: SECONDS of 30 or more means their long form. Each is run twice; after the
# first, memory and sockets have to stay where they are.
. "$(dirname "$0")/lib.sh"
failed=0
fault() { # PROGRAM WARM-UP SHORT LONG: rounds
    NAME=faults-$1 rounds=$3
    [ "$DURATION" -lt 30 ] || rounds=$4
    (
        round "$1" "$2"
        memory=$(settle) open=$(sockets)
        round "$1" "$rounds"
        grown_since "$memory"
        note "$rounds rounds; memory $memory kB, then $((memory + grown)) kB; sockets $open, $(sockets)"
        [ $grown -le $TOLERANCE ] || fail "memory grew by $grown kB"
        [ "$(sockets)" = "$open" ] || fail "$open sockets before, $(sockets) after"
        echo "ok $NAME"
    ) || failed=1
}
round() {
    limited 600 "$HERE/build/$1" "$2" >"$1.log" 2>&1 || fail "exit status $?"
}
fault kill_at_random 10 50 1000
fault stopped_reader 2 4 100
fault backlog 1 1 5
fault many_sockets 1 1 5
fault fd_exhaustion 2 10 200
fault rights_cycles 24 200 5000
fault out_of_memory 1 1 5
exit $failed
