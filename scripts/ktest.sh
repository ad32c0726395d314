#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Runs the kernel's ktests in QEMU: ours only, or those whose path contains the argument. Ends with `N passed, N failed`.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
log=$POLLUX_ROOT/target/ktest.log
mkdir -p "$POLLUX_ROOT/target"
status=0
sh "$POLLUX_ROOT/scripts/osdk.sh" test "$@" >"$log.raw" 2>&1 </dev/null || status=$?
# The console's own control sequences are of no use in a log.
sed 's/\r$//; s/\x1b\[[0-9;]*[A-Za-z]//g' "$log.raw" >"$log"
cat "$log"
awk -v status="$status" '
    /test result:/ {
        for (i = 1; i < NF; i++) {
            if ($(i + 1) ~ /^passed/) passed += $i
            if ($(i + 1) ~ /^failed/) failed += $i
        }
    }
    END {
        # A crash of the kernel leaves no result behind: that is a failure, whatever was counted before.
        if (status != 0 && failed == 0) failed = 1
        printf "%d passed, %d failed\n", passed, failed
        exit failed != 0
    }' "$log"
