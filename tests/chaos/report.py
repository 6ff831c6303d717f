"""What a run was, in one table: operations, faults, time without a writer, violations."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

from aioaurora.cli.drill.ledger import Told
from tests.chaos import checker
from tests.chaos.history import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chaos.checker import Violation
    from tests.chaos.history import History
    from tests.chaos.plan import Plan

_GAP_S, _SHOWN = 0.5, 20


def table(what: Plan, history: History, found: Sequence[Violation]) -> str:
    """Write it."""
    lines = [
        *_operations(history),
        "",
        *_errors(history),
        "",
        *_faults(history),
        "",
        *_writing(history),
        "",
        *_verdict(found),
    ]
    if found:
        lines += ["", f"The plan (seed {what.seed}) as a scenario: --write FILE; see docs/development/chaos.md."]
    return "\n".join(lines)


def _operations(history: History) -> Iterator[str]:
    told = [*Told]
    counts = Counter(
        (f"{each.door} {each.kind}", "cut" if each.is_cut else str(each.told)) for each in history.operations
    )
    columns = [*map(str, told), "cut"]
    names = sorted({name for name, _ in counts})
    yield f"{'operation':24}" + "".join(f"{column:>13}" for column in columns)
    for name in names:
        yield f"{name:24}" + "".join(f"{counts[name, column] or '-':>13}" for column in columns)
    yield f"{'all':24}" + "".join(f"{sum(counts[name, column] for name in names) or '-':>13}" for column in columns)


def _errors(history: History) -> Iterator[str]:
    errors = Counter(each.error for each in history.operations if each.error and not each.is_cut)
    yield "errors: " + (", ".join(f"{name} {count}" for name, count in errors.most_common()) or "none")
    yield f"unguarded transactions that met an undoing, and are not judged: {checker.excused(history)}"
    yield f"clients that waited on a lone connection that was forgotten, and are not judged: {checker.alone(history)}"


def _faults(history: History) -> Iterator[str]:
    counts = Counter(words.split("'fault': '")[1].split("'")[0] for _, words in _all(history) if "'fault': '" in words)
    counts.update(
        words.split(" ")[0]
        for _, words in _all(history)
        if words.split(" ")[0] in {"kill", "suspend", "stall", "clock"}
    )
    yield "faults: " + (", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none")
    promoted = sum(words.startswith("promoted") for _, words in _all(history))
    missed = sum("could not be" in words for _, words in _all(history))
    yield f"episodes: {len(history.trials)}; promotions: {promoted}; faults that another had made impossible: {missed}"


def _writing(history: History) -> Iterator[str]:
    done = sorted(each.ended_at for each in history.operations if each.kind.is_write and each.told is Told.DONE)
    gaps = [end - start for start, end in itertools.pairwise(done) if end - start > _GAP_S]
    stalled_s = history.stalled_s(0.0, float("inf"))
    back = [trial.is_back_at - trial.healed_at for trial in history.trials]
    yield (
        f"nobody wrote for {sum(gaps):.1f} s in {len(gaps)} gaps above {_GAP_S} s, "
        f"{max(gaps, default=0.0):.1f} s at most; "
        f"our loop stood for {stalled_s:.1f} s; all back {max(back, default=0.0):.2f} s after a healing at the latest"
    )
    leases = [each.ended_at - each.began_at for each in history.operations if each.kind is Kind.LEASE]
    in_use = [trial.in_use for trial in history.trials if trial.in_use]
    if in_use:
        yield "in use after the first and the last trial: " + ", ".join(
            f"{what} {in_use[0][what]}, {in_use[-1][what]}" for what in in_use[0]
        )
    yield f"leases waited {max(leases, default=0.0):.1f} s at most"


def _verdict(found: Sequence[Violation]) -> Iterator[str]:
    yield f"violations: {len(found)}" + "".join(f"\n  {fault} {count}" for fault, count in _counted(found).items())
    kinds: Counter[str] = Counter()
    for each in found:
        kinds[each.fault] += 1
        if kinds[each.fault] <= _SHOWN:
            yield f"- {each}"


def _counted(found: Sequence[Violation]) -> dict[str, int]:
    return dict(Counter(str(each.fault) for each in found).most_common())


def _all(history: History) -> Iterator[tuple[float, str]]:
    for trial in history.trials:
        yield from trial.faults
