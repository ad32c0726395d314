#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# The three rows of bandwidth, 64 KiB from one process to another.
#
# needs: bench
# package: -
# results: pipe_bw_64k unix_bw_64k tcp_bw_64k
# goal: 1.00
. "$(dirname "$0")/common.sh"

bench --no-curves --batch-us 100000 '_bw_64k$' |
    sed -n 's/.*"row":"\([a-z0-9_]*\)","status":"ok".*"batches":\[\([0-9.]*\),\([0-9.]*\),\([0-9.]*\)\].*/\1 \2 \3 \4/p' |
    while read -r name first second third; do
        median=$(printf '%s\n' "$first" "$second" "$third" | sort -n | sed -n 2p)
        # Bytes per microsecond are megabytes per second.
        rate "$name" MB/s 65536 "$(awk -v ns="$median" "BEGIN { print ns / 1000 }")"
    done
