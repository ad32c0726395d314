#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# iperf3: TCP in both directions and with four streams, UDP in both directions.
. "$(dirname "$0")/lib.sh"
start() {
    iperf3 -s -B 127.0.0.1 >server.log 2>&1 &
    server=$!
    await_port 5201
}
run() { # SECONDS OPTION...
    seconds=$1
    shift
    limited "$seconds" iperf3 -c 127.0.0.1 -t "$seconds" "$@" >client.log 2>&1 || fail "iperf3 $*: exit status $?"
    rate=$(awk '/receiver/ { line = $0 } END { print line }' client.log)
    case $rate in *" 0.00 "*[a-z]*its/sec*receiver | "") fail "iperf3 $*: nothing arrived" ;; esac
    note "iperf3 $*: $rate"
}
load() {
    run "$1"
    run "$1" -R
    run "$1" -P 4
    run "$1" -u -b 50M
    run "$1" -u -b 50M -R
}
stop() { end $server; }
measure
