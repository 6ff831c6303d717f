"""Reckon failovers of fleets of any size, and write `docs/explanation/scale.md`'s tables and plots.

`nox -s bench -- fleet` takes five minutes; the figures come from the product's own rules and defaults, on virtual time,
so that they are the same on every machine. `nox -s bench -- fleet small` does without the largest fleets, and writes
nothing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import math
import pathlib
import re
import sys
from collections import Counter

import looptime
import pytest

from tests.fleet.drawing import Axis, Line, drawn
from tests.fleet.model import foreseen
from tests.fleet.seen import Seen, peak, when
from tests.fleet.small import Size, failed_over
from tests.fleet.world import DEFAULTS, Fleet, Rules

PAGE = pathlib.Path(__file__).parents[2] / "docs/explanation/scale.md"
NO_LIMIT = 1e9
PLAIN = Rules(stands_in_line=False, backs_off=False)
SHOWN_S = 60
SIZES = (1, 10, 100, 1000, 10_000)


def settings(processes: int) -> dict[str, float]:
    """What a fleet of that size sets, as the page says."""
    return {
        "search_interval": max(0.1, processes / 10_000),
        "heartbeat_interval": max(1.0, processes / 5_000),
        "stall_timeout": max(15.0, 1.2 * processes / 200),
    }


def set_for(fleet: Fleet) -> Fleet:
    """The same fleet, with those settings."""
    return dataclasses.replace(fleet, config=dataclasses.replace(DEFAULTS, **settings(fleet.processes)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told of one failover; moments in seconds since the promotion."""

    served: tuple[float, float]
    opened: tuple[float, float]
    first_second: float
    later: float
    in_ten_ms: float
    vain: float
    asked: float
    dialled: float
    packets: float
    series: list[int]


def told(name: str) -> Told:
    """Reckon one failover and sum it up."""
    fleet, rules = cells()[name]
    seen = foreseen(fleet, rules)
    processes, wanted = fleet.processes, fleet.processes * fleet.connections
    log_ins = seen.log_ins["db-2"]
    by_second = Counter(math.floor(at) for at in log_ins)
    return Told(
        served=(when(seen.served, processes, 0.95), when(seen.served, processes)),
        opened=(when(seen.opened, wanted, 0.95), when(seen.opened, wanted)),
        first_second=by_second[0],
        later=peak([at for at in log_ins if at >= 1.0]),
        in_ten_ms=peak(log_ins, within_s=0.01) / 100,
        vain=seen.wasted["db-2"] / max(1, len(log_ins)),
        asked=peak(seen.questions["db-3"]),
        dialled=peak([at for at in seen.dials["db-2"] if at < 0]),
        packets=_packets(seen),
        series=[by_second[second] for second in range(SHOWN_S)],
    )


def in_earnest(size: Size) -> Seen:
    """Run a small fleet."""
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner, pytest.MonkeyPatch.context() as patch:
        return runner.run(failed_over(size, patch))


# --- the tables -----------------------------------------------------------------------------------------------------

FITTING = ((1, 20), (10, 20), (100, 20), (1000, 15), (1, 500), (10, 500), (30, 500))
ON_PAPER = ((10_000, 1),)
SMALL = (
    Size(processes=1, connections=4, logins_per_s=1.0),
    Size(processes=5, connections=3, logins_per_s=1.0),
    Size(processes=20, connections=3, logins_per_s=8.0),
    Size(processes=50, connections=2, logins_per_s=50.0),
)
KINDS = {
    "as it is": Rules(),
    "without jitter": Rules(jitter=False),
    "log-ins given up after `connect_timeout`": Rules(stands_in_line=False),
    "and tried again at once": PLAIN,
}
OF_RULES = Fleet(processes=1000, connections=10, lasting=90.0)
CURVE = (1, 10, 30, 100, 300, 1000, 3000, 10_000)
CURVE_WITHOUT = (1, 10, 30, 100, 300, 600, 1000)


def on_curve(processes: int) -> Fleet:
    """A fleet in which every process wants one connection."""
    return Fleet(processes=processes, connections=1, max_connections=NO_LIMIT, lasting=600.0)


