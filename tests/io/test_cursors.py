"""What became of all of an `executemany`."""

from __future__ import annotations

import aiomysql
import pytest

from aioaurora import errors
from aioaurora.errors import Outcome
from tests.connected import connected
from tests.io.scripted_server import AUTOCOMMIT, IN_TRANS, ScriptedServer, hang_up, ok, rows
from tests.io.scripted_server import err as refusal

ONE_BY_ONE = "UPDATE t SET n = 1 WHERE id = %s"
ASKED = "SELECT @@innodb_read_only, @@read_only"


def server(last, *, status=AUTOCOMMIT, first=None):
    """A server that answers the first statement and ends with the second."""
    answers = {"UPDATE t SET n = 1 WHERE id = 1": first or ok(status), "UPDATE t SET n = 1 WHERE id = 2": last}
    return ScriptedServer(answers | {"BEGIN": ok(IN_TRANS), ASKED: rows(("1", "1"))})


@pytest.mark.parametrize("cls", [aiomysql.Cursor, aiomysql.DictCursor, aiomysql.SSCursor, aiomysql.SSDictCursor])
async def test_rows_that_were_written_before_the_loss_make_it_unknown(cls):
    """Each was committed by itself: to run the call again would write them twice."""
    async with server(hang_up) as guest, connected(guest) as conn, conn.cursor(cls) as cursor:
        with pytest.raises(errors.OutcomeUnknown) as caught:
            await cursor.executemany(ONE_BY_ONE, [1, 2, 3])

    assert not caught.value.retryable
    assert "after some of the rows of an executemany" in str(caught.value)


async def test_rows_that_were_written_before_a_refusal_make_it_unknown():
    """As above: the instance became a reader between two of them."""
    async with server(refusal(1290)) as guest, connected(guest) as conn, conn.cursor() as cursor:
        with pytest.raises(errors.WriterDemoted) as caught:
            await cursor.executemany(ONE_BY_ONE, [1, 2])

    assert (caught.value.outcome, caught.value.retryable) == (Outcome.UNKNOWN, False)


async def test_all_of_it_is_rolled_back_with_its_transaction():
    """Then it is one piece of work."""
    async with server(hang_up, status=IN_TRANS) as guest, connected(guest) as conn, conn.cursor() as cursor:
        await conn.begin()
        with pytest.raises(errors.ConnectionLost) as caught:
            await cursor.executemany(ONE_BY_ONE, [1, 2])

    assert caught.value.outcome is Outcome.ROLLED_BACK


async def test_a_loss_at_the_first_row_is_that_of_one_statement():
    """Refused before anything was done: it may be run again."""
    async with server(ok(), first=refusal(1290)) as guest, connected(guest) as conn, conn.cursor() as cursor:
        await cursor.execute("SELECT 1")
        with pytest.raises(errors.WriterDemoted) as caught:
            await cursor.executemany(ONE_BY_ONE, [1, 2])

    assert caught.value.outcome is Outcome.REFUSED


async def test_reads_are_never_in_doubt():
    """However many were answered."""
    answers = {"SELECT 1": rows(("1",)), "SELECT 2": hang_up}
    async with ScriptedServer(answers) as guest, connected(guest) as conn, conn.cursor() as cursor:
        with pytest.raises(errors.ConnectionLost) as caught:
            await cursor.executemany("SELECT %s", [1, 2])

    assert caught.value.outcome is not Outcome.UNKNOWN


async def test_a_cursor_keeps_its_class():
    """Whoever asks for a DictCursor gets one, by its name and by its type."""
    async with (
        ScriptedServer({}) as guest,
        connected(guest, cursorclass=aiomysql.DictCursor) as conn,
        conn.cursor() as usual,
        conn.cursor(aiomysql.SSCursor) as other,
    ):
        assert isinstance(usual, aiomysql.DictCursor)
        assert isinstance(other, aiomysql.SSCursor)
        assert type(usual).__name__ == "DictCursor"


async def test_a_closed_cursor_says_so():
    """As for any other use of it; without rows there is nothing to do."""
    async with ScriptedServer({}) as guest, connected(guest) as conn:
        cursor = await conn.cursor()
        await cursor.close()

        assert await cursor.executemany(ONE_BY_ONE, []) is None
        with pytest.raises(aiomysql.ProgrammingError, match="closed"):
            await cursor.executemany(ONE_BY_ONE, [1])
