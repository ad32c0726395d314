#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Random calls on this machine's Linux, on Debian's and on Pollux: where do the answers differ? (--help says more)
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"
sh scripts/build-tools.sh
mkdir -p target/differ
if ! [ -x target/differ/differ ] || [ test/differ/differ.c -nt target/differ/differ ]; then
    ${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -D_GNU_SOURCE -static -o target/differ/differ test/differ/differ.c
fi
exec python3 test/differ/compare.py "$@"
