"""`information_schema.replica_host_status` as each instance shows it: a table in the engine for every observer.

The table is not transactional, as Aurora's is not: a long snapshot still sees the newest rows.
Times are the engine's own (what it calls NOW at the start, plus loop time): whoever compares them with NOW() gets
true ages, in whatever time zone the engine runs, and they go with a virtual clock too.
"""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING

from aioaurora.errors import Role
from aioaurora.simulator.conditions import MASTER_SESSION_ID, HostRow
from aioaurora.simulator.control import literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioaurora.simulator.control import Control
    from aioaurora.simulator.server import Server

_USUAL_LAG_MS = 15.0
_COLUMNS = "SERVER_ID, SESSION_ID, IS_CURRENT, LAST_UPDATE_TIMESTAMP, REPLICA_LAG_IN_MILLISECONDS, CPU"
_TABLE = """CREATE TABLE {table} (
    SERVER_ID varchar(100) NOT NULL, SESSION_ID varchar(100) NOT NULL, IS_CURRENT tinyint NOT NULL,
    LAST_UPDATE_TIMESTAMP datetime(6) NOT NULL, REPLICA_LAG_IN_MILLISECONDS double NOT NULL, CPU double NOT NULL,
    PRIMARY KEY (SERVER_ID)) ENGINE=MEMORY"""


class Views:
    """Writes what every instance shows of the cluster."""

    _origin: float
    _started: datetime.datetime

    def __init__(self, control: Control) -> None:
        self._control = control
        self._heard: dict[str, float] = {}
        self._made: set[str] = set()
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Ask the engine what time it is."""
        [(now,)] = await self._control.rows("SELECT NOW(6)")
        self._started = datetime.datetime.fromisoformat(str(now))
        self._origin = asyncio.get_running_loop().time()

    async def publish(
        self,
        instances: Iterable[Server],
        *,
        writer: str | None = None,
        also_up: frozenset[str] = frozenset(),
    ) -> None:
        """Write the rows as of now; `writer` and `also_up` tell what is about to become true."""
        async with self._turn:  # Older rows must not be written over newer ones.
            known = tuple(instances)
            now = asyncio.get_running_loop().time()
            for each in known:
                speaks = each.is_up and not each.state.conditions.is_fenced
                if speaks or each.id in also_up or each.id not in self._heard:
                    self._heard[each.id] = now
            rows = [self._row(each, writer, now) for each in known]
            for each in known:
                view = each.state.conditions.view
                if not view.is_stale or each.state.schema not in self._made:
                    await self._write(each.state.schema, view.seen(rows), now)

    async def forget(self) -> None:
        """Drop the tables: a server that is not ours keeps nothing of them."""
        for schema in tuple(self._made):
            self._made.discard(schema)
            await self._control.execute(f"DROP DATABASE IF EXISTS `{schema}`")

    def _row(self, instance: Server, writer: str | None, now: float) -> HostRow:
        is_writer = instance.id == writer if writer is not None else instance.role is Role.WRITER
        lag_ms = instance.state.conditions.lag_ms
        return HostRow(
            server_id=instance.id,
            session_id=MASTER_SESSION_ID if is_writer else f"session-{instance.id}",
            lag_ms=lag_ms if lag_ms is not None else 0.0 if is_writer else _USUAL_LAG_MS,
            age_s=now - self._heard[instance.id],
        )

    async def _write(self, schema: str, rows: list[HostRow], now: float) -> None:
        table = f"`{schema}`.replica_host_status"
        if schema not in self._made:
            await self._control.execute(f"CREATE DATABASE `{schema}`")
            self._made.add(schema)
            await self._control.execute(_TABLE.format(table=table))
        if rows:
            values = ", ".join(self._values(row, now) for row in rows)
            await self._control.execute(f"REPLACE INTO {table} ({_COLUMNS}) VALUES {values}")  # noqa: S608 - our own
        listed = ", ".join(literal(row.server_id) for row in rows) or "''"
        await self._control.execute(f"DELETE FROM {table} WHERE SERVER_ID NOT IN ({listed})")  # noqa: S608 - our own

    def _values(self, row: HostRow, now: float) -> str:
        heard = self._started + datetime.timedelta(seconds=now - self._origin - row.age_s)
        stamp = heard.strftime("%Y-%m-%d %H:%M:%S.%f")
        lag_ms = f"{row.lag_ms:.3f}"
        return f"({literal(row.server_id)}, {literal(row.session_id)}, 1, '{stamp}', {lag_ms}, {row.cpu})"
