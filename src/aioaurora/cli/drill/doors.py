"""The two kinds of client: one asks our Cluster for a connection, the other has aiomysql dial the cluster endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiomysql

from aioaurora.cli.drill.ledger import Read, Side, Told
from aioaurora.cli.drill.workload import LOST, PACE_S, unlimited

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from aioaurora.cli.drill.ledger import Ledger
    from aioaurora.cli.drill.stage import Stage
    from aioaurora.cli.drill.workload import Session
    from aioaurora.cluster import Cluster

# What a careful user of aiomysql sets: our connect_timeout, for each operation.
PLAIN_LIMIT_S = 3.0
_PLAIN_PAUSE_S = 0.1
# A table of its own, so that a read costs the same from beginning to end.
READ_TABLE = "drill_read"
_READ = f"SELECT id FROM {READ_TABLE}"  # noqa: S608 - our own name


class OurDoor:
    """Asks the Cluster, which waits for a writer; an error says what became of the work."""

    side = Side.OURS
    pause_s: float = 0.0

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def connect(self) -> Session:
        """Ask for a connection to the writer."""
        return await self._cluster.connect(role="writer")

    def limit(self) -> AbstractAsyncContextManager[Any]:
        """Leave it to the driver."""
        return unlimited()

    def told(self, error: BaseException) -> Told:
        """Read `outcome`."""
        outcome = getattr(error, "outcome", None)
        return Told.NOTHING if outcome is None else Told(outcome)

    def instance(self, session: Session) -> str:
        """Name the instance."""
        return str(getattr(session, "instance", ""))


class PlainDoor:
    """Connects to the cluster endpoint, each operation bounded; an error says nothing of the outcome."""

    side = Side.PLAIN
    pause_s = _PLAIN_PAUSE_S

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    async def connect(self) -> Session:
        """Connect."""
        async with self.limit():
            session: Session = await aiomysql.connect(**self._options, connect_timeout=PLAIN_LIMIT_S)
            return session

    def limit(self) -> AbstractAsyncContextManager[Any]:
        """Bound one operation."""
        return asyncio.timeout(PLAIN_LIMIT_S)

    def told(self, error: BaseException) -> Told:  # noqa: ARG002 - the door's signature
        """Say that nothing was said."""
        return Told.NOTHING

    def instance(self, session: Session) -> str:  # noqa: ARG002 - as above
        """Say that nobody knows."""
        return ""


class Reader:
    """One client that reads through the Cluster, from readers."""

    def __init__(self, number: int, *, cluster: Cluster, stage: Stage, ledger: Ledger, chance: random.Random) -> None:
        self._number, self._cluster, self._stage, self._ledger = number, cluster, stage, ledger
        self._chance = chance
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Read until the drill is over."""
        while not self._stage.is_over:
            try:
                async with self._cluster.connect(role="reader") as connection:
                    await self._read_on(connection)
            except LOST as failed:
                self._note(type(failed).__name__)

    async def _read_on(self, connection: Session) -> None:
        while not self._stage.is_over:
            async with connection.cursor() as cursor:
                await cursor.execute(_READ)
                await cursor.fetchall()
            self._note()
            await asyncio.sleep(PACE_S * (0.5 + self._chance.random()))

    def _note(self, error: str = "") -> None:
        self._ledger.reads.append(Read(client=self._number, ended_at=self._loop.time(), error=error))
