"""A client that writes: an INSERT under autocommit, then a small transaction, on whatever connection it gets.

Both kinds of client run this code. What differs is the door: how a connection is asked for, and what an error says.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pymysql import err

from aioaurora.cli.drill.ledger import Attempt, Connect, Side, Step, Told
from aioaurora.cli.drill.stage import Posture, Stage

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable
    from contextlib import AbstractAsyncContextManager

    from aioaurora.cli.drill.ledger import Ledger

TABLE = "drill"
COLUMNS = "(id VARCHAR(64) NOT NULL PRIMARY KEY)"
# The comment tells the simulator that whoever sends it asked for the writer.
INSERT = f"INSERT INTO {TABLE} (id) VALUES (%s) /* writer */"  # noqa: S608 - our own name
# A client takes its next turn after half to one and a half of this.
PACE_S = 0.1

LOST = (err.MySQLError, OSError, EOFError)


class Session(Protocol):
    """What a client needs of a connection: aiomysql's and ours have it."""

    def cursor(self) -> Any:  # noqa: ANN401 - aiomysql has no types
        """Give a cursor, as an async context manager."""

    def begin(self) -> Awaitable[Any]:
        """Open a transaction."""
        ...

    def commit(self) -> Awaitable[Any]:
        """Commit it."""
        ...

    def close(self) -> Any:  # noqa: ANN401 - as above
        """Close without waiting."""


class Door(Protocol):
    """How one kind of client gets a connection to the writer, and what it makes of an error.

    Attributes:
        side: Which kind.
        pause_s: How long a client waits after an error before it asks again.
    """

    side: Side
    pause_s: float

    async def connect(self) -> Session:
        """Ask for a connection."""
        ...

    def limit(self) -> AbstractAsyncContextManager[Any]:
        """Bound one operation."""
        ...

    def told(self, error: BaseException) -> Told:
        """Read what an error says of the outcome."""
        ...

    def instance(self, session: Session) -> str:
        """Name the instance, if that is known."""
        ...


@dataclass(slots=True)
class _Turn:
    """One attempt while it is under way."""

    rows: tuple[str, ...]
    began_at: float
    step: Step = Step.WRITE


class Writer:
    """One client."""

    def __init__(self, number: int, *, door: Door, stage: Stage, ledger: Ledger, chance: random.Random) -> None:
        self._number, self._door, self._stage, self._ledger = number, door, stage, ledger
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._who = (door.side, number)
        self._unit = self._tries = 0

    async def run(self) -> None:
        """Write until the drill is over."""
        while not self._stage.is_over:
            session = await self._connected()
            if session is not None:
                try:
                    await self._write_on(session)
                finally:
                    session.close()
            await asyncio.sleep(self._door.pause_s)

    async def _write_on(self, session: Session) -> None:
        is_good = True
        while is_good and not self._stage.is_over:
            is_good = await self._takes_turn(session)
            await asyncio.sleep(PACE_S * (0.5 + self._chance.random()) if is_good else 0.0)

    async def _connected(self) -> Session | None:
        began_at, error, session = self._loop.time(), "", None
        try:
            session = await self._door.connect()
        except LOST as failed:
            error = _name_of(failed)
        self._ledger.connects.append(
            Connect(
                side=self._door.side,
                client=self._number,
                began_at=began_at,
                ended_at=self._loop.time(),
                error=error,
                instance=self._door.instance(session) if session else "",
            )
        )
        return session

    async def _takes_turn(self, session: Session) -> bool:
        """Try the present unit once; says whether the connection is still good."""
        posture = self._stage.take(*self._who)
        is_transaction = posture in {Posture.SITTING, Posture.WAITING_INSIDE} or (
            posture is Posture.WRITING and self._unit % 2 == 1
        )
        turn = _Turn(self._new_rows(2 if is_transaction else 1), self._loop.time())
        try:
            if posture in {Posture.WAITING, Posture.WAITING_INSIDE}:
                await self._stage.is_locked[self._door.side].wait()
                turn.rows = (*turn.rows[:-1], self._stage.contested[self._who])
            if is_transaction:
                await self._transaction(session, turn, posture)
            else:
                await self._write(session, turn, posture)
        except LOST as failed:
            told = self._door.told(failed)
            self._note(session, turn, told, _name_of(failed))
            if told is Told.UNKNOWN:
                self._next_unit()
            return False
        finally:
            self._stage.leave(*self._who)
        self._note(session, turn, Told.DONE)
        self._next_unit()
        self._stage.stir()
        return True

    def _new_rows(self, count: int) -> tuple[str, ...]:
        self._tries += 1
        name = f"{self._door.side}-{self._number}-{self._unit}-{self._tries}"
        return tuple(f"{name}-{number}" for number in range(count))

    def _next_unit(self) -> None:
        self._unit += 1

    def _note(self, session: Session, turn: _Turn, told: Told, error: str = "") -> None:
        self._ledger.attempts.append(
            Attempt(
                side=self._door.side,
                client=self._number,
                unit=self._unit,
                rows=turn.rows,
                began_at=turn.began_at,
                ended_at=self._loop.time(),
                told=told,
                step=turn.step,
                error=error,
                instance=self._door.instance(session),
            )
        )

    async def _write(self, session: Session, turn: _Turn, posture: Posture) -> None:
        if posture is Posture.WAITING:
            self._stage.stand(*self._who, posture)
        await self._execute(session, INSERT, turn.rows[0])

    async def _transaction(self, session: Session, turn: _Turn, posture: Posture) -> None:
        turn.step = Step.BEGIN
        async with self._door.limit():
            await session.begin()
        turn.step = Step.INSIDE
        await self._execute(session, INSERT, turn.rows[0])
        if posture is Posture.SITTING:
            await self._sits(session)
        if posture is Posture.WAITING_INSIDE:
            self._stage.stand(*self._who, posture)
        await self._execute(session, INSERT, turn.rows[1])
        turn.step = Step.COMMIT
        async with self._door.limit():
            await session.commit()

    async def _sits(self, session: Session) -> None:
        """Lock the rows that others are about to insert, and do nothing more until told to go on."""
        for row in self._stage.contested_by(self._door.side):
            await self._execute(session, INSERT, row)
        self._stage.is_locked[self._door.side].set()
        self._stage.stand(*self._who, Posture.SITTING)
        await self._stage.resumed.wait()

    async def _execute(self, session: Session, sql: str, *arguments: object) -> None:
        async with self._door.limit(), session.cursor() as cursor:
            await cursor.execute(sql, arguments)


def unlimited() -> AbstractAsyncContextManager[Any]:
    """Bound nothing: for clients whose driver does."""
    return contextlib.nullcontext()


def _name_of(error: BaseException) -> str:
    """Name an error as a caller would see it: its class, and the server's number where it has one."""
    number = error.args[0] if isinstance(error, err.MySQLError) and error.args else None
    name = type(error).__name__
    return (
        f"{name} {number}" if isinstance(number, int) and number and "aioaurora" not in type(error).__module__ else name
    )
