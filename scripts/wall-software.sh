#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Fetches the programs that `make bench-wall` runs, into target/wall/root: what the heads of test/bench/wall/*.sh name. Without
# a network it says what is missing, and bench-wall goes without.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
packages=$(sed -n 's/^# package: *//p' "$POLLUX_ROOT"/test/bench/wall/*.sh | tr ' ' '\n' | grep -v '^-$' | sort -u)
# shellcheck disable=SC2086 # words
sh "$POLLUX_ROOT/scripts/fetch-packages.sh" target/wall $packages || echo "bench-wall goes without what could not be fetched" >&2
