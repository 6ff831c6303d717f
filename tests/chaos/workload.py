"""Clients that use the library's public face all the time, each call of which is noted with what was said of it.

A client takes turns. A turn is one operation through one door: `pool.run`, `pool.attempts`, `pool.execute`, a leased
connection with a transaction or autocommit of the client's own, a lone connection that pings, a session of SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from sqlalchemy import URL, exc, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

import aioaurora
from aioaurora.cli.drill.ledger import Step, Told
from aioaurora.sqlalchemy import run_in_transaction
from tests.chaos.history import Kind, Operation, is_documented, name_of, told_of, told_of_cut

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from tests.chaos.history import History

ACCOUNTS, OPENING, REGISTERS = 5, 1000, 4
TABLES = (
    "CREATE TABLE appended (seq BIGINT AUTO_INCREMENT PRIMARY KEY, id VARCHAR(64) NOT NULL, KEY (id)) ENGINE=InnoDB",
    (
        "CREATE TABLE moved (seq BIGINT AUTO_INCREMENT PRIMARY KEY, id VARCHAR(64) NOT NULL, KEY (id), "
        "source INT, target INT, amount INT) ENGINE=InnoDB"
    ),
    "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE register (id INT PRIMARY KEY, value VARCHAR(64) NOT NULL DEFAULT '') ENGINE=InnoDB",
    f"INSERT INTO account VALUES {', '.join(f'({number}, {OPENING})' for number in range(ACCOUNTS))}",
    f"INSERT INTO register (id) VALUES {', '.join(f'({number})' for number in range(REGISTERS))}",
)
# The comment tells the simulator that whoever sends it asked for the writer.
APPEND = "INSERT INTO appended (id) VALUES (%s) /* writer */"
SET = "UPDATE register SET value = %s WHERE id = %s /* writer */"
GET, GET_ANYWHERE = "SELECT value FROM register WHERE id = %s /* writer */", "SELECT value FROM register WHERE id = %s"
MOVE = "UPDATE account SET balance = balance + %s WHERE id = %s"
MOVED = "INSERT INTO moved (id, source, target, amount) VALUES (%s, %s, %s, %s)"
BALANCE, SUM = "SELECT balance FROM account WHERE id = %s", "SELECT SUM(balance) FROM account"

PACE_S, PAUSE_S = 0.06, 0.05
# What is passed to the library's calls; less than what a client waits itself.
TIMEOUT_S = 8.0
_POOL = {"minsize": 2, "maxsize": 8, "reader_minsize": 1, "max_idle": 5.0, "max_lifetime": 20.0}
_IN_URL = {"username": "user", "host": "host", "port": "port", "database": "db"}

Work: TypeAlias = "Callable[[Call], Awaitable[Any]]"


class Call:
    """One operation while it is under way."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.step = Step.BEGIN
        self.rows: tuple[str, ...] = ()
        self.given_up: tuple[str, ...] = ()
        self.is_guarded = True
        self._tries = 0

    def attempt(self, count: int = 1) -> tuple[str, ...]:
        """Begin an attempt; give the ids of its rows."""
        self._tries += 1
        self.given_up += self.rows
        self.rows = tuple(f"{self.unit}-{self._tries}-{number}" for number in range(count))
        return self.rows


class Doors:
    """Everything that clients go through.

    Attributes:
        pool: Of the writer and the readers.
        sessions: Of SQLAlchemy.
        options: For connections of a client's own.
    """

    def __init__(self, options: dict[str, Any], *, listener: Callable[[aioaurora.Event], None]) -> None:
        self.options = {name: value for name, value in options.items() if name not in {"user", "password"}}
        self.options |= {"user": options["user"], "credentials": _credentials(options), "listeners": (listener,)}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.pool = await self._stack.enter_async_context(aioaurora.create_pool(**self.options, **_POOL))
        url = URL.create("mysql+aioaurora", **{name: self.options[ours] for name, ours in _IN_URL.items()})
        arguments = {name: value for name, value in self.options.items() if name not in _IN_URL.values()}
        self._engine = create_async_engine(url, connect_args=arguments, pool_size=3, max_overflow=0)
        self.sessions = async_sessionmaker(self._engine, expire_on_commit=False)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._engine.dispose()
        await self._stack.aclose()


