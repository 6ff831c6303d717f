"""The battery's command: `nox -s chaos -- --seed 7 --minutes 1`.

    --seed 7                what is drawn; `--seeds 1..20` for several, one after the other
    --minutes 1             for each seed: no further episode begins then
    --failovers 200         failovers of all kinds, one after the other; no `--minutes` holds for them
    --plan                  print what is drawn, and end
    --write FILE            write the plan as a scenario file, and end
    --scenario FILE         run that instead of what is drawn
    --only "a scene"        draw, and keep the episodes of this name

Ends with status 1 if anything was wrong.
"""

from __future__ import annotations

from tests.chaos import own  # First: see there.  # isort: skip

import argparse
import asyncio
import dataclasses
import functools
import pathlib
import random
import sys

from tests.chaos import battery, checker, plan, report, scenes


def main(arguments: list[str]) -> int:
    """Run what is asked for."""
    assert own.CLOCK is not None
    asked = _parser().parse_args(arguments)
    plans = _plans(asked)
    if asked.only:
        plans = [_only(each, asked.only) for each in plans]
    if asked.write:
        asked.write.write_text(plans[0].as_toml(), encoding="utf-8")
        return 0
    if asked.plan:
        print(*plans, sep="\n\n")
        return 0
    until_s = 60 * asked.minutes if not asked.failovers else float("inf")
    return max([_run(each, until_s) for each in plans])


def _run(what: plan.Plan, until_s: float) -> int:
    print(f"--- seed {what.seed} {what.title}", flush=True)
    history = asyncio.run(battery.besieged(what, until_s=until_s, say=lambda sentence: print(sentence, flush=True)))
    found = checker.violations(history)
    print(report.table(what, history, found), flush=True)
    return int(bool(found))


def _plans(asked: argparse.Namespace) -> list[plan.Plan]:
    if asked.scenario:
        return [plan.read(asked.scenario)]
    draw = functools.partial(scenes.failovers, asked.failovers) if asked.failovers else scenes.planned
    return [draw(seed=seed) for seed in _seeds(asked)]


def _seeds(asked: argparse.Namespace) -> list[int]:
    if asked.seeds:
        first, _, last = asked.seeds.partition("..")
        return [*range(int(first), int(last or first) + 1)]
    return [random.randrange(1, 1_000_000) if asked.seed is None else asked.seed]


def _only(what: plan.Plan, name: str) -> plan.Plan:
    return dataclasses.replace(what, episodes=tuple(each for each in what.episodes if name in each.name))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--failovers", type=int)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--scenario", type=pathlib.Path)
    parser.add_argument("--only")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
