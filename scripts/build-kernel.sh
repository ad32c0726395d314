#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Builds the kernel's release image, target/pollux.elf, which QEMU boots directly (multiboot).
# OSDK leaves it as target/osdk/NAME-osdk-bin.qemu_elf; the copy has a name that does not depend on OSDK's habits and is
# replaced in one step, so that a kernel being booted is never seen half-written.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
sh "$POLLUX_ROOT/scripts/osdk.sh" build --release "$@"
name=$(sed -n '/^\[package\]/,/^\[/s/^name *= *"\(.*\)"/\1/p' "$POLLUX_ROOT/kernel/Cargo.toml" | head -n 1)
built=$POLLUX_ROOT/target/osdk/$name-osdk-bin.qemu_elf
image=$POLLUX_ROOT/target/pollux.elf
if ! cmp -s "$built" "$image"; then
    cp "$built" "$image.$$"
    mv "$image.$$" "$image"
fi
# Newer than every source it was built from, also when nothing changed in it.
touch "$image"
