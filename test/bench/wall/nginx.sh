#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# nginx, loaded by wrk with 50 connections.
#
# needs: nginx wrk
# package: nginx wrk
# results: nginx_wrk
# goal: 1.30
. "$(dirname "$0")/common.sh"

start 8080 nginx -p /tmp -c "$here/nginx.conf"
wrk -t 1 -c 50 -d 3s http://127.0.0.1:8080/ | awk '/^Requests\/sec:/ { print "result nginx_wrk", $2, "requests/s" }'
