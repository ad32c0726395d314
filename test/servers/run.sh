#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Servers and their clients, unmodified, both inside one guest: Debian's, and ours in C, Rust and Go.
#
#   test/servers/run.sh [--kernel pollux|linux] [--smp "N..."] [--seconds N] [--short] [--build] [CASE]...
#
# The long form runs all cases, with one CPU and with four, a minute for each kind of load. The short form runs those that
# need small downloads only, with two CPUs, for two seconds each. Each case boots a machine of its own; its script in guest/ closes with
# `ok NAME` or `not ok NAME: REASON`. The case `selectors` shows by --trace which system calls the Rust programs wait in.
# With --build they are only fetched and built.
#
# Closing line: N passed, N failed. Outputs are kept in target/servers/logs/.
set -u
POLLUX_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT" || exit 125

SHORT="redis nginx memcached asyncio mio tokio selectors faults"
LONG="$SHORT haproxy iperf3 socat ncat http_server go mosquitto cpython"
form=long build_only= kernel=pollux cpus="1 4" seconds=60 cases=$LONG
while [ $# -gt 0 ]; do
    case $1 in
    --kernel) kernel=$2 && shift ;;
    --smp) cpus=$2 && shift ;;
    --seconds) seconds=$2 && shift ;;
    --short) form=short cpus=2 seconds=2 cases=$SHORT ;;
    --build) build_only=1 ;;
    -*)
        echo "run.sh: what is $1?" >&2
        exit 125
        ;;
    *) break ;;
    esac
    shift
done
[ $# = 0 ] || cases="$*"

here=target/servers
logs=$here/logs
mkdir -p $logs
if [ $form = short ]; then sh scripts/setup-servers.sh --short; else sh scripts/setup-servers.sh; fi || exit 1
flags=
[ "${OFFLINE:-}" != 1 ] || flags="--config $POLLUX_ROOT/ostd/vendor/config.toml --offline"
target=all
[ $form != short ] || target=short
make -s -C test/servers $target CARGO_FLAGS="--quiet $flags" || exit 1
[ -z "$build_only" ] || exit 0

passed=0 failed=0

# boot LOG SMP TIMEOUT [FLAG]... -- PROGRAM [ARG]...
boot() {
    boot_log=$1 boot_smp=$2 limit=$3
    shift 3
    ./pollux run --kernel "$kernel" --smp "$boot_smp" --timeout "$limit" --add $here/guest:/ \
        --add test/servers --add "$here/build:$POLLUX_ROOT/test/servers/build" "$@" >"$boot_log" 2>"$boot_log.err" </dev/null
}

# Counts the results in a log, and prints it. A script without a result is a failure: it hung, or the kernel did.
count() { # NAME SMP LOG STATUS SECONDS
    where="$kernel, smp $2, $5 s"
    grep -E '^(ok|not ok|#)' "$3" | sed "s/^\(ok [^ ]*\|not ok [^:]*\)/\1 ($where)/"
    ok=$(grep -c '^ok ' "$3") bad=$(grep -c '^not ok ' "$3")
    passed=$((passed + ok)) failed=$((failed + bad))
    if [ $((ok + bad)) = 0 ] || { [ "$4" != 0 ] && [ "$bad" = 0 ]; }; then
        failed=$((failed + 1))
        echo "not ok $1 ($where): no result, exit status $4 (124: timeout, 126: panic)"
        tail -n 5 "$3" "$3.err" | sed 's/^/#   /'
    fi
}

# A case's programs are in target/servers/guest; Python and its library come from this machine.
run_script() { # CASE SMP
    log=$logs/$1.$kernel.$2 add=
    case $1 in
    asyncio | http_server | cpython) add="--add /usr/bin/python3" ;;
    esac
    begun=$(date +%s)
    boot "$log" "$2" $((600 + seconds * 20)) $add -- /bin/busybox sh "test/servers/guest/$1.sh" "$seconds"
    count "$1" "$2" "$log" $? $(($(date +%s) - begun))
}

# CPython's tests have results of their own; they must be the same as here.
run_cpython() { # SMP
    log=$logs/cpython.$kernel.$1 tests=$POLLUX_ROOT/$here/cpython
    [ -s $logs/cpython.host ] || CPYTHON_TESTS=$tests sh test/servers/guest/cpython.sh >$logs/cpython.host 2>$logs/cpython.host.err
    begun=$(date +%s)
    boot "$log.results" "$1" 900 --add $here/cpython --env "CPYTHON_TESTS=$tests" --add /usr/bin/python3 \
        -- /bin/busybox sh test/servers/guest/cpython.sh
    status=$?
    if cmp -s $logs/cpython.host "$log.results"; then
        echo "# cpython: $(grep -c ' ok$' "$log.results") tests ok, the others as on the host"
        echo "ok cpython"
    else
        echo "not ok cpython: differs from the host"
        diff $logs/cpython.host "$log.results" | head -n 20 | sed 's/^/#   /'
    fi >"$log"
    cp "$log.results.err" "$log.err"
    count cpython "$1" "$log" $status $(($(date +%s) - begun))
}

# Which call each Rust program waits in, from the trace of a small run.
run_selectors() { # SMP
    log=$logs/selectors.$kernel.$1
    begun=$(date +%s)
    : >"$log" && : >"$log.err"
    for program in mio tokio; do
        for selector in epoll poll; do
            binary=${program}_echo
            [ $selector = epoll ] || binary=${program}_echo_poll
            boot "$log.$binary" "$1" 300 --trace -- /bin/busybox sh test/servers/guest/selectors.sh $binary
            status=$?
            epolls=$(grep -c 'epoll_wait(' "$log.$binary.err")
            polls=$(grep -c '[^e]poll(' "$log.$binary.err")
            echo "# $binary: epoll_wait $epolls times, poll $polls times" >>"$log"
            if [ $status = 0 ] && case $selector in epoll) [ "$epolls" -gt 5 ] ;; poll) [ "$epolls" = 0 ] && [ "$polls" -gt 5 ] ;; esac; then
                echo "ok selector-$binary" >>"$log"
            else
                echo "not ok selector-$binary: exit status $status" >>"$log"
            fi
        done
    done
    count selectors "$1" "$log" 0 $(($(date +%s) - begun))
}

for smp in $cpus; do
    for case in $cases; do
        case $case in
        cpython) run_cpython "$smp" ;;
        selectors) run_selectors "$smp" ;;
        *) run_script "$case" "$smp" ;;
        esac
    done
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
