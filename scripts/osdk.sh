#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Runs an OSDK command on the kernel: scripts/osdk.sh build --release, scripts/osdk.sh test NAME ...
#
# Tests are built with other compiler flags, under the same file names: they get a target directory of their own, so that
# neither build undoes the other.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"

POLLUX_CARGO=$(command -v cargo)
[ "${OFFLINE:-}" != 1 ] || POLLUX_OFFLINE=1
export POLLUX_CARGO POLLUX_OFFLINE="${POLLUX_OFFLINE:-}"
if [ "$POLLUX_OFFLINE" = 1 ] && ! [ -f "$POLLUX_ROOT/ostd/vendor/config.toml" ]; then
    echo "OFFLINE=1 builds from ostd/vendor, which is not there yet: run 'make vendor' while there is a network" >&2
    exit 125
fi
case $1 in
test)
    CARGO_TARGET_DIR=$POLLUX_ROOT/target/ktest
    # Lints come along for a fifth of what a run of their own costs.
    ! command -v clippy-driver >/dev/null || export RUSTC_WRAPPER="$POLLUX_ROOT/scripts/clippy-wrapper.sh"
    ;;
*) CARGO_TARGET_DIR=$POLLUX_ROOT/target ;;
esac
export CARGO_TARGET_DIR
# Kernel stacks of 64 KiB. OSTD's default of 512 KiB makes every fork(2) map eight times as many pages.
OSTD_TASK_STACK_SIZE_IN_PAGES=16
export OSTD_TASK_STACK_SIZE_IN_PAGES
PATH=$POLLUX_ROOT/scripts/osdk-shim:$PATH

sh "$POLLUX_ROOT/scripts/ostd.sh"

# A base crate whose lock file is older than the committed one starts anew.
for base in "$CARGO_TARGET_DIR"/osdk/*-base; do
    if [ "$base/Cargo.lock" -ot "$POLLUX_ROOT/Cargo.lock" ]; then rm -f "$base/Cargo.lock"; fi
done

cd "$POLLUX_ROOT/kernel"
status=0
cargo-osdk osdk "$@" || status=$?
[ "$status" != 0 ] || sh "$POLLUX_ROOT/scripts/check-locks.sh"
exit "$status"