def _credentials(options: dict[str, Any]) -> Callable[..., Awaitable[aioaurora.Credentials]]:
    async def signed(_host: str, _port: int, _user: str | None) -> aioaurora.Credentials:
        return aioaurora.Credentials(user=options["user"], password=options["password"], expires_at=time.time() + 60)

    return signed


class Client:
    """One client.

    Attributes:
        doing: What it is doing now, and since when.
    """

    name = ""

    def __init__(
        self, number: int, *, doors: Doors, history: History, chance: random.Random, patience_s: float
    ) -> None:
        self.number, self.doors, self.chance = number, doors, chance
        self.doing = "nothing"
        self.is_over = False
        self._history, self._patience_s = history, patience_s
        self._loop = asyncio.get_running_loop()
        self._units = 0

    async def run(self) -> None:
        """Take turns until told to stop."""
        try:
            while not self.is_over:
                is_good = await self.turn()
                await asyncio.sleep(PACE_S * (0.5 + self.chance.random()) if is_good else PAUSE_S)
        finally:
            await self.leave()

    async def turn(self) -> bool:
        """Do one thing; say whether it was done."""
        raise NotImplementedError

    async def leave(self) -> None:
        """Give back what is its own."""

    async def noted(
        self,
        kind: Kind,
        door: str,
        work: Work,
        *,
        limit_s: float | None = None,
        register: int | None = None,
        is_writer: bool = True,
    ) -> bool:
        """Do something, and note what came of it; say whether it was done."""
        self._units += 1
        call = Call(f"{self.number}-{self._units}")
        began_at = self._loop.time()
        limit_s = self._patience_s if limit_s is None else limit_s
        self.doing = f"{door} {kind} since {began_at:.3f}"
        told, error, detail, is_known, is_cut, value = Told.DONE, "", "", True, False, None
        try:
            async with asyncio.timeout(self._patience_s) as limit:
                value = await work(call)
        except Exception as failed:  # noqa: BLE001 - whatever it is, it is noted, and the checker judges it.
            cause = _cause_of(failed)
            is_cut = limit.expired() and type(cause) is TimeoutError
            told = told_of_cut(call.step) if is_cut else told_of(cause, call.step)
            error, detail, is_known = name_of(cause), str(cause), is_cut or is_documented(cause)
        self.doing = "nothing"
        self._history.operations.append(
            Operation(
                kind=kind,
                client=self.number,
                door=door,
                unit=call.unit,
                began_at=began_at,
                ended_at=self._loop.time(),
                limit_at=began_at + limit_s,
                told=told,
                step=call.step,
                error=error,
                detail=detail,
                is_documented=is_known,
                is_cut=is_cut,
                is_guarded=call.is_guarded,
                rows=call.rows,
                given_up=call.given_up,
                register=register,
                value=value,
                is_writer=is_writer,
            )
        )
        return not error

    @contextlib.asynccontextmanager
    async def leased(self, door: str) -> Any:
        """Lease a connection, which is noted by itself; gives None if there was none."""
        held: list[aioaurora.Connection] = []

        async def lease(_call: Call) -> None:
            held.append(await self.doors.pool.acquire(timeout=TIMEOUT_S))

        await self.noted(Kind.LEASE, door, lease, limit_s=TIMEOUT_S)
        try:
            yield held[0] if held else None
        finally:
            if held:
                self.doors.pool.release(held[0])


def _cause_of(error: BaseException) -> BaseException:
    """Give the driver's error that SQLAlchemy has wrapped."""
    return error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error


# --- what units of work do ------------------------------------------------------------------------------------------


