"""What happens to a connection between two leases: made clean as far as needed, and shown to the callbacks."""

from __future__ import annotations

import asyncio

import pytest
from aiomysql import SSCursor
from pymysql import err

from aioaurora import errors, events
from aioaurora.simulator import SimulatedCluster
from tests.pools import RESET, assert_balanced, commands_at, of, pooled, quiet, run, told


@pytest.fixture
async def sim():
    """Two instances, of which db-1 is the writer."""
    async with SimulatedCluster(2, engine="memory") as started:
        await started.execute("CREATE TABLE t (n INT)")
        yield started


class RefusedError(Exception):
    """A user's error, which cannot be copied."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


# --- clean ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", [None, "SELECT 1", "INSERT INTO t VALUES (1)"])
async def test_what_was_not_touched_costs_nothing(sim, monkeypatch, statement):
    """Not one command of ours reaches the server."""
    async with pooled(sim, monkeypatch, autocommit=True) as pool:
        commands = commands_at(monkeypatch)
        async with pool.acquire() as connection:
            if statement:
                await run(connection, statement)
        await asyncio.sleep(0.1)

        assert of(connection, commands) == ([statement] if statement else [])
        assert pool.freesize == 1


async def test_an_open_transaction_is_rolled_back(sim, monkeypatch):
    """One command; a new snapshot for the next one."""
    async with pooled(sim, monkeypatch) as pool:
        commands = commands_at(monkeypatch)
        async with pool.acquire() as connection:
            await run(connection, "INSERT INTO t VALUES (1)")
        await asyncio.sleep(0.1)

        assert of(connection, commands) == ["INSERT INTO t VALUES (1)", "ROLLBACK"]
        assert await sim.rows("SELECT n FROM t") == []
        assert (pool.freesize, pool.stats().tidied) == (1, 1)


@pytest.mark.parametrize("statement", ["SET @a = 1", "SET NAMES latin1", "SELECT @a := 5"])
async def test_a_session_that_was_touched_is_reset(sim, monkeypatch, statement):
    """And declared anew."""
    async with pooled(sim, monkeypatch, autocommit=True, init_command="SET @mine = 7") as pool:
        commands = commands_at(monkeypatch)
        async with pool.acquire() as connection:
            await run(connection, statement)
        await asyncio.sleep(0.1)

        assert of(connection, commands)[1] == RESET
        async with pool.acquire() as again:
            assert again is connection
            assert await run(again, "SELECT @a, @mine") == ((None, 7),)


@pytest.mark.parametrize(("reset", "is_reset"), [("always", True), ("never", False)])
async def test_reset_can_be_had_always_or_never(sim, monkeypatch, reset, is_reset):
    """Whatever the statements were."""
    async with pooled(sim, monkeypatch, autocommit=True, reset=reset) as pool:
        commands = commands_at(monkeypatch)
        async with pool.acquire() as connection:
            await run(connection, "SELECT 1" if is_reset else "SET @a = 1")
        await asyncio.sleep(0.1)

        assert (RESET in of(connection, commands)) is is_reset


async def test_a_connection_that_cannot_be_made_clean_is_replaced(sim, monkeypatch):
    """Who waits for it gets another."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        async with pool.acquire() as connection:
            await run(connection, "SET @a = 1")
            waiting = asyncio.create_task(pool.acquire())
            await quiet()
            await sim.half_open("db-1")
        anew = await asyncio.wait_for(waiting, 10)

        assert anew is not connection
        assert sum(pool.stats().closed.values()) == 1
        pool.release(anew)
        assert_balanced(pool)


async def test_cleaning_is_bounded_in_time(sim, monkeypatch):
    """By `callback_timeout`."""
    loop = asyncio.get_running_loop()
    async with pooled(sim, monkeypatch, callback_timeout=0.5, heartbeat_interval=1000) as pool:
        connection = await pool.acquire()
        await run(connection, "INSERT INTO t VALUES (1)")
        await sim.hang_statement("ROLLBACK")
        began_at = loop.time()
        await pool.release(connection)

        assert loop.time() - began_at == pytest.approx(0.5, abs=0.05)
        assert connection.closed
        assert pool.stats().closed == {"it could not be made clean in time": 1}


async def test_an_unread_result_is_no_use_to_the_next_one(sim, monkeypatch):
    """Nor is reading it to its end: a new connection is quicker."""
    async with pooled(sim, monkeypatch, autocommit=True) as pool:
        await sim.execute("INSERT INTO t VALUES (1), (2), (3)")
        async with pool.acquire() as connection:
            cursor = await connection.cursor(SSCursor)
            await cursor.execute("SELECT n FROM t")
            await cursor.fetchone()
        await asyncio.sleep(0.1)

        assert connection.closed
        with pytest.raises(err.MySQLError):
            await cursor.fetchone()
        async with pool.acquire() as anew:
            assert await run(anew, "SELECT 1") == ((1,),)
        assert pool.stats().closed == {"rows were left unread": 1}


