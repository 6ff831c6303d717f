"""Compares what the clients believe with what is stored and what the simulator knows: figures, and broken promises.

Nothing here waits or looks at a clock. Times are loop times, durations seconds. A wait is judged less the time
for which the event loop stalled within it, or stood in line for a processor: the drill's cluster, both kinds of client
and the display share one loop, and the machine has other things to do.
"""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.cli.drill import ledger as books
from aioaurora.cli.drill.ledger import Side, Told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aioaurora.cli.drill.ledger import Ledger
    from aioaurora.simulator.conditions import Knock

# What the driver promises with its default options.
MEDIAN_WITHIN_S, WORST_WITHIN_S, DETECTED_WITHIN_S = 0.15, 0.5, 3.0
# A silent writer is suspected when a heartbeat is late: heartbeat_interval + suspect_after.
SILENCE_NOTICED_S = 1.0 + 0.25
# stall_timeout, counted by a heartbeat: nothing waits longer for an instance that says nothing.
HANGS_AT_MOST_S = 15.0 + 1.0
# max_connecting, and a heartbeat and a probe beside it.
CONNECTS_AT_ONCE = 4 + 2
SILENT_MODES = frozenset({"blackhole"})


@dataclass(frozen=True, slots=True)
class Stall:
    """For so long the event loop did not turn, until `at`."""

    at: float
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One failover, as the simulator and the engine know it.

    Attributes:
        mode: How the writer went: "graceful", "crash", "blackhole".
        promote_after_s: What was asked for.
        began_at: Start of the window that is looked at.
        fault_at: When the writer went.
        promoted_at: When the new one accepted connections and said writable.
        ended_at: End of the window.
        held: Ids of all rows that are stored.
        wrong_roles: Connections to no writer that a writer's statement arrived on.
        peak_connects: Log-ins under way at once at the new writer.
        suspected_at: When our driver first said that the old writer is in doubt; None: it did not.
        in_flight: Clients with a statement under way on the old writer at the fault.
        in_transaction: Clients that sat in an open transaction at the fault.
        stalls: Of the event loop, in the window.
    """

    mode: str
    promote_after_s: float
    old_writer: str
    new_writer: str
    began_at: float
    fault_at: float
    promoted_at: float
    ended_at: float
    clients: int
    held: frozenset[str]
    wrong_roles: Mapping[Side, int]
    peak_connects: Mapping[Side, int]
    suspected_at: float | None
    in_flight: Mapping[Side, int]
    in_transaction: Mapping[Side, int]
    stalls: Sequence[Stall] = ()

    @property
    def counted_from(self) -> float:
        """When the new writer could be known: its promotion, or for a silent old one the first late heartbeat."""
        noticed_at = self.fault_at + SILENCE_NOTICED_S if self.mode in SILENT_MODES else self.fault_at
        return max(self.promoted_at, noticed_at)

    def stalled_s(self, start: float, end: float) -> float:
        """Say for how long the loop did not turn between two moments."""
        return sum(max(min(each.at, end) - max(each.at - each.lasted_s, start), 0.0) for each in self.stalls)

    def worst_stall_s(self, start: float, end: float) -> float:
        """Return the longest stall that ended between two moments."""
        return max((each.lasted_s for each in self.stalls if start <= each.at <= end), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How one kind of client fared in one failover.

    Attributes:
        detection_s: From the fault to the first suspicion (ours) or the first error (plain); None: there was none.
        first_writes_s: Of each client that wrote again, from the moment counted from to its first acknowledged write.
        longest_hang_s: From the fault to the end of the statement that was cut off last; 0: none was.
        clients: How many there are.
        errors: What writers saw, by class.
        outcomes: What failed writes were reported as.
        acknowledged: Writes reported done.
        wrong_roles: Connections handed out that led to no writer.
        lost: Acknowledged, and not stored.
        duplicates: Units of work that are stored twice.
        untrue: Reported as not done, and stored.
        torn: Transactions stored in part.
        inexact: Called unknown though it can be known.
        untold: Failed writes whose error says nothing of the outcome.
        peak_connects: At once, at the new writer.
        reads_failed: Of our readers.
        in_flight: Clients with a statement under way at the fault.
        in_transaction: Clients in an open transaction at the fault.
    """

    side: Side
    detection_s: float | None
    first_writes_s: tuple[float, ...]
    longest_hang_s: float
    clients: int
    errors: Mapping[str, int]
    outcomes: Mapping[str, int]
    acknowledged: int
    wrong_roles: int
    lost: int
    duplicates: int
    untrue: int
    torn: int
    inexact: int
    untold: int
    peak_connects: int
    reads_failed: int
    in_flight: int
    in_transaction: int

    @property
    def median_s(self) -> float | None:
        """Of the first writes; None when fewer than half of the clients wrote again."""
        missing = self.clients - len(self.first_writes_s)
        if missing * 2 >= self.clients:
            return None
        return statistics.median([*self.first_writes_s, *[float("inf")] * missing])

    @property
    def worst_s(self) -> float | None:
        """Of the first writes; None when a client never wrote again."""
        return max(self.first_writes_s) if len(self.first_writes_s) == self.clients else None

    @property
    def unknown(self) -> int:
        """Writes whose outcome only the server knows."""
        return self.outcomes.get(Told.UNKNOWN, 0)


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept: its number in the design, and what was seen.

    Without a number it is the drill itself that was no trial: what it found proves nothing.
    """

    promise: int | None
    sentence: str

    def __str__(self) -> str:
        return (
            f"no trial: {self.sentence}" if self.promise is None else f"promise {self.promise} broken: {self.sentence}"
        )


def figures(ledger: Ledger, scene: Scene, side: Side) -> Figures:
    """Say how one kind of client fared."""
    own = ledger.between(scene.began_at, scene.ended_at).of(side)
    failed = [each for each in own.attempts if each.told is not Told.DONE]
    errors = Counter(own.errors())
    return Figures(
        side=side,
        detection_s=_detection_s(own, scene, side),
        first_writes_s=_first_writes_s(own, scene),
        longest_hang_s=_longest_hang_s(own, scene),
        clients=scene.clients,
        errors=dict(errors.most_common()),
        outcomes=dict(Counter(str(each.told) for each in failed).most_common()),
        acknowledged=len(own.attempts) - len(failed),
        wrong_roles=scene.wrong_roles.get(side, 0),
        lost=len(books.lost(own.attempts, scene.held)),
        # A unit may have been tried before the window, too.
        duplicates=_repeated_in(ledger.of(side), own, scene.held),
        untrue=len(books.undone_but_held(own.attempts, scene.held)),
        torn=len(books.torn(own.attempts, scene.held)),
        inexact=len(books.inexact(own.attempts)),
        untold=len(books.untold(own.attempts)),
        peak_connects=scene.peak_connects.get(side, 0),
        reads_failed=sum(bool(each.error) for each in own.reads),
        in_flight=scene.in_flight.get(side, 0),
        in_transaction=scene.in_transaction.get(side, 0),
    )


def broken(found: Figures, scene: Scene) -> list[Broken]:
    """Name the promises that our driver did not keep in one failover."""
    return [
        *_untried(scene),
        *_broken_roles(found),
        *_broken_waits(found, scene),
        *_broken_truths(found),
        *_broken_storms(found),
    ]


def broken_in_the_end(ledger: Ledger, held: frozenset[str]) -> list[Broken]:
    """Look once more at all that was ever reported, with what is stored when the drill is over."""
    attempts = ledger.of(Side.OURS).attempts
    found = {
        "acknowledged and not stored": len(books.lost(attempts, held)),
        "reported as not done, and stored": len(books.undone_but_held(attempts, held)),
        "transactions stored in part": len(books.torn(attempts, held)),
        "stored twice": len(books.repeated(attempts, held)),
    }
    return [Broken(4, f"in the end, {count} writes: {what}") for what, count in found.items() if count]


def _untried(scene: Scene) -> Iterable[Broken]:
    for side in Side:
        busy, inside = scene.in_flight[side], scene.in_transaction[side]
        if 2 * busy < scene.clients or not inside:
            yield Broken(
                None,
                f"at the fault {busy} of {scene.clients} {side} clients had a statement under way, "
                f"and {inside} sat in a transaction",
            )


def _broken_roles(found: Figures) -> Iterable[Broken]:
    if found.wrong_roles:
        yield Broken(1, f"{found.wrong_roles} connections handed out for writing led to an instance that is no writer")


def _broken_waits(found: Figures, scene: Scene) -> Iterable[Broken]:
    missing = found.clients - len(found.first_writes_s)
    if missing:
        waited_s = scene.ended_at - scene.promoted_at
        yield Broken(
            2, f"{missing} of {found.clients} clients did not write again within {waited_s:.1f} s of the promotion"
        )
    start = scene.counted_from
    for what, value, limit in (("median", found.median_s, MEDIAN_WITHIN_S), ("worst", found.worst_s, WORST_WITHIN_S)):
        if value is not None and value - scene.stalled_s(start, start + value) > limit:
            yield Broken(2, f"{what} first write {value:.3f} s after the promotion; promised are {limit} s")
    yield from _broken_silences(found, scene)


def _broken_silences(found: Figures, scene: Scene) -> Iterable[Broken]:
    # A statement ends when another writer is verified, or at the stall's time-out.
    limit = min(scene.counted_from - scene.fault_at + WORST_WITHIN_S, HANGS_AT_MOST_S + WORST_WITHIN_S)
    hung = found.longest_hang_s
    if hung - scene.stalled_s(scene.fault_at, scene.fault_at + hung) > limit:
        yield Broken(3, f"a statement hung for {hung:.2f} s after the fault; promised are {limit:.2f} s")
    waited = found.detection_s
    if waited is None:
        yield Broken(3, "the driver never suspected the old writer")
    elif waited - scene.stalled_s(scene.fault_at, scene.fault_at + waited) > DETECTED_WITHIN_S:
        yield Broken(
            3, f"the old writer was suspected only {waited:.2f} s after the fault; promised are {DETECTED_WITHIN_S} s"
        )


def _broken_truths(found: Figures) -> Iterable[Broken]:
    if found.lost:
        yield Broken(4, f"{found.lost} acknowledged writes are not stored")
    if found.untrue:
        yield Broken(4, f"{found.untrue} writes that were reported as not done are stored")
    if found.duplicates:
        yield Broken(4, f"{found.duplicates} units of work are stored twice")
    if found.torn:
        yield Broken(4, f"{found.torn} transactions are stored in part")
    if found.inexact:
        yield Broken(4, f"{found.inexact} writes were called unknown though nothing that could be kept was outstanding")
    if found.untold:
        yield Broken(4, f"{found.untold} writes failed with an error that does not say what became of them")


def _broken_storms(found: Figures) -> Iterable[Broken]:
    if found.peak_connects > CONNECTS_AT_ONCE:
        yield Broken(5, f"{found.peak_connects} connects at once at the new writer; promised are {CONNECTS_AT_ONCE}")


def _detection_s(own: Ledger, scene: Scene, side: Side) -> float | None:
    if side is Side.OURS:
        return None if scene.suspected_at is None else scene.suspected_at - scene.fault_at
    first = own.first_failure(since=scene.fault_at)
    return None if first is None else first - scene.fault_at


def _first_writes_s(own: Ledger, scene: Scene) -> tuple[float, ...]:
    first: dict[int, float] = {}
    for each in own.attempts:
        if each.told is Told.DONE and each.ended_at >= scene.promoted_at:
            first.setdefault(each.client, max(each.ended_at - scene.counted_from, 0.0))
    return tuple(sorted(first.values()))


def _longest_hang_s(own: Ledger, scene: Scene) -> float:
    cut_off = [each for each in own.attempts if each.told is not Told.DONE and each.ended_at >= scene.fault_at]
    return max((each.ended_at - max(each.began_at, scene.fault_at) for each in cut_off), default=0.0)


def _repeated_in(all_of_it: Ledger, window: Ledger, held: frozenset[str]) -> int:
    here = {(each.side, each.client, each.unit) for each in window.attempts}
    return len(here.intersection(books.repeated(all_of_it.attempts, held)))


def connects_at_once(knocks: Iterable[Knock], *, plain_user: str) -> dict[Side, int]:
    """Say how many log-ins were under way at once, refused ones too; one that is nobody's counts as ours."""
    spans: dict[Side, list[tuple[float, float]]] = {side: [] for side in Side}
    for each in knocks:
        side = Side.PLAIN if each.user == plain_user else Side.OURS
        spans[side].append((each.began_at, each.ended_at))
    return {side: peak(each) for side, each in spans.items()}


def peak(spans: Iterable[tuple[float, float]]) -> int:
    """Say how many spans, each a start and an end, overlap at most; one that ends as another begins does not."""
    steps = sorted(step for start, end in spans for step in ((start, 1), (end, -1)))
    return max(itertools.accumulate(change for _, change in steps), default=0)