def cells() -> dict[str, tuple[Fleet, Rules]]:
    """Every failover that is reckoned, by a name of its own."""
    found: dict[str, tuple[Fleet, Rules]] = {}
    for processes, connections in FITTING:
        found[f"fits {processes} {connections}"] = Fleet(processes=processes, connections=connections), Rules()
    for processes in CURVE:
        found[f"curve {processes}"] = on_curve(processes), Rules()
        found[f"set {processes}"] = set_for(on_curve(processes)), Rules()
    for processes in CURVE_WITHOUT:
        found[f"without {processes}"] = dataclasses.replace(on_curve(processes), lasting=120.0), PLAIN
    for name, rules in KINDS.items():
        found[f"rules {name}"] = OF_RULES, rules
    crowded = dataclasses.replace(on_curve(500), processes_per_host=500, promote_after=0.1)
    found["crowded host"] = crowded, Rules()
    found["too many"] = Fleet(processes=1000, connections=20, lasting=120.0), Rules()
    return found


def failovers(of: dict[str, Told]) -> list[str]:
    """Of fleets that fit into one writer, and one that does so on paper only."""
    rows = [
        "| processes | connections each | log-ins | they take at least | all processes served | all connections open | log-ins begun in the first second | most in a later one | in vain |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for processes, connections in (*FITTING, *ON_PAPER):
        key = f"fits {processes} {connections}"
        it = of.get(key) or of[f"curve {processes}"]
        count = processes * (connections + 1)
        rows.append(
            f"| {processes:,} | {connections} | {count:,} | {_s(count / 200)} | {_s(it.served[1])} | {_s(it.opened[1])}"
            f" | {it.first_second:,.0f} | {it.later:,.0f} | {it.vain:.0%} |"
        )
    return rows


def questions(of: dict[str, Told]) -> list[str]:
    """What monitors ask."""
    rows = [
        "| processes | the writer, at rest | a reader, during the search | the instance that restarts: dials refused | DNS packets of a host with 100 processes |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for processes in SIZES:
        it = of[f"curve {processes}"]
        rows.append(f"| {processes:,} | {processes:,} | {it.asked:,.0f} | {it.dialled:,.0f} | {it.packets:,.0f} |")
    return rows


def rules(of: dict[str, Told]) -> list[str]:
    """What each rule is for."""
    rows = [
        "| rules | 95 % of the processes served | all connections open | most log-ins begun in 10 ms | most in a second after the first | in vain |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in KINDS:
        it = of[f"rules {name}"]
        rows.append(
            f"| {name} | {_s(it.served[0], OF_RULES.lasting)} | {_s(it.opened[1], OF_RULES.lasting)}"
            f" | {it.in_ten_ms:,.0f} | {it.later:,.0f} | {it.vain:.0%} |"
        )
    return rows


def larger(of: dict[str, Told]) -> list[str]:
    """What to set, and what comes of it."""
    rows = [
        "| processes | `search_interval` | `heartbeat_interval` | `stall_timeout` | the writer asked at rest | a reader asked, searching | dials refused | all served | with the defaults |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for processes in (1000, 3000, 10_000):
        it, said = of[f"set {processes}"], settings(processes)
        rows.append(
            f"| {processes:,} | {said['search_interval']:g} s | {said['heartbeat_interval']:g} s"
            f" | {said['stall_timeout']:g} s | {processes / said['heartbeat_interval']:,.0f}/s | {it.asked:,.0f}/s"
            f" | {it.dialled:,.0f}/s | {_s(it.served[1])} | {_s(of[f'curve {processes}'].served[1])} |"
        )
    return rows


def validation() -> list[str]:
    """Small fleets in earnest beside the model."""
    rows = [
        "| processes | connections each | log-ins/s | all served | all open | log-ins | dials of the new writer | questions to the reader | DNS packets, most in a second |",
        "| ---: | ---: | ---: | --- | --- | --- | --- | --- | --- |",
    ]
    for size in SMALL:
        seen = in_earnest(size)
        model = foreseen(Fleet(**dataclasses.asdict(size) | {"noticed_within_s": 0.0}))
        wanted = size.processes * size.connections
        moments = [(when(each.served, size.processes), when(each.opened, wanted)) for each in (seen, model)]
        counts = [
            (len(each.log_ins["db-2"]), len(each.dials["db-2"]), len(each.questions["db-3"]), _packets(each))
            for each in (seen, model)
        ]
        shown = [f"{a:.1f} s / {b:.1f} s" for a, b in zip(*moments, strict=True)]
        shown += [f"{a:,.0f} / {b:,.0f}" for a, b in zip(*counts, strict=True)]
        rows.append(f"| {size.processes} | {size.connections} | {size.logins_per_s:g} | {' | '.join(shown)} |")
    return rows


def _packets(seen: Seen) -> float:
    return max(map(peak, seen.look_ups.values()))


def _s(seconds: float, lasting: float = 600.0) -> str:
    if seconds == math.inf:
        return f"not in {lasting:g} s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


# --- the plots ------------------------------------------------------------------------------------------------------


def curve(of: dict[str, Told]) -> str:
    """Time until every process has a connection, over the size of the fleet."""
    across = Axis(title="processes", least=1, most=10_000, marks=SIZES, is_log=True)
    up = Axis(
        title="seconds from the promotion until every process has a connection",
        least=0.01, most=600, marks=(0.01, 0.1, 1, 10, 100, 600), is_log=True,
    )  # fmt: skip
    lines = [
        Line(
            name="tried again at once", colour="bad", is_dashed=True,
            points=[(n, min(of[f"without {n}"].served[1], 600.0)) for n in CURVE_WITHOUT],
        ),
        Line(name="defaults", colour="fair", points=[(n, of[f"curve {n}"].served[1]) for n in CURVE]),
        Line(name="set for the size", colour="good", points=[(n, of[f"set {n}"].served[1]) for n in CURVE]),
        Line(name="two log-ins each, at 200 a second", colour="plain", points=[(n, 2 * n / 200) for n in CURVE]),
    ]  # fmt: skip
    return drawn(
        "Up to about three thousand processes the defaults are as quick as the writer lets clients in; without standing"
        " in line and back-off, fleets of more than a few hundred processes never come back.",
        across, up, lines,
    )  # fmt: skip


def rate(of: dict[str, Told]) -> str:
    """Log-ins begun per second on the new writer, over time."""
    across = Axis(title="seconds since the promotion", least=0, most=SHOWN_S - 1, marks=(0, 10, 20, 30, 40, 50))
    up = Axis(title="log-ins begun per second at the new writer", least=0, most=1500, marks=(0, 200, 500, 1000, 1500))
    lines = [
        Line(
            name="tried again at once", colour="bad", is_dashed=True,
            points=list(enumerate(map(float, of["rules and tried again at once"].series))),
        ),
        Line(name="as it is", colour="good", points=list(enumerate(map(float, of["rules as it is"].series)))),
    ]  # fmt: skip
    return drawn(
        "A thousand processes: each logs in once in the first second; from then on no more begin than the writer"
        " serves. Without the rules there are thousands a second, for ever.",
        across, up, lines,
    )  # fmt: skip


def main() -> int:
    """Reckon, and write."""
    is_small = "small" in sys.argv
    wanted = {name: cell for name, cell in cells().items() if not is_small or cell[0].processes <= 100}
    of: dict[str, Told] = {}
    with concurrent.futures.ProcessPoolExecutor(max_workers=2) as workers:
        checked = workers.submit(validation)
        running = {name: workers.submit(told, name) for name in wanted}
        for name, future in running.items():
            of[name] = future.result()
            print(f"{name:<50} served {_s(of[name].served[1]):>14}, open {_s(of[name].opened[1]):>14}", flush=True)
        tables = {"validation": checked.result()}
    print("\n".join(tables["validation"]))
    if is_small:
        return 0
    for table in (failovers, questions, rules, larger):
        tables[table.__name__] = table(of)
        print("\n".join(tables[table.__name__]))
    print("crowded host", of["crowded host"], "too many", of["too many"], sep="\n")
    PAGE.with_name("scale-time.svg").write_text(curve(of))
    PAGE.with_name("scale-rate.svg").write_text(rate(of))
    text = PAGE.read_text()
    for name, rows in tables.items():
        marks = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = marks.sub(lambda found, rows=rows: "\n".join([found[1], *rows, "", found[2]]), text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
