#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Runs the loom models of kernel/libs: files tests/loom_*.rs, compiled with --cfg loom.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"
for library in kernel/libs/*; do
    tests=
    for file in "$library"/tests/loom_*.rs; do
        [ ! -f "$file" ] || tests="$tests --test $(basename "$file" .rs)"
    done
    [ -n "$tests" ] || continue
    RUSTFLAGS="--cfg loom" sh scripts/cargo.sh test --release --locked --manifest-path "$library/Cargo.toml" \
        --target-dir target/loom $tests -- "$@"
done
