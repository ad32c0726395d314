#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# An echo server and 1000 clients on Tokio, on epoll and on poll.
. "$(dirname "$0")/lib.sh"
PROGRAM=tokio
. "$HERE/guest/rust.sh"
