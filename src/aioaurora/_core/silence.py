"""How a silence is judged: a slow answer, a dead host, a stalled engine, or our own lateness.

*Unacknowledged* silence: the peer's kernel acknowledges nothing, and a fresh connect hangs: the host is gone.
*Acknowledged* silence: the kernel is there, the engine says nothing: it may be patched, swamped or stalled, and
what it holds may yet be answered (case 53).
"""

from __future__ import annotations

import enum
from dataclasses import replace

from aioaurora._core.value import dataclass

# A timer that fires this late tells of our own stalled loop, not of the server (case 36).
OUR_LATENESS_S = 0.1
# To end hundreds of queries takes a while, and all are to have ended in time: the part of the time that is kept for it.
ENDING_TAKES = 0.05
_LEAST_PAUSE_S = 0.001


class Verdict(enum.StrEnum):
    """What a silence means so far."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"  # Look around; abort nothing.
    DEAD = "dead"  # Nobody is there: end what waits.
    STALLED = "stalled"  # Somebody is there and has said nothing for too long: end what waits.


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each verdict waits, in seconds."""

    suspect_after: float = 0.25
    dead_after: float = 2.85  # Since the last sign of life: heartbeat_interval + heartbeat_timeout, less ENDING_TAKES.
    stalled_after: float = 15.0

    def with_usual(self, answer_s: float) -> Patience:
        """Wait longer for an instance that usually takes long: slow is not silent."""
        return replace(self, suspect_after=max(self.suspect_after, min(2 * answer_s, self.dead_after)))

    def is_early(self, asked_at: float, now: float) -> bool:
        """Tell whether who was asked then cannot be late yet, whatever the last sign of life is."""
        return now < asked_at + self.suspect_after

    def next_check(self, silence: Silence, within_s: float | None = None) -> float:
        """Give the loop time of the next moment at which the verdict can change; `within_s` or `suspect_after` at most.

        Never at once: a mark that lies ahead by a rounding error would be looked at again and again.
        """
        ahead = [mark for mark in self.marks(silence) if mark > silence.now]
        due = min([*ahead, silence.now + (within_s or self.suspect_after)])
        return max(due, silence.now + _LEAST_PAUSE_S)

    def marks(self, silence: Silence) -> tuple[float, float, float]:
        """Give the loop times from which it counts as late, as dead if nobody is there, and as stalled."""
        late_at = max(silence.asked_at, silence.last_sign_at) + self.suspect_after
        return (
            late_at,
            max(late_at, silence.last_sign_at + self.dead_after),
            max(late_at, silence.last_sign_at + self.stalled_after),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What is known of an instance that has not answered yet. Times are loop times.

    Attributes:
        asked_at: When the heartbeat was sent.
        last_sign_at: When any byte of the instance arrived on any connection, or we last had reason to wait anew.
        unacknowledged: Whether the kernel has bytes of ours that the peer's kernel did not acknowledge; None: unknown.
        connect_hangs: Whether a fresh connect is waiting for the peer's kernel.
    """

    now: float
    asked_at: float
    last_sign_at: float
    unacknowledged: bool | None
    connect_hangs: bool


@dataclass(slots=True)
class Quiet:
    """How long an instance that was asked has said nothing, less what we slept through ourselves. Loop times.

    Attributes:
        asked_at: Since when it owes an answer.
        last_sign_at: As in `Silence`.
        is_suspected: It was said that the answer is late.
        is_ended: What waited was ended; a sign of life begins anew.
    """

    asked_at: float
    last_sign_at: float
    is_suspected: bool = False
    is_ended: bool = False

    def woken(self, now: float, due: float) -> None:
        """Count it as asked anew if we woke late (case 36), and leave out of the silence what we slept through.

        Not all of the silence: else a program that stalls now and then would wait for a dead host for ever.
        """
        if now - due > OUR_LATENESS_S:
            self.asked_at = now
            self.last_sign_at += now - due

    def heard(self, at: float) -> None:
        """Take a sign of life in."""
        if at > self.last_sign_at:
            self.last_sign_at, self.is_ended = at, False

    def silence(self, now: float, *, unacknowledged: bool | None, connect_hangs: bool) -> Silence:
        """Give what is to be judged now."""
        return Silence(
            now=now,
            asked_at=self.asked_at,
            last_sign_at=self.last_sign_at,
            unacknowledged=unacknowledged,
            connect_hangs=connect_hangs,
        )


def usual(before_s: float, took_s: float) -> float:
    """Tell how long an answer usually takes, after one more: slow at once, quick again after a few quick ones."""
    return max(took_s, before_s / 2)


def judged(silence: Silence, patience: Patience) -> Verdict:
    """Judge a silence; a sign of life takes every suspicion back, and nothing is suspected before it was asked."""
    late_at, dead_at, stalled_at = patience.marks(silence)
    if silence.now >= stalled_at:
        return Verdict.STALLED
    if silence.now >= dead_at and silence.connect_hangs and silence.unacknowledged is not False:
        return Verdict.DEAD
    return Verdict.SUSPECT if silence.now >= late_at else Verdict.HEALTHY
