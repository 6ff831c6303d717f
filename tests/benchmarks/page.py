"""Make the performance page, its plots and the README's figures from what was measured: `nox -s bench -- page`.

What was measured is in docs/reference/performance.json. Only what stands between `<!-- figures: NAME -->` and
`<!-- /figures -->` is made; the words around it are written by hand. With `--check` nothing is written: exit status 1
if something is not what the figures make of it.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from tests.benchmarks import figures, machine, plots, tables
from tests.benchmarks.figures import Figure, Verdict, found

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
DATA = REFERENCE / "performance.json"
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
NOTHING = "Nothing has been measured yet: run `nox -s bench`."
MODES = ("graceful", "crash", "black hole")
CLIENTS = {
    figures.OURS: "aioaurora, its defaults",
    figures.AWS: "AWS Advanced Python Wrapper {version}, its defaults",
    figures.TUNED: "the same, every interval as short as is sensible",
    figures.RAW: "aiomysql's pool on the cluster endpoint, 3 s time-outs",
}
COSTS = (
    ("driver", "SELECT 1", "SELECT 1"),
    ("driver", "10,000 rows of 10", "10,000 rows of ten columns"),
    ("driver", "connect, with the role", "connect, with the role check"),
    ("checkout", "acquire + release, 1 free", "acquire + release, 1 free"),
    ("checkout", "acquire + release, 10 free", "acquire + release, 10 free"),
    ("checkout", "acquire + release, 100 free", "acquire + release, 100 free"),
    ("memory", "memory of an idle connection", "memory of an idle connection"),
    ("import", "import, beside aiomysql and aiodns", "import, of aiomysql and aiodns"),
    ("import", "import, beside all four dependencies", "import, of all four dependencies"),
)
IN_README = (
    ("driver", "SELECT 1", "`SELECT 1`, client CPU"),
    ("driver", "10,000 rows of 10", "10,000 rows of ten columns, client CPU"),
    ("driver", "connect, with the role", "a connect that checks the role, client CPU"),
    ("checkout", "acquire + release, 10 free", "acquire and release, 10 connections free"),
    ("checkout", "acquire + release, 100 free", "acquire and release, 100 connections free"),
    ("contention", "SELECT 1 by 1,000 tasks", "statements a second, 1,000 tasks on 20 connections"),
    ("memory", "memory of an idle connection", "memory of an idle connection"),
    ("import", "import, beside aiomysql and aiodns", "`import aioaurora`, beside importing aiomysql and aiodns"),
    ("import", "import, beside all four dependencies", "the same, beside all four dependencies"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of everything: its figures, when and where it was, with what, and what is to be known of it."""

    date: str
    machine: str
    load: float
    minutes: float
    versions: dict[str, str]
    figures: list[Figure]

    @classmethod
    def now(cls, measured: Sequence[Figure], *, load: float, minutes: float) -> Self:
        """Describe a run that has ended."""
        return cls(
            date=machine.today(),
            machine=machine.described(),
            load=round(load, 2),
            minutes=round(minutes, 1),
            versions=machine.versions(),
            figures=list(measured),
        )

    @classmethod
    def read(cls, path: pathlib.Path = DATA) -> Self:
        """Read what `write` kept."""
        said = json.loads(path.read_text())
        return cls(**said | {"figures": [figures.from_data(each) for each in said["figures"]]})

    def write(self, path: pathlib.Path = DATA) -> None:
        """Keep it as JSON, a figure a line."""
        head = {name: getattr(self, name) for name in ("date", "machine", "load", "minutes", "versions")}
        lines = ",\n".join(json.dumps(figures.as_data(each)) for each in self.figures)
        path.write_text(json.dumps(head, indent=1)[:-2] + ',\n "figures": [\n' + lines + "\n]}\n")

    def of(self, *parts: str) -> list[Figure]:
        """Give the figures of some parts."""
        return [each for each in self.figures if each.part in parts]


# --- blocks ---------------------------------------------------------------------------------------------------------


