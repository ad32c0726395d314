#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# What `make test` does: every ring of tests, cheapest first, each step's output in target/test-logs/STEP.log. A step that
# fails does not stop the others. The last line sums up; the exit status is 0 only if nothing failed.
#
#   scripts/test.sh [STEP]...      only these steps
set -u
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT" || exit 125
logs=target/test-logs
mkdir -p $logs
total_passed=0 total_failed=0 started=$(date +%s)

# Sums up the closing lines in a log: cargo's `test result:` lines, or else the last `N passed, N failed`.
counts() {
    awk '
        /^test result:/ { passed += $4; failed += $6; seen = 1 }
        /^[0-9]+ passed, [0-9]+ failed/ { last_passed = $1; last_failed = $3; closing = 1 }
        END {
            if (closing) { passed += last_passed; failed += last_failed }
            printf "%d %d\n", passed, failed
        }' "$1"
}

# step NAME COMMAND...: runs it, counts, reports.
step() {
    name=$1
    shift
    case " $wanted " in *" $name "* | "  ") ;; *) return ;; esac
    log=$logs/$name.log
    begun=$(date +%s)
    printf '%-16s ' "$name"
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    read -r passed failed <<EOF
$(counts "$log")
EOF
    # A step that fails without counting anything as failed is itself the failure.
    [ $status = 0 ] || [ "$failed" != 0 ] || failed=1
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
    printf '%5d passed, %d failed  (%d s)\n' "$passed" "$failed" $(($(date +%s) - begun))
    if [ "$failed" != 0 ]; then
        echo "--- what failed in $log:"
        grep -n -A 3 -E '^not ok|^error|panicked at|^test .* FAILED|\.\.\. FAILED' "$log" | head -n 60 | sed 's/^/    /'
        echo "--- the end of $log:"
        tail -n 25 "$log" | sed 's/^/    /'
    fi
}

cli_tests() { # KERNEL
    POLLUX_TEST_KERNEL=$1 sh scripts/cargo.sh test --quiet --release --locked --manifest-path tools/Cargo.toml \
        --target-dir target/host --test run -- --ignored --test-threads 2
}

wanted="$*"
step check sh scripts/check.sh
step build sh -c 'sh scripts/build-tools.sh && sh scripts/build-kernel.sh && sh scripts/build-apps.sh'
step ktest sh scripts/ktest.sh
step apps-native test/apps/build/runner
step apps-pollux ./pollux run --smp 2 --timeout 600 --add test/apps/build test/apps/build/runner
step command-linux cli_tests linux
step command-pollux cli_tests pollux
step software sh test/software/run.sh
step bench sh scripts/bench.sh check
step servers sh test/servers/run.sh --short

printf 'make test took %d s\n' $(($(date +%s) - started))
printf '%d passed, %d failed\n' $total_passed $total_failed
[ $total_failed = 0 ]
