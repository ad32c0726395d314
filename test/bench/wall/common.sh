# SPDX-License-Identifier: MPL-2.0
#
# Sourced by the scripts beside it, in the guest. Each script runs one program against the clock and prints lines
#
#   result NAME NUMBER UNIT
#
# of which more is better. Its head says what it needs, in which Debian package that is, which results to
# expect, and the least ratio to Linux that is our goal.

ifconfig lo up 2>/dev/null || true
mkdir -p /tmp
here=$(cd "$(dirname "$0")" && pwd)

# start PORT PROGRAM...: starts a server; goes on when it listens.
start() {
    port=$1
    shift
    "$@" >/tmp/server.log 2>&1 &
    server=$!
    tries=0
    until nc -w 1 127.0.0.1 "$port" </dev/null >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries = 100 ] || ! kill -0 $server 2>/dev/null; then
            echo "no server on port $port:" >&2
            tail -n 5 /tmp/server.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

# rate NAME UNIT WORK SECONDS
rate() {
    awk -v name="$1" -v unit="$2" -v work="$3" -v seconds="$4" \
        'BEGIN { if (seconds > 0) printf "result %s %.2f %s\n", name, work / seconds, unit }'
}
