"""What a connection tells when it breaks, is shared, is cancelled or finds its server changed."""

from __future__ import annotations

import asyncio
import os
import time

import aiomysql
import pytest
from pymysql import err

from aioaurora import errors
from aioaurora._core.verdict import Scope
from aioaurora.errors import Outcome, Role
from tests.connected import SECRET, Told, connected, execute
from tests.io.scripted_server import (
    AUTOCOMMIT,
    IN_TRANS,
    MORE,
    ScriptedServer,
    after,
    eof,
    hang_up,
    ok,
    reset,
    rows,
    silence,
)
from tests.io.scripted_server import err as refusal

ASKED = "SELECT @@innodb_read_only, @@read_only"


@pytest.mark.parametrize(("before", "outcome"), [(AUTOCOMMIT, Outcome.NOTHING_SENT), (IN_TRANS, Outcome.ROLLED_BACK)])
async def test_nothing_is_written_to_a_session_that_has_hung_up(before, outcome):
    """The FIN of a killed session is seen before the statement."""
    async with ScriptedServer({"SELECT 0": after(ok(before), then=hang_up)}) as server, connected(server) as conn:
        await conn.query("SELECT 0")
        await asyncio.sleep(0.1)

        with pytest.raises(errors.ConnectionLost) as caught:
            await conn.query("COMMIT")

        assert caught.value.outcome is outcome
        assert server.statements == ["SELECT 0"]


async def test_an_unsent_statement_was_never_run():
    """Megabytes that are still here cannot have been executed, whatever they say."""
    async with ScriptedServer({"INSERT": silence}) as server, connected(server) as conn:
        server.guests[0].reader._transport.pause_reading()
        task = asyncio.create_task(conn.query("INSERT INTO t VALUES ('" + "x" * 14_000_000 + "')"))
        await asyncio.sleep(0.1)

        conn.lose("no sign of life for 3.0 s")

        with pytest.raises(errors.ConnectionLost) as caught:
            await task
    assert caught.value.outcome is Outcome.NOTHING_SENT
    assert type(caught.value) is errors.ConnectionLost


async def test_a_reset_in_mid_statement_was_never_run():
    """Asyncio forgets what it could not send when the transport breaks; the outcome does not."""

    async def break_off(guest):
        await reset(guest)

    async with ScriptedServer() as server, connected(server) as conn:
        guest = server.guests[0]
        guest.reader._transport.pause_reading()
        task = asyncio.create_task(conn.query("INSERT INTO t VALUES ('" + "x" * 14_000_000 + "')"))
        await asyncio.sleep(0.1)
        guest.writer.transport.abort()

        with pytest.raises(errors.ConnectionLost) as caught:
            await task
    assert caught.value.outcome is Outcome.NOTHING_SENT


async def test_a_waiting_task_gets_its_loss_at_once():
    """No time passes between the monitor's verdict and the caller's error."""
    told = Told()
    async with ScriptedServer({"COMMIT": silence, "BEGIN": ok(IN_TRANS)}) as server, connected(server, told) as conn:
        await conn.begin()
        task = asyncio.create_task(conn.commit())
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()

        conn.lose("no sign of life for 3.0 s")
        conn.lose("again")

        with pytest.raises(errors.CommitOutcomeUnknown, match=r"no sign of life for 3.0 s"):
            await task
        assert asyncio.get_running_loop().time() - before < 0.001
        assert conn.closed
        with pytest.raises(err.InterfaceError, match="Not connected"):
            await conn.query("SELECT 1")
    assert told.reports == []


async def test_an_idle_connection_tells_its_loss_once():
    """At its next use; from then on it is simply closed."""
    async with ScriptedServer({"BEGIN": ok(IN_TRANS)}) as server, connected(server) as conn:
        await conn.begin()

        conn.lose("the writer is db-2 now")

        assert repr(conn) == "<Connection db-1 writer epoch=3 | lost>"
        with pytest.raises(errors.ConnectionLost) as caught:
            await conn.commit()
        assert caught.value.outcome is Outcome.ROLLED_BACK
        with pytest.raises(err.InterfaceError, match="Not connected"):
            await conn.commit()


