"""Every way to die, for every kind of work: what the error says of the work is true, and exact (DECISIONS 13)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiomysql
import pytest
from pymysql import err

from aioaurora import errors
from aioaurora._core.verdict import Scope
from aioaurora.errors import Outcome, Role
from tests.connected import Told, connected, execute
from tests.io.scripted_server import (
    AUTOCOMMIT,
    IN_TRANS,
    MORE,
    ScriptedServer,
    after,
    hang_up,
    ok,
    reset,
    rows,
    silence,
)
from tests.io.scripted_server import err as refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OPEN = IN_TRANS | AUTOCOMMIT
NOTHING, BACK, UNKNOWN = Outcome.NOTHING_SENT, Outcome.ROLLED_BACK, Outcome.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A kind of work, and its outcome if the answer stays out, or is an error that ends the session.

    Attributes:
        before: Status of the session.
        run: What is done, under which the connection dies.
        heard: What the server answers before it dies.
        lost: Outcome when no answer came.
        failed: Outcome when the server answered that it shuts down; None: the same.
        is_commit: Whether what may have been committed is a transaction.
    """

    before: int
    run: Callable[[Any], Awaitable[Any]]
    lost: Outcome
    failed: Outcome | None = None
    heard: list[bytes] = field(default_factory=list)
    is_commit: bool = False


def statement(text: str) -> Callable[[Any], Awaitable[Any]]:
    """Run it through a cursor."""
    return lambda connection: execute(connection, text)


async def many(connection):
    """Insert two rows with one packet."""
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)])


def then_next(text: str) -> Callable[[Any], Awaitable[Any]]:
    """Run a packet of which the first answer comes."""

    async def run(connection):
        await connection.query(text)
        await connection.next_result()

    return run


async def second_row(connection):
    """Read on in an unbuffered result."""
    cursor = await connection.cursor(aiomysql.SSCursor)
    await cursor.execute("SELECT a FROM t")
    await cursor.fetchone()
    await cursor.fetchone()


async def drained(connection):
    """Start something else while an unbuffered result has not been read."""
    cursor = await connection.cursor(aiomysql.SSCursor)
    await cursor.execute("SELECT a FROM t")
    await cursor.fetchone()
    with pytest.warns(UserWarning, match="left incomplete"):
        await connection.commit()