async def append(connection: Any, call: Call) -> None:
    """Store two rows in the transaction that is open."""
    rows = call.attempt(2)
    call.step = Step.INSIDE
    async with connection.cursor() as cursor:
        for row in rows:
            await cursor.execute(APPEND, (row,))
    call.step = Step.COMMIT


async def move(connection: Any, call: Call, source: int, target: int, amount: int) -> None:
    """Move money in the transaction that is open."""
    (row,) = call.attempt()
    call.step = Step.INSIDE
    async with connection.cursor() as cursor:
        await cursor.execute(MOVE, (-amount, source))
        await cursor.execute(MOVED, (row, source, target, amount))
        await cursor.execute(MOVE, (amount, target))
    call.step = Step.COMMIT


async def audit(connection: Any) -> int:
    """Add the balances up, one by one."""
    total = 0
    async with connection.cursor() as cursor:
        for number in range(ACCOUNTS):
            await cursor.execute(BALANCE, (number,))
            (balance,) = await cursor.fetchone()
            total += int(balance)
    return total


# --- clients --------------------------------------------------------------------------------------------------------


class Runs(Client):
    """Appends and moves money by `pool.run`."""

    async def turn(self) -> bool:
        """One of the two."""
        pool = self.doors.pool
        if self.chance.random() < 0.4:
            return await self.noted(Kind.APPEND, "run", lambda call: pool.run(append, call, timeout=TIMEOUT_S))
        what = (*self.chance.sample(range(ACCOUNTS), 2), self.chance.randrange(1, 20))
        return await self.noted(Kind.TRANSFER, "run", lambda call: pool.run(move, call, *what, timeout=TIMEOUT_S))


class Attempts(Client):
    """The same by `pool.attempts`, with or without a COMMIT of its own."""

    async def turn(self) -> bool:
        """Some attempts."""
        what = (*self.chance.sample(range(ACCOUNTS), 2), self.chance.randrange(1, 20))
        commits = self.chance.random() < 0.5

        async def attempted(call: Call) -> None:
            async for attempt in self.doors.pool.attempts(timeout=TIMEOUT_S):
                async with attempt as connection:
                    await move(connection, call, *what)
                    if commits:
                        await connection.commit()

        return await self.noted(Kind.TRANSFER, "attempts", attempted)


class Executes(Client):
    """Appends, writes and reads registers, each by one statement."""

    async def turn(self) -> bool:
        """One of the three."""
        register, kind = self.chance.randrange(REGISTERS), self.chance.choice([Kind.APPEND, Kind.SET, Kind.GET])

        async def one(call: Call) -> Any:
            call.step = Step.WRITE  # A SELECT, too: it is committed, as nothing proves that it only reads.
            if kind is Kind.GET:
                return await self.doors.pool.fetch_value(GET, (register,), timeout=TIMEOUT_S)
            sql, arguments = (APPEND, call.attempt()) if kind is Kind.APPEND else (SET, (*call.attempt(), register))
            count = await self.doors.pool.execute(sql, arguments, timeout=TIMEOUT_S)
            assert count == 1
            return None

        return await self.noted(kind, "execute", one, register=None if kind is Kind.APPEND else register)


class Transacts(Client):
    """Appends in a transaction that it begins and commits itself."""

    async def turn(self) -> bool:
        """Lease, and do it."""
        async with self.leased("own transaction") as connection:
            return connection is not None and await self.noted(
                Kind.APPEND, "own transaction", lambda call: self._append(connection, call)
            )

    async def _append(self, connection: aioaurora.Connection, call: Call) -> None:
        call.is_guarded = False
        await connection.begin()
        await append(connection, call)
        await connection.commit()