def when_and_where(run: Run) -> str:
    """Say when, on what and with what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return "\n".join(
        [
            f"- Measured on {run.date}, in {run.minutes:.0f} minutes; load before: {run.load:g}",
            f"- Machine: {run.machine}",
            f"- Versions: {versions}",
        ]
    )


def bounds(run: Run) -> str:
    """Say how many bounds are met, and give all of them."""
    bound = [each for each in run.figures if each.verdict is not Verdict.UNBOUND]
    counts = {verdict: sum(each.verdict is verdict for each in bound) for verdict in Verdict}
    lead = f"{counts[Verdict.MET]} of {len(bound)} bounds are met"
    lead += f", {counts[Verdict.MISSED]} missed"
    lead += f", {counts[Verdict.VOID]} not judged, as aiomysql differed from itself." if counts[Verdict.VOID] else "."
    rows = [["", "whose", "median [middle half]", "bound", "repeats"]]
    rows += [
        [tables.label([each]), each.who, tables.cell(each), tables.bound(each), tables.repeats(each)] for each in bound
    ]
    return f"{lead}\n\n{tables.as_markdown(rows)}"


def failovers(run: Run) -> str:
    """Give the table of failovers and its plot."""
    here = run.of("failover")
    columns = (figures.OURS, figures.TUNED, figures.RAW, figures.AWS)
    stalls = [each.note for each in here if each.who == figures.OURS and each.note]
    late = max(stalls, key=_seconds_in, default="")
    said = f"\n\nIn aioaurora's processes {late}." if late else ""
    plot = "![Seconds from promotion to first write, by kind of failover and of client.](performance-failover.svg)"
    return f"{tables.as_markdown(tables.table(here, columns))}\n\n{plot}{said}"


def _seconds_in(note: str) -> float:
    return max(map(float, re.findall(r"\d+\.\d+", note)), default=0.0)


def statements(run: Run) -> str:
    """Give what statements and connects cost, and how far both are from the wire."""
    here = run.of("driver")
    plot = "![What ours costs beside aiomysql's.](performance-cost.svg)"
    far = [each for each in here if each.who in tables.FAR]
    made = [tables.as_markdown(tables.table(here, tables.COLUMNS)), plot]
    return "\n\n".join([*made, *([tables.as_markdown(tables.table(far, tables.FAR))] if far else [])])


def parts(*names: str) -> Callable[[Run], str]:
    """Give the table of some parts."""
    return lambda run: tables.as_markdown(tables.table(run.of(*names), tables.COLUMNS))


def readme(run: Run) -> str:
    """Give the README's figures: failovers three seconds after the fault, and ratios."""
    cells = {
        (who, mode): found(run.figures, "failover", f"{mode}, promoted after 3 s", who)
        for who in CLIENTS
        for mode in MODES
    }
    rows = [["", *MODES]]
    for who, name in CLIENTS.items():
        shown = [_median_and_worst(cells[who, mode]) for mode in MODES]
        rows.append([name.format(version=run.versions.get("AWS Advanced Python Wrapper", "")), *shown])
    beside = [["beside aiomysql", "ours"]]
    for part, what, label in IN_README:
        ratio = found(run.figures, part, what, figures.RATIO)
        beside.append([label, f"x{ratio.median:.2f}" if ratio else "-"])
    here = [each for each in cells.values() if each]
    often = min((each.repeats for each in here), default=0)
    ours = min((each.repeats for each in here if each.who == figures.OURS), default=0)
    clients = max((each.per_repeat for each in here), default=0)
    more = f" ({ours} for aioaurora)" if ours > often else ""
    failovers = "failover" if often == 1 else "failovers"
    last = f"{often} {failovers} of each kind{more}, {clients} clients in each. Measured on {run.date}: {run.machine}."
    return "\n\n".join([tables.as_markdown(rows), tables.as_markdown(beside), last])


def _median_and_worst(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{tables.number(figure.median, 's')}, {tables.number(figure.worst, 's')}"


BLOCKS: dict[str, Callable[[Run], str]] = {
    "run": when_and_where,
    "bounds": bounds,
    "failover": failovers,
    "driver": statements,
    "pool": parts("checkout", "contention", "cold"),
    "holding": parts("memory", "connections"),
    "import": parts("import"),
    "readme": readme,
}


# --- files ----------------------------------------------------------------------------------------------------------


def filled(text: str, run: Run) -> str:
    """Put into each block what the figures make of it."""

    def fill(block: re.Match[str]) -> str:
        made = BLOCKS[block[2]](run) if run.figures else NOTHING
        return f"{block[1]}{made}\n{block[3]}"

    return BLOCK.sub(fill, text)


def made(run: Run) -> dict[pathlib.Path, str]:
    """Give the files that are made, and what is in them; the README stays as it is while nothing was measured."""
    page, front = REFERENCE / "performance.md", ROOT / "README.md"
    files = {page: filled(page.read_text(), run)}
    if run.figures:
        files[front] = filled(front.read_text(), run)
        files[REFERENCE / "performance-failover.svg"] = plots.waits(run.figures)
        files[REFERENCE / "performance-cost.svg"] = plots.costs(run.figures, COSTS)
    return files


def write(run: Run) -> None:
    """Write all of them, and the figures."""
    run.write()
    for path, text in made(run).items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}", flush=True)


def main() -> int:
    """Make the files again, or see that they are what the figures make."""
    parser = argparse.ArgumentParser(prog="page")
    parser.add_argument("--check", action="store_true")
    asked: Any = parser.parse_args()
    run = Run.read()
    if not asked.check:
        write(run)
        return 0
    stale = [path for path, text in made(run).items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not what performance.json makes: run `nox -s bench -- page`")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
