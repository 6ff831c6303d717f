"""What is wrong with a simulated instance, as values: nothing, by default."""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aioaurora.errors import Role
from aioaurora.simulator.relay import Ending

if TYPE_CHECKING:
    import re

MASTER_SESSION_ID = "MASTER_SESSION_ID"
_KNOCKS_KEPT = 5000
_MATCHED_BYTES = 1 << 16


class Fate(enum.StrEnum):
    """What becomes of a statement that a rule meets."""

    ANSWER_LOST = "answer_lost"  # It is executed; the client never hears.
    NEVER_EXECUTED = "never_executed"  # It never reaches the engine, whose session ends; the client never hears.
    HANGS = "hangs"  # It never reaches the engine; connection and session stay as they are.


@dataclass(slots=True)
class Rule:
    """What happens to the next `times` statements that match."""

    pattern: re.Pattern[str]
    fate: Fate
    ending: Ending = Ending.RST
    times: int = 1

    def meets(self, text: bytes) -> bool:
        """Say whether the statement is one of them, and count it."""
        if self.times <= 0 or not self.pattern.match(text[:_MATCHED_BYTES].decode("utf-8", "replace").lstrip()):
            return False
        self.times -= 1
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRow:
    """One row of `information_schema.replica_host_status`."""

    server_id: str
    session_id: str
    lag_ms: float = 0.0
    age_s: float = 0.0
    cpu: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How one instance's rows differ from the truth.

    Attributes:
        is_stale: They stay what they are.
        is_empty: There are none.
        without: Ids whose rows are missing.
        masters: Ids that are shown as the writer, instead of the true one; None: the true one.
        extra: More rows.
    """

    is_stale: bool = False
    is_empty: bool = False
    without: frozenset[str] = frozenset()
    masters: frozenset[str] | None = None
    extra: tuple[HostRow, ...] = ()

    def seen(self, rows: list[HostRow]) -> list[HostRow]:
        """Return the rows as they are shown."""
        if self.is_empty:
            return []
        kept = [self._marked(row) for row in rows if row.server_id not in self.without]
        return [*kept, *self.extra]

    def _marked(self, row: HostRow) -> HostRow:
        if self.masters is None:
            return row
        is_master = row.server_id in self.masters
        session = MASTER_SESSION_ID if is_master else f"session-{row.server_id}"
        return HostRow(server_id=row.server_id, session_id=session, lag_ms=row.lag_ms, age_s=row.age_s, cpu=row.cpu)


@dataclass(slots=True, kw_only=True)
class Conditions:
    """What a running instance does otherwise than it should; `heal()` puts a fresh one in its place.

    Attributes:
        latency_s: Every answer is late by this.
        login_latency_s: Every log-in takes this long.
        logins_per_s: Log-ins beyond this rate wait for their turn.
        max_connections: One more is answered with 1040.
        max_connect_errors: After as many cut handshakes in a row, 1129.
        denied_until: Loop time until which every log-in is answered with 1045.
        requires_tls: Log-ins in the clear are answered with 3159.
        is_frozen: `read_only` is 1 though `innodb_read_only` is 0.
        is_fenced: Still says writable, answers reads, and hangs on writes.
        rules: What happens to certain statements.
        view: How its rows differ from the truth.
        lag_ms: What its row says of its lag; None: 15, or 0 for the writer.
    """

    latency_s: float = 0.0
    login_latency_s: float = 0.0
    logins_per_s: float | None = None
    max_connections: int | None = None
    max_connect_errors: int = 100
    denied_until: float = 0.0
    requires_tls: bool = False
    is_frozen: bool = False
    is_fenced: bool = False
    rules: list[Rule] = field(default_factory=list)
    view: View = field(default_factory=View)
    lag_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Knock:
    """One client at an instance's door: from its TCP connection to its session, or to the end of the attempt.

    Times are loop times; `user` is who the client said that it is, empty if it did not come to that.
    """

    user: str
    began_at: float
    ended_at: float


@dataclass(slots=True, kw_only=True)
class State:
    """Who an instance is and how it does: shared by the instance and the desk that answers its clients.

    Attributes:
        id: What `@@aurora_server_id` says.
        label: First label of its endpoint's name; differs from `id` after a blue/green switchover.
        number: `@@server_id`.
        schema: The engine's schema that holds its view of the cluster.
        version: What `VERSION()` and its greeting say.
        role: What it truly is.
        is_up: Whether it serves; a silenced or stopped one does not.
        knocks: The newest handshakes that are over.
    """

    id: str
    label: str
    number: int
    schema: str
    address: str
    port: int
    version: str
    role: Role
    is_up: bool = False
    conditions: Conditions = field(default_factory=Conditions)
    statements: int = 0
    logins: int = 0
    handshakes: int = 0
    peak_handshakes: int = 0
    knocks: deque[Knock] = field(default_factory=lambda: deque(maxlen=_KNOCKS_KEPT))

    @property
    def is_read_only(self) -> bool:
        """Whether writes are refused."""
        return self.role is Role.READER or self.conditions.is_frozen


def refuse_bad_seconds(**given: float) -> None:
    """Raise ValueError for what is no duration: it must be finite, and 0 or more."""
    for name, value in given.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} {value!r}: write seconds, 0 or more")