async def test_an_answer_that_has_arrived_is_still_read():
    """The monitor's verdict comes a moment after the COMMIT's OK: it was committed."""
    async with ScriptedServer({"BEGIN": ok(IN_TRANS)}) as server, connected(server) as conn:
        await conn.begin()
        task = asyncio.create_task(conn.commit())
        while not conn._reader._buffer:
            await asyncio.sleep(0)

        conn.lose("the writer is db-2 now")

        await task
        with pytest.raises(errors.ConnectionLost) as caught:
            await conn.query("SELECT 1")
        assert caught.value.outcome is Outcome.NOTHING_SENT


@pytest.mark.parametrize("errno", [1053, 1927, 4031, 3169, 2006])
async def test_an_error_that_ends_the_session_is_a_loss(errno):
    """The server says so in an ERR packet instead of hanging up (case 43)."""
    told = Told()
    async with ScriptedServer({"SELECT": refusal(errno)}) as server, connected(server, told) as conn:
        with pytest.raises(errors.ConnectionLost, match="scripted") as caught:
            await conn.query("SELECT 1")

        assert caught.value.args[0] == errno
        assert conn.closed
        assert told.reports == [(Scope.INSTANCE if errno == 1053 else Scope.SESSION, errors.ConnectionLost)]


@pytest.mark.parametrize(
    ("errno", "kind"),
    [
        (1062, err.IntegrityError),
        (1064, err.ProgrammingError),
        *((errno, err.OperationalError) for errno in (1205, 1226, 1317, 1969, 3024)),
    ],
)
async def test_other_errors_pass_untouched(errno, kind):
    """They are the caller's business, and the connection lives (cases 44, 60)."""
    told = Told()
    async with ScriptedServer({"UPDATE": refusal(errno)}) as server, connected(server, told) as conn:
        with pytest.raises(kind) as caught:
            await conn.query("UPDATE t SET a = 1")

        assert type(caught.value) is kind
        await conn.query("SELECT 1")
    assert told.reports == []


async def test_a_deadlock_ends_the_transaction():
    """An ERR packet carries no status: the flag would stay on (1213)."""
    answers = {"BEGIN": ok(IN_TRANS), "UPDATE": refusal(1213), "SELECT": ok(0)}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()

        with pytest.raises(err.OperationalError):
            await conn.query("UPDATE t SET a = 1")

        assert not conn.get_transaction_status()
        await conn.query("SELECT 1")


# --- demotion -------------------------------------------------------------------------------------------------------

REFUSALS = {
    "INSERT INTO t VALUES (1)": (AUTOCOMMIT, Outcome.REFUSED),
    "UPDATE t SET a = 1": (IN_TRANS, Outcome.ROLLED_BACK),
    "CALL p()": (AUTOCOMMIT, Outcome.UNKNOWN),
    "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)": (AUTOCOMMIT, Outcome.UNKNOWN),
}


@pytest.mark.parametrize("errno", [1290, 1792, 1836, 1874, 3161])
@pytest.mark.parametrize(("statement", "before", "outcome"), [(s, b, o) for s, (b, o) in REFUSALS.items()])
async def test_a_writer_that_says_it_is_a_reader_was_demoted(statement, before, outcome, errno):
    """It is asked on this very connection, and told to the cluster (cases 10, 61)."""
    told = Told()
    answers = {"SELECT 0": ok(before), statement: refusal(errno), ASKED: rows(("1", "1"))}
    async with ScriptedServer(answers) as server, connected(server, told) as conn:
        await conn.query("SELECT 0")

        with pytest.raises(errors.WriterDemoted) as caught:
            await conn.query(statement)

        assert conn.closed
    assert caught.value.outcome is outcome
    assert caught.value.args[0] == errno
    assert caught.value.__cause__.args[0] == errno
    assert told.reports == [(Scope.ROLE, errors.WriterDemoted)]


