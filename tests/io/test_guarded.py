"""The savepoint guard against a scripted server: each answer that its packets may get, and each that may stay out."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
from pymysql import err

from aioaurora import errors
from aioaurora._core.traces import READ, UNIT
from aioaurora.errors import Outcome
from tests.connected import connected, execute
from tests.io.scripted_server import AUTOCOMMIT, IN_TRANS, MORE, ScriptedServer, after, hang_up, ok, reset, silence
from tests.io.scripted_server import err as refusal

OFF = 0  # Of autocommit.


def opening(*, autocommit):
    """Answer what begins a guarded transaction."""
    head = [ok(MORE)] if autocommit else []
    return [*head, ok(IN_TRANS | MORE), ok(IN_TRANS)]


def ending(*, autocommit):
    """Answer what ends it well."""
    return [ok(IN_TRANS | MORE), ok(MORE), ok(AUTOCOMMIT)] if autocommit else [ok(IN_TRANS | MORE), ok(OFF)]


def unit_answers(*, autocommit, **more):
    """Answer a unit of work in which all goes well, but for `more`."""
    return {
        "SET AUTOCOMMIT": opening(autocommit=autocommit),
        "START TRANSACTION": opening(autocommit=autocommit),
        "INSERT": ok(IN_TRANS),
        "SELECT": ok(IN_TRANS),
        "RELEASE SAVEPOINT": ending(autocommit=autocommit),
        "ROLLBACK\n;START": [ok(MORE), ok(IN_TRANS | MORE), ok(IN_TRANS)],
    } | {key.replace("_", " "): value for key, value in more.items()}


@contextlib.asynccontextmanager
async def begun(*, autocommit=False, isolation=None, read_only=False, is_reader=False, **more):
    """Give a server, and a connection with a guarded transaction."""
    status = AUTOCOMMIT if autocommit else OFF
    answers = unit_answers(autocommit=autocommit, **more)
    server = ScriptedServer(answers, status=status, login=[ok(status)])
    async with server, connected(server) as connection:
        connection.traces = READ
        server.received.clear()
        await connection.begin_guarded(isolation=isolation, read_only=read_only, is_reader=is_reader)
        yield server, connection


def shown(server):
    """The texts that have arrived, names of savepoints left out."""
    return [re.sub(r"aioaurora_[0-9a-f]{16}", "s", text).replace("\n", "") for text in server.statements]


BOTH = pytest.mark.parametrize("autocommit", [False, True], ids=["autocommit off", "autocommit on"])


# --- the packets ----------------------------------------------------------------------------------------------------


async def test_a_unit_takes_two_packets_more():
    """One before, one after; each savepoint with a name of its own."""
    async with begun() as (server, connection):
        await execute(connection, "INSERT INTO t VALUES (1)")
        await connection.end_guarded()

        assert shown(server) == [
            "START TRANSACTION;SAVEPOINT s",
            "INSERT INTO t VALUES (1)",
            "RELEASE SAVEPOINT s;COMMIT",
        ]
        assert server.statements[0].rpartition(" ")[2] in server.statements[2]
        assert (connection._guard, connection.traces & UNIT) == ("", 0)


async def test_autocommit_is_off_within_and_on_after():
    """In the same packets."""
    async with begun(autocommit=True) as (server, connection):
        assert not connection.get_autocommit()
        await connection.end_guarded()

        assert shown(server) == [
            "SET AUTOCOMMIT = 0;START TRANSACTION;SAVEPOINT s",
            "RELEASE SAVEPOINT s;COMMIT;SET AUTOCOMMIT = 1",
        ]
        assert connection.get_autocommit()


async def test_isolation_and_access_are_of_the_transaction():
    """READ ONLY has nothing to commit."""
    level = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    more = {level: [ok(MORE), ok(IN_TRANS | MORE), ok(IN_TRANS)]}
    async with begun(isolation="SERIALIZABLE", read_only=True, **more) as (server, connection):
        await connection.end_guarded()

        assert shown(server) == [
            f"{level};START TRANSACTION READ ONLY;SAVEPOINT s",
            "RELEASE SAVEPOINT s;ROLLBACK",
        ]


async def test_commit_within_begins_anew():
    """In one packet, under another name; at the end only what came after it is committed."""
    committing = [ok(IN_TRANS | MORE), ok(MORE), ok(IN_TRANS | MORE), ok(IN_TRANS)]
    async with begun() as (server, connection):
        first = connection._guard
        server.answers["RELEASE SAVEPOINT"] = committing
        await connection.commit()

        assert shown(server)[1:] == ["RELEASE SAVEPOINT s;COMMIT;START TRANSACTION;SAVEPOINT s"]
        assert connection._guard not in ("", first)
        assert not connection.may_run_again

        await connection.end_guarded()
        assert len(server.statements) == 2

        await execute(connection, "SELECT 1")
        server.answers["RELEASE SAVEPOINT"] = ending(autocommit=False)
        await connection.end_guarded()
        assert shown(server)[3:] == ["RELEASE SAVEPOINT s;COMMIT"]


async def test_what_the_guard_says_leaves_no_trace():
    """A unit that only reads need not be made clean."""
    async with begun() as (_, connection):
        await execute(connection, "SELECT 1")
        await connection.rollback()
        await connection.end_guarded()

        assert connection.traces == READ
        assert connection.park()


async def test_a_reader_that_knows_no_savepoints_does_without():
    """As one that forwards writes: committed, rolled back and begun anew all the same."""
    no_savepoint = [ok(MORE), ok(IN_TRANS | MORE), refusal(1235)]
    async with begun(autocommit=True, is_reader=True, SET_AUTOCOMMIT=no_savepoint) as (server, connection):
        server.answers |= {"COMMIT\n;START": [ok(MORE), ok(IN_TRANS)], "ROLLBACK\n;START": [ok(MORE), ok(IN_TRANS)]}
        server.answers["COMMIT\n;SET"] = [ok(MORE), ok(AUTOCOMMIT)]
        await connection.commit()
        await connection.rollback()
        with pytest.raises(errors.ConfigurationError):
            await connection.begin()
        await execute(connection, "SELECT 1")
        await connection.end_guarded()

        assert shown(server)[1:] == [
            "COMMIT;START TRANSACTION",
            "ROLLBACK;START TRANSACTION",
            "SELECT 1",
            "COMMIT;SET AUTOCOMMIT = 1",
        ]
        assert not connection.needs_tidying("never")


async def test_a_writer_that_refuses_the_savepoint_begins_nothing():
    """Without the guard its COMMIT would prove nothing."""
    with pytest.raises(err.NotSupportedError):
        async with begun(START_TRANSACTION=[ok(IN_TRANS | MORE), refusal(1235)]):
            pass


# --- what the end may be answered with ------------------------------------------------------------------------------


@BOTH
async def test_a_savepoint_that_is_gone_commits_nothing(autocommit):
    """1305: the server does not go on to COMMIT; neither do we."""
    async with begun(autocommit=autocommit, RELEASE_SAVEPOINT=refusal(1305), ROLLBACK=ok(OFF)) as (server, connection):
        await execute(connection, "INSERT INTO t VALUES (1)")

        with pytest.raises(errors.TransactionLost) as caught:
            await connection.end_guarded()

        assert caught.value.outcome is Outcome.ROLLED_BACK
        assert caught.value.retryable
        assert shown(server)[-1] == "ROLLBACK"
        assert connection.may_run_again
        assert connection.needs_tidying("auto")


@pytest.mark.parametrize("text", ["COMMIT", "CREATE TABLE x (a INT)", "CALL p()", "SET autocommit = 1"])
async def test_a_savepoint_that_a_statement_of_its_own_has_ended_leaves_doubt(text):
    """What came before it may have been committed."""
    async with begun(RELEASE_SAVEPOINT=refusal(1305), ROLLBACK=ok(OFF)) as (_, connection):
        await execute(connection, text)

        with pytest.raises(errors.TransactionLost) as caught:
            await connection.end_guarded()

        assert caught.value.outcome is Outcome.UNKNOWN
        assert not caught.value.retryable
        assert not connection.may_run_again


async def test_a_transaction_that_is_lost_stays_lost():
    """Whoever passes over the error does not commit what comes after it."""
    async with begun(RELEASE_SAVEPOINT=refusal(1305), ROLLBACK=ok(OFF)) as (_, connection):
        for _ in range(2):
            with pytest.raises(errors.TransactionLost):
                await connection.commit()
        with pytest.raises(errors.TransactionLost):
            await connection.end_guarded()


async def test_a_connection_that_dies_after_1305_has_committed_nothing():
    """Its transaction goes with it."""
    dies = after(refusal(1305), then=hang_up)
    async with begun(RELEASE_SAVEPOINT=dies) as (_, connection):
        with pytest.raises(errors.TransactionLost) as caught:
            await connection.end_guarded()

        assert caught.value.outcome is Outcome.ROLLED_BACK


@BOTH
@pytest.mark.parametrize("heard", [0, 1], ids=["nothing heard", "release heard"])
@pytest.mark.parametrize("dies", [hang_up, reset], ids=["FIN", "RST"])
async def test_a_commit_without_an_answer_leaves_doubt(autocommit, heard, dies):
    """The only kind of doubt."""
    answers = after(*[ok(IN_TRANS | MORE)] * heard, then=dies)
    async with begun(autocommit=autocommit, RELEASE_SAVEPOINT=answers) as (_, connection):
        with pytest.raises(errors.CommitOutcomeUnknown):
            await connection.end_guarded()


@pytest.mark.parametrize(
    "then", [hang_up, reset, after(refusal(1053), then=hang_up), after(refusal(1927), then=hang_up)]
)
async def test_what_fails_after_the_commit_was_answered_does_not_undo_it(then):
    """SET AUTOCOMMIT = 1 is lost: said to be rolled back, the unit would be done twice."""
    answers = after(ok(IN_TRANS | MORE), ok(MORE), then=then)
    async with begun(autocommit=True, RELEASE_SAVEPOINT=answers) as (_, connection):
        await connection.end_guarded()

        assert connection.has_committed
        assert not connection.may_run_again


async def test_what_fails_after_a_commit_within_is_told_by_the_next_use():
    """It was committed; only then the connection was lost."""
    answers = after(ok(IN_TRANS | MORE), ok(MORE), then=hang_up)
    async with begun(RELEASE_SAVEPOINT=answers) as (_, connection):
        await connection.commit()

        with pytest.raises(errors.ConnectionLost) as caught:
            await execute(connection, "SELECT 1")
        assert caught.value.outcome is Outcome.ROLLED_BACK
        assert not connection.may_run_again


async def test_autocommit_that_could_not_be_put_back_is_put_back_when_it_is_made_clean():
    """As one whose query was killed just then."""
    answers = [ok(IN_TRANS | MORE), ok(MORE), refusal(1317)]
    async with begun(autocommit=True, RELEASE_SAVEPOINT=answers) as (server, connection):
        await connection.end_guarded()
        server.answers["SET AUTOCOMMIT = 1"] = ok(AUTOCOMMIT)
        server.answers["ROLLBACK"] = [ok(MORE), ok(AUTOCOMMIT)]

        assert not connection.park()
        assert connection.needs_tidying("never")
        await connection.tidy("never")

        assert connection.get_autocommit()


async def test_a_commit_that_is_refused_may_be_run_again():
    """1213 of a COMMIT, as in a group of writers: all of it was rolled back."""
    async with begun(RELEASE_SAVEPOINT=[ok(IN_TRANS | MORE), refusal(1213)]) as (_, connection):
        with pytest.raises(err.OperationalError) as caught:
            await connection.end_guarded()

        assert caught.value.args[0] == 1213
        assert connection.may_run_again
        assert connection.needs_tidying("auto")


# --- within ---------------------------------------------------------------------------------------------------------


async def test_a_second_task_takes_nothing_of_the_guard():
    """Refused before a byte: the guard is the one that it was."""
    async with begun(SELECT=silence) as (_, connection):
        guard = connection._guard
        asking = asyncio.create_task(execute(connection, "SELECT 1"))
        await asyncio.sleep(0.1)

        for use in (connection.commit, connection.rollback):
            with pytest.raises(errors.ConnectionBusy):
                await use()

        assert connection._guard == guard
        asking.cancel()
        await asyncio.wait({asking})


@pytest.mark.parametrize("use", ["commit", "rollback", "end_guarded"])
async def test_a_loss_that_was_passed_over_is_told_again(use):
    """As a loss, not as a connection that was never there."""
    async with begun(INSERT=hang_up) as (_, connection):
        with pytest.raises(errors.ConnectionLost):
            await execute(connection, "INSERT INTO t VALUES (1)")

        with pytest.raises(errors.ConnectionLost) as caught:
            await getattr(connection, use)()

        assert caught.value.outcome is Outcome.ROLLED_BACK


async def test_a_loss_after_a_commit_of_its_own_that_was_passed_over_leaves_doubt():
    """It may have been committed."""
    async with begun(COMMIT=ok(OFF), INSERT=hang_up) as (_, connection):
        await execute(connection, "COMMIT")
        with pytest.raises(errors.ConnectionLost):
            await execute(connection, "INSERT INTO t VALUES (1)")

        with pytest.raises(errors.OutcomeUnknown):
            await connection.end_guarded()


async def test_ping_brings_no_connection_back_within_a_unit():
    """Its transaction would not come back with it."""
    async with begun(INSERT=hang_up) as (server, connection):
        with pytest.raises(errors.ConnectionLost):
            await execute(connection, "INSERT INTO t VALUES (1)")

        with pytest.raises(err.Error, match="closed"):
            await connection.ping()

        assert len(server.guests) == 1


async def test_a_unit_that_is_given_back_unfinished_is_undone():
    """Also if only autocommit is left of it."""
    async with begun(autocommit=True) as (server, connection):
        server.answers["ROLLBACK"] = [ok(MORE), ok(AUTOCOMMIT)]
        assert not connection.park()
        assert connection.needs_tidying("never")

        await connection.tidy("never")

        assert shown(server)[-1] == "ROLLBACK;SET AUTOCOMMIT = 1"
        assert (connection._guard, connection.get_autocommit()) == ("", True)
        assert connection.lend()
        await connection.begin()
