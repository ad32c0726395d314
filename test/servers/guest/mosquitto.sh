#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Mosquitto: three subscribers, and a publisher at each quality of service; every message arrives, in order.
. "$(dirname "$0")/lib.sh"
start() {
    cat >mosquitto.conf <<END
listener 1883 127.0.0.1
allow_anonymous true
user nobody
max_queued_messages 0
END
    mosquitto -c mosquitto.conf >server.log 2>&1 &
    server=$!
    await_port 1883
}
turn() {
    for qos in 0 1 2; do
        rm -f got.*
        for who in 1 2 3; do
            limited 60 mosquitto_sub -h 127.0.0.1 -t count -q $qos -C 500 >got.$who 2>sub.$who.log &
            eval "sub$who=\$!"
        done
        # They have subscribed when a message of theirs comes back.
        await "the subscribers" subscribed
        seq 1 500 | limited 60 mosquitto_pub -h 127.0.0.1 -t count -q $qos -l >pub.log 2>&1 || fail "pub: exit status $?"
        for pid in $sub1 $sub2 $sub3; do wait "$pid" || fail "a subscriber: exit status $?"; done
        for who in 1 2 3; do
            # `hello` comes first, as often as it took; the last numbers fall out of the 500 then.
            grep -v hello got.$who >numbers
            seq 1 "$(wc -l <numbers)" | cmp -s - numbers || fail "subscriber $who at quality $qos: messages are missing"
        done
        messages=$((messages + 1500))
    done
}
subscribed() {
    for pid in $sub1 $sub2 $sub3; do ! is_gone "$pid" || fail "a subscriber ended before it got anything"; done
    limited 60 mosquitto_pub -h 127.0.0.1 -t count -m hello >hello.log 2>&1 || fail "hello: exit status $?"
    [ -s got.1 ] && [ -s got.2 ] && [ -s got.3 ]
}
load() {
    messages=0
    repeat "$1" turn
    note "$messages messages"
}
stop() { end $server; }
measure
