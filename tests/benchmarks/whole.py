"""Measure everything and write the page: `nox -s bench` takes 25 to 30 minutes, `nox -s bench -- --quick` seven.

Each part has a process of its own and prints as it goes; then comes one table of all figures. The page, its plots, the
README's figures and docs/reference/performance.json are written, unless `--dry` is said or only some parts are asked
for. The machine should have nothing else to do. Exit status 1: a bound was missed; 2: a figure does not count; 3: a
part failed.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.benchmarks import figures, machine, page, tables

# What each part is told: with all the time, and with little.
PARTS = {
    "imports": (["25", "--tries", "3"], ["9", "--tries", "1"]),
    "driver": (["31", "--tries", "5"], ["11", "--tries", "2"]),
    "pool": (["--rounds", "15", "--tries", "3", "--minutes", "5"], ["--rounds", "3", "--tries", "1"]),
    "failover": (["5", "--alone", "5", "--minutes", "17"], ["1", "--alone", "1"]),
}
SHAKEN = {
    "imports": ["2", "--tries", "1"],
    "driver": ["2", "--tries", "1"],
    "pool": ["--rounds", "1", "--tries", "1"],
    "failover": ["1", "--after", "0.3", "--clients", "1"],
}
JUDGED = (0, 1, 2)  # Exit statuses of a part that came to its end.
LIMIT_S = 25 * 60.0  # Of each part.


def main() -> int:
    """Run all parts, print the table, write the page."""
    parser = argparse.ArgumentParser(prog="bench")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="fewer repeats: seven minutes")
    effort.add_argument("--shake", action="store_true", help="as few as show that it runs; writes nothing")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dry", action="store_true", help="write nothing")
    asked = parser.parse_args()
    load, begun = machine.load(), time.monotonic()
    print(f"{machine.today()}, {machine.described()}; load {load:.2f}")
    measured: list[figures.Figure] = []
    failed = []
    for part in asked.parts:
        words = SHAKEN[part] if asked.shake else PARTS[part][asked.quick]
        found = _measured(part, words)
        measured += found
        failed += [] if found else [part]
    minutes = (time.monotonic() - begun) / 60
    _print(measured, minutes, failed)
    if measured and not asked.dry and not asked.shake and set(asked.parts) == set(PARTS):
        page.write(page.Run.now(measured, load=load, minutes=minutes))
    return 3 if failed else figures.status_of(measured)


def _measured(part: str, words: list[str]) -> list[figures.Figure]:
    """Run one part; nothing comes of one that failed, which has said why."""
    script = pathlib.Path(__file__).with_name(f"{part}.py")
    begun = time.monotonic()
    print(f"\n=== {part} {' '.join(words)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="aa-") as place:
        kept = pathlib.Path(place, "figures.json")
        command = [sys.executable, script, *words, "--json", kept]
        try:
            status = subprocess.run(command, check=False, cwd=page.ROOT, timeout=LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            status = None
        ended = "still running: killed" if status is None else f"exit status {status}"
        print(f"=== {part}: {(time.monotonic() - begun) / 60:.1f} minutes, {ended}", flush=True)
        return tables.read(kept) if status in JUDGED and kept.exists() else []


def _print(measured: list[figures.Figure], minutes: float, failed: list[str]) -> None:
    print(f"\n=== everything, in {minutes:.1f} minutes: median [middle half]; of failovers the worst as well\n")
    print(tables.as_text(tables.table(measured, tables.COLUMNS)))
    missed = [each for each in measured if each.verdict is figures.Verdict.MISSED]
    void = [each for each in measured if each.verdict is figures.Verdict.VOID]
    for each in missed:
        print(f"MISSED: {each.what}, {each.who}: {tables.cell(each)}, {tables.bound(each)}")
    for each in void:
        print(f"does not count: {each.what}: aiomysql to itself x{each.control:.3f}")
    for part in failed:
        print(f"FAILED: {part}")


if __name__ == "__main__":
    sys.exit(main())
