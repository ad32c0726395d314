#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Downloads Debian packages and unpacks them into DIRECTORY/root, without installing anything: it takes no root, and no service
# is started here. Those of their dependencies that this machine has not come along. Instant when nothing is missing.
#
#   scripts/fetch-packages.sh DIRECTORY [--without EXPRESSION] PACKAGE...     --without: dependencies that are not wanted
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$POLLUX_ROOT"

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'fetch-packages: %s\n' "$*" >&2; exit 125; }

here=$1 unwanted='^$'
shift
if [ "${1:-}" = --without ]; then
    unwanted=$2
    shift 2
fi
packages=$*
command -v apt-get >/dev/null 2>&1 || die "this is not a Debian system; these programs come from Debian's packages: $packages"
mkdir -p "$here/packages" "$here/root"

# The packages themselves even if this machine has them installed, so that their programs are found in one place; of
# what they depend on, what is not installed.
# shellcheck disable=SC2086 # PACKAGES are words.
closure() {
    printf '%s\n' $packages
    apt-get install -s --no-install-recommends $packages 2>/dev/null | awk '$1 == "Inst" { print $2 }' |
        grep -v -E "$unwanted" || true
}
missing=
for package in $(closure | sort -u); do
    [ -f "$here/packages/$package.unpacked" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# shellcheck disable=SC2086 # as above
download() { (cd "$here/packages" && rm -f ./*.deb && apt-get download -q $missing >&2); }

say "fetching Debian packages, not installing them:$missing"
# apt drops privileges for downloads and wants to be able to write there.
chmod 755 "$here" "$here/packages"
if ! download; then
    # The lists may be missing, or older than the archive.
    say "refreshing apt's package lists"
    if [ "$(id -u)" = 0 ]; then apt-get update -q >&2; else sudo -n apt-get update -q >&2; fi ||
        die "apt-get update failed; type this, then try again:  sudo apt-get update"
    download || die "could not download:$missing"
fi
for archive in "$here"/packages/*.deb; do
    dpkg-deb -x "$archive" "$here/root"
    rm -f "$archive"
done
for package in $missing; do
    : >"$here/packages/$package.unpacked"
done