class Commits(Client):
    """Writes and reads registers, and appends, under autocommit."""

    async def turn(self) -> bool:
        """Lease, and do some."""
        async with self.leased("autocommit") as connection:
            if connection is None:
                return False
            for _ in range(self.chance.randrange(1, 4)):
                if not await self._some(connection):
                    return False
        return True

    async def _some(self, connection: aioaurora.Connection) -> bool:
        register, kind = self.chance.randrange(REGISTERS), self.chance.choice([Kind.APPEND, Kind.SET, Kind.GET])

        async def one(call: Call) -> Any:
            await connection.autocommit(True)
            call.step = Step.INSIDE if kind is Kind.GET else Step.WRITE
            async with connection.cursor() as cursor:
                if kind is Kind.GET:
                    await cursor.execute(GET, (register,))
                    return (await cursor.fetchone())[0]
                rows = call.attempt()
                await cursor.execute(*((APPEND, rows) if kind is Kind.APPEND else (SET, (*rows, register))))
            return None

        return await self.noted(kind, "autocommit", one, register=None if kind is Kind.APPEND else register)


class Lone(Client):
    """Appends under autocommit on a connection of its own, which it pings before."""

    _connection: aioaurora.Connection | None = None

    async def turn(self) -> bool:
        """Connect where there is none; else ping and append."""
        if self._connection is None:
            return await self.noted(Kind.LEASE, "lone", self._connect)
        return await self.noted(Kind.APPEND, "lone", self._append)

    async def leave(self) -> None:
        """Close it."""
        if self._connection is not None:
            await self._connection.ensure_closed()

    async def _connect(self, _call: Call) -> None:
        self._connection = await aioaurora.connect(**self.doors.options, autocommit=True, acquire_timeout=TIMEOUT_S)

    async def _append(self, call: Call) -> None:
        connection = self._connection
        assert connection is not None
        await connection.ping()
        call.step = Step.WRITE
        async with connection.cursor() as cursor:
            await cursor.execute(APPEND, call.attempt())


class Reads(Client):
    """Reads registers, and all balances, from readers and from the writer."""

    async def turn(self) -> bool:
        """One of them."""
        role = self.chance.choice(["reader", "reader", "writer"])
        kind = self.chance.choice([Kind.GET, Kind.AUDIT, Kind.AUDIT])
        register, at_once = self.chance.randrange(REGISTERS), self.chance.random() < 0.5
        pool, is_writer = self.doors.pool, role == "writer"

        async def one(call: Call) -> Any:
            call.step = Step.WRITE if is_writer and (kind is Kind.GET or at_once) else Step.INSIDE
            if kind is Kind.GET:
                sql = GET if is_writer else GET_ANYWHERE
                return await pool.fetch_value(sql, (register,), role=role, timeout=TIMEOUT_S)
            if at_once:
                return int(await pool.fetch_value(SUM, role=role, timeout=TIMEOUT_S))
            return await pool.run(audit, role=role, read_only=True, timeout=TIMEOUT_S)

        which = register if kind is Kind.GET else None
        return await self.noted(kind, f"read {role}", one, register=which, is_writer=is_writer)


class Sessions(Client):
    """Appends by SQLAlchemy: in whole units of work, and in transactions of its own."""

    async def turn(self) -> bool:
        """One of the two."""
        if self.chance.random() < 0.6:
            return await self.noted(Kind.APPEND, "session run", self._run)
        return await self.noted(Kind.APPEND, "session", self._begin)

    async def _run(self, call: Call) -> None:
        await run_in_transaction(self.doors.sessions, self._append, call, timeout=TIMEOUT_S)

    async def _begin(self, call: Call) -> None:
        call.is_guarded = False
        async with self.doors.sessions.begin() as session:
            await self._append(session, call)

    async def _append(self, session: Any, call: Call) -> None:
        rows = call.attempt(2)
        call.step = Step.INSIDE
        for row in rows:
            await session.execute(text("INSERT INTO appended (id) VALUES (:id) /* writer */"), {"id": row})
        call.step = Step.COMMIT


CLIENTS: tuple[type[Client], ...] = (
    *(Runs, Runs, Runs, Attempts, Attempts),
    *(Executes, Executes, Executes, Commits, Commits),
    *(Transacts, Transacts, Lone, Lone, Reads, Reads, Reads, Sessions, Sessions),
)
