#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Brings a fresh Debian 12 to the point where Pollux builds, boots and is tested. Idempotent: whatever is there already is
# left alone, and when nothing is missing it returns at once.
#
#   scripts/setup.sh [--quiet]     --quiet: say nothing unless there is something to do
#
# What it may install: Debian packages (by apt-get, as root or by a password-less sudo; else it prints the command to
# type), cargo-osdk (into target/tools), and the stock Debian kernel that Pollux is compared with (unpacked, not
# installed, into target/linux).
set -eu

POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"

OSDK_VERSION=0.18.0
TOOLS=$POLLUX_ROOT/target/tools
LINUX=$POLLUX_ROOT/target/linux
STAMP=$TOOLS/setup.stamp

quiet=
[ "${1:-}" = --quiet ] && quiet=1

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'setup: %s\n' "$*" >&2; exit 125; }

# --- nothing to do? -------------------------------------------------------------------------------------------------

# The stamp names everything it vouches for, so that a change of this script or of the compiler makes it void.
stamp_text() {
    cksum <"$POLLUX_ROOT/scripts/setup.sh"
    echo "$POLLUX_TOOLCHAIN $(rustc --version 2>/dev/null)"
}

tools_present() {
    for tool in cargo rustc qemu-system-x86_64 gcc busybox dash python3 strace; do
        command -v "$tool" >/dev/null 2>&1 || return 1
    done
    [ -x "$TOOLS/bin/cargo-osdk" ] && [ -e "$LINUX/vmlinuz" ] && [ -f "$POLLUX_ROOT/ostd/patched/.stamp" ]
}

if [ -f "$STAMP" ] && tools_present && [ "$(stamp_text)" = "$(cat "$STAMP")" ]; then
    [ -n "$quiet" ] || say "set-up is complete; the compiler is $POLLUX_TOOLCHAIN_NAME ($(rustc --version))"
    exit 0
fi

say "setting up; the compiler will be $POLLUX_TOOLCHAIN_NAME"
if [ "$POLLUX_TOOLCHAIN" = debian ] && command -v rustup >/dev/null 2>&1; then
    say "(to use rustup instead: rustup toolchain install $POLLUX_NIGHTLY -c rust-src -c clippy -c rustfmt)"
fi
[ "$(uname -m)" = x86_64 ] || die "Pollux is built on and for x86-64, this is $(uname -m)"
mkdir -p "$TOOLS" "$LINUX"

# --- Debian packages --------------------------------------------------------------------------------------------------

packages="qemu-system-x86 gcc libc6-dev make busybox-static dash python3 strace ca-certificates"
if [ "$POLLUX_TOOLCHAIN" = debian ]; then
    packages="$packages rustc-web cargo-web rust-web-src rust-web-llvm lld-22 rust-web-clippy rustfmt-web"
fi

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=
if command -v dpkg-query >/dev/null 2>&1; then
    for package in $packages; do
        is_installed "$package" || missing="$missing $package"
    done
elif ! { command -v qemu-system-x86_64 && command -v gcc && command -v busybox; } >/dev/null 2>&1; then
    die "this is not a Debian system; install by hand what corresponds to:$packages"
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian's package lists change under a snapshot: refresh them once before the first download.
refresh_lists() {
    [ -z "${lists_are_fresh:-}" ] || return 0
    say "refreshing apt's package lists"
    as_root apt-get update -q >&2 || die "apt-get update failed; check the network and /etc/apt/sources.list"
    lists_are_fresh=1
}

if [ -n "$missing" ]; then
    command_to_type="apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends$missing"
    if [ "$(id -u)" != 0 ] && ! { command -v sudo && sudo -n true; } >/dev/null 2>&1; then
        die "these Debian packages are missing:$missing
Installing them takes root. Type this, then try again:

    sudo sh -c '$command_to_type'
"
    fi
    refresh_lists
    say "installing Debian packages:$missing"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >&2 || die "apt-get failed.
To try again by hand:

    $command_to_type
"
fi

# --- is it the right compiler? ----------------------------------------------------------------------------------------

hash -r
version=$(rustc --version 2>/dev/null) || die "no rustc on the PATH, although set-up just saw to it; PATH=$PATH"
case $version in
"rustc $POLLUX_RUST_MINOR."*) ;;
*)
    die "the compiler is '$version', but ostd $OSDK_VERSION builds with Rust $POLLUX_RUST_MINOR.
Debian's security suite moves on; the way out is the matching nightly by rustup:

    curl https://sh.rustup.rs -sSf | sh -s -- -y --default-toolchain none
    rustup toolchain install $POLLUX_NIGHTLY -c rust-src -c clippy -c rustfmt

or, to stay with Debian, the last $POLLUX_RUST_MINOR packages of rustc-web from https://snapshot.debian.org"
    ;;
esac

# --- OSDK -------------------------------------------------------------------------------------------------------------

osdk_version() { "$1" osdk --version 2>/dev/null | grep -q "$OSDK_VERSION"; }

if ! { [ -x "$TOOLS/bin/cargo-osdk" ] && osdk_version "$TOOLS/bin/cargo-osdk"; }; then
    mkdir -p "$TOOLS/bin"
    present=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo-osdk
    if [ -x "$present" ] && osdk_version "$present"; then
        say "using the cargo-osdk $OSDK_VERSION in $present"
        ln -sf "$present" "$TOOLS/bin/cargo-osdk"
    else
        say "building cargo-osdk $OSDK_VERSION (about a minute and a half)"
        rm -f "$TOOLS/bin/cargo-osdk"
        # Not optimised: its own work is small beside that of the compilers it starts, and it is built in less than half the time.
        # --force: cargo's notes on this root may outlive the program.
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_LTO=off \
            cargo install --locked --force --root "$TOOLS" --target-dir "$TOOLS/build" "cargo-osdk@$OSDK_VERSION" >&2
        rm -rf "$TOOLS/build"
    fi
fi

# --- the Linux to compare with ----------------------------------------------------------------------------------------

if [ ! -e "$LINUX/vmlinuz" ]; then
    meta=linux-image-cloud-amd64
    image() { apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)/\1/p' | head -n 1; }
    if [ -z "$(image)" ]; then
        if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then refresh_lists; fi
    fi
    package=$(image)
    [ -n "$package" ] || die "apt knows no $meta; type this, then try again:  sudo apt-get update"
    say "fetching Debian's stock kernel, $package, to compare with"
    unpack=$(mktemp -d "$LINUX/unpack.XXXXXX")
    # apt drops privileges for downloads and wants to be able to write there.
    chmod 755 "$unpack"
    if ! (cd "$unpack" && apt-get download -q "$package" >&2); then
        # The lists may be older than the archive.
        if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then refresh_lists; fi
        package=$(image)
        (cd "$unpack" && apt-get download -q "$package" >&2) || die "could not download $package; try: sudo apt-get update"
    fi
    dpkg-deb -x "$unpack"/*.deb "$unpack/root"
    mv "$unpack"/root/boot/vmlinuz-* "$unpack"/root/boot/config-* "$LINUX/"
    rm -rf "$unpack"
    ln -sf "$(basename "$(ls "$LINUX"/vmlinuz-* | tail -n 1)")" "$LINUX/vmlinuz"
fi

# --- OSTD -------------------------------------------------------------------------------------------------------------

sh "$POLLUX_ROOT/scripts/ostd.sh"

stamp_text >"$STAMP"
say "set-up is complete; the compiler is $POLLUX_TOOLCHAIN_NAME ($version)"
