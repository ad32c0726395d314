#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# An echo server and 1000 clients on Mio, on epoll and on poll.
. "$(dirname "$0")/lib.sh"
PROGRAM=mio
. "$HERE/guest/rust.sh"
