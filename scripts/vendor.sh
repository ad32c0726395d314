#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Fetches every crate that any of the project's workspaces locks, and those of the standard library (the kernel is built
# with -Zbuild-std), into ostd/vendor; checksums are kept beside each crate and checked by cargo at every build.
# Leaves ostd/vendor/config.toml, which `OFFLINE=1` gives to cargo.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"

library=$(rustc --print sysroot)/lib/rustlib/src/rust/library
sh scripts/ostd.sh
set -- --sync ostd/registry/Cargo.toml --sync tools/Cargo.toml --sync test/apps/rust/Cargo.toml \
    --sync test/servers/rust/Cargo.toml
[ ! -f "$library/Cargo.toml" ] || set -- "$@" --sync "$library/Cargo.toml"

rm -rf ostd/vendor.new
printf '\033[1m==>\033[0m %s\n' "fetching all crates into ostd/vendor" >&2
config=$(cargo vendor --locked --versioned-dirs "$@" ostd/vendor.new)
printf '%s\n' "$config" | sed "s|^directory = .*|directory = \"$POLLUX_ROOT/ostd/vendor\"|" >ostd/vendor.new/config.toml
rm -rf ostd/vendor
mv ostd/vendor.new ostd/vendor
count=$(find ostd/vendor -mindepth 1 -maxdepth 1 -type d | wc -l)
printf '\033[1m==>\033[0m %s\n' "$count crates in ostd/vendor; build with: make build OFFLINE=1" >&2
