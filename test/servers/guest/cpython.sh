#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# CPython's own tests of everything that waits: `python3 -m test -v ...`, one line per test with its result. SECONDS does not
# matter. Run outside a guest as well (CPYTHON_TESTS says where the tests are): results must be the same.
ifconfig lo 127.0.0.1 up 2>/dev/null
cd /tmp || exit 1
PYTHONPATH=$CPYTHON_TESTS PYTHONDONTWRITEBYTECODE=1 timeout -s KILL 600 /usr/bin/python3 -m test -v \
    test_epoll test_poll test_select test_selectors test_socketserver >cpython.log 2>&1
status=$?
# "test_x (test.test_epoll.TestEPoll.test_x) ... ok": what is printed between the dots and the result does not matter.
awk '/^test_[a-zA-Z0-9_]+ \(/ { name = $1 " " $2 }
    name != "" && match($0, /(ok|FAIL|ERROR|skipped .*|expected failure)$/) { print name, substr($0, RSTART); name = "" }' \
    cpython.log | sort
echo "exit status $status"
[ $status = 0 ] || tail -n 60 cpython.log >&2
