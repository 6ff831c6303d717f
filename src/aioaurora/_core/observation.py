"""What one asking brought: what an instance says of itself, and what it has heard of the others.

An instance's word about itself is evidence; its rows about others only tell where to look.
"""

from __future__ import annotations

import datetime
import enum
import math
from typing import TYPE_CHECKING

from aioaurora._core.endpoint import is_server_id
from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# One round trip gives role, identity and topology; the join keeps the role when the table has no rows.
PROBE_QUERY = (
    "SELECT @@innodb_read_only, @@read_only, @@aurora_server_id, t.* FROM (SELECT 1) o"
    " LEFT JOIN information_schema.replica_host_status t ON TRUE"
)
ROLE_QUERY = "SELECT @@innodb_read_only, @@read_only, @@aurora_server_id"
PLAIN_ROLE_QUERY = "SELECT @@innodb_read_only, @@read_only, NULL"

UNKNOWN_VARIABLE = 1193  # The server has no @@aurora_server_id: it is no Aurora.
UNKNOWN_TABLE = 1109  # It has the variable but not the table.

# Rows of instances that are gone stay for up to a day; the AWS wrappers draw the line at the same age (case 3).
ROWS_KEPT_S = 300.0
# Aurora replicas are restarted long before they lag by a day; larger figures are garbage that was seen (case 4).
LARGEST_LAG_S = 86_400.0


class Mode(enum.StrEnum):
    """What an instance says of itself."""

    WRITABLE = "writable"
    READ_ONLY = "read_only"  # innodb_read_only: an Aurora reader.
    FROZEN = "frozen"  # read_only on a writable InnoDB: a switchover holds writes back (case 57).


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One instance, as another one (or itself) has heard of it."""

    server_id: str
    is_writer: bool
    age_s: float  # Against the newest row of the same view, never a clock of ours (case 6).
    lag_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that one instance has heard of its cluster."""

    stamp: float  # Server time of the newest row: orders two views.
    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()  # Ids that are no names: reported, never dialled.


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The answer to one asking."""

    host: str  # The name that was dialled.
    port: int
    server_id: str | None  # None: not an Aurora instance.
    mode: Mode
    thread_id: int = 0  # Of a connection made just now: ids start anew when an instance restarts. 0: an older one.
    dialled_at: float | None = None  # Loop time at which that connection was begun; None: unknown.
    asked_at: float = math.inf  # Loop time at which the question left: orders two answers. Infinite: just now.
    view: View | None = None

    @property
    def instance_id(self) -> str:
        """The server's id, or its host name where it has none."""
        return self.server_id or self.host


def mode_of(innodb_read_only: object, read_only: object) -> Mode:
    """Tell what an instance says of itself; what cannot be read is not writable."""
    if _is_on(innodb_read_only):
        return Mode.READ_ONLY
    return Mode.FROZEN if _is_on(read_only) else Mode.WRITABLE


def view_of(columns: Sequence[str], table: Sequence[Sequence[object]], observer: str) -> View | None:
    """Read the rows of `replica_host_status`; None when they tell nothing.

    They tell nothing when there are none, when columns are missing, or when the observer is not among the fresh ones:
    a restored or cloned cluster keeps the rows of its source (case 2).
    """
    names = [name.lower() for name in columns]
    found = [dict(zip(names, map(_plain, values), strict=False)) for values in table]
    stamped = [(row, stamp) for row in found if (stamp := _stamp_of(row)) is not None]
    newest = max((stamp for _, stamp in stamped), default=0.0)
    rows = [_row_of(row, newest - stamp) for row, stamp in stamped if newest - stamp <= ROWS_KEPT_S]
    if all(row.server_id != observer for row in rows):
        return None
    return View(
        stamp=newest,
        rows=tuple(row for row in rows if is_server_id(row.server_id)),
        ignored=tuple(row.server_id for row in rows if not is_server_id(row.server_id)),
    )


def _plain(value: object) -> object:
    """Give text as text: with some character sets it comes as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value


def _row_of(row: Mapping[str, object], age_s: float) -> Row:
    is_writer = row.get("session_id") == "MASTER_SESSION_ID"
    lag_s = 0.0 if is_writer else _lag_of(row.get("replica_lag_in_milliseconds"))
    return Row(server_id=str(row["server_id"]), is_writer=is_writer, age_s=age_s, lag_s=lag_s)


def _stamp_of(row: Mapping[str, object]) -> float | None:
    updated = row.get("last_update_timestamp")
    if row.get("server_id") is None or not isinstance(updated, datetime.datetime):
        return None
    return (updated.replace(tzinfo=None) - datetime.datetime.min).total_seconds()  # noqa: DTZ901 - a difference only


def _lag_of(milliseconds: object) -> float | None:
    try:
        lag_s = float(str(milliseconds)) / 1000
    except ValueError:
        return None
    if not math.isfinite(lag_s) or lag_s > LARGEST_LAG_S:
        return None
    return max(lag_s, 0.0)


def _is_on(value: object) -> bool:
    return str(_plain(value)).upper() not in {"0", "OFF", "FALSE"}
