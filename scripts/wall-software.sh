#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Fetches the programs that `make bench-wall` runs, from Debian into target/wall/root: unpacked, not installed, so that it
# takes no root and starts no servers here. Returns at once when they are there. Without a network it says what is
# missing, and bench-wall goes without.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
wall=$POLLUX_ROOT/target/wall
stamp=$wall/packages

packages=$(sed -n 's/^# package: *//p' "$POLLUX_ROOT"/test/bench/wall/*.sh | tr ' ' '\n' | grep -v '^-$' | sort -u | tr '\n' ' ')
[ "$packages" != "$(cat "$stamp" 2>/dev/null)" ] || exit 0

printf '\033[1m==>\033[0m %s\n' "fetching $packages(unpacked into target/wall, not installed)" >&2
rm -rf "$wall"
mkdir -p "$wall/archives/partial" "$wall/root"
# apt works out what is not installed of their libraries. An installed package is fetched all the same: --reinstall.
# shellcheck disable=SC2086
if ! apt-get install -q -y --no-install-recommends --reinstall --download-only -o Dir::Cache::archives="$wall/archives" \
    -o Debug::NoLocking=1 $packages >"$wall/apt.log" 2>&1; then
    tail -n 5 "$wall/apt.log" >&2
    echo "could not fetch $packages; the lists may be old: sudo apt-get update" >&2
    exit 0
fi
for archive in "$wall"/archives/*.deb; do
    dpkg-deb -x "$archive" "$wall/root"
done
printf '%s' "$packages" >"$stamp"
