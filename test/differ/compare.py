#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Runs differ on this machine's Linux, on Debian's Linux and on Pollux, and shows where Pollux answers as neither of the others does.

Linux changes from version to version. So Pollux is compared with whichever of the two it goes along with for longer, and where it
leaves that one, its answer counts as a difference only if the other one does not give it either.
"""

import argparse
import collections
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIFFER = ROOT / "target/differ/differ"
WIDTH = 4  # digits per step

KERNELS = {
    "native": [],
    "linux": [ROOT / "pollux", "run", "--kernel", "linux"],
    "pollux": [ROOT / "pollux", "run"],
}


def run(kernel, *arguments):
    command = [*KERNELS[kernel], DIFFER, *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"compare.py: {kernel} ended with status {done.returncode}")
    return done.stdout.decode(errors="replace")


def digests(kernel, options):
    """By seed, the digits of all its steps; only of runs that came to their end."""
    lines = [line.split() for line in run(kernel, options.first, options.count, options.steps).splitlines()]
    return {int(line[0]): line[1] for line in lines if len(line) == 2 and len(line[1]) == (options.steps + 1) * WIDTH}


def common_steps(one, other):
    """How many steps at the beginning are the same."""
    steps = min(len(one), len(other)) // WIDTH
    return next((n for n in range(steps) if one[n * WIDTH:][:WIDTH] != other[n * WIDTH:][:WIDTH]), steps)


def look(seed, step, options):
    """What each kernel answers at this step, after some steps before it; and whether one of the others answers as Pollux does."""
    # The last step is what all runs end with.
    texts = {kernel: run(kernel, "--show", seed, min(step + 1, options.steps)).splitlines() for kernel in KERNELS}
    last = {kernel: [line[5:] for line in lines if line[:4].strip() == str(step)] for kernel, lines in texts.items()}
    shown = [f"seed {seed}, step {step}:"]
    shown += [f"           {line[:300]}" for line in texts["pollux"][-options.context - 1:-1]]
    shown += [f"  {kernel:8} {' / '.join(lines)[:600]}" for kernel, lines in last.items()]
    return "\n".join(shown), last["pollux"] != [] and last["pollux"] in (last["native"], last["linux"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--count", type=int, default=200, help="how many seeds")
    parser.add_argument("--steps", type=int, default=300, help="calls per seed")
    parser.add_argument("--context", type=int, default=0, metavar="N", help="lines to show before each")
    options = parser.parse_args()

    found = {kernel: digests(kernel, options) for kernel in KERNELS}
    outcome = collections.Counter()
    for seed in range(options.first, options.first + options.count):
        missing = [kernel for kernel in KERNELS if seed not in found[kernel]]
        if missing:
            outcome["different"] += 1
            print(f"seed {seed}: did not come to its end on {', '.join(missing)}", flush=True)
            continue
        *linuxes, pollux = (found[kernel][seed] for kernel in KERNELS)
        reached = max(common_steps(pollux, linux) for linux in linuxes)
        if reached == options.steps + 1:
            outcome["same"] += 1
            continue
        text, is_known = look(seed, reached, options)
        outcome["version" if is_known else "different"] += 1
        if not is_known:
            print(text, flush=True)
    passed = outcome["same"] + outcome["version"]
    print(f"({outcome['version']} of these up to where Linux's versions differ)")
    print(f"{passed} passed, {outcome['different']} failed")
    return 1 if outcome["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
