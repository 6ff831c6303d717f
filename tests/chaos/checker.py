"""Compares what clients were told with what the engine holds, and says what does not fit.

Pure: a history goes in, violations come out. Each check is one function, and `test_checker.py` plants a violation for
each. What a check leaves out it leaves out for a reason that the library's pages state, and `excused` counts it.
"""

from __future__ import annotations

import bisect
import collections
import enum
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.cli.drill import ledger as books
from aioaurora.cli.drill.ledger import Told
from tests.chaos.history import Kind, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.history import History, Trial

OVERDUE_AFTER_S = 1.0
# From the healing until every client has done something whole again.
BACK_WITHIN_S = 10.0
# For so long a writer that is fenced, and says that it is not, may be taken for the writer: the rows of a reader in use
# tell of the other one, they are asked for every `refresh_interval`, and the other one is asked then.
FENCED_FOR_S = 5.0 + 1.0
# What is in use depends on the moment; a leak is more than that.
GROWS_TO, _COMPARED = 1.2, 4
_SHOWN = 6
_LOST = frozenset({"ConnectionLost", "OutcomeUnknown", "CommitOutcomeUnknown", "WriterDemoted"})


class Fault(enum.StrEnum):
    """What can be wrong with a history."""

    LOST = "acknowledged, and not stored"
    UNTRUE = "reported as not done, and stored"
    TWICE = "stored twice"
    TORN = "a transaction stored in part"
    INEXACT = "called unknown though nothing that could be kept was outstanding"
    UNTOLD = "an error that does not say what became of the work"
    UNDOCUMENTED = "an error that no page tells of"
    OVERDUE = "outlasted its deadline"
    SUM = "balances that do not add up"
    BALANCE = "accounts that differ from the transfers that are stored"
    STALE = "a read that is older than an acknowledged write"
    PHANTOM = "a read of what was reported as not done, or never written"
    WRONG_ROLE = "a writer's statement on an instance that is no writer"
    NOT_BACK = "a client that did not come back after the healing"
    FAIR_WEATHER = "a failure though nothing was wrong"
    FALSE_ALARM = "a session lost though nothing was wrong with the server"
    STUCK = "a client that never ended"
    LEFT = "left behind"
    GROWN = "more in use after every trial"
    UNHEARD = "an exception that nobody heard"


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be: what, and the piece of history that shows it."""

    fault: Fault
    evidence: tuple[str, ...]

    def __str__(self) -> str:
        return "\n    ".join([str(self.fault), *self.evidence])


def violations(history: History) -> list[Violation]:
    """Find everything that is wrong with a history."""
    return [
        *_of_writes(history),
        *_of_units(history),
        *_of_reports(history),
        *_of_deadlines(history),
        *_of_money(history),
        *_of_registers(history),
        *_of_roles(history),
        *_of_liveness(history),
        *_of_calm(history),
        *_of_alarms(history),
        *_of_the_end(history),
        *_of_growth(history),
    ]


def excused(history: History) -> int:
    """Count the unguarded transactions that met an undoing: what becomes of those is documented, and is not judged."""
    return sum(_is_excused(each, history) for each in history.operations if each.rows)


def alone(history: History) -> int:
    """Count the clients that waited alone on a connection that was silently forgotten: documented, and not judged."""
    return sum(_waits_alone(history, client, trial) for trial in history.trials for client in range(history.clients))


# --- what is stored -------------------------------------------------------------------------------------------------


def _of_writes(history: History) -> Iterator[Violation]:
    held = frozenset(history.held)
    for each in history.operations:
        if not each.kind.is_write or each.kind is Kind.SET or _is_excused(each, history):
            continue
        attempts = [*each.attempts]
        for fault, found in (
            (Fault.LOST, books.lost(attempts, held)),
            (Fault.UNTRUE, books.undone_but_held(attempts, held)),
            (Fault.TORN, books.torn(attempts, held)),
        ):
            if found:
                yield Violation(fault, (str(each), f"stored: {sorted(held.intersection(_ids(each)))}"))


def _of_units(history: History) -> Iterator[Violation]:
    for row, times in history.held.items():
        if times > 1:
            shown = [str(each) for each in history.operations if row in _ids(each)]
            yield Violation(Fault.TWICE, (f"{row!r} is stored {times} times", *shown))
    held = frozenset(history.held)
    for each in history.operations:
        if each.given_up and books.repeated(each.attempts, held):
            yield Violation(Fault.TWICE, (str(each), f"stored: {sorted(held.intersection(_ids(each)))}"))


def _is_excused(each: Operation, history: History) -> bool:
    if each.is_guarded:
        return False
    spans = (span for trial in history.trials for span in trial.undone)
    return any(each.began_at <= end and each.ended_at >= start for start, end in spans)


def _ids(each: Operation) -> tuple[str, ...]:
    return (*each.rows, *each.given_up)


# --- what was said --------------------------------------------------------------------------------------------------


def _of_reports(history: History) -> Iterator[Violation]:
    for each in history.operations:
        if each.is_cut:
            continue
        if not each.is_documented:
            yield Violation(Fault.UNDOCUMENTED, (str(each),))
        elif each.kind.is_write and books.untold(each.attempts):
            yield Violation(Fault.UNTOLD, (str(each),))
        # A transaction that was gone before a statement: this one ran by itself, outside of it.
        if not each.error.startswith("TransactionLost") and books.inexact(each.attempts):
            yield Violation(Fault.INEXACT, (str(each),))


def _of_deadlines(history: History) -> Iterator[Violation]:
    for each in history.operations:
        if each.ended_at - each.limit_at <= OVERDUE_AFTER_S:
            continue
        late_s = each.ended_at - each.limit_at - history.stalled_s(each.began_at, each.ended_at)
        if late_s > OVERDUE_AFTER_S:
            yield Violation(Fault.OVERDUE, (f"by {late_s:.2f} s", str(each)))


# --- money ----------------------------------------------------------------------------------------------------------


def _of_money(history: History) -> Iterator[Violation]:
    for each in history.operations:
        if each.kind is Kind.AUDIT and each.told is Told.DONE and each.value != history.total:
            yield Violation(Fault.SUM, (f"expected {history.total}", str(each)))
    if history.balances and sum(history.balances.values()) != history.total:
        yield Violation(Fault.SUM, (f"in the end {sum(history.balances.values())}, expected {history.total}",))
    due = dict.fromkeys(history.balances, history.opening)
    for source, target, amount in history.moved:
        due[source] -= amount
        due[target] += amount
    if due != history.balances:
        wrong = {number: (due[number], is_) for number, is_ in history.balances.items() if due[number] != is_}
        yield Violation(Fault.BALANCE, (f"account: (due, held): {wrong}",))


# --- registers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Effect:
    """The span in which a write took effect; `is_certain`: that it did."""

    began_at: float
    ended_at: float
    is_certain: bool


def _of_registers(history: History) -> Iterator[Violation]:
    by_register: dict[int, list[Operation]] = collections.defaultdict(list)
    for each in history.operations:
        if each.register is not None:
            by_register[each.register].append(each)
    for register, operations in by_register.items():
        yield from _of_register(operations, history.registers.get(register))


def _of_register(operations: list[Operation], final: str | None) -> Iterator[Violation]:
    writes = [each for each in operations if each.kind is Kind.SET]
    reads = [each for each in operations if each.kind is Kind.GET and each.told is Told.DONE]
    if final is not None:
        reads = [*reads, _final_read(final)]
    writers = {row: each for each in writes for row in _ids(each)}
    effects = _effects(writes, reads)
    overwritten = _Overwritten(effects)
    for read in reads:
        value = str(read.value)
        if value and value not in effects:  # What is empty is what was there at first.
            shown = [str(writers[value])] if value in writers else []
            yield Violation(Fault.PHANTOM, (str(read), *shown))
            continue
        if not read.is_writer:
            continue
        newer = overwritten.before(read.began_at, effects[value].ended_at if value in effects else -math.inf)
        if newer is not None and newer != value:
            shown = [str(writers[each]) for each in (value, newer) if each in writers]
            yield Violation(Fault.STALE, (str(read), *shown))


def _effects(writes: list[Operation], reads: list[Operation]) -> dict[str, _Effect]:
    """Give the span of each write that may have been done, by its value."""
    seen: dict[str, float] = {}
    for read in reads:
        seen[str(read.value)] = min(read.ended_at, seen.get(str(read.value), math.inf))
    found = {}
    for write in writes:
        if write.told.is_not_done or not write.rows:
            continue
        value = write.rows[0]
        is_done = write.told is Told.DONE
        ended_at = min(write.ended_at if is_done else math.inf, seen.get(value, math.inf))
        found[value] = _Effect(write.began_at, ended_at, is_done or value in seen)
    return found


class _Overwritten:
    """Answers which write surely took effect before a moment, and began last."""

    def __init__(self, effects: dict[str, _Effect]) -> None:
        certain = sorted((each.ended_at, each.began_at, value) for value, each in effects.items() if each.is_certain)
        self._ends = [ended_at for ended_at, _, _ in certain]
        began = [(began_at, value) for _, began_at, value in certain]
        self._latest = [*itertools.accumulate(began, max)]  # Of those that ended up to each.

    def before(self, moment: float, since: float) -> str | None:
        """Give a write that began after `since` and had taken effect before `moment`."""
        at = bisect.bisect_left(self._ends, moment)
        if not at:
            return None
        began_at, value = self._latest[at - 1]
        return value if began_at > since else None


def _final_read(value: str) -> Operation:
    return Operation(kind=Kind.GET, client=-1, door="the engine", began_at=math.inf, ended_at=math.inf, value=value)


# --- roles ----------------------------------------------------------------------------------------------------------


def _of_roles(history: History) -> Iterator[Violation]:
    for each in history.misled:
        if not each.is_fenced:
            yield Violation(Fault.WRONG_ROLE, (f"{each.at:.3f} {each.instance}: {each.statement}",))
    for trial in history.trials:
        fenced = [each for each in history.misled if each.is_fenced and trial.began_at <= each.at < trial.ended_at]
        if not fenced:
            continue
        promoted_at = next((at for at, words in trial.faults if words.startswith("promoted")), trial.healed_at)
        late = [
            each for each in fenced if each.at - promoted_at - history.stalled_s(promoted_at, each.at) > FENCED_FOR_S
        ]
        if late:
            yield Violation(
                Fault.WRONG_ROLE, (f"{late[0].at:.3f} {late[0].instance}, fenced: {late[0].statement}", *_told(trial))
            )


# --- coming back, and false alarms ----------------------------------------------------------------------------------


def _of_liveness(history: History) -> Iterator[Violation]:
    for trial in history.trials:
        for client in range(history.clients):
            back_at = trial.back.get(client, math.inf)
            took_s = back_at - trial.healed_at - history.stalled_s(trial.healed_at, min(back_at, trial.ended_at))
            if took_s > BACK_WITHIN_S and not _waits_alone(history, client, trial):
                doing = _last_of(history, client, trial.ended_at)
                yield Violation(Fault.NOT_BACK, (f"client {client}: {took_s:.1f} s", *doing, *_told(trial)))


def _waits_alone(history: History, client: int, trial: Trial) -> bool:
    """Whether it waits, as long as it likes, on the only connection of its Cluster, whose other end forgot it silently.

    docs/explanation/two-silences.md: no other connection's number shows that the instance has started anew.
    """
    waits = [
        each
        for each in history.operations
        if each.client == client
        and each.door == "lone"
        and each.is_cut
        and each.began_at < trial.healed_at < each.ended_at
    ]
    silent = [each for each in history.trials if any("'mode': 'blackhole'" in words for _, words in each.faults)]
    return any(each.began_at < one.healed_at and each.ended_at > one.began_at for each in waits for one in silent)


def _of_calm(history: History) -> Iterator[Violation]:
    """Between the return of the last client and the next fault nothing may fail."""
    starts = [0.0, *[trial.is_back_at for trial in history.trials]]
    ends = [*[trial.began_at for trial in history.trials], math.inf]
    spans = list(zip(starts, ends, strict=True))
    for each in history.operations:
        if not each.error or _is_a_clash(each):
            continue
        is_calm = any(start <= each.began_at and each.ended_at <= end for start, end in spans)
        if is_calm and history.stalled_s(each.began_at, each.ended_at) <= OVERDUE_AFTER_S:
            yield Violation(Fault.FAIR_WEATHER, (str(each),))


def _of_alarms(history: History) -> Iterator[Violation]:
    for trial in history.trials:
        if not trial.is_harmless:
            continue
        for each in history.operations:
            is_within = trial.began_at <= each.began_at and each.ended_at <= trial.ended_at
            if is_within and not each.is_cut and each.error.split(" ")[0] in _LOST:
                yield Violation(Fault.FALSE_ALARM, (str(each), *_told(trial)))
        for said in history.said:
            is_within = trial.began_at <= said.at <= trial.ended_at
            if is_within and said.name in {"aioaurora.failover.finished", "aioaurora.statements.aborted"}:
                yield Violation(Fault.FALSE_ALARM, (f"{said.at:.3f} {said.text}", *_told(trial)))


def _of_the_end(history: History) -> Iterator[Violation]:
    for fault, found in (
        (Fault.STUCK, history.unfinished),
        (Fault.LEFT, history.left),
        (Fault.UNHEARD, history.unheard),
    ):
        for each in found:
            yield Violation(fault, (each,))


def _of_growth(history: History) -> Iterator[Violation]:
    """Compare the most that was in use after one of the first trials with the least after one of the last."""
    counts = [trial.in_use for trial in history.trials]
    if len(counts) < 2 * _COMPARED:
        return
    for what in counts[0]:
        first = max(each[what] for each in counts[:_COMPARED])
        last = min(each[what] for each in counts[-_COMPARED:])
        if last > first * GROWS_TO:
            yield Violation(Fault.GROWN, (f"{what}: {[each[what] for each in counts]}",))


def _is_a_clash(each: Operation) -> bool:
    """Whether it is the server's own verdict on two transactions that met, as it may be at any time."""
    return each.error.rpartition(" ")[2] in {"1205", "1213"}


def _last_of(history: History, client: int, before: float) -> list[str]:
    own = [each for each in history.operations if each.client == client and each.ended_at <= before]
    return [str(each) for each in own[-_SHOWN:]]


def _told(trial: Trial) -> list[str]:
    return [f"in {trial.name!r}, healed at {trial.healed_at:.3f}", *[f"{at:.3f} {what}" for at, what in trial.faults]]
