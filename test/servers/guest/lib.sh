# SPDX-License-Identifier: MPL-2.0
#
# To be sourced by the scripts beside it, each of which runs inside the guest as `sh NAME.sh SECONDS` with nothing but
# busybox and the programs it is about. A script defines three functions and then calls `measure`:
#
#   start          starts the servers and returns when they accept connections
#   load SECONDS   puts load on them, each kind of load for so many seconds, and checks the answers
#   stop           ends the servers and returns when they are gone
#
# and says `fail REASON` at the first thing that is wrong. The last line printed is `ok NAME` or `not ok NAME: REASON`.
NAME=$(basename "$0" .sh)
DURATION=${1:?usage: $0 SECONDS}
HERE=$(cd "$(dirname "$0")/.." && pwd)
WORK=/tmp/servers/$NAME
# Beyond its duration a program gets this long before it counts as stuck: the machine may be emulated and busy.
PATIENCE=${PATIENCE:-120}
rm -rf "$WORK"
mkdir -p "$WORK" /var/log /var/run
cd "$WORK" || exit 1
ulimit -n 8192
ifconfig lo 127.0.0.1 up 2>/dev/null

note() { echo "# $NAME: $*"; }

fail() {
    echo "not ok $NAME: $*"
    for log in "$WORK"/*.log; do
        [ -s "$log" ] && tail -n 8 "$log" | sed "s|^|#   $(basename "$log"): |"
    done
    exit 1
}

# limited SECONDS COMMAND...: runs it; a command that does not end in time is stuck.
limited() {
    limit=$(($1 + PATIENCE))
    shift
    timeout -s KILL $limit "$@"
    status=$?
    [ $status != 137 ] || fail "$1 did not end within $limit seconds"
    return $status
}

# listens PORT: whether a TCP socket listens there.
listens() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q -E ":$(printf %04X "$1") 0+:0000 0A"
}

# await WHAT COMMAND...: until the command succeeds.
await() {
    what=$1 left=$((PATIENCE * 5))
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || fail "waited in vain: $what"
        sleep 0.2
    done
}
await_port() { await "a server on port $1" listens "$1"; }
is_gone() { ! kill -0 "$1" 2>/dev/null; }

# end PID [SIGNAL]: ends a server and waits for it; leaves its exit status in $status.
end() {
    kill -"${2:-TERM}" "$1" 2>/dev/null
    await "the end of process $1" is_gone "$1"
    wait "$1" 2>/dev/null
    status=$?
}

now() { cut -d. -f1 /proc/uptime; }

# repeat SECONDS COMMAND...: over and over, at least once, until the time is over.
repeat() {
    until_when=$(($(now) + $1))
    shift
    while "$@"; do
        [ "$(now)" -lt $until_when ] || return 0
    done
    return 1
}

# Kilobytes in use, and sockets.
used() { awk '/^MemTotal:/ { total = $2 } /^MemFree:/ { free = $2 } END { print total - free }' /proc/meminfo; }
sockets() { awk '/^sockets:/ { print $3 }' /proc/net/sockstat; }

# Waits until what is given back late (exiting processes, deferred frees) has been given back.
settle() {
    last=$(used)
    for _ in 1 2 3 4 5 6 7 8; do
        sleep 0.5
        current=$(used)
        [ $((last - current)) -gt 64 ] || break
        last=$current
    done
    used
}

# Connections that are over keep their addresses for a minute, which takes memory.
time_waits() { awk '/^TCP:/ { print $7 }' /proc/net/sockstat; }
no_time_waits() { [ "$(time_waits)" = 0 ]; }

# How much more memory is in use than KILOBYTES, once everything has been given back.
grown_since() { # KILOBYTES
    grown=$(($(settle) - $1))
    if [ $grown -gt $TOLERANCE ] && ! no_time_waits; then
        await "the end of TIME_WAIT" no_time_waits
        grown=$(($(settle) - $1))
    fi
}

# What a run may leave behind: Linux keeps caches of its own that grow at leisure.
if grep -q -i pollux /proc/version; then TOLERANCE=1024; else TOLERANCE=65536; fi

# A warm-up, then the run proper; afterwards memory and sockets must be what they were after the warm-up.
measure() {
    start
    load $((DURATION < 3 ? DURATION : 3))
    stop
    memory=$(settle) open=$(sockets)
    start
    load "$DURATION"
    stop
    grown_since "$memory"
    note "memory after the warm-up $memory kB, after the run $((memory + grown)) kB; sockets $open, $(sockets)"
    [ $grown -le $TOLERANCE ] || fail "memory grew by $grown kB"
    [ "$(sockets)" = "$open" ] || fail "$open sockets before, $(sockets) after"
    echo "ok $NAME"
}