@pytest.mark.parametrize(("errno", "outcome"), [(1290, Outcome.ROLLED_BACK), (1836, Outcome.UNKNOWN)])
async def test_only_1290_says_that_a_commit_was_not_done(errno, outcome):
    """Any other error may come after it (case 61)."""
    answers = {"BEGIN": ok(IN_TRANS), "COMMIT": refusal(errno), ASKED: rows(("1", "1"))}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()

        with pytest.raises(errors.WriterDemoted) as caught:
            await conn.commit()

    assert caught.value.outcome is outcome


async def test_a_writer_that_is_frozen_by_a_switchover_blames_no_caller():
    """`read_only` is on, and it could write (case 57): the statement was refused, and whoever asks again waits."""
    told = Told()
    answers = {"INSERT": refusal(1290), ASKED: rows(("0", "1"))}
    async with ScriptedServer(answers) as server, connected(server, told) as conn:
        with pytest.raises(errors.WriterDemoted, match="frozen by a switchover") as caught:
            await conn.query("INSERT INTO t VALUES (1)")

    assert (caught.value.is_frozen, caught.value.outcome, caught.value.retryable) == (True, Outcome.REFUSED, True)
    assert told.reports == [(Scope.ROLE, errors.WriterDemoted)]


async def test_a_read_only_transaction_of_the_callers_is_no_demotion():
    """The same number; the instance says that it is the writer (case 10)."""
    told = Told()
    answers = {"INSERT": refusal(1792), ASKED: rows(("0", "0"))}
    async with ScriptedServer(answers) as server, connected(server, told) as conn:
        with pytest.raises(err.OperationalError) as caught:
            await conn.query("INSERT INTO t VALUES (1)")

        assert type(caught.value) is err.OperationalError
        await conn.query("SELECT 1")
    assert told.reports == []


@pytest.mark.parametrize("role", [Role.READER, None])
async def test_nobody_is_asked_where_no_writer_was_promised(role):
    """A reader refuses writes: that is its role."""
    async with ScriptedServer({"INSERT": refusal(1290)}) as server, connected(server, role=role) as conn:
        with pytest.raises(err.OperationalError):
            await conn.query("INSERT INTO t VALUES (1)")

        assert server.statements == ["INSERT INTO t VALUES (1)"]


async def test_a_session_that_dies_while_asked_is_lost():
    """What was refused is known all the same."""
    answers = {"INSERT": refusal(1290), ASKED: hang_up}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        with pytest.raises(errors.ConnectionLost) as caught:
            await conn.query("INSERT INTO t VALUES (1)")

    assert caught.value.outcome is Outcome.REFUSED


# --- the transaction flag -------------------------------------------------------------------------------------------


async def test_a_transaction_that_vanishes_is_told():
    """A server's patching keeps the session and cancels its transaction (case 39)."""
    answers = {"BEGIN": ok(IN_TRANS | AUTOCOMMIT), "UPDATE": ok(AUTOCOMMIT), "SELECT": rows(("1",))}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()

        with pytest.raises(errors.TransactionLost) as caught:
            await conn.query("UPDATE t SET a = 1")

        assert caught.value.outcome is Outcome.UNKNOWN  # It ran outside, under autocommit.
        await conn.begin()
        with pytest.raises(errors.TransactionLost) as caught:
            await execute(conn, "SELECT 1")
        assert caught.value.outcome is Outcome.ROLLED_BACK
        assert not conn.closed


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "DROP TABLE t", "CALL p()", "SET autocommit = 1", "BEGIN"])
async def test_a_statement_that_ends_transactions_may_end_it(statement):
    """DDL, COMMIT as text and their like turn the flag off, too (DECISIONS 12)."""
    answers = {"START": ok(IN_TRANS), statement: ok(0)}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.query("START TRANSACTION")

        await conn.query(statement)


