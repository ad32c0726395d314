#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# nginx with two workers; wrk and ab with keep-alive fetch files of 100 bytes and of 1 MiB.
. "$(dirname "$0")/lib.sh"
. "$HERE/guest/web.sh"
start() { start_nginx; }
load() {
    for file in 100 1M; do
        same_content http://127.0.0.1:8080/$file html/$file
        with_wrk "$1" http://127.0.0.1:8080/$file
        if command -v ab >/dev/null; then with_ab "$1" http://127.0.0.1:8080/$file; fi
    done
}
stop() { stop_nginx; }
measure
