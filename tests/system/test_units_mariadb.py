"""Units of work and sessions that go from hand to hand, on a real MariaDB, in real time."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest
from pymysql import err

import aioaurora
from aioaurora import errors
from aioaurora.errors import Outcome
from aioaurora.simulator import SimulatedCluster

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.timeout(60)]

SESSION = """SELECT @@character_set_client, @@character_set_connection, @@character_set_results,
    @@collation_connection, @@autocommit, @@sql_mode, @@time_zone, @@tx_isolation, @@lock_wait_timeout, DATABASE(),
    @greeting, CONNECTION_ID()"""


@pytest.fixture
async def sim(installed_once):
    """Two instances on MariaDB, and a table."""
    async with SimulatedCluster(2, engine="mariadb") as started:
        await started.execute("CREATE TABLE t (a INT PRIMARY KEY, b INT) ENGINE=InnoDB")
        await started.execute("CREATE DATABASE IF NOT EXISTS other")
        yield started


def pooled(sim, **options):
    """Make a pool of one connection."""
    return aioaurora.create_pool(**(sim.connect_options() | {"maxsize": 1} | options))


async def said(connection, text, *args):
    """Run a statement."""
    async with connection.cursor() as cursor:
        await cursor.execute(text, args or None)
        return await cursor.fetchall()


async def put(connection, *numbers):
    """Insert numbers."""
    for number in numbers:
        await said(connection, "INSERT INTO t VALUES (%s, 0)", number)


async def held(sim):
    """The numbers that are committed."""
    return [number for (number,) in await sim.rows("SELECT a FROM t ORDER BY a")]


async def open_transactions(sim):
    """How many there are, once those that are being ended have ended."""
    for _ in range(20):
        await asyncio.sleep(0.15)  # InnoDB shows the same again to whoever asks within 0.1 s.
        ((count,),) = await sim.rows("SELECT COUNT(*) FROM information_schema.innodb_trx")
        if not count:
            break
    return count


# --- made clean -----------------------------------------------------------------------------------------------------

DECLARED = {
    "defaults": {},
    "all": {
        "charset": "latin1",
        "autocommit": True,
        "sql_mode": "'ANSI_QUOTES'",
        "init_command": "SET time_zone = '+03:00', @greeting = 'hello'",
    },
    "no schema": {"db": None},
    "several": {"init_command": "SET @greeting = 'hello'; SET lock_wait_timeout = 7;"},
}
TOUCHES = [
    "SET NAMES latin2",
    "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
    "SET SESSION sql_mode = ''",
    "SET time_zone = '-05:00'",
    "SET autocommit = 1 - @@autocommit",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET SESSION lock_wait_timeout = 3",
    "SELECT @greeting := 'changed'",
    "SET @greeting = NULL",
]


@pytest.mark.loops
@pytest.mark.parametrize("declared", DECLARED.values(), ids=DECLARED)
async def test_a_touched_session_is_declared_anew(sim, declared):
    """All that was configured is said again, on the same connection (cases 41 and 54)."""
    async with pooled(sim, **declared) as pool:
        async with pool.acquire() as connection:
            first = await said(connection, SESSION)

        for touch in TOUCHES:
            async with pool.acquire() as connection:
                await said(connection, touch)
            async with pool.acquire() as connection:
                assert await said(connection, SESSION) == first, touch
                # What we think the server takes is what it takes.
                assert await said(connection, "SELECT 'ä', LENGTH('ä'), HEX('ä')") != ()


async def test_text_is_what_it_was_after_a_reset(sim):
    """MySQL falls back to the global character set, silently: the simulator does as well (case 54)."""
    await sim.execute("SET GLOBAL character_set_server = latin1")
    await sim.execute("CREATE TABLE words (a VARCHAR(20)) CHARACTER SET utf8mb4")
    async with pooled(sim, charset="utf8mb4", autocommit=True) as pool:
        async with pool.acquire() as connection:
            await said(connection, "SET @v = 1")
        await pool.execute("INSERT INTO words VALUES (%s)", ("gr\u00fc\u00df \U0001f600",))

        assert await pool.fetch_value("SELECT a FROM words") == "gr\u00fc\u00df \U0001f600"
        assert await pool.fetch_value("SELECT HEX(a) FROM words") == "6772C3BCC39F20F09F9880"


async def test_set_charset_and_autocommit_by_method_are_undone(sim):
    """Our own notion of them, too: what is escaped and read with."""
    async with pooled(sim, autocommit=False) as pool:
        async with pool.acquire() as connection:
            await connection.set_charset("latin1")
            await connection.autocommit(True)
        async with pool.acquire() as connection:
            assert (connection.get_autocommit(), connection.charset) == (False, "utf8mb4")
            assert await said(connection, "SELECT %s, @@character_set_client", "\u00df\u0142") == (
                ("\u00df\u0142", "utf8mb4"),
            )


@pytest.mark.parametrize("choose", ["text", "method"])
async def test_another_schema_is_left(sim, choose):
    """USE, as text or by method."""
    async with pooled(sim) as pool:
        async with pool.acquire() as connection:
            number = connection.thread_id()
            await (said(connection, "USE other") if choose == "text" else connection.select_db("other"))
        async with pool.acquire() as connection:
            assert await said(connection, "SELECT DATABASE()") == ((sim.database,),)
            assert connection.thread_id() == number


async def test_init_command_runs_in_the_schema_that_was_configured(sim):
    """Also after a lease that has chosen another one: as at the log-in, the schema comes first."""
    await sim.execute("CREATE TABLE log (a INT)")
    async with pooled(sim, init_command="INSERT INTO log VALUES (1)") as pool:
        async with pool.acquire() as connection:
            number = connection.thread_id()
            await said(connection, "USE other")
        async with pool.acquire() as connection:
            assert connection.thread_id() == number
            assert await said(connection, "SELECT COUNT(*) FROM log") == ((2,),)


async def test_a_schema_that_was_chosen_where_there_was_none_ends_the_connection(sim):
    """There is no way back to none."""
    async with pooled(sim, db=None) as pool:
        async with pool.acquire() as connection:
            number = connection.thread_id()
            await said(connection, "USE other")
        async with pool.acquire() as connection:
            assert await said(connection, "SELECT DATABASE()") == ((None,),)
            assert connection.thread_id() != number


async def test_locks_and_temporary_tables_are_gone(sim):
    """GET_LOCK, LOCK TABLES, CREATE TEMPORARY TABLE."""
    async with pooled(sim, autocommit=True) as pool:
        async with pool.acquire() as connection:
            number = connection.thread_id()
            await said(connection, "SELECT GET_LOCK('mine', 0)")
            await said(connection, "CREATE TEMPORARY TABLE mine (a INT)")
            await said(connection, "LOCK TABLES t WRITE")
        async with pool.acquire() as connection:
            assert connection.thread_id() == number
            assert await said(connection, "SELECT IS_FREE_LOCK('mine')") == ((1,),)
            with pytest.raises(err.ProgrammingError, match="doesn't exist"):
                await said(connection, "SELECT * FROM mine")
            assert await held(sim) == []


async def test_what_touches_nothing_costs_nothing(sim):
    """Neither a reset nor a rollback."""
    async with pooled(sim, autocommit=True) as pool:
        await pool.fetch_all("SELECT 1")
        for _ in range(5):
            async with pool.acquire() as connection:
                await said(connection, "SELECT * FROM t WHERE b = 1")

        assert pool.stats().tidied == 0


async def test_an_open_transaction_is_rolled_back(sim):
    """And its locks are free."""
    async with pooled(sim) as pool:
        async with pool.acquire() as connection:
            await put(connection, 1)

        assert await open_transactions(sim) == 0
        assert await held(sim) == []


async def test_a_transaction_that_a_failed_statement_has_opened_is_rolled_back(sim):
    """Its ERR packet does not say that one is open, and it holds a lock."""
    await sim.execute("INSERT INTO t VALUES (1, 0)")
    async with pooled(sim) as pool:
        async with pool.acquire() as connection:
            with pytest.raises(err.IntegrityError):
                await put(connection, 1)

        assert await open_transactions(sim) == 0


async def test_results_that_were_not_fetched_are_read(sim):
    """As those of a procedure: the connection is kept."""
    async with pooled(sim) as pool:
        async with pool.acquire() as connection:
            number = connection.thread_id()
            await said(connection, "SELECT 1; SELECT 2; SELECT 3")
        async with pool.acquire() as connection:
            assert await said(connection, "SELECT 4") == ((4,),)
            assert connection.thread_id() == number


# --- the guard ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["autocommit off", "autocommit on"])
async def pool(request, sim):
    """A pool of one connection."""
    async with pooled(sim, autocommit=request.param) as entered:
        yield entered
        async with entered.acquire() as connection:
            assert bool(connection.get_autocommit()) is request.param
            assert await said(connection, "SELECT @@autocommit") == ((int(request.param),),)
        assert await open_transactions(sim) == 0


@pytest.mark.parametrize("text", ["COMMIT", "CREATE TABLE other_one (a INT)", "BEGIN", "SET autocommit = 1"])
async def test_whatever_commits_within_is_noticed(sim, pool, text):
    """Nothing that comes after it is reported as done."""

    async def work(connection):
        await put(connection, 1)
        await said(connection, text)
        await put(connection, 2)

    with pytest.raises(errors.TransactionLost) as caught:
        await pool.run(work)

    assert caught.value.outcome is Outcome.UNKNOWN
    assert await held(sim) == ([1, 2] if "autocommit" in text else [1])


async def test_patching_before_the_commit_is_noticed(sim, pool):
    """Run again; nothing is missing, nothing is there twice."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        if calls == 1:
            await sim.patch(silent_for=0.2)

    await pool.run(work)

    assert (calls, await held(sim)) == (2, [1])