async def test_a_select_may_open_a_transaction():
    """Under autocommit=0 the flag comes with the EOF packet (case 38)."""
    async with ScriptedServer({"SELECT": rows(("1",), status=IN_TRANS)}) as server, connected(server) as conn:
        await execute(conn, "SELECT 1 FOR UPDATE")

        assert conn.get_transaction_status()
        assert repr(conn) == "<Connection db-1 writer epoch=3 | in transaction>"


@pytest.mark.filterwarnings("ignore:Previous unbuffered result")
@pytest.mark.parametrize("end", ["fetch", "close", "next statement"])
async def test_an_unbuffered_select_does_not_swallow_a_lost_transaction(end):
    """Its last packet is where the flag falls, however that is read (case 39)."""
    answers = {"BEGIN": ok(IN_TRANS | AUTOCOMMIT), "SELECT": [*rows(("1",), status=IN_TRANS)[:-1], eof(AUTOCOMMIT)]}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()
        cursor = await conn.cursor(aiomysql.SSCursor)
        await cursor.execute("SELECT a FROM t")
        await cursor.fetchone()

        with pytest.raises(errors.TransactionLost) as caught:
            await {"fetch": cursor.fetchone, "close": cursor.close, "next statement": conn.commit}[end]()

        assert caught.value.outcome is Outcome.ROLLED_BACK
        assert "COMMIT" not in server.statements
        await conn.query("SELECT 2")


async def test_what_another_cursor_left_unread_is_judged_by_its_own_text():
    """The COMMIT that a second cursor drains ended the transaction, not the statement that comes after."""
    answers = {"BEGIN": ok(IN_TRANS), "INSERT": [ok(IN_TRANS | MORE), ok(0)], "UPDATE": [ok(IN_TRANS | MORE), ok(0)]}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        first, second = await conn.cursor(), await conn.cursor()
        await conn.begin()
        await first.execute("INSERT INTO t VALUES (1); COMMIT")
        await second.execute("SELECT 1")

        await conn.begin()
        await first.execute("UPDATE t SET a = 1; SELECT 1")
        with pytest.raises(errors.TransactionLost) as caught:
            await second.execute("DELETE FROM t")

        assert caught.value.outcome is Outcome.ROLLED_BACK
        assert server.statements[-1] == "UPDATE t SET a = 1; SELECT 1"


async def test_a_statement_is_not_excused_by_a_commit_behind_it():
    """The flag falls with the UPDATE: it ran outside; the COMMIT of its packet had nothing to commit (case 39)."""
    answers = {"BEGIN": ok(IN_TRANS | AUTOCOMMIT), "UPDATE": [ok(AUTOCOMMIT | MORE), ok(AUTOCOMMIT)]}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()

        with pytest.raises(errors.TransactionLost) as caught:
            await conn.query("UPDATE t SET a = 1; COMMIT")

        assert caught.value.outcome is Outcome.UNKNOWN
        await conn.query("SELECT 1")


@pytest.mark.parametrize("use", ["ping", "show_warnings", "select_db", "kill"])
async def test_a_transaction_that_vanishes_is_told_by_every_answer(use):
    """Whatever comes with the flag off is the signal; a COMMIT after it would seem to succeed (case 39)."""
    answers = {"BEGIN": ok(IN_TRANS | AUTOCOMMIT), "SHOW": rows(("x",)), "": ok(AUTOCOMMIT)}
    arguments = {"select_db": ("x",), "kill": (1,)}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()

        with pytest.raises(errors.TransactionLost) as caught:
            await getattr(conn, use)(*arguments.get(use, ()))

    assert caught.value.outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize(("status", "outcome"), [(0, Outcome.NOTHING_SENT), (IN_TRANS, Outcome.ROLLED_BACK)])
async def test_an_error_of_what_may_have_committed_leaves_no_guess(status, outcome):
    """DDL commits what is open and may fail then; its ERR packet has no flag, so the next word is asked for."""
    answers = {"BEGIN": ok(IN_TRANS), "CREATE": refusal(1050), ASKED: rows(("0", "0"), status=status)}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        await conn.begin()
        with pytest.raises(err.OperationalError, match="scripted"):
            await conn.query("CREATE TABLE t (a INT)")

        conn.lose("gone")

        with pytest.raises(errors.ConnectionLost) as caught:
            await conn.query("SELECT 1")
        assert caught.value.outcome is outcome


