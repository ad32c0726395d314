#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# memcached with 2 threads, loaded by memcaslap with one thread and 16 connections: one set to nine gets.
#
# needs: memcached memcaslap
# package: memcached libmemcached-tools
# results: memcached
# goal: 1.30
. "$(dirname "$0")/common.sh"

start 11211 memcached -u root -l 127.0.0.1 -p 11211 -U 0 -t 2
memcaslap --servers=127.0.0.1:11211 --threads=1 --concurrency=16 --time=4s --win_size=1k |
    sed -n 's/.*TPS: \([0-9]*\).*/result memcached \1 requests\/s/p' | tail -n 1