WORKS = {
    "read": Work(before=AUTOCOMMIT, run=statement("SELECT 1"), lost=BACK),
    "read in a transaction": Work(before=OPEN, run=statement("SELECT 1"), lost=BACK),
    "write": Work(before=AUTOCOMMIT, run=statement("INSERT INTO t VALUES (1)"), lost=UNKNOWN, failed=BACK),
    "write in a transaction": Work(before=OPEN, run=statement("INSERT INTO t VALUES (1)"), lost=BACK),
    "write that opens one": Work(before=0, run=statement("INSERT INTO t VALUES (1)"), lost=BACK),
    "stored function": Work(before=AUTOCOMMIT, run=statement("SELECT f(1)"), lost=UNKNOWN, failed=BACK),
    "executemany": Work(before=AUTOCOMMIT, run=many, lost=UNKNOWN, failed=BACK),
    "executemany in a transaction": Work(before=OPEN, run=many, lost=BACK),
    "commit": Work(before=IN_TRANS, run=lambda c: c.commit(), lost=UNKNOWN, is_commit=True),
    "commit of nothing": Work(before=0, run=lambda c: c.commit(), lost=BACK),
    "rollback": Work(before=IN_TRANS, run=lambda c: c.rollback(), lost=BACK),
    "begin": Work(before=AUTOCOMMIT, run=lambda c: c.begin(), lost=BACK),
    "begin over an open one": Work(before=OPEN, run=lambda c: c.begin(), lost=UNKNOWN, is_commit=True),
    "autocommit on": Work(before=IN_TRANS, run=lambda c: c.autocommit(True), lost=UNKNOWN, is_commit=True),
    "autocommit off": Work(before=AUTOCOMMIT, run=lambda c: c.autocommit(False), lost=BACK),
    "ddl": Work(before=AUTOCOMMIT, run=statement("DROP TABLE t"), lost=UNKNOWN),
    "ddl in a transaction": Work(before=OPEN, run=statement("DROP TABLE t"), lost=UNKNOWN, is_commit=True),
    "call": Work(before=AUTOCOMMIT, run=statement("CALL p()"), lost=UNKNOWN),
    "call, second result": Work(
        before=AUTOCOMMIT, run=then_next("CALL p()"), heard=rows(("1",), status=AUTOCOMMIT | MORE), lost=UNKNOWN
    ),
    "packet, read outstanding": Work(
        before=AUTOCOMMIT, run=then_next("INSERT INTO t VALUES (1); SELECT 1"), heard=[ok(AUTOCOMMIT | MORE)], lost=BACK
    ),
    "packet, commit outstanding": Work(
        before=IN_TRANS,
        run=then_next("INSERT INTO t VALUES (1); COMMIT"),
        heard=[ok(IN_TRANS | MORE)],
        lost=UNKNOWN,
        is_commit=True,
    ),
    "unbuffered": Work(before=AUTOCOMMIT, run=second_row, heard=rows(("1",))[:-1], lost=BACK),
    "unbuffered in a transaction": Work(before=OPEN, run=second_row, heard=rows(("1",), status=OPEN)[:-1], lost=BACK),
    "unbuffered, drained": Work(before=OPEN, run=drained, heard=rows(("1",), status=OPEN)[:-1], lost=BACK),
    "ping": Work(before=AUTOCOMMIT, run=lambda c: c.ping(reconnect=False), lost=NOTHING),
    "ping in a transaction": Work(before=OPEN, run=lambda c: c.ping(), lost=BACK),
    "select_db": Work(before=AUTOCOMMIT, run=lambda c: c.select_db("x"), lost=NOTHING),
    "select_db in a transaction": Work(before=OPEN, run=lambda c: c.select_db("x"), lost=BACK),
    "set_charset": Work(before=OPEN, run=lambda c: c.set_charset("utf8mb4"), lost=BACK),
    "kill": Work(before=AUTOCOMMIT, run=lambda c: c.kill(1), lost=NOTHING),
    "show_warnings": Work(before=OPEN, run=lambda c: c.show_warnings(), lost=BACK),
}  # fmt: skip


def answering(errno: int) -> Callable[[Any], Awaitable[None]]:
    """Answer with an error."""

    async def answer(guest):
        guest.send(refusal(errno))

    return answer


def lose(connection: Any) -> None:
    """Do as the cluster does."""
    connection.lose("no sign of life for 3.0 s")


def close(connection: Any) -> None:
    """Do as the user may."""
    connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """What the server does instead of answering, what is done here then, and what the cluster hears of it."""

    there: Callable[[Any], Awaitable[None]] = silence
    here: Callable[[Any], None] | None = None
    is_answer: bool = False
    report: Scope | None = None


DEATHS = {
    "hung up": Death(there=hang_up, report=Scope.SESSION),
    "reset": Death(there=reset, report=Scope.SESSION),
    "given up by the cluster": Death(here=lose),
    "closed here": Death(here=close),
    "an error of nobody's": Death(there=answering(2013), report=Scope.SESSION),
    "shutting down": Death(there=answering(1053), is_answer=True, report=Scope.INSTANCE),
    "killed": Death(there=answering(1927), is_answer=True, report=Scope.SESSION),
}


@contextlib.asynccontextmanager
async def at_work(work, there, told, role=Role.WRITER):
    """Give a connection with the work under way, and its task."""
    answers = {"": after(*work.heard, then=there), "SELECT 0": ok(work.before)}
    async with ScriptedServer(answers) as server, connected(server, told, role=role) as conn:
        await conn.query("SELECT 0")
        task = asyncio.create_task(work.run(conn))
        await asyncio.sleep(0.1)
        yield conn, task


