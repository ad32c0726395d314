# SPDX-License-Identifier: MPL-2.0
#
# The one place that decides which Rust compiler builds Pollux. To be sourced (POSIX sh) by the Makefile's recipes, by
# ./pollux and by the other scripts.
#
# The pinned OSTD is made for nightly-2026-04-03, which is Rust 1.96. Two compilers will do:
#
# 1. rustup's toolchain of that date, with the component rust-src. Its own bin directory is put on the PATH, not rustup's
#    proxies, so no rust-toolchain file and no RUSTUP_TOOLCHAIN can send a build elsewhere (OSDK drops that variable).
# 2. Debian's packages rustc-web and friends, a stable 1.96 that is told to accept unstable features.
#
# Sets: POLLUX_ROOT, POLLUX_USER_PATH, POLLUX_TOOLCHAIN (`rustup` or `debian`),
# POLLUX_TOOLCHAIN_NAME (for humans), PATH, RUSTC_BOOTSTRAP.
# Obeys: POLLUX_TOOLCHAIN=debian|rustup in the environment, to insist on one of them.

POLLUX_NIGHTLY=nightly-2026-04-03
POLLUX_RUST_MINOR=1.96

if [ -z "${POLLUX_ROOT:-}" ]; then
    POLLUX_ROOT=$(pwd)
    [ -f "$POLLUX_ROOT/scripts/env.sh" ] || { echo "scripts/env.sh: source it from the project's root, or set POLLUX_ROOT" >&2; exit 125; }
fi

if [ "${POLLUX_ENV_READY:-}" != "$POLLUX_ROOT" ]; then
    # Where `./pollux run NAME` looks for programs: the user's PATH, not the one that is made here for compilers.
    POLLUX_USER_PATH=$PATH
    pollux_rustup_bin=
    for pollux_dir in "${RUSTUP_HOME:-${HOME:-/root}/.rustup}/toolchains/$POLLUX_NIGHTLY"-*; do
        if [ -x "$pollux_dir/bin/cargo" ] && [ -d "$pollux_dir/lib/rustlib/src/rust/library" ]; then
            pollux_rustup_bin=$pollux_dir/bin
        fi
    done
    if [ -z "${POLLUX_TOOLCHAIN:-}" ]; then
        POLLUX_TOOLCHAIN=debian
        [ -z "$pollux_rustup_bin" ] || POLLUX_TOOLCHAIN=rustup
    fi
    # A user's PATH may lack the sbin directories, where some tools of set-up live.
    PATH=$PATH:/usr/sbin:/sbin
    case $POLLUX_TOOLCHAIN in
    rustup)
        POLLUX_TOOLCHAIN_NAME="rustup's $POLLUX_NIGHTLY"
        PATH=$pollux_rustup_bin:$PATH
        ;;
    debian)
        POLLUX_TOOLCHAIN_NAME="Debian's rustc-web"
        # Before rustup's proxies, if there are any.
        PATH=/usr/bin:/bin:$PATH
        ;;
    *)
        echo "POLLUX_TOOLCHAIN must be 'rustup' or 'debian', not '$POLLUX_TOOLCHAIN'" >&2
        exit 125
        ;;
    esac
    PATH=$POLLUX_ROOT/target/tools/bin:$PATH
    RUSTC_BOOTSTRAP=1
    unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS
    POLLUX_ENV_READY=$POLLUX_ROOT
    export POLLUX_USER_PATH PATH RUSTC_BOOTSTRAP POLLUX_ROOT POLLUX_TOOLCHAIN POLLUX_TOOLCHAIN_NAME POLLUX_ENV_READY POLLUX_RUST_MINOR
fi