async def test_an_error_of_what_may_have_committed_is_unknown_if_nobody_answers():
    """What was open when CREATE TABLE failed may have been committed by it."""
    told = Told()
    answers = {"BEGIN": ok(IN_TRANS), "CREATE": refusal(1050), "SELECT @@": hang_up}
    async with ScriptedServer(answers) as server, connected(server, told) as conn:
        await conn.begin()

        with pytest.raises(errors.CommitOutcomeUnknown):
            await conn.query("CREATE TABLE t (a INT)")

    assert told.reports == [(Scope.SESSION, errors.CommitOutcomeUnknown)]


@pytest.mark.parametrize("end", ["close", "lose", "cancel"])
async def test_what_ends_the_connection_while_it_asks_is_told_as_ever(end):
    """Not known is not known, and the cluster is told of nothing that it knows."""
    told = Told()
    answers = {"BEGIN": ok(IN_TRANS), "COMMIT": refusal(1836), "SELECT @@": silence}
    async with ScriptedServer(answers) as server, connected(server, told) as conn:
        await conn.begin()
        task = asyncio.create_task(conn.commit())
        await asyncio.sleep(0.1)

        {"close": conn.close, "lose": lambda: conn.lose("gone"), "cancel": task.cancel}[end]()

        with pytest.raises(asyncio.CancelledError if end == "cancel" else errors.CommitOutcomeUnknown):
            await task
        assert told.reports == []
        assert told.abandoned == ([True] if end == "cancel" else [])
        assert not conn.get_transaction_status()
        with pytest.raises(err.InterfaceError, match="Not connected"):
            await conn.query("SELECT 1")


async def test_an_error_of_a_write_is_not_asked_about():
    """It leaves its transaction open: no round trip for it."""
    async with ScriptedServer({"BEGIN": ok(IN_TRANS), "INSERT": refusal(1062)}) as server, connected(server) as conn:
        await conn.begin()

        with pytest.raises(err.IntegrityError):
            await conn.query("INSERT INTO t VALUES (1)")

        assert server.statements[-1] == "INSERT INTO t VALUES (1)"


async def test_an_unbuffered_select_tells_its_status_at_its_end():
    """The last EOF packet has the last word."""
    answers = {"SELECT": rows(("1",), ("2",), status=IN_TRANS)}
    async with ScriptedServer(answers) as server, connected(server) as conn, conn.cursor(aiomysql.SSCursor) as cursor:
        await cursor.execute("SELECT a FROM t")

        assert await cursor.fetchall() == [("1",), ("2",)]
        assert conn.get_transaction_status()


# --- one task at a time ---------------------------------------------------------------------------------------------

