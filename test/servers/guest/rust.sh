# SPDX-License-Identifier: MPL-2.0
#
# What mio.sh and tokio.sh share: the echo programs in $HERE/build, $PROGRAM_echo on epoll and $PROGRAM_echo_poll.
start() {
    port=7100
    for selector in "" _poll; do
        "$HERE/build/${PROGRAM}_echo$selector" serve 127.0.0.1:$port >"server$selector.log" 2>&1 &
        eval "server$selector=\$!"
        await_port $port
        port=$((port + 1))
    done
}
load() {
    port=7100
    for selector in "" _poll; do
        limited "$1" "$HERE/build/${PROGRAM}_echo$selector" clients 127.0.0.1:$port 1000 "$1" >client.log 2>&1 ||
            fail "clients${selector:-_epoll}: exit status $?"
        note "${selector:-_epoll}: $(cat client.log)"
        port=$((port + 1))
    done
}
stop() {
    end $server KILL
    end $server_poll KILL
}
measure
