#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Shows that each model catches the mistake it is there for (see TABLE.md). With a word: only the mutants that contain it.
set -eu
cd "$(dirname "$0")/../../../.."
exec sh scripts/cargo.sh run --quiet --release --locked --manifest-path kernel/libs/readiness/Cargo.toml \
    --target-dir target/libs --example mutants -- "$@"