@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)
@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
async def test_a_loss_says_what_became_of_the_work(work, death):
    """True and exact, whatever died and whoever noticed (cases 37, 43, 60; DECISIONS 13)."""
    told = Told()
    async with at_work(work, death.there, told) as (conn, task):
        if death.here:
            death.here(conn)

        with pytest.raises(errors.ConnectionLost) as caught:
            await task

        outcome = work.failed if death.is_answer and work.failed else work.lost
        assert caught.value.outcome is outcome
        assert caught.value.retryable is (outcome is not UNKNOWN)
        assert isinstance(caught.value, errors.OutcomeUnknown) is (outcome is UNKNOWN)
        assert isinstance(caught.value, errors.CommitOutcomeUnknown) is work.is_commit
        assert [scope for scope, _ in told.reports] == ([death.report] if death.report else [])
        assert conn.closed
        assert not conn.get_transaction_status()
        with pytest.raises(err.InterfaceError, match="Not connected"):
            await conn.query("SELECT 1")


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
async def test_a_cancelled_work_is_ended_on_the_server(work):
    """Whatever it was; nothing of it is left here."""
    told = Told()
    async with at_work(work, silence, told) as (conn, task):
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task

        assert told.abandoned == [True]
        assert told.reports == []
        assert not conn.get_transaction_status()
        with pytest.raises(err.InterfaceError, match="Cancelled during execution"):
            await conn.query("SELECT 1")


@pytest.mark.parametrize("work", WORKS.values(), ids=WORKS)
async def test_a_session_that_waited_too_long_read_nothing(work):
    """4031: the server had given up before the statement came."""
    if work.heard:
        return
    async with at_work(work, answering(4031), Told()) as (_, task):
        with pytest.raises(errors.ConnectionLost) as caught:
            await task

    assert caught.value.outcome is (BACK if work.before & IN_TRANS else NOTHING)


@pytest.mark.parametrize("role", [Role.READER, None])
@pytest.mark.parametrize("name", ["write", "commit"])
async def test_a_reader_may_have_forwarded_it(name, role):
    """With write forwarding a reader commits writes: "rolled back" would be a lie."""
    async with at_work(WORKS[name], hang_up, Told(), role=role) as (_, task):
        with pytest.raises(errors.OutcomeUnknown):
            await task


# --- LOAD DATA LOCAL ------------------------------------------------------------------------------------------------

LOAD = "LOAD DATA LOCAL INFILE 'x' INTO TABLE t"


def asks_for(path, *, then):
    """Ask for a file."""
    return after(b"\xfb" + str(path).encode(), then=then)


async def file_and_answer(guest):
    """Read the file, and say how many rows it had."""
    while await guest.read():
        pass
    guest.send(ok(OPEN, affected=2))


@pytest.mark.real_time
@pytest.mark.parametrize("death", [hang_up, reset])
async def test_half_a_file_was_never_loaded(tmp_path, death):
    """LOAD DATA LOCAL has left whole when the last packet of its file has, not when its text has."""
    path = tmp_path / "rows"
    os.mkfifo(path)
    writing = os.open(path, os.O_RDWR)
    gone = asyncio.Event()

    async with (
        ScriptedServer({"LOAD": asks_for(path, then=death)}) as server,
        connected(server, local_infile=True) as conn,
    ):
        conn.when_ended(gone.set)
        task = asyncio.create_task(conn.query(LOAD))
        await gone.wait()
        threading.Timer(0.01, os.close, [writing]).start()
        os.write(writing, b"1\n")

        with pytest.raises(errors.ConnectionLost) as caught:
            await task

    assert caught.value.outcome is NOTHING


@pytest.mark.real_time
async def test_a_whole_file_may_have_been_loaded(tmp_path):
    """An autocommit write like any other."""
    path = tmp_path / "rows"
    path.write_bytes(b"1\n2\n")

    async def read_and_die(guest):
        while await guest.read():
            pass
        await hang_up(guest)

    answers = {"LOAD": asks_for(path, then=read_and_die)}
    async with ScriptedServer(answers) as server, connected(server, local_infile=True) as conn:
        with pytest.raises(errors.OutcomeUnknown):
            await conn.query(LOAD)


@pytest.mark.real_time
async def test_a_file_that_cannot_be_read_leaves_the_status_true(tmp_path):
    """The server's OK is read though the error is ours: its flag says that a transaction is open."""
    asked = rows(("0", "0"), status=OPEN)
    answers = {"LOAD": asks_for(tmp_path / "none", then=file_and_answer), "SELECT @@": asked}
    async with ScriptedServer(answers) as server, connected(server, local_infile=True) as conn:
        with pytest.raises(err.OperationalError, match="Can't find file"):
            await conn.query(LOAD)

        assert conn.get_transaction_status()
