#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# A small run of an echo program of ours, to be traced.
ifconfig lo 127.0.0.1 up 2>/dev/null
"$(dirname "$0")/../build/$1" serve 127.0.0.1:7100 &
server=$!
sleep 2
"$(dirname "$0")/../build/$1" clients 127.0.0.1:7100 10 0
status=$?
kill $server
exit $status
