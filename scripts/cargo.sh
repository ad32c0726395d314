#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# cargo with the project's compiler (scripts/env.sh). OFFLINE=1: all crates come from ostd/vendor, nothing from the network.
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
if [ "${OFFLINE:-}" = 1 ]; then
    set -- --config "$POLLUX_ROOT/ostd/vendor/config.toml" --offline "$@"
fi
exec cargo "$@"
