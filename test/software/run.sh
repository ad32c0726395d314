#!/bin/sh
# SPDX-License-Identifier: MPL-2.0
#
# Real programs: Debian's own, and ours in C and in Rust with Mio. Each is run here, on Linux in QEMU and on Pollux in
# QEMU; standard output and exit status must be the same everywhere.
#
#   test/software/run.sh [--kernel pollux|linux] [CASE]...
#
# Closing line: N passed, N failed. Outputs are kept in target/software/.
set -u
POLLUX_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$POLLUX_ROOT/scripts/env.sh"
cd "$POLLUX_ROOT" || exit 125

kernels="linux pollux"
if [ "${1:-}" = --kernel ]; then
    kernels=$2
    shift 2
fi
wanted="$*"
out=target/software
mkdir -p $out
passed=0 failed=0
# Several seconds natively under no load; in an emulator on a busy machine much more.
TIMEOUT=240

gcc -O2 -pthread -o $out/threads32 test/apps/threads32.c || exit 1
sh scripts/build-apps.sh || exit 1
[ -x target/guest/tour ] || make -s target/guest/tour || exit 1

# A guest of $kernel with the flags and outputs of case $name. Linux with four CPUs has been seen to hang in the emulator, once in
# several hundred boots: that is no word about Pollux, so there, and only there, a timeout has a second try.
run_in_guest() {
    ./pollux run --kernel "$kernel" --timeout $TIMEOUT $flags -- "$@" \
        >"$out/$name.$kernel" 2>"$out/$name.$kernel.err" </dev/null
}

# run_case NAME [FLAG]... -- PROGRAM [ARG]...: flags are for `./pollux run`
run_case() {
    name=$1
    shift
    flags=
    while [ "$1" != -- ]; do
        flags="$flags $1"
        shift
    done
    shift
    case " $wanted " in *" $name "* | "  ") ;; *) return ;; esac
    env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 "$@" >"$out/$name.host" 2>"$out/$name.host.err" </dev/null
    expected=$?
    for kernel in $kernels; do
        begun=$(date +%s)
        run_in_guest "$@"
        status=$?
        if [ $kernel = linux ] && [ $status = 124 ]; then
            echo "# $name on linux timed out, and is tried once more:"
            sed 's/^/#   stderr: /' "$out/$name.linux.err"
            run_in_guest "$@"
            status=$?
        fi
        seconds=$(($(date +%s) - begun))
        if [ $status = $expected ] && cmp -s "$out/$name.host" "$out/$name.$kernel"; then
            passed=$((passed + 1))
            echo "ok $name on $kernel ($seconds s)"
        else
            failed=$((failed + 1))
            echo "not ok $name on $kernel: exit status $status, on this host $expected ($seconds s)"
            diff "$out/$name.host" "$out/$name.$kernel" | head -n 10 | sed 's/^/#   /'
            head -n 10 "$out/$name.$kernel.err" | sed 's/^/#   stderr: /'
        fi
    done
}

run_case busybox -- /bin/busybox sh test/software/pipes.sh
run_case dash -- /bin/dash test/software/pipes.sh
run_case python-selectors --smp 2 -- /usr/bin/python3 test/apps/python/selectors_pipes.py
run_case python-threading --smp 2 -- /usr/bin/python3 test/apps/python/threading_queue.py
run_case python-subprocess -- /usr/bin/python3 test/apps/python/subprocess_pipes.py
run_case threads-dynamic --smp 4 -- $out/threads32
run_case threads-static --smp 4 -- test/apps/build/threads32
run_case mio-epoll --smp 2 -- test/apps/build/mio_pipes
run_case mio-poll --smp 2 -- test/apps/build/mio_pipes_poll
run_case tour -- target/guest/tour

echo "$passed passed, $failed failed"
[ $failed = 0 ]