USES = {
    "execute": lambda _, cursor: cursor.execute("SELECT 2"),
    "executemany": lambda _, cursor: cursor.executemany("INSERT INTO t VALUES (%s)", [(1,), (2,)]),
    "callproc": lambda _, cursor: cursor.callproc("p", (1,)),
    "commit": lambda conn, _: conn.commit(),
    "rollback": lambda conn, _: conn.rollback(),
    "begin": lambda conn, _: conn.begin(),
    "ping": lambda conn, _: conn.ping(),
    "autocommit": lambda conn, _: conn.autocommit(True),
    "select_db": lambda conn, _: conn.select_db("x"),
    "set_charset": lambda conn, _: conn.set_charset("latin1"),
    "show_warnings": lambda conn, _: conn.show_warnings(),
    "kill": lambda conn, _: conn.kill(1),
    "ensure_closed": lambda conn, _: conn.ensure_closed(),
    "next_result": lambda conn, _: conn.next_result(),
    "query": lambda conn, _: conn.query("SELECT 2"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_second_task_is_refused_before_a_byte(use):
    """It would read the first one's answer; and no two commands are ever outstanding (case 68)."""
    async with ScriptedServer({"SELECT 1": silence}) as server, connected(server) as conn:
        cursor = await conn.cursor()
        waiting = asyncio.create_task(conn.query("SELECT 1"))
        await asyncio.sleep(0.1)
        seen = bytes(server.raw)

        with pytest.raises(errors.ConnectionBusy):
            await use(conn, cursor)

        await asyncio.sleep(0.1)
        assert bytes(server.raw) == seen
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.mark.parametrize(
    "use",
    [
        lambda c: c.fetchone(),
        lambda c: c.fetchall(),
        lambda c: c.fetchmany(2),
        lambda c: c.scroll(1),
        lambda c: c.close(),
    ],
    ids=["fetchone", "fetchall", "fetchmany", "scroll", "close"],
)
async def test_a_second_task_may_not_fetch(use):
    """An unbuffered cursor reads from the wire."""
    answer = after(*rows(("1",))[:-1])
    async with ScriptedServer({"SELECT": answer}) as server, connected(server) as conn:
        cursor = await conn.cursor(aiomysql.SSCursor)
        await cursor.execute("SELECT a FROM t")
        await cursor.fetchone()
        waiting = asyncio.create_task(cursor.fetchone())
        await asyncio.sleep(0.1)

        with pytest.raises(errors.ConnectionBusy):
            await use(cursor)

        waiting.cancel()
        await asyncio.wait([waiting])


async def test_a_second_task_may_not_ask_for_the_next_result():
    """`nextset` reads from the wire as well."""
    first = [*rows(("1",), status=AUTOCOMMIT | MORE)]
    async with ScriptedServer({"SELECT": after(*first)}) as server, connected(server) as conn:
        cursor = await conn.cursor()
        await cursor.execute("SELECT 1; SELECT 2")
        waiting = asyncio.create_task(conn.next_result())
        conn._result, kept = None, conn._result
        await asyncio.sleep(0.1)
        conn._result = kept

        with pytest.raises(errors.ConnectionBusy):
            await cursor.nextset()

        waiting.cancel()
        await asyncio.wait([waiting])


# --- cancelling -----------------------------------------------------------------------------------------------------


async def test_a_cancelled_statement_breaks_the_connection_and_is_told():
    """The server goes on with it: somebody must end it there (DECISIONS 8)."""
    told = Told()
    async with ScriptedServer({"SELECT": silence}) as server, connected(server, told) as conn:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await conn.query("SELECT SLEEP(9)")

        assert told.abandoned == [True]
        with pytest.raises(err.InterfaceError, match="Cancelled during execution"):
            await conn.query("SELECT 2")
    assert told.reports == []


async def test_a_converter_that_raises_leaves_no_old_rows():
    """The next query must not be answered with the rest of this one."""

    def spoilt(value):
        raise ValueError(value)

    async with (
        ScriptedServer({"SELECT": rows(("1",), ("2",))}) as server,
        connected(server, conv={253: spoilt}) as conn,
    ):
        with pytest.raises(ValueError, match="1"):
            await conn.query("SELECT a FROM t")

        with pytest.raises(err.InterfaceError, match="ValueError"):
            await conn.query("SELECT 2")


async def test_a_cursor_closes_quietly_after_a_loss():
    """The loss is what the caller must see, not what closing the cursor makes of it."""
    answers = {"SELECT": after(*rows(("1",))[:-1], then=hang_up)}
    async with ScriptedServer(answers) as server, connected(server) as conn:

        async def fetch_all():
            async with conn.cursor(aiomysql.SSCursor) as cursor:
                await cursor.execute("SELECT a FROM t")
                await cursor.fetchall()

        with pytest.raises(errors.ConnectionLost):
            await fetch_all()


async def test_a_lost_result_is_not_taken_for_its_end():
    """An idle loss between two fetches must not look like "no more rows"."""
    answers = {"SELECT": after(*rows(("1",), ("2",)))}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        cursor = await conn.cursor(aiomysql.SSCursor)
        await cursor.execute("SELECT a FROM t")
        conn.lose("the writer is db-2 now")

        with pytest.raises(errors.ConnectionLost):
            await cursor.fetchone()
        with pytest.raises(err.InterfaceError):
            await cursor.fetchone()


# --- ping -----------------------------------------------------------------------------------------------------------


async def test_ping_tells_a_lost_transaction_before_it_reconnects():
    """A silent new session would hide that the work is gone (DECISIONS 18)."""
    told = Told()
    async with ScriptedServer({"BEGIN": ok(IN_TRANS)}) as server, connected(server, told) as conn:
        await conn.begin()
        server.guests[0].writer.transport.abort()
        await asyncio.sleep(0.1)

        with pytest.raises(errors.ConnectionLost):
            await conn.ping()
        assert told.redialled == 0
        await conn.ping()

        assert told.redialled == 1
        await conn.query("SELECT 1")


async def test_ping_reconnects_where_nothing_was_lost():
    """As aiomysql's does, but through the cluster."""
    told = Told()
    async with ScriptedServer() as server, connected(server, told) as conn:
        server.guests[0].writer.transport.abort()
        await asyncio.sleep(0.1)

        await conn.ping()

        assert told.redialled == 1
        conn.lose("gone")
        await conn.ping()
        assert told.redialled == 2


async def test_ping_without_reconnecting_says_what_it_is():
    """No dial without being asked for."""
    told = Told()
    async with ScriptedServer() as server, connected(server, told) as conn:
        conn.lose("gone")

        with pytest.raises(errors.ConnectionLost):
            await conn.ping(reconnect=False)
        with pytest.raises(err.Error, match="Already closed"):
            await conn.ping(reconnect=False)
    assert told.redialled == 0


async def test_ping_of_a_connection_that_is_closed_meanwhile_does_not_reconnect():
    """Its owner closed it while we waited for the answer: to bring it back to life would leave it to nobody."""
    told = Told()
    async with ScriptedServer({"ping": silence}) as server, connected(server, told) as conn:
        pinging = asyncio.create_task(conn.ping())
        await asyncio.sleep(0.1)

        conn.close()

        with pytest.raises(errors.ConnectionLost, match="closed here"):
            await pinging
        assert told.redialled == 0


async def test_reopening_a_connection_that_is_closed_meanwhile_leaves_it_closed():
    """Without a cluster as with one."""
    async with ScriptedServer() as server, connected(server) as conn:
        conn.close()
        pinging = asyncio.create_task(conn.ping())
        await asyncio.sleep(0)

        conn.close()

        with pytest.raises(err.InterfaceError, match="closed"):
            await pinging
        assert conn.closed


# --- closing it -----------------------------------------------------------------------------------------------------


async def test_what_was_acknowledged_is_not_lost_while_saying_goodbye():
    """A loss within that second is nobody's: a retry would do the transfer twice."""
    told = Told()
    answers = {"INSERT": ok(IN_TRANS), "COMMIT": after(ok(0))}
    async with ScriptedServer(answers) as server, connected(server, told) as conn:
        await conn.query("INSERT INTO t VALUES (1)")
        await conn.commit()
        closing = asyncio.create_task(conn.ensure_closed())
        await asyncio.sleep(0.1)

        conn.lose("db-2 is the writer now")

        await closing
        assert repr(conn) == "<Connection db-1 writer epoch=3 | closed>"
        with pytest.raises(err.InterfaceError, match="Not connected"):
            await conn.query("SELECT 1")
    assert told.reports == []


async def test_a_cancelled_goodbye_leaves_nothing_open():
    """The second of waiting is the server's, not the caller's."""
    async with ScriptedServer({"SELECT": after(ok(), then=silence)}) as server, connected(server) as conn:
        await conn.query("SELECT 1")
        descriptor = conn._writer.get_extra_info("socket")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await conn.ensure_closed()
        await asyncio.sleep(0)

        assert conn.closed
        assert descriptor.fileno() == -1


async def test_what_was_closed_here_is_no_sign_of_a_failing_instance():
    """Two connections closed while busy must not start a search; whoever waits hears of the outcome."""
    told = Told()
    async with ScriptedServer({"INSERT": silence}) as server, connected(server, told) as conn:
        task = asyncio.create_task(conn.query("INSERT INTO t VALUES (1)"))
        await asyncio.sleep(0.1)

        conn.close()

        with pytest.raises(errors.OutcomeUnknown, match="closed here"):
            await task
    assert told.reports == []


async def test_a_child_process_ends_nothing_of_its_parents():
    """It shares the socket and the selector: no goodbye (case 66)."""

    def collect():
        conn.__del__()

    def ensure_closed():
        with pytest.raises(StopIteration):
            conn.ensure_closed().send(None)

    async with ScriptedServer() as server, connected(server) as conn:
        for end in (conn.close, conn.abort, collect, ensure_closed):
            assert in_child(end) == "None"
        await asyncio.sleep(0.1)

        assert len(server.received) == 1
        await conn.query("SELECT 1")


@pytest.mark.parametrize(
    "use",
    [
        lambda conn: conn.query("SELECT 1"),
        lambda conn: conn.commit(),
        lambda conn: conn.ping(),
        lambda conn: conn.autocommit(True),
        lambda conn: conn.next_result(),
        lambda conn: conn.fetch_one(None),
    ],
    ids=["query", "commit", "ping", "autocommit", "next_result", "fetch_one"],
)
async def test_a_child_process_is_told_that_it_is_one(use):
    """It would read the parent's answers (case 66)."""
    async with ScriptedServer() as server, connected(server) as conn:
        told = in_child(lambda: use(conn).send(None))

        assert told.startswith(f"the connection was made in process {os.getpid()} and used in ")
        assert len(server.received) == 1


def in_child(work):
    """Run `work` in a forked child; give what it returns or raises, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = str(work())
        except BaseException as error:  # noqa: BLE001 - The parent asserts.
            told = str(error)
        os.write(writing, told.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        return told.read()


# --- what is shown --------------------------------------------------------------------------------------------------


async def test_no_password_shows():
    """Neither in a repr nor in the repr of what it holds."""
    async with ScriptedServer({"SELECT": hang_up}) as server, connected(server) as conn:
        shown = repr(conn) + str(vars(conn))
        with pytest.raises(errors.ConnectionLost) as caught:
            await conn.query("SELECT 1")

    assert SECRET not in shown + repr(caught.value) + str(vars(caught.value))


async def test_outcome_of_megabytes_is_judged_in_no_time():
    """The loop must not stall while a large statement is looked at."""
    async with ScriptedServer({"INSERT": silence}) as server, connected(server) as conn:
        task = asyncio.create_task(conn.query("INSERT INTO t VALUES " + ",".join(["(1,'it\\'s')"] * 800_000)))
        while not conn._pipe.is_sent or not server.received[-1].startswith(b"\x03INS"):
            await asyncio.sleep(0.001)

        begun = time.perf_counter()
        conn.lose("gone")
        took = time.perf_counter() - begun

        with pytest.raises(errors.OutcomeUnknown):
            await task
    assert took < 0.1


def test_eof_helper_is_an_eof_packet():
    """The server of these tests must speak the protocol."""
    assert eof(IN_TRANS) == b"\xfe\0\0\1\0"


# --- what fails again -----------------------------------------------------------------------------------------------


async def test_a_statement_that_is_too_large_is_not_tried_again():
    """The server ends the session over it, every time: nothing was done, and nothing is gained by another try."""
    answers = {"INSERT": after(refusal(1153), then=hang_up)}
    async with ScriptedServer(answers) as server, connected(server) as conn:
        with pytest.raises(err.OperationalError) as caught:
            await conn.query("INSERT INTO t VALUES ('much')")

    assert caught.value.args[0] == 1153
    assert not getattr(caught.value, "retryable", False)