@pytest.mark.loops
async def test_patching_in_the_middle_is_noticed(sim, pool):
    """What came before it would be missing."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        if calls == 1:
            await sim.patch(silent_for=0.2)
        await put(connection, 2)

    await pool.run(work)

    assert (calls, await held(sim)) == (2, [1, 2])


async def test_a_real_deadlock_that_is_passed_over_is_noticed(sim):
    """The server has rolled back all of it; what the function goes on to do would be half of it."""
    await sim.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
    async with pooled(sim, maxsize=2) as pool:
        both, calls, victims = asyncio.Barrier(2), 0, 0

        async def work(connection, first, second):
            nonlocal calls, victims
            calls += 1
            await said(connection, "UPDATE t SET b = b + 1 WHERE a = %s", first)
            if calls <= 2:
                await both.wait()
            try:
                await said(connection, "UPDATE t SET b = b + 1 WHERE a = %s", second)
            except err.OperationalError as error:
                victims += error.args[0] == 1213

        await asyncio.gather(pool.run(work, 1, 2), pool.run(work, 2, 1))

        assert victims == 1
        assert await sim.rows("SELECT b FROM t") == [(2,), (2,)]


async def test_commit_and_rollback_within_begin_anew(sim, pool):
    """Each part guarded, each as it says."""

    async def work(connection):
        await put(connection, 1)
        await connection.commit()
        await put(connection, 2)
        await connection.rollback()
        await put(connection, 3)

    await pool.run(work)

    assert await held(sim) == [1, 3]


LEVEL = "SELECT trx_isolation_level FROM information_schema.innodb_trx"


async def test_isolation_holds_for_the_transaction_only(sim, pool):
    """Also for the one that a rollback within begins."""
    seen = []

    async def work(connection):
        await put(connection, len(seen))
        await asyncio.sleep(0.15)
        seen.append(await said(connection, LEVEL))
        if len(seen) == 1:
            await connection.rollback()
            await work(connection)

    await pool.run(work, isolation="read committed")
    await pool.run(work)

    assert [level for ((level,),) in seen] == ["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ"]


@pytest.mark.loops
async def test_a_cancelled_run_leaves_no_transaction(sim):
    """Wherever it is: between two statements, and while one is under way on the server."""
    async with pooled(sim, maxsize=2) as pool:
        for after_s in (0.0, 0.003, 0.01, 0.03, 0.1):

            async def work(connection):
                await put(connection, 1)
                await said(connection, "SELECT SLEEP(0.05)")
                await asyncio.sleep(0.02)
                await said(connection, "SELECT SLEEP(20)")

            with anyio.move_on_after(after_s):
                await pool.run(work)

            assert await open_transactions(sim) == 0
        assert await held(sim) == []


async def test_a_killed_query_is_the_callers_to_think_about(sim, pool):
    """1317: neither lost nor run again; rolled back."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        number = connection.thread_id()
        query = asyncio.create_task(said(connection, "SELECT SLEEP(10), '%s'", 7))
        await asyncio.sleep(0.1)
        async with aioaurora.connect(**sim.connect_options()) as other:
            await said(other, "KILL QUERY %s", number)
        with contextlib.suppress(err.MySQLError):
            await query
        raise KeyError

    with pytest.raises(KeyError):
        await pool.run(work)

    assert (calls, await held(sim)) == (1, [])
