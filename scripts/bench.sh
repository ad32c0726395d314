#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Builds what measures, and the kernel if it is older than its sources, and runs the subcommand:
#
#   scripts/bench.sh table | check | baseline | profile ROW | ...    (--help says more)
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"
sh scripts/build-tools.sh
sh scripts/cargo.sh build --quiet --release --locked --manifest-path tools/Cargo.toml --target-dir target/host -p pollux-bench
exec target/host/release/pollux-bench "$@"
