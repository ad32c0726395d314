#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# A RUSTC_WRAPPER that lints the kernel while it is compiled: everything it stands on is compiled by the compiler itself. Lints
# that `make check` makes errors are warnings here.
rustc=$1
shift
case " $* " in
*" --crate-name pollux "*) exec clippy-driver "$rustc" "$@" ;;
*) exec "$rustc" "$@" ;;
esac