async def test_a_connection_that_is_given_back_in_use_is_closed(sim, monkeypatch):
    """Its answer belongs to nobody."""
    async with pooled(sim, monkeypatch) as pool:
        connection = await pool.acquire()
        waiting = asyncio.create_task(run(connection, "SELECT SLEEP(60)"))
        await asyncio.sleep(0.1)
        pool.release(connection)

        with pytest.raises(err.MySQLError):
            await asyncio.wait_for(waiting, 1)
        assert pool.stats().closed == {"it was given back while in use": 1}
        assert_balanced(pool)


# --- callbacks ------------------------------------------------------------------------------------------------------


async def test_each_callback_has_its_moment(sim, monkeypatch):
    """Opened, before each lease, after each."""
    told_of = []

    def noted(name):
        async def callback(connection):
            told_of.append((name, (await run(connection, "SELECT 1"))[0][0]))

        return callback

    callbacks = {name: noted(name) for name in ("on_connect", "on_acquire", "on_release")}
    async with pooled(sim, monkeypatch, autocommit=True, **callbacks) as pool:
        for _ in range(2):
            async with pool.acquire():
                told_of.append("leased")
            await asyncio.sleep(0.1)

    lease = [("on_acquire", 1), "leased", ("on_release", 1)]
    assert told_of == [("on_connect", 1), *lease, *lease]


async def test_what_on_connect_sets_outlives_a_reset(sim, monkeypatch):
    """It is called again then: it is part of what the session is to be."""

    async def on_connect(connection):
        await run(connection, "SET @tenant = 5")

    async with pooled(sim, monkeypatch, autocommit=True, maxsize=1, on_connect=on_connect) as pool:
        for _ in range(3):
            async with pool.acquire() as connection:
                assert await run(connection, "SELECT @tenant, @a") == ((5, None),)
                await run(connection, "SET @a = 1")
        await asyncio.sleep(0.1)
        assert pool.stats().opened == 1


async def test_what_on_connect_reads_is_no_snapshot_for_the_first_lease(sim, monkeypatch):
    """Its transaction is over by then."""

    async def on_connect(connection):
        await run(connection, "SELECT n FROM t")

    async with pooled(sim, monkeypatch, on_connect=on_connect) as pool:
        await sim.execute("INSERT INTO t VALUES (1)")
        async with pool.acquire() as connection:
            assert not connection.is_in_transaction
            assert await run(connection, "SELECT n FROM t") == ((1,),)


