"""What a pool does right before and right after a lease, where servers, deadlines and callbacks meet."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora import errors
from aioaurora.connection import Connection
from aioaurora.simulator import SimulatedCluster
from tests.pools import assert_balanced, pooled, quiet, run


@pytest.fixture
async def sim():
    """Two instances, of which db-1 is the writer."""
    async with SimulatedCluster(2, engine="memory") as started:
        await started.execute("CREATE TABLE t (n INT)")
        yield started


def says_its_last_word_after(monkeypatch, dying, name):
    """Let a connection's ERR 1053 arrive in one segment with the answer to what `name` asks."""
    real = getattr(Connection, name)

    async def followed(connection, *arguments):
        answer = await real(connection, *arguments)
        if connection is dying:
            connection._reader.feed_data(b"\x10\x00\x00\x00\xff\x1d\x04#08S01bye")
        return answer

    monkeypatch.setattr(Connection, name, followed)


# --- before a lease -------------------------------------------------------------------------------------------------


async def test_a_server_that_hangs_up_behind_its_answer_to_the_ping_is_found_before_on_acquire(sim, monkeypatch):
    """Its last word is there already: another connection is opened, and shown to the callback."""
    shown = []

    async def on_acquire(connection):
        shown.append(await run(connection, "SELECT 1"))

    async with pooled(sim, monkeypatch, check_idle_after=0.0, on_acquire=on_acquire) as pool:
        (dying,) = (slot.connection for slot in pool._books.slots)
        says_its_last_word_after(monkeypatch, dying, "check")

        async with pool.acquire() as connection:
            assert connection is not dying

        assert shown == [((1,),)]
        assert pool.stats().closed == {"its server hung up": 1}


async def test_on_acquire_is_bounded_by_the_callers_deadline(sim, monkeypatch):
    """His request times out, as if it had waited for a connection; the other idle ones are left alone."""
    loop = asyncio.get_running_loop()

    async def on_acquire(_connection):
        await asyncio.sleep(4)

    async with pooled(sim, monkeypatch, minsize=3, on_acquire=on_acquire) as pool:
        began_at = loop.time()
        with pytest.raises(errors.PoolTimeout):
            await pool.acquire(timeout=0.2)

        assert loop.time() - began_at == pytest.approx(0.2, abs=0.05)
        assert pool.stats().closed == {"on_acquire took too long": 1}
        await asyncio.sleep(1)
        assert_balanced(pool)


async def test_what_on_acquire_reads_is_no_snapshot_for_the_lease(sim, monkeypatch):
    """Its transaction is over by then, so that a unit of work can choose another isolation, too."""

    async def on_acquire(connection):
        await run(connection, "SELECT n FROM t")

    async with pooled(sim, monkeypatch, on_acquire=on_acquire) as pool:
        async with pool.acquire() as connection:
            assert not connection.is_in_transaction

        async def reads(connection):
            return await run(connection, "SELECT 1")

        assert await pool.run(reads, isolation="read committed") == ((1,),)


async def test_who_comes_back_into_line_is_not_refused(sim, monkeypatch):
    """He stood there before `max_waiting` others did; his connection was no good."""
    shown = []

    async def on_acquire(connection):
        if shown == [connection]:
            connection.close()
            await connection.ping(reconnect=True)  # It leads to a session now that the books do not know.
            others.append(asyncio.create_task(pool.acquire()))
            await quiet(2)
        shown.append(connection)

    others = []
    async with pooled(sim, monkeypatch, maxsize=1, max_waiting=1, on_acquire=on_acquire) as pool:
        held = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await quiet()
        pool.release(held)
        anew = await asyncio.wait_for(waiting, 5)

        assert shown == [held, held, anew]
        pool.release(anew)
        pool.release(await others[0])
        assert_balanced(pool)


# --- after a lease --------------------------------------------------------------------------------------------------


async def test_a_server_that_hangs_up_behind_a_rollback_is_found_before_on_release(sim, monkeypatch):
    """The callback sees no connection that it cannot use."""
    shown = []

    async def on_release(connection):
        shown.append(connection)

    async with pooled(sim, monkeypatch, on_release=on_release) as pool:
        connection = await pool.acquire()
        await run(connection, "INSERT INTO t VALUES (1)")
        says_its_last_word_after(monkeypatch, connection, "tidy")
        await pool.release(connection)

        assert shown == []
        assert pool.stats().closed == {"it could not be made clean": 1}


async def test_a_connection_that_is_given_back_again_at_once_is_cleaned_again(sim, monkeypatch):
    """The end of the first cleaning does not end the second one, which has not begun."""

    async def on_release(_connection):
        pass

    async with pooled(sim, monkeypatch, maxsize=1, on_release=on_release) as pool:
        held = await pool.acquire()

        async def passes_it_on():
            async with pool.acquire() as connection:
                return connection

        waiting = [asyncio.create_task(passes_it_on()) for _ in range(3)]
        await quiet()
        pool.release(held)

        assert await asyncio.gather(*waiting) == [held] * 3
        await quiet()
        assert (pool.stats().tidied, pool.stats().closed) == (4, {})
