#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# HAProxy with two threads in front of nginx with two workers.
. "$(dirname "$0")/lib.sh"
. "$HERE/guest/web.sh"
start() {
    start_nginx
    cat >haproxy.cfg <<END
global
    nbthread 2
    maxconn 2000
    stats socket $WORK/stats
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:8081
    default_backend out
backend out
    server nginx 127.0.0.1:8080 check inter 500
END
    haproxy -f haproxy.cfg -db >haproxy.log 2>&1 &
    haproxy=$!
    await_port 8081
}
load() {
    for file in 100 1M; do
        same_content http://127.0.0.1:8081/$file html/$file
        with_wrk "$1" http://127.0.0.1:8081/$file
        with_ab "$1" http://127.0.0.1:8081/$file
    done
    echo "show stat" | socat - UNIX-CONNECT:"$WORK/stats" | grep -q '^out,nginx,.*,UP,' || fail "the check says nginx is down"
}
stop() {
    end $haproxy TERM
    stop_nginx
}
measure
