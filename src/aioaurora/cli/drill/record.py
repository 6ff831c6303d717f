"""A drill as JSON. The keys are documented in `docs/reference/cli.md`, and stay."""

from __future__ import annotations

import importlib.metadata
import statistics
from typing import TYPE_CHECKING, Any

from aioaurora.cli.drill.ledger import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioaurora.cli.drill.conduct import Drill, Judged
    from aioaurora.cli.drill.judge import Broken, Figures

_DIGITS = 4


def as_json(drill: Drill) -> dict[str, Any]:
    """Return a drill as what `json.dumps` takes."""
    plan = drill.plan
    return {
        "aioaurora": importlib.metadata.version("aioaurora"),
        "engine": drill.engine,
        "seed": plan.seed,
        "instances": plan.instances,
        "clients": plan.clients,
        "readers": plan.readers,
        "failovers": [_failover(judged) for judged in drill.failovers],
        "summary": {mode: _summary(found) for mode, found in by_mode(drill).items()},
        "broken_promises": [_broken(each) for each in drill.broken],
        "kept": not drill.broken,
    }


def by_mode(drill: Drill) -> dict[str, list[Judged]]:
    """Return the failovers by the way in which the writer went."""
    found: dict[str, list[Judged]] = {}
    for judged in drill.failovers:
        found.setdefault(judged.scene.mode, []).append(judged)
    return found


def first_writes(failovers: Iterable[Judged], side: Side) -> tuple[float | None, float | None]:
    """Return median and worst of all first writes; the worst is None if a client never wrote again."""
    every = [judged.figures[side] for judged in failovers]
    waits = [wait for found in every for wait in found.first_writes_s]
    missing = sum(found.clients for found in every) - len(waits)
    median = statistics.median([*waits, *[float("inf")] * missing]) if waits or missing else float("inf")
    return (None if median == float("inf") else median), (max(waits) if waits and not missing else None)


def _failover(judged: Judged) -> dict[str, Any]:
    scene = judged.scene
    return {
        "mode": scene.mode,
        "promote_after_s": scene.promote_after_s,
        "old_writer": scene.old_writer,
        "new_writer": scene.new_writer,
        "promoted_s": _rounded(scene.promoted_at - scene.fault_at),
        "counted_from_s": _rounded(scene.counted_from - scene.fault_at),
        "worst_stall_s": _rounded(scene.worst_stall_s(scene.fault_at, scene.ended_at)),
        **{str(side): _figures(found) for side, found in judged.figures.items()},
        "broken_promises": [_broken(each) for each in judged.broken],
    }


def _figures(found: Figures) -> dict[str, Any]:
    return {
        "detection_s": _rounded(found.detection_s),
        "first_write_median_s": _rounded(found.median_s),
        "first_write_worst_s": _rounded(found.worst_s),
        "longest_hang_s": _rounded(found.longest_hang_s),
        "clients_writing_again": len(found.first_writes_s),
        "acknowledged": found.acknowledged,
        "errors": dict(found.errors),
        "outcomes": dict(found.outcomes),
        "wrong_roles": found.wrong_roles,
        "acknowledged_lost": found.lost,
        "duplicates": found.duplicates,
        "not_done_but_stored": found.untrue,
        "torn_transactions": found.torn,
        "inexact_outcomes": found.inexact,
        "untold_outcomes": found.untold,
        "peak_connects": found.peak_connects,
        "reads_failed": found.reads_failed,
        "in_flight_at_fault": found.in_flight,
        "in_transaction_at_fault": found.in_transaction,
    }


def _summary(failovers: list[Judged]) -> dict[str, Any]:
    return {"failovers": len(failovers), **{str(side): _summed(failovers, side) for side in Side}}


def _summed(failovers: list[Judged], side: Side) -> dict[str, Any]:
    median, worst = first_writes(failovers, side)
    found = [judged.figures[side] for judged in failovers]
    detections = [each.detection_s for each in found if each.detection_s is not None]
    return {
        "first_write_median_s": _rounded(median),
        "first_write_worst_s": _rounded(worst),
        "detection_worst_s": _rounded(max(detections, default=None)),
        "wrong_roles": sum(each.wrong_roles for each in found),
        "acknowledged_lost": sum(each.lost for each in found),
        "duplicates": sum(each.duplicates for each in found),
        "unknown": sum(each.unknown for each in found),
        "peak_connects": max(each.peak_connects for each in found),
    }


def _broken(each: Broken) -> dict[str, Any]:
    return {"promise": each.promise, "sentence": each.sentence}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, _DIGITS)
