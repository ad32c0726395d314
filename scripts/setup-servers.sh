#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Fetches the servers and clients that test/servers runs into target/servers/root, and lays out what the guest needs of them in
# target/servers/guest, as it will be in the guest's root directory. Idempotent, and instant when nothing is missing.
#
#   scripts/setup-servers.sh [--short]     --short: only what the short form of `make test` needs (a few megabytes)
set -eu
POLLUX_ROOT=$(cd "$(dirname "$0")/.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT"
here=target/servers

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

SHORT="redis-server redis-tools nginx memcached wrk"
LONG="$SHORT apache2-utils iperf3 socat ncat haproxy mosquitto mosquitto-clients curl golang-go"
# The part of CPython's test package that runs tests comes with Debian's standard library.
LONG="$LONG libpython3.11-testsuite libpython3.11-stdlib"
# Their dependencies come along, but not these: the guest does not need them, or has this machine's.
UNWANTED='^(python3|libpython3\.11($|-(minimal|stdlib|dev)$)|perl|libperl|adduser|lsb-base|iproute2|net-tools)'

form=long packages=$LONG
[ "${1:-}" != --short ] || form=short packages=$SHORT
stamp=$here/$form.stamp
stamp_text() { cat scripts/setup-servers.sh scripts/fetch-packages.sh | cksum; }
if { [ -f "$stamp" ] && [ "$(stamp_text)" = "$(cat "$stamp")" ]; } ||
    { [ -f $here/long.stamp ] && [ "$(stamp_text)" = "$(cat $here/long.stamp)" ]; }; then
    exit 0
fi

# shellcheck disable=SC2086 # words
sh scripts/fetch-packages.sh $here --without "$UNWANTED" $packages

# --- the guest's tree -------------------------------------------------------------------------------------------------

# Only programs, and the libraries that this machine has not: documentation and the Go compiler stay here.
say "laying out target/servers/guest"
root=$here/root guest=$here/guest
rm -rf $guest
mkdir -p $guest/usr/bin $guest/usr/sbin $guest/usr/lib/x86_64-linux-gnu
for program in redis-server redis-cli redis-benchmark redis-check-aof memcached wrk ab iperf3 socat ncat mosquitto_pub \
    mosquitto_sub curl; do
    [ ! -e $root/usr/bin/$program ] || cp -P $root/usr/bin/$program $guest/usr/bin/
done
for target in $(find $guest/usr/bin -type l -exec readlink {} \;); do
    [ ! -f "$root/usr/bin/$target" ] || cp -P "$root/usr/bin/$target" $guest/usr/bin/
done
for program in nginx haproxy mosquitto; do
    [ ! -e $root/usr/sbin/$program ] || cp $root/usr/sbin/$program $guest/usr/sbin/
done
for library in $root/lib/x86_64-linux-gnu/*.so.* $root/usr/lib/x86_64-linux-gnu/*.so.*; do
    name=$(basename "$library")
    if [ -f "$library" ] && ! [ -e "/usr/lib/x86_64-linux-gnu/$name" ]; then
        cp -P "$library" $guest/usr/lib/x86_64-linux-gnu/
    fi
done

# CPython's test package, reduced to the tests of what waits and what they need.
tests=$root/usr/lib/python3.11/test
if [ -d "$tests" ]; then
    rm -rf $here/cpython
    mkdir -p $here/cpython/test
    cp -r "$tests/__init__.py" "$tests/__main__.py" "$tests/regrtest.py" "$tests/libregrtest" "$tests/support" $here/cpython/test/
    for name in epoll poll select selectors socketserver; do
        cp "$tests/test_$name.py" $here/cpython/test/
    done
fi

stamp_text >"$stamp"
say "the servers are in target/servers"
