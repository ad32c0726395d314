#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Runs the models of kernel/libs: files tests/loom_*.rs compiled with --cfg loom (all executions, or all with a bounded number
# of preemptions), and tests/shuttle.rs with --cfg shuttle (random schedules). Arguments go to the tests: a part of a name.
#
#   --quick      what `make check` runs: no more than one preemption, no random schedules
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"

quick=
if [ "${1:-}" = --quick ]; then
    quick=1
    shift
    export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-1}"
fi

# run LIBRARY CHECKER TESTS [ARGUMENT]...
run() {
    library=$1 checker=$2 tests=$3
    shift 3
    # shellcheck disable=SC2086 # TESTS are words.
    RUSTFLAGS="--cfg $checker" sh scripts/cargo.sh test ${quick:+--quiet} --profile model --locked \
        --manifest-path "$library/Cargo.toml" --target-dir "target/$checker" $tests -- "$@"
}

for library in kernel/libs/*; do
    tests=
    for file in "$library"/tests/loom_*.rs; do
        [ ! -f "$file" ] || tests="$tests --test $(basename "$file" .rs)"
    done
    [ -z "$tests" ] || run "$library" loom "$tests" "$@"
    if [ -z "$quick" ] && [ -f "$library/tests/shuttle.rs" ]; then
        run "$library" shuttle "--test shuttle" "$@"
    fi
done
