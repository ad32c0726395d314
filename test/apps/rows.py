#!/usr/bin/env python3
# SPDX-License-Identifier: MPL-2.0
"""Writes ROWS.md: which row of the readiness table is proven by which tests. Fails if a row in scope has none.

The names of the tests are the source: `build/PROGRAM --list`.
"""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent

IN_SCOPE = ["S1", "S2", "S3", "S4", *map(str, range(1, 101))]
# Proven by kernel tests, where no program can reach the row; name them here with the module.
BY_KTEST: dict[str, str] = {"88": "ktest `events::eventfd` the kernel overflows into an error"}


def programs() -> list[str]:
    lines = (HERE / "manifest").read_text().splitlines()
    return [line.split()[1] for line in lines if line.strip() and not line.startswith("#")]


def rows_of(name: str) -> list[str]:
    """The row numbers that lead a test's name: "row_S2_60_the_wait" gives S2 and 60."""
    rows = []
    for word in name.split("_")[1:-1]:
        if not re.fullmatch(r"S?\d+", word):
            break
        rows.append(word)
    return rows if name.startswith("row_") else []


def tests() -> dict[str, list[str]]:
    by_row: dict[str, list[str]] = {}
    for program in programs():
        listing = subprocess.run([HERE / "build" / program, "--list"], check=True, capture_output=True, text=True)
        for line in listing.stdout.splitlines():
            name = line.split()[1]
            for row in rows_of(name):
                text = re.sub(r"^row(_S?\d+)+_", "", name).replace("_", " ")
                by_row.setdefault(row, []).append(f"`{program}` {text}")
    return by_row


def order(row: str) -> tuple[bool, int]:
    return (not row.startswith("S"), int(row.lstrip("S")))


def main() -> int:
    by_row = tests()
    print("# Which test proves which row\n")
    print("Written by `make -C test/apps rows`; do not edit. Rows are those of the readiness table.\n")
    print("|Row|Proven by|\n|-|-|")
    for row in sorted({*by_row, *BY_KTEST, *IN_SCOPE}, key=order):
        proofs = by_row.get(row, []) + ([BY_KTEST[row]] if row in BY_KTEST else [])
        print(f"|{row}|{'; '.join(proofs) or 'NOTHING'}|")
    missing = [row for row in IN_SCOPE if row not in by_row and row not in BY_KTEST]
    if missing:
        print("rows without a test:", ", ".join(missing), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
