#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Shows that every model catches the mistake that it is there for: runs the libraries' own kernel/libs/*/mutants/run.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"
found=
for runner in kernel/libs/*/mutants/run kernel/libs/*/mutants/run.sh; do
    [ -f "$runner" ] || continue
    found=1
    sh "$runner" "$@"
done
[ -n "$found" ] || { echo "no library has a mutants/run" >&2; exit 1; }
