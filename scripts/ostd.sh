#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Makes ostd/patched: the OSTD of the registry, checksum verified by cargo, with ostd/patches applied (see ostd/README.md).
# Returns at once when that is what it holds already. OFFLINE=1: from ostd/vendor.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"

stamp=$(cat ostd/registry/Cargo.lock ostd/patches/*.patch scripts/ostd.sh | cksum)
[ "$(cat ostd/patched/.stamp 2>/dev/null)" != "$stamp" ] || exit 0

version=$(sed -n 's/^ostd = "=\(.*\)"$/\1/p' ostd/registry/Cargo.toml)
printf '\033[1m==>\033[0m %s\n' "preparing OSTD $version" >&2
metadata=$(sh scripts/cargo.sh metadata --locked --format-version 1 --manifest-path ostd/registry/Cargo.toml)
manifest=$(printf '%s' "$metadata" | tr '"' '\n' | grep "/ostd-$version/Cargo.toml\$" | head -n 1)
[ -n "$manifest" ] || { echo "ostd.sh: cargo did not say where it keeps ostd $version" >&2; exit 1; }

# Made aside, so that a build never sees half of it.
new=ostd/patched.$$
trap 'rm -rf "$POLLUX_ROOT/$new"' EXIT
cp -RL "$(dirname "$manifest")" "$new"
chmod -R u+w "$new"
rm -f "$new"/.cargo-ok "$new"/.cargo-checksum.json
for patch in ostd/patches/*.patch; do
    git apply --directory="$new" "$patch" || { echo "ostd.sh: $patch does not fit ostd $version" >&2; exit 1; }
done
echo "$stamp" >"$new/.stamp"
rm -rf ostd/patched
mv "$new" ostd/patched
