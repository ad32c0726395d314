# SPDX-License-Identifier: MPL-2.0
#
# nginx with two workers, and what asks it: sourced by nginx.sh and haproxy.sh.

start_nginx() {
    mkdir -p html logs
    chmod 755 /tmp/servers "$WORK" html
    cp "$HERE/guest/nginx.conf" .
    head -c 100 /dev/urandom >html/100
    head -c 1048576 /dev/urandom >html/1M
    rm -f nginx-error.log
    nginx -p "$WORK" -c "$WORK/nginx.conf" -e "$WORK/nginx-error.log" >nginx-out.log 2>&1 &
    nginx=$!
    await_port 8080
}

stop_nginx() {
    end $nginx QUIT
    [ $status = 0 ] || fail "nginx: exit status $status"
    [ ! -s nginx-error.log ] || fail "nginx complains"
}

# A machine that answers nothing in time gets more of it.
with_wrk() { # SECONDS URL
    for duration in "$1" 60; do
        limited "$duration" wrk -t2 -c100 -d "$duration" --timeout 60s "$2" >wrk.log 2>&1 || fail "wrk: exit status $?"
        ! grep -E 'Socket errors|Non-2xx' wrk.log || fail "wrk met errors"
        asked=$(awk '/requests in/ { print $1 }' wrk.log)
        [ "${asked:-0}" = 0 ] || break
    done
    [ "${asked:-0}" -gt 0 ] || fail "wrk: no request was answered"
    note "wrk $2: $(awk '/^Requests.sec/ { print $2 }' wrk.log) requests per second"
}

with_ab() { # SECONDS URL
    for duration in "$1" 60; do
        limited "$duration" ab -q -k -c 50 -t "$duration" -n 100000000 -s 60 "$2" >ab.log 2>&1 ||
            fail "ab: exit status $?"
        grep -q '^Failed requests: *0$' ab.log || fail "ab: failed requests"
        ! grep -E '^(Non-2xx|Write errors)' ab.log || fail "ab met errors"
        asked=$(awk '/^Complete requests/ { print $3 }' ab.log)
        [ "${asked:-0}" = 0 ] || break
    done
    [ "${asked:-0}" -gt 0 ] || fail "ab: no request was answered"
    note "ab -k $2: $(awk '/^Requests per second/ { print $4 }' ab.log) requests per second"
}

same_content() { # URL FILE
    [ "$(wget -q -O - "$1" | md5sum)" = "$(md5sum <"$2")" ] || fail "$1 arrives damaged"
}
