"""A session that goes from hand to hand, against a scripted server: what is asked of it between two leases."""

from __future__ import annotations

import asyncio
import contextlib

import aiomysql
import pytest
from pymysql import err

from aioaurora import errors
from aioaurora._core.traces import READ, TOUCHED, WROTE
from tests.connected import connected, execute
from tests.io.scripted_server import AUTOCOMMIT, IN_TRANS, MORE, ScriptedServer, after, hang_up, ok, rows, silence
from tests.io.scripted_server import err as refusal

RESET = b"\x1f"
NO_ESCAPES = 0x0200


@contextlib.asynccontextmanager
async def leased(answers=None, *, status=AUTOCOMMIT, **keywords):
    """Give a server, and a connection that has been lent."""
    server = ScriptedServer(answers or {}, status=status, login=[ok(status)])
    async with server, connected(server, **keywords) as connection:
        server.received.clear()
        connection.park()
        assert connection.lend()
        yield server, connection


# --- parked ---------------------------------------------------------------------------------------------------------


async def test_what_is_parked_is_used_by_nobody():
    """Whoever had it has given it back: his cursor, too, is refused before a byte."""
    async with leased() as (server, connection):
        cursor = await connection.cursor()
        connection.park()

        for use in (cursor.execute("SELECT 1"), connection.commit(), connection.ping(), connection.select_db("x")):
            with pytest.raises(errors.ConnectionBusy, match="given back"):
                await use

        assert (server.received, connection.is_given_back) == ([], True)


async def test_a_plain_lease_leaves_nothing():
    """It goes to the next one as it is."""
    async with leased({"SELECT": rows(("1",))}) as (server, connection):
        await execute(connection, "SELECT 1")

        assert connection.park()
        assert not connection.needs_tidying("auto")
        assert not connection.needs_tidying("never")
        assert connection.needs_tidying("always")
        assert connection.lend()
        assert len(server.received) == 1


LEFT = {
    "a write": ("INSERT INTO t VALUES (1)", ok(), WROTE, False),
    "a touch": ("SET @v = 1", ok(), TOUCHED, True),
    "an open transaction": ("SELECT 1", ok(AUTOCOMMIT | IN_TRANS), READ, True),
    "a failure under autocommit": ("INSERT INTO t VALUES (1)", refusal(1062), WROTE, False),
}


@pytest.mark.parametrize(("text", "answer", "traces", "must_tidy"), LEFT.values(), ids=LEFT)
async def test_a_lease_leaves(text, answer, traces, must_tidy):
    """Something that the pool hears of, whether it costs anything or not."""
    async with leased({"": answer}) as (_, connection):
        with contextlib.suppress(err.MySQLError):
            await execute(connection, text)

        assert connection.traces & 0xF == traces
        assert not connection.park()
        assert connection.needs_tidying("auto") is must_tidy


async def test_a_failure_without_autocommit_may_have_opened_a_transaction():
    """An ERR packet has no flags; the lock is held until somebody rolls back."""
    async with leased({"INSERT": refusal(1062)}, status=0) as (server, connection):
        with pytest.raises(err.IntegrityError):
            await execute(connection, "INSERT INTO t VALUES (1)")

        assert not connection.park()
        assert connection.needs_tidying("never")
        await connection.tidy("never")

        assert server.statements[-1] == "ROLLBACK"
        assert connection.lend()
        assert connection.park()


async def test_the_sessions_own_way_to_end_a_text_is_known():
    """Under NO_BACKSLASH_ESCAPES this sets a variable, else it does not."""
    text = r"SELECT '\', @v := 1, '"
    for status, traces in ((AUTOCOMMIT, READ), (AUTOCOMMIT | NO_ESCAPES, TOUCHED)):
        async with leased({"": ok(status)}, status=status) as (_, connection):
            await execute(connection, "SELECT 1")
            await execute(connection, text)
            assert connection.traces == traces


@pytest.mark.parametrize(
    ("use", "traces"),
    [
        (lambda c: c.ping(), READ),
        (lambda c: c.commit(), 12),
        (lambda c: c.select_db("x"), TOUCHED),
        (lambda c: c.set_charset("latin1"), TOUCHED),
        (lambda c: c.autocommit(False), TOUCHED),
        (lambda c: c.show_warnings(), READ),
        (lambda c: c.kill(7), READ),
    ],
    ids=["ping", "commit", "select_db", "set_charset", "autocommit", "show_warnings", "kill"],
)
async def test_methods_leave_what_their_texts_do(use, traces):
    """Also those that are no text."""
    async with leased({"SHOW": rows()}) as (_, connection):
        await use(connection)

        assert connection.traces == traces


