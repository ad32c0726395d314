#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Builds the test programs of test/apps, C and Rust, with the project's compilers.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
flags=
[ "${OFFLINE:-}" != 1 ] || flags="--config $POLLUX_ROOT/ostd/vendor/config.toml --offline"
unset MAKEFLAGS MFLAGS
make -s -C "$POLLUX_ROOT/test/apps" all rust CARGO_FLAGS="--quiet $flags"