@pytest.mark.parametrize("error", [KeyError("no such tenant"), RefusedError("not", "today"), TimeoutError("slow")])
async def test_an_on_connect_that_raises_fails_who_waits(sim, monkeypatch, error):
    """Each of them, with its error; the connection is closed."""
    fails = []

    async def on_connect(_connection):
        if fails:
            raise error

    async with pooled(sim, monkeypatch, minsize=0, on_connect=on_connect) as pool:
        fails.append(True)
        outcomes = await asyncio.gather(*(pool.acquire() for _ in range(3)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {type(error)}
        fails.clear()
        async with pool.acquire(timeout=10) as connection:
            assert await run(connection, "SELECT 1") == ((1,),)
        assert_balanced(pool)


@pytest.mark.parametrize(
    ("name", "error", "after_s"), [("on_connect", errors.PoolTimeout, 5.0), ("on_acquire", errors.ConnectTimeout, 0.5)]
)
async def test_a_callback_that_hangs_is_ended(sim, monkeypatch, name, error, after_s):
    """After `callback_timeout`; the error names it. Connects are tried again, as after any that took too long."""
    loop = asyncio.get_running_loop()

    async def waits_for_ever(_connection):
        await asyncio.sleep(1000)

    async with pooled(sim, monkeypatch, minsize=0, callback_timeout=0.5, **{name: waits_for_ever}) as pool:
        began_at = loop.time()
        with pytest.raises(error, match="waits_for_ever"):
            await pool.acquire(timeout=5)

        assert loop.time() - began_at == pytest.approx(after_s, abs=0.1)
        assert_balanced(pool)


async def test_an_on_connect_that_closes_the_connection_has_failed(sim, monkeypatch):
    """Who waits is told, and the next connect comes after a pause that grows."""

    async def shuts(connection):
        connection.close()

    async with pooled(sim, monkeypatch, minsize=1, wait_ready=False, on_connect=shuts) as pool:
        with pytest.raises(err.InterfaceError, match="closed in shuts"):
            await pool.acquire(timeout=20)
        await asyncio.sleep(20)

        assert 3 <= pool.stats().failed <= 15
        assert pool.stats().opened == 0
        assert_balanced(pool)


async def test_an_on_acquire_that_closes_the_connection_fails_the_request(sim, monkeypatch):
    """At once: the next connection would fare no better."""

    async def shuts(connection):
        connection.close()

    async with pooled(sim, monkeypatch, minsize=0, on_acquire=shuts) as pool:
        with pytest.raises(err.InterfaceError, match="closed in shuts"):
            await pool.acquire(timeout=20)

        assert (pool.stats().opened, pool.stats().closed) == (1, {"on_acquire failed": 1})
        assert_balanced(pool)


async def test_an_on_release_that_closes_the_connection_costs_it(sim, monkeypatch):
    """And is told so."""

    async def shuts(connection):
        connection.close()

    async with pooled(sim, monkeypatch, minsize=0, on_release=shuts) as pool:
        await pool.release(await pool.acquire())

        assert (pool.size, pool.stats().closed) == (0, {"it was lost": 1})


async def test_an_on_acquire_that_raises_fails_the_request(sim, monkeypatch):
    """Its connection is closed, and counted."""

    async def on_acquire(_connection):
        raise RefusedError("not", "today")

    async with pooled(sim, monkeypatch, on_acquire=on_acquire) as pool:
        with pytest.raises(RefusedError):
            await pool.acquire()

        assert pool.stats().closed == {"on_acquire failed": 1}
        assert_balanced(pool)


async def test_what_on_acquire_leaves_is_undone_after_the_lease(sim, monkeypatch):
    """It belongs to the lease."""

    async def on_acquire(connection):
        await run(connection, "SET @user = 'ann'")

    async with pooled(sim, monkeypatch, on_acquire=on_acquire) as pool:
        commands = commands_at(monkeypatch)
        async with pool.acquire() as connection:
            assert await run(connection, "SELECT @user") == (("ann",),)
        await asyncio.sleep(0.1)

        assert RESET in of(connection, commands)


@pytest.mark.parametrize("hangs", [False, True])
async def test_an_on_release_that_fails_costs_the_connection(sim, monkeypatch, hangs):
    """Nobody else; who waits gets a new one."""
    log, released = [], []

    async def on_release(connection):
        released.append(connection)
        if len(released) == 1:
            await asyncio.sleep(1000 if hangs else 0)
            raise RefusedError("row", len(released))

    async with pooled(
        sim, monkeypatch, maxsize=1, on_release=on_release, callback_timeout=0.5, listeners=[log.append]
    ) as pool:
        async with pool.acquire() as connection:
            waiting = asyncio.create_task(pool.acquire())
            await quiet()
        anew = await asyncio.wait_for(waiting, 1)

        assert anew is not connection
        why = "it could not be made clean" + (" in time" if hangs else "")
        assert pool.stats().closed == {why: 1}
        (closed,) = told(events.ConnectionClosed, log)
        assert closed.why == (why if hangs else f"{why}: row 1")
        pool.release(anew)


async def test_what_on_release_leaves_is_undone_too(sim, monkeypatch):
    """The next one finds a clean session."""

    async def on_release(connection):
        await run(connection, "SET @seen = 1")
        await run(connection, "INSERT INTO t VALUES (1)")

    async with pooled(sim, monkeypatch, on_release=on_release) as pool:
        async with pool.acquire():
            pass
        await asyncio.sleep(0.1)
        async with pool.acquire() as connection:
            assert not connection.is_in_transaction
            assert await run(connection, "SELECT @seen") == ((None,),)


async def test_a_session_that_was_connected_again_is_not_kept(sim, monkeypatch):
    """`ping(reconnect=True)` within a lease: the books know another connection."""
    async with pooled(sim, monkeypatch) as pool:
        async with pool.acquire(instance="db-2") as connection:
            connection.close()
            await connection.ping(reconnect=True)
            assert await run(connection, "SELECT 1") == ((1,),)
        await asyncio.sleep(0.1)

        assert connection.closed
        assert_balanced(pool)


async def test_a_callback_that_is_cancelled_from_elsewhere_fails_its_connect_only(sim, monkeypatch):
    """It awaits a task that somebody has cancelled: the pool goes on."""
    cancelled: list[asyncio.Task[None]] = []

    async def on_connect(connection):
        if len(cancelled) == 1:
            task = asyncio.create_task(asyncio.sleep(60))
            cancelled.append(task)
            task.cancel()
            await task
        cancelled.append(None)

    async with pooled(sim, monkeypatch, minsize=1, maxsize=2, on_connect=on_connect) as pool:
        first = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire(timeout=5).__aenter__())
        await asyncio.sleep(1)
        assert pool.stats().failed == 1
        second = await waiting

        assert second is not first
        pool.release(first)
        pool.release(second)