async def test_what_a_lone_connection_does_is_not_looked_at():
    """It belongs to no pool: its statements cost nothing more."""
    async with ScriptedServer() as server, connected(server) as connection:
        await execute(connection, "SET @v = 1")

        assert connection.traces is None


async def test_a_session_that_has_ended_is_not_lent():
    """Nor one on which something was said unasked: that it ends."""
    async with leased() as (server, connection):
        connection.park()
        server.guests[0].send(refusal(4031))
        await asyncio.sleep(0.1)

        assert not connection.is_fit()
        assert not connection.lend()
        assert not connection.lend(idle_s=1.0)


# --- made clean -----------------------------------------------------------------------------------------------------


async def test_a_reset_says_all_of_it_again():
    """In one packet after it (case 54)."""
    keywords = {"sql_mode": "'ANSI'", "init_command": "SET time_zone = '+01:00';", "db": "sh`op", "charset": "latin1"}
    answers = {"SET NAMES latin1 COLLATE": [*[ok(MORE)] * 6, *rows(("sh`op",), status=0)]}
    async with leased(answers, autocommit=False, **keywords) as (server, connection):
        await execute(connection, "SET @v = 1")
        await connection.set_charset("utf8mb4")
        server.received.clear()
        connection.park()

        assert await connection.tidy("auto")

        assert [payload[:1] for payload in server.received] == [RESET, b"\x03"]
        assert server.statements[0].split("\n;") == [
            "SET NAMES latin1 COLLATE latin1_swedish_ci",
            "USE `sh``op`",
            "SET sql_mode='ANSI'",
            "SET time_zone = '+01:00'",
            "COMMIT",
            "SET AUTOCOMMIT = 0",
            "SELECT DATABASE()",
        ]
        assert (connection.charset, connection.encoding) == ("latin1", "cp1252")
        assert connection.lend()


async def test_a_schema_that_was_chosen_where_there_was_none_cannot_be_left():
    """The connection ends."""
    answers = {"SET NAMES": [ok(MORE | AUTOCOMMIT), *rows(("other",))]}
    async with leased(answers) as (_, connection):
        await connection.select_db("other")
        connection.park()

        with pytest.raises(err.InterfaceError, match="default schema"):
            await connection.tidy("auto")

        assert connection.closed


async def test_never_means_never():
    """Only what is open is rolled back."""
    async with leased() as (server, connection):
        await execute(connection, "SET @v = 1")
        connection.park()

        assert not connection.needs_tidying("never")
        assert not await connection.tidy("never")

        assert server.statements == ["SET @v = 1"]


async def test_results_that_were_not_fetched_are_read():
    """They have arrived: that is no sign of an end."""
    many = [*rows(("1",), status=AUTOCOMMIT | MORE), *rows(("2",), status=AUTOCOMMIT | MORE), ok()]
    async with leased({"CALL": many}) as (server, connection):
        await connection.query("CALL p()")
        await asyncio.sleep(0.1)

        assert not connection.park()
        assert connection.is_fit()
        assert connection.needs_tidying("never")
        await connection.tidy("never")

        assert connection.lend()
        assert len(server.guests) == 1


async def test_rows_of_an_unbuffered_result_are_not_waited_for():
    """There may be millions: a new connection is quicker."""
    async with leased({"SELECT": after(*rows(("1",))[:-1])}) as (_, connection):
        cursor = await connection.cursor(aiomysql.SSCursor)
        await cursor.execute("SELECT a FROM t")
        connection.park()

        assert connection.needs_tidying("never")
        with pytest.raises(err.InterfaceError, match="left unread"):
            await connection.tidy("never")


@pytest.mark.parametrize("answer", [refusal(1047), hang_up], ids=["refused", "lost"])
async def test_a_reset_that_fails_ends_the_connection(answer):
    """Nobody gets what could not be made clean."""
    async with leased() as (server, connection):
        await execute(connection, "SET @v = 1")
        connection.park()
        server.answers[""] = answer

        with pytest.raises(err.MySQLError):
            await connection.tidy("auto")

        assert connection.closed


async def test_a_cancelled_reset_ends_the_connection():
    """Half of it may have been done."""
    async with leased() as (server, connection):
        await execute(connection, "SET @v = 1")
        connection.park()
        server.answers[""] = silence

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await connection.tidy("auto")

        assert connection.closed


async def test_a_parked_session_can_be_asked_for_a_sign_of_life():
    """Or has none, and is closed."""
    async with leased() as (server, connection):
        connection.park()
        await connection.check()
        assert connection.lend()
        connection.park()
        server.answers["ping"] = hang_up

        with pytest.raises(errors.ConnectionLost):
            await connection.check()

        assert connection.closed
