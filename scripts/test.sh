#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# What `make test` does: every ring of tests, each step's output in target/test-logs/STEP.log. A step that fails does not stop
# the others. The last line sums up; the exit status is 0 only if nothing failed.
#
#   scripts/test.sh [STEP]...      only these steps
#
# Two lanes, because most of the time goes into compiling two kernels, each of which is one crate and keeps one core busy: the
# compilers' lane makes the kernel, then checks the sources; the guests' lane makes the programs, and runs them as soon as there
# is a kernel, those that need none before that. The lane that is done first tests the kernel from within, for which it is
# compiled once more.
set -u
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT" || exit 125
logs=target/test-logs

COMPILERS="kernel check"
GUESTS="programs apps-native command-linux apps-pollux differ command-pollux software bench servers"
WHOEVER=ktest

# --- one step -------------------------------------------------------------------------------------------------------------

# Sums up the closing lines in a log: the last `N passed, N failed`, or else cargo's `test result:` lines.
counts() {
    awk '
        /^test result:/ { passed += $4; failed += $6 }
        /^[0-9]+ passed, [0-9]+ failed/ { last_passed = $1; last_failed = $3; closing = 1 }
        END {
            if (closing) { passed = last_passed; failed = last_failed }
            printf "%d %d\n", passed, failed
        }' "$1"
}

# What a step does.
run_step() {
    case $1 in
    kernel) sh scripts/build-kernel.sh && ! has_warnings kernel ;;
    check) sh scripts/check.sh --without-kernel-lints ;;
    ktest) sh scripts/ktest.sh && ! has_warnings ktest ;;
    programs) sh scripts/build-tools.sh && sh scripts/build-apps.sh && sh test/servers/run.sh --short --build ;;
    apps-native) test/apps/build/runner ;;
    apps-pollux) ./pollux run --smp 2 --timeout 600 --add test/apps/build test/apps/build/runner ;;
    differ) sh scripts/differ.sh --count 150 ;;
    command-linux) command_tests linux ;;
    command-pollux) command_tests pollux ;;
    software) sh test/software/run.sh ;;
    bench) sh scripts/bench.sh check ;;
    servers) sh test/servers/run.sh --short ;;
    esac
}

# Whether the kernel was compiled with warnings or lints. (A duplicate is one about the flags, which every crate repeats.)
has_warnings() { # STEP
    if grep -E '^warning: `pollux` \(lib\) generated' "$logs/$1.log" | grep -q -v 'generated 1 warning (1 duplicate)'; then
        echo "error: the kernel was compiled with these warnings:"
        grep -A 8 '^warning: ' "$logs/$1.log" | sed 's/^/    /'
    else
        return 1
    fi
}

command_tests() { # KERNEL
    POLLUX_TEST_KERNEL=$1 sh scripts/cargo.sh test --quiet --release --locked --manifest-path tools/Cargo.toml \
        --target-dir target/host --test run -- --ignored --test-threads 2
}

# step NAME: runs it, counts, reports, and leaves `PASSED FAILED` in NAME.result.
step() {
    name=$1 log=$logs/$1.log begun=$(date +%s)
    printf '%-16s ...\n' "$name"
    run_step "$name" >"$log" 2>&1 </dev/null
    status=$?
    read -r passed failed <<EOF
$(counts "$log")
EOF
    # A step that fails without counting anything as failed is itself the failure.
    [ $status = 0 ] || [ "$failed" != 0 ] || failed=1
    # In one piece: the other lane may be printing, too.
    report=$(
        printf '%-16s %5d passed, %d failed  (%d s)\n' "$name" "$passed" "$failed" $(($(date +%s) - begun))
        if [ "$failed" != 0 ]; then
            echo "--- what failed in $log:"
            grep -n -A 3 -E '^not ok|^error|panicked at|^test .* FAILED|\.\.\. FAILED' "$log" | head -n 60 | sed 's/^/    /'
            echo "--- the end of $log:"
            tail -n 25 "$log" | sed 's/^/    /'
        fi
    )
    printf '%s\n' "$report"
    echo "$passed $failed" >"$logs/$name.result"
}

# At the end of a lane: what the other lane has not begun.
step_left_over() {
    if wanted $WHOEVER && mkdir "$logs/$WHOEVER.claim" 2>/dev/null; then step $WHOEVER; fi
}

wanted() { case " $steps " in *" $1 "*) ;; *) return 1 ;; esac; }

# --- the compilers' lane, in a process of its own ---------------------------------------------------------------------------

if [ "${1:-}" = --compilers ]; then
    shift
    steps="$*"
    for name in $COMPILERS; do
        ! wanted "$name" || step "$name"
    done
    step_left_over
    exit 0
fi

# --- the guests' lane, and the sum ------------------------------------------------------------------------------------------

steps="${*:-$COMPILERS $GUESTS $WHOEVER}"
for name in $steps; do
    case " $COMPILERS $GUESTS $WHOEVER " in
    *" $name "*) ;;
    *)
        echo "scripts/test.sh: no step is called '$name'; there are: $COMPILERS $GUESTS $WHOEVER" >&2
        exit 125
        ;;
    esac
done

started=$(date +%s)
mkdir -p $logs
rm -rf $logs/*.result $logs/*.claim
# What is tested is the sources as they are, whichever steps were asked for.
case "$steps" in *apps-pollux* | *differ* | *command-* | *software* | *bench* | *servers*) wanted kernel || steps="kernel $steps" ;; esac
case "$steps" in *apps-* | *differ* | *command-* | *bench* | *servers*) wanted programs || steps="programs $steps" ;; esac
echo "running: $steps (two at a time; what each says is in $logs)"

# A session of its own, so that it ends whole when this is interrupted.
setsid sh scripts/test.sh --compilers $steps &
compilers=$!
trap 'kill -TERM -- -$compilers 2>/dev/null; exit 130' INT TERM HUP

for name in $GUESTS; do
    wanted "$name" || continue
    case $name in
    programs | apps-native | command-linux) ;;
    *) while wanted kernel && ! [ -e $logs/kernel.result ] && kill -0 $compilers 2>/dev/null; do sleep 1; done ;;
    esac
    step "$name"
done
step_left_over
wait $compilers

total_passed=0 total_failed=0
for name in $steps; do
    # A step without a result never ended.
    read -r passed failed <"$logs/$name.result" || { echo "no result from $name"; passed=0 failed=1; }
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
done
printf 'make test took %d s\n' $(($(date +%s) - started))
printf '%d passed, %d failed\n' $total_passed $total_failed
[ $total_failed = 0 ]
