#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# What `make check` does: all that can be known about the sources without QEMU. Prints each step and stops at the first
# that fails. Compiles into directories of its own, so that it disturbs no other build.
#
#   --without-kernel-lints    for `make test`, which lints the kernel while it builds it, and builds it with its tests
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"

sh scripts/ostd.sh

lints_kernel=1
[ "${1:-}" != --without-kernel-lints ] || lints_kernel=

cargo() { sh scripts/cargo.sh "$@"; }
begun=$(date +%s)
step() { printf '\033[1m==>\033[0m %s (at %d s)\n' "$*" $(($(date +%s) - begun)) >&2; }

# The flags that OSDK builds with, as far as they matter to lints (the linker's do not).
KERNEL_TARGET="--target x86_64-unknown-none -Zbuild-std=core,alloc,compiler_builtins
    -Zbuild-std-features=compiler-builtins-mem --target-dir target/check"
KERNEL_FLAGS="-C relocation-model=static -C force-unwind-tables=yes -C no-redzone=y --check-cfg cfg(ktest)"
HOST_LIBS=$(for manifest in kernel/libs/*/Cargo.toml; do [ ! -f "$manifest" ] || echo "$manifest"; done)

step "format"
cargo fmt --all --check
cargo fmt --manifest-path tools/Cargo.toml --all --check
cargo fmt --manifest-path test/apps/rust/Cargo.toml --all --check

step "lints: tools"
cargo clippy --quiet --release --locked --all-targets --manifest-path tools/Cargo.toml --target-dir target/host -- -D warnings

step "no unsafe code in kernel/"
mkdir -p target/host
cargo build --quiet --release --locked --manifest-path tools/Cargo.toml --target-dir target/host -p pollux-lint
target/host/release/pollux-lint kernel

step "the kernel's dependencies are those of Cargo.lock"
cargo metadata --locked --format-version 1 >/dev/null
sh scripts/check-locks.sh

if [ -n "$lints_kernel" ]; then
    step "lints: kernel"
    RUSTFLAGS="$KERNEL_FLAGS" cargo clippy --quiet --locked --no-deps -p pollux $KERNEL_TARGET -- -D warnings
    step "lints: kernel with its tests"
    RUSTFLAGS="$KERNEL_FLAGS --cfg ktest -C panic=unwind" cargo clippy --quiet --locked --no-deps -p pollux $KERNEL_TARGET-ktest \
        -- -D warnings
    step "lints: benchmarks of libraries"
    for manifest in $HOST_LIBS; do
        [ -d "$(dirname "$manifest")/benches" ] || continue
        cargo clippy --quiet --locked --benches --features bench --manifest-path "$manifest" --target-dir target/libs -- -D warnings
    done
fi

step "host tests: tools"
cargo test --quiet --release --locked --manifest-path tools/Cargo.toml --target-dir target/host

# As `cargo clippy` does it, but compiling, too: what the tests stand on is then built once and not twice.
step "lints and host tests: libraries"
for manifest in $HOST_LIBS; do
    RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ cargo test --quiet --profile hosttest --locked --manifest-path "$manifest" --target-dir target/libs
done
step "models of the readiness core, with at most one preemption"
sh scripts/loom.sh --quick

step "documentation: nothing missing, no broken link"
for manifest in $HOST_LIBS; do
    RUSTDOCFLAGS="-D missing_docs -D rustdoc::broken_intra_doc_links" cargo doc --quiet --locked --no-deps \
        --manifest-path "$manifest" --target-dir target/libs
done
step "check: all is well"
