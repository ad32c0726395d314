#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Builds what runs beside the kernel: the host command (target/host/release/pollux) and the guest's init program
# (target/guest/init), a static C program. Instant when both are newer than their sources.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"

host=target/host/release/pollux
guest=target/guest/init

if ! [ -x "$guest" ] || [ -n "$(find test/init -newer "$guest" -type f)" ]; then
    mkdir -p target/guest
    gcc -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -static -o "$guest.new" test/init/*.c
    mv "$guest.new" "$guest"
fi
if ! [ -x "$host" ] || [ -n "$(find tools/Cargo.* tools/pollux -newer "$host" -type f ! -path '*/target/*')" ]; then
    [ -x "$host" ] || echo "building the pollux command (first use; about a minute)" >&2
    sh scripts/cargo.sh build --quiet --release --locked --manifest-path tools/Cargo.toml --target-dir target/host \
        -p pollux
    touch "$host"
fi
