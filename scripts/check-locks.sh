#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Every crate from a registry that is linked into the kernel by OSDK's generated base crates must be in the committed
# Cargo.lock, same version, same checksum. Silent when all is well.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$POLLUX_ROOT"

# One line per crate: name, version, checksum.
locked() {
    awk -F'"' '/^name = /{n=$2} /^version = /{v=$2} /^checksum = /{print n, v, $2}' "$1" | sort
}

status=0
for lock in target/osdk/*-base/Cargo.lock target/ktest/osdk/*-base/Cargo.lock; do
    [ -f "$lock" ] || continue
    committed=$(mktemp) generated=$(mktemp)
    locked Cargo.lock >"$committed"
    locked "$lock" >"$generated"
    drift=$(comm -13 "$committed" "$generated" | cut -d' ' -f1,2)
    rm -f "$committed" "$generated"
    if [ -n "$drift" ]; then
        echo "$lock holds crates that Cargo.lock does not pin:" >&2
        echo "$drift" | sed 's/^/    /' >&2
        echo "name them in the dependencies of kernel/Cargo.toml (see ostd/README.md)" >&2
        status=1
    fi
done
exit $status
