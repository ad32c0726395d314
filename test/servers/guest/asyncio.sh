#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# An echo server on CPython's asyncio with 200 clients, TCP and unix sockets.
. "$(dirname "$0")/lib.sh"
start() {
    /usr/bin/python3 "$HERE/clients/asyncio_echo.py" serve 7000 "$WORK/socket" >server.log 2>&1 &
    server=$!
    await_port 7000
    await "the unix socket" test -S socket
}
load() {
    limited "$1" /usr/bin/python3 "$HERE/clients/asyncio_echo.py" clients 7000 200 "$1" >client.log 2>&1 ||
        fail "TCP clients: exit status $?"
    note "TCP: $(cat client.log)"
    limited "$1" /usr/bin/python3 "$HERE/clients/asyncio_echo.py" clients "$WORK/socket" 200 "$1" >client.log 2>&1 ||
        fail "unix clients: exit status $?"
    note "unix: $(cat client.log)"
}
stop() {
    end $server
    [ $status = 0 ] || fail "the server: exit status $status"
    rm -f socket
}
measure
