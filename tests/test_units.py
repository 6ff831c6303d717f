"""Whole units of work of a pool, on virtual time: what is run again, what is not, and what is never believed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from typing import TYPE_CHECKING, get_type_hints

import pytest
import tenacity
from pymysql import err

import aioaurora
from aioaurora import errors
from aioaurora.errors import Outcome, Role
from aioaurora.simulator import SimulatedCluster
from aioaurora.simulator.relay import Ending
from tests.virtual import names

if TYPE_CHECKING:
    from aioaurora.connection import Connection


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer, and a table."""
    async with SimulatedCluster(3, engine="memory") as started:
        await started.execute("CREATE TABLE t (a INT PRIMARY KEY)")
        yield started


@contextlib.asynccontextmanager
async def pooled(sim, monkeypatch, **options):
    """Enter a pool of the cluster."""
    names(sim, monkeypatch)
    async with aioaurora.create_pool(**(sim.connect_options() | options)) as pool:
        yield pool


@pytest.fixture(params=[False, True], ids=["autocommit off", "autocommit on"])
async def pool(request, sim, monkeypatch):
    """A pool of one connection to the writer."""
    async with pooled(sim, monkeypatch, maxsize=1, autocommit=request.param) as entered:
        yield entered


async def said(connection, text, *args):
    """Run a statement."""
    async with connection.cursor() as cursor:
        await cursor.execute(text, args or None)
        return await cursor.fetchall()


async def put(connection, *numbers):
    """Insert numbers."""
    for number in numbers:
        await said(connection, "INSERT INTO t VALUES (%s)", number)
    return numbers


async def held(sim):
    """The numbers that the engine has committed."""
    return sorted(number for (number,) in await sim.rows("SELECT a FROM t"))


async def is_as_it_was(pool):
    """Whether every connection is as a new one a moment later: nothing open, autocommit as configured."""
    await asyncio.sleep(0.1)
    connections = [slot.connection for slot in pool._books.slots if slot.connection is not None]
    assert all(connection.is_given_back for connection in connections)
    return all(
        connection.get_autocommit() == connection._own[0] and not connection.is_in_transaction and not connection._guard
        for connection in connections
    )


class Flaky:
    """A function that puts its number, and fails the first times."""

    def __init__(self, *failures, number=1):
        self.failures, self.calls, self.number = list(failures), 0, number

    async def __call__(self, connection):
        self.calls += 1
        await put(connection, self.number)
        if self.failures:
            raise self.failures.pop(0)
        return self.number


# --- run ------------------------------------------------------------------------------------------------------------


async def test_run_gives_the_result_and_commits(sim, pool):
    """With the arguments after the connection."""
    assert await pool.run(put, 1, 2) == (1, 2)

    assert await held(sim) == [1, 2]
    assert await is_as_it_was(pool)


async def test_run_rolls_back_whatever_the_function_raises(sim, pool):
    """And hands its exception on; the connection is as it was."""
    flaky = Flaky(KeyError("x"))

    with pytest.raises(KeyError, match="x"):
        await pool.run(flaky)

    assert (flaky.calls, await held(sim)) == (1, [])
    assert await is_as_it_was(pool)


async def test_a_deadlock_is_run_again(sim, pool):
    """1213: all of it was rolled back."""
    flaky = Flaky(err.OperationalError(1213, "Deadlock found"), err.OperationalError(1213, "Deadlock found"))

    assert await pool.run(flaky) == 1

    assert (flaky.calls, await held(sim)) == (3, [1])
    assert await is_as_it_was(pool)


async def test_a_number_that_is_no_servers_is_no_deadlock(pool):
    """A function may look up 1213."""
    flaky = Flaky(KeyError(1213))

    with pytest.raises(KeyError, match="1213"):
        await pool.run(flaky)

    assert flaky.calls == 1


async def test_a_number_that_is_no_servers_refuses_no_connection(sim, monkeypatch):
    """1040 of a callback's own: whoever waits is told at once, as trying again is no use."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    async def failing(connection):
        raise KeyError(1040)

    with pytest.raises(KeyError, match="1040"):
        async with pooled(sim, monkeypatch, minsize=0, on_connect=failing) as pool:
            await pool.run(put, 1)

    assert loop.time() - began_at < 1


async def test_a_lock_wait_is_run_again_only_if_asked_for(sim, pool):
    """1205: it has taken 50 s, as a rule."""
    with pytest.raises(err.OperationalError, match="waited"):
        await pool.run(Flaky(err.OperationalError(1205, "waited")))

    assert await pool.run(Flaky(err.OperationalError(1205, "waited")), retry_lock_waits=True) == 1


@pytest.mark.parametrize("outcome", Outcome)
async def test_what_was_lost_is_run_again_unless_nobody_knows(sim, pool, outcome):
    """Not sent, refused, rolled back with its session."""
    flaky = Flaky(errors.ConnectionLost("db-1", epoch=1, outcome=outcome))

    if outcome is Outcome.UNKNOWN:
        with pytest.raises(errors.ConnectionLost):
            await pool.run(flaky)
    else:
        assert await pool.run(flaky) == 1

    assert flaky.calls == (1 if outcome is Outcome.UNKNOWN else 2)


@pytest.mark.parametrize(
    "error",
    [
        errors.CommitOutcomeUnknown("db-1", epoch=1, outcome=Outcome.UNKNOWN),
        errors.TooManyWaiting("too many", waiting=3),
        errors.WriterUnavailable("none", waited_s=5.0, retry_after_s=1.0),
        errors.PoolTimeout("none", waited_s=5.0),
        err.IntegrityError(1062, "Duplicate entry"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_nothing_else_is_run_again(pool, error):
    """Whoever is told that there is no connection has waited for one already."""
    flaky = Flaky(error)

    with pytest.raises(type(error)):
        await pool.run(flaky)

    assert flaky.calls == 1


async def test_a_crash_between_two_statements_is_run_again_on_the_new_writer(sim, monkeypatch):
    """Nothing of it was done."""
    async with pooled(sim, monkeypatch) as pool:
        seen = []

        async def work(connection):
            seen.append(connection.instance)
            await put(connection, len(seen))
            if len(seen) == 1:
                await sim.failover("crash", "db-2", promote_after=1.0, target_down_for=0.5)
            await put(connection, 10 + len(seen))

        await pool.run(work)

        assert seen == ["db-1", "db-2"]
        assert await held(sim) == [2, 12]


async def test_two_failovers_in_one_run(sim, monkeypatch):
    """As many attempts as it takes."""
    async with pooled(sim, monkeypatch) as pool:
        seen, targets = [], ["db-2", "db-3"]

        async def work(connection):
            seen.append(connection.instance)
            await put(connection, 1)
            if targets:
                await sim.failover("crash", targets.pop(0), promote_after=1.0, target_down_for=0.5)
            await put(connection, 2)

        await pool.run(work)

        assert seen == ["db-1", "db-2", "db-3"]
        assert await held(sim) == [1, 2]


async def test_a_demoted_writer_is_left_for_the_new_one(sim, monkeypatch):
    """1290 from an instance that says that it is a reader; the session may even live."""
    async with pooled(sim, monkeypatch) as pool:
        seen = []

        async def work(connection):
            seen.append(connection.instance)
            if len(seen) == 1:
                await said(connection, "SELECT * FROM t")
                raise errors.WriterDemoted("db-1", epoch=1, outcome=Outcome.ROLLED_BACK)
            await put(connection, 1)

        await pool.run(work)

        assert len(seen) == 2
        assert await held(sim) == [1]


async def test_a_frozen_writer_is_waited_for(sim, monkeypatch):
    """`read_only` in a switchover: refused, and done when it thaws."""
    async with pooled(sim, monkeypatch) as pool:
        await pool.run(put, 1)
        await sim.freeze()
        running = asyncio.create_task(pool.run(put, 2))
        await asyncio.sleep(2)
        assert not running.done()

        await sim.heal()

        assert await running == (2,)
        assert await held(sim) == [1, 2]


async def test_it_ends_at_its_deadline(sim, pool):
    """The last error is raised, no later than that."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    flaky = Flaky(*[err.OperationalError(1213, "Deadlock found")] * 1000)

    with pytest.raises(err.OperationalError, match="Deadlock"):
        await pool.run(flaky, timeout=3)

    assert loop.time() - began_at <= 3
    assert flaky.calls > 3


async def test_tenacitys_own_say_when(pool):
    """`stop` in addition to ours, `wait` in its place, `before_sleep` before each pause."""
    loop = asyncio.get_running_loop()
    began_at, pauses = loop.time(), []
    flaky = Flaky(*[err.OperationalError(1213, "Deadlock found")] * 9)

    with pytest.raises(err.OperationalError):
        await pool.run(
            flaky,
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_fixed(2),
            before_sleep=lambda state: pauses.append(state.attempt_number),
        )

    assert (flaky.calls, pauses) == (3, [1, 2])
    assert loop.time() - began_at == pytest.approx(4, abs=0.1)


async def test_tenacitys_own_see_the_first_attempt_too(pool):
    """It has begun when the work did, and what it raised is the first outcome."""
    calls, seen = [], []

    async def work(connection):
        calls.append(time.monotonic())
        raise err.OperationalError(1213, f"Deadlock {len(calls)}")

    with pytest.raises(err.OperationalError, match="Deadlock 3"):
        await pool.run(
            work,
            stop=tenacity.stop_after_attempt(3),
            before_sleep=lambda state: seen.append((state.start_time, state.outcome.exception().args[1])),
        )

    assert [what for _, what in seen] == ["Deadlock 1", "Deadlock 2"]
    assert all(began_at <= calls[0] for began_at, _ in seen)


async def test_tenacitys_stop_counts_what_could_not_begin(sim, monkeypatch):
    """Three attempts are three, whether they fail in the block or before it."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        numbers, pauses = [], []

        async def work():
            async for attempt in pool.attempts(
                stop=tenacity.stop_after_attempt(3), before_sleep=lambda state: pauses.append(state.attempt_number)
            ):
                async with attempt:
                    numbers.append(attempt.number)
                    await sim.lose_answer("(SET AUTOCOMMIT|START TRANSACTION)", executed=False)
                    raise err.OperationalError(1213, "Deadlock found")

        with pytest.raises(err.OperationalError, match="Deadlock"):
            await work()

        assert (numbers, pauses) == ([1, 3], [1, 2])


@pytest.mark.parametrize("has_committed", [False, True])
async def test_tenacitys_own_error_is_one_like_any_other(sim, pool, has_committed):
    """TryAgain does not overrule what is certain."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        if has_committed:
            await connection.commit()
        raise tenacity.TryAgain

    with pytest.raises(tenacity.TryAgain):
        await pool.run(work)

    assert (calls, await held(sim)) == (1, [1] if has_committed else [])


async def test_tenacitys_stop_does_not_outlast_ours(pool):
    """A hundred attempts do not fit."""
    flaky = Flaky(*[err.OperationalError(1213, "Deadlock found")] * 1000)

    with pytest.raises(err.OperationalError):
        await pool.run(flaky, timeout=3, stop=tenacity.stop_after_attempt(100), wait=tenacity.wait_fixed(1))

    assert flaky.calls == 3


# --- what is never run again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["COMMIT", "CREATE TABLE other (a INT)", "BEGIN", "ROLLBACK", "START TRANSACTION"])
async def test_after_a_text_of_its_own_nothing_is_run_again(sim, pool, text):
    """A part of it may have been committed: a deadlock after it is the caller's to think about."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        await said(connection, text)
        raise err.OperationalError(1213, "Deadlock found")

    with pytest.raises(err.OperationalError, match="Deadlock"):
        await pool.run(work)

    assert calls == 1
    assert await is_as_it_was(pool)


@pytest.mark.parametrize(
    ("text", "outcome", "remains"),
    [
        ("COMMIT", Outcome.UNKNOWN, [1]),
        ("CREATE TABLE other (a INT)", Outcome.UNKNOWN, [1]),
        ("BEGIN", Outcome.UNKNOWN, [1]),
        ("ROLLBACK", Outcome.ROLLED_BACK, []),
    ],
)
async def test_a_text_of_its_own_that_ends_the_transaction_is_noticed(sim, pool, text, outcome, remains):
    """What came after is rolled back, and not reported as done; what the error says of the rest is exact."""

    async def work(connection):
        await put(connection, 1)
        await said(connection, text)
        await put(connection, 2)

    with pytest.raises(errors.TransactionLost) as caught:
        await pool.run(work)

    assert caught.value.outcome is outcome
    assert await held(sim) == remains
    assert await is_as_it_was(pool)


async def test_a_deadlock_that_is_passed_over_is_noticed(sim, monkeypatch):
    """What came before is gone: run again, nothing that it reported is missing."""
    async with pooled(sim, monkeypatch) as pool:
        calls = 0

        async def work(connection):
            nonlocal calls
            calls += 1
            await put(connection, 1)
            if calls == 1:
                await said(connection, "ROLLBACK /* as 1213 does */")
                connection.traces = 0  # Nobody has said so.
            await put(connection, 2)

        await pool.run(work)

        assert calls == 2
        assert await held(sim) == [1, 2]


async def test_patching_between_the_last_statement_and_commit_is_noticed(sim, pool):
    """ZDP: the session lives, its transaction does not (cases 39 and 52)."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        if calls == 1:
            await sim.patch(silent_for=0.5)

    await pool.run(work)

    assert calls == 2
    assert await held(sim) == [1]
    assert await is_as_it_was(pool)


async def test_a_loss_that_is_passed_over_is_noticed(sim, monkeypatch):
    """The function goes on as if nothing had been; nothing that it reported is missing."""
    async with pooled(sim, monkeypatch) as pool:
        calls = 0

        async def work(connection):
            nonlocal calls
            calls += 1
            await put(connection, 1)
            if calls == 1:
                await sim.restart(mode="crash", down_for=0.5)
                with contextlib.suppress(errors.ConnectionLost):
                    await put(connection, 2)
            return calls

        assert await pool.run(work) == 2
        assert await held(sim) == [1]


@pytest.mark.parametrize("use", ["rollback", "execute", "ping"])
async def test_a_loss_that_is_tidied_away_is_run_again(sim, monkeypatch, use):
    """`except: rollback(); raise` is what applications of aiomysql do: what that raises hides the loss."""
    async with pooled(sim, monkeypatch) as pool:
        calls = 0

        async def work(connection):
            nonlocal calls
            calls += 1
            await put(connection, 1)
            if calls > 1:
                return
            await sim.restart(mode="crash", down_for=0.5)
            try:
                await put(connection, 2)
            except errors.ConnectionLost:
                await {"rollback": connection.rollback, "ping": connection.ping}.get(use, lambda: put(connection, 3))()
                raise

        await pool.run(work)

        assert calls == 2
        assert await held(sim) == [1]


# --- within it ------------------------------------------------------------------------------------------------------


async def test_begin_within_is_refused(sim, pool):
    """It would commit what is open."""
    with pytest.raises(errors.ConfigurationError, match="leave it out"):
        await pool.run(lambda connection: connection.begin())


async def test_rollback_within_begins_anew(sim, pool):
    """As empty as before, and guarded."""

    async def work(connection):
        await put(connection, 1)
        await connection.rollback()
        await put(connection, 2)

    await pool.run(work)

    assert await held(sim) == [2]
    assert await is_as_it_was(pool)


async def test_rollback_within_is_guarded_too(sim, pool):
    """What comes after it is lost as silently."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await connection.rollback()
        await put(connection, 1)
        if calls == 1:
            await sim.patch(silent_for=0.5)

    await pool.run(work)

    assert (calls, await held(sim)) == (2, [1])


async def test_commit_within_stands_and_begins_anew(sim, pool):
    """What comes after it is a transaction of its own, which is rolled back if the function fails: not run again."""
    calls = 0

    async def work(connection):
        nonlocal calls
        calls += 1
        await put(connection, 1)
        await connection.commit()
        await put(connection, 2)
        raise err.OperationalError(1213, "Deadlock found")

    with pytest.raises(err.OperationalError):
        await pool.run(work)

    assert (calls, await held(sim)) == (1, [1])
    assert await is_as_it_was(pool)


async def test_what_follows_a_commit_is_committed_at_the_end(sim, pool):
    """In one more transaction."""

    async def work(connection):
        await put(connection, 1)
        await connection.commit()
        await put(connection, 2)

    await pool.run(work)

    assert await held(sim) == [1, 2]
    assert await is_as_it_was(pool)


async def test_what_follows_a_commit_is_guarded_too(sim, pool):
    """Patching takes it away in silence: told, and not run again, as the rest was committed."""

    async def work(connection):
        await put(connection, 1)
        await connection.commit()
        await put(connection, 2)
        await sim.patch(silent_for=0.5)

    with pytest.raises(errors.TransactionLost) as caught:
        await pool.run(work)

    assert caught.value.outcome is Outcome.UNKNOWN
    assert not caught.value.retryable
    assert await held(sim) == [1]
    assert await is_as_it_was(pool)


async def test_commit_as_the_last_line_needs_no_other(sim, pool):
    """Nothing follows it, and nothing can be in doubt."""

    async def work(connection):
        await put(connection, 1)
        await connection.commit()
        await sim.lose_commit_answer()

    await pool.run(work)

    assert await held(sim) == [1]


async def test_a_commit_whose_answer_is_lost_is_not_run_again(sim, pool):
    """Only the caller can know."""
    flaky = Flaky()
    await sim.lose_commit_answer(ending=Ending.FIN)

    with pytest.raises(errors.CommitOutcomeUnknown):
        await pool.run(flaky)

    assert (flaky.calls, await held(sim)) == (1, [1])


async def test_a_read_only_unit_has_nothing_to_lose_at_its_end(sim, pool):
    """No COMMIT, no doubt: it is run again."""
    calls = 0
    await pool.run(put, 1)

    async def work(connection):
        nonlocal calls
        calls += 1
        return await said(connection, "SELECT a FROM t")

    await sim.lose_answer("RELEASE SAVEPOINT")

    assert list(await pool.run(work, read_only=True)) == [(1,)]
    assert calls == 2


async def test_a_read_only_unit_writes_nothing(pool):
    """The server says so."""
    with pytest.raises(err.MySQLError) as caught:
        await pool.run(put, 1, read_only=True)

    assert caught.value.args[0] == 1792


async def test_a_function_that_gives_its_connection_back_loses_it(sim, pool):
    """Whoever has it now keeps it."""
    others = []

    async def work(connection):
        await put(connection, 1)
        await pool.release(connection)
        others.append(await pool.acquire())
        await put(others[0], 2)

    with pytest.raises(errors.ConfigurationError, match="given back"):
        await pool.run(work)

    await others[0].commit()
    assert await held(sim) == [2]
    pool.release(others[0])


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["read committed", "READ_COMMITTED", "serializable"])
async def test_readers_know_one_isolation_level_only(sim, monkeypatch, level):
    """Case 63: refused at once, and where the pool's own role is reader, too."""
    async with pooled(sim, monkeypatch) as pool:
        with pytest.raises(errors.ConfigurationError, match="REPEATABLE READ"):
            await pool.run(put, 1, role="reader", isolation=level)
    async with pooled(sim, monkeypatch, role="reader") as pool:
        with pytest.raises(errors.ConfigurationError, match="REPEATABLE READ"):
            await pool.run(put, 1, isolation=level)


async def test_an_unknown_isolation_level_is_refused(pool):
    """Before anything is leased."""
    with pytest.raises(errors.ConfigurationError, match="isolation"):
        await pool.run(put, 1, isolation="snapshot")


async def test_a_unit_runs_on_a_reader(sim, monkeypatch):
    """With the guard; REPEATABLE READ may be said."""
    await sim.execute("INSERT INTO t VALUES (1)")
    async with pooled(sim, monkeypatch) as pool:

        async def work(connection):
            assert connection.role is Role.READER
            return await said(connection, "SELECT a FROM t")

        assert list(await pool.run(work, role="reader", isolation="repeatable read")) == [(1,)]


# --- attempts -------------------------------------------------------------------------------------------------------


async def test_attempts_are_run_spelled_out(sim, pool):
    """Numbered from 1."""
    numbers = []

    async for attempt in pool.attempts():
        async with attempt as connection:
            numbers.append(attempt.number)
            await put(connection, attempt.number)
            if attempt.number < 3:
                raise err.OperationalError(1213, "Deadlock found")

    assert (numbers, await held(sim)) == ([1, 2, 3], [3])
    assert await is_as_it_was(pool)


async def test_an_attempt_that_fails_for_good_raises(sim, pool):
    """What the block raised."""

    async def work():
        async for attempt in pool.attempts():
            async with attempt as connection:
                await put(connection, 1)
                raise KeyError

    with pytest.raises(KeyError):
        await work()

    assert await held(sim) == []
    assert await is_as_it_was(pool)


async def test_a_return_within_an_attempt_returns_what_was_committed(sim, pool):
    """And leaves nothing behind: no generator, no task."""

    async def work():
        async for attempt in pool.attempts():
            async with attempt as connection:
                await put(connection, 1)
                return attempt.number
        return None

    assert await work() == 1
    assert await held(sim) == [1]


async def test_the_commit_at_the_end_of_an_attempt_raises(sim, pool):
    """The block may have returned already: it is not run again (DECISIONS 15)."""
    numbers = []

    async def work():
        async for attempt in pool.attempts():
            async with attempt as connection:
                numbers.append(attempt.number)
                await put(connection, 1)
                await sim.patch(silent_for=0.5)

    with pytest.raises(errors.TransactionLost) as caught:
        await work()

    assert caught.value.outcome is Outcome.ROLLED_BACK
    assert (numbers, await held(sim)) == ([1], [])
    assert await is_as_it_was(pool)


async def test_a_commit_as_the_last_line_of_an_attempt_is_tried_again(sim, pool):
    """DECISIONS 15."""
    numbers = []

    async for attempt in pool.attempts():
        async with attempt as connection:
            numbers.append(attempt.number)
            await put(connection, 1)
            if attempt.number == 1:
                await sim.patch(silent_for=0.5)
            await connection.commit()

    assert (numbers, await held(sim)) == ([1, 2], [1])
    assert await is_as_it_was(pool)


async def test_attempts_begin_on_another_connection_where_the_first_is_dead(sim, monkeypatch):
    """Its end is noticed at START TRANSACTION only: nothing was sent that counts."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        await sim.lose_answer("(SET AUTOCOMMIT|START TRANSACTION)", executed=False)

        async for attempt in pool.attempts():
            async with attempt as connection:
                await put(connection, 1)

        assert await held(sim) == [1]


async def test_attempts_that_cannot_begin_do_not_keep_the_pool_waiting(sim, monkeypatch):
    """Whoever keeps the error keeps the unit, which is over all the same."""
    loop, failures = asyncio.get_running_loop(), []
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        async with pool.acquire():
            try:
                async for attempt in pool.attempts(timeout=0.5):
                    async with attempt:
                        pass
            except errors.PoolTimeout as error:
                failures.append(error)
        began_at = loop.time()

        await pool.close(20)

        assert len(failures) == 1
        assert loop.time() - began_at < 1


async def test_an_attempt_that_is_cancelled_as_it_begins_does_not_keep_the_pool_waiting(sim, monkeypatch):
    """Nobody leaves its block, as nobody has entered it."""
    loop, begun = asyncio.get_running_loop(), []
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        async with pool.acquire():
            begun.append(await anext(aiter(pool.attempts())))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5), begun[0]:
                    pass
        began_at = loop.time()

        await pool.close(20)

        assert loop.time() - began_at < 1


async def test_an_attempt_that_is_cancelled_as_it_ends_does_not_keep_the_pool_waiting(sim, monkeypatch):
    """While what failed is rolled back, to be tried again."""
    loop, begun = asyncio.get_running_loop(), []
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        begun.append(await anext(aiter(pool.attempts())))

        async def work():
            async with asyncio.timeout(0.5) as limit, begun[0] as connection:
                await put(connection, 1)
                await sim.slow(0.3)
                limit.reschedule(loop.time() + 0.1)
                raise err.OperationalError(1213, "Deadlock found")

        with pytest.raises(TimeoutError):
            await work()
        await sim.heal()
        began_at = loop.time()

        await pool.close(20)

        assert loop.time() - began_at < 2


# --- transactional --------------------------------------------------------------------------------------------------


async def test_a_transactional_function_is_a_run(sim, pool):
    """With its arguments, also by name, and its result."""

    @pool.transactional(isolation="repeatable read")
    async def transfer(connection: Connection, first: int, *, second: int = 0) -> int:
        """Put two numbers."""
        await put(connection, first, second)
        return first + second

    assert await transfer(1, second=2) == 3
    assert await held(sim) == [1, 2]


async def test_a_transactional_function_keeps_its_name_and_the_rest_of_its_signature(pool):
    """Frameworks read it to know what to pass: not the connection, which is ours to give."""

    async def transfer(connection: Connection, first: int, *, second: int = 0) -> int:
        """Put two numbers."""
        return first + second

    made = pool.transactional()(transfer)

    assert (made.__name__, made.__doc__) == ("transfer", "Put two numbers.")
    assert list(inspect.signature(made).parameters) == ["first", "second"]
    assert inspect.signature(made).parameters["second"].default == 0
    assert inspect.iscoroutinefunction(made)
    assert "second" in get_type_hints(made, localns={"Connection": aioaurora.Connection})


async def test_an_option_that_is_unknown_is_refused_and_the_nearest_is_named(pool):
    """Before anything is begun; what the function is to be given goes by position."""
    for call in (pool.attempts, pool.transactional):
        with pytest.raises(errors.ConfigurationError, match=r"'isolaton' is no option: did you mean 'isolation'\?"):
            call(isolaton="read committed")
    with pytest.raises(errors.ConfigurationError, match=r"'readonly' is no option: did you mean 'read_only'\?"):
        await pool.run(put, 1, readonly=True)

    assert pool.stats().requests == 0


# --- cancelling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.11, 0.3, 0.45])
async def test_a_cancelled_run_leaves_nothing_open(sim, pool, after_s):
    """Wherever it is: the connection is clean or gone, and nothing of it stays."""
    await sim.slow(0.1)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(after_s):
            await pool.run(put, 1, 2)
    await asyncio.sleep(2)

    assert await pool.run(put, 3) == (3,)
    assert await held(sim) in ([3], [1, 2, 3])
    assert await sim.rows("SELECT COUNT(*) FROM t") is not None
    assert (pool.stats().leased, await is_as_it_was(pool)) == (0, True)


async def test_a_run_waits_no_longer_than_asked_for_a_connection(sim, monkeypatch):
    """The pool is used up: PoolTimeout, once."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool, pool.acquire():
        loop = asyncio.get_running_loop()
        began_at = loop.time()

        with pytest.raises(errors.PoolTimeout):
            await pool.run(put, 1, timeout=2)

        assert loop.time() - began_at == pytest.approx(2, abs=0.1)


async def test_draining_grants_a_running_unit_one_more_attempt(sim, monkeypatch):
    """And no third one; new units are refused."""
    async with pooled(sim, monkeypatch) as pool:
        calls, draining = 0, []

        async def work(connection):
            nonlocal calls
            calls += 1
            await put(connection, 1)
            if not draining:
                draining.append(asyncio.create_task(pool.drain()))
                await asyncio.sleep(0.1)
            raise err.OperationalError(1213, "Deadlock found")

        with pytest.raises(err.OperationalError):
            await pool.run(work)
        with pytest.raises(errors.PoolClosed):
            await pool.run(put, 2)

        assert calls == 2
        await draining[0]


async def test_draining_during_a_pause_grants_one_more_attempt(sim, monkeypatch):
    """As one during an attempt does: the next one begins in a pool that is being drained."""
    async with pooled(sim, monkeypatch) as pool:
        flaky, draining = Flaky(*[err.OperationalError(1213, "Deadlock found")] * 3), []

        def drain(state):
            draining.append(asyncio.create_task(pool.drain()))

        with pytest.raises(err.OperationalError):
            await pool.run(flaky, before_sleep=drain)

        assert flaky.calls == 2
        await draining[0]


# --- one statement --------------------------------------------------------------------------------------------------


async def test_one_statement_is_done_when_it_returns(sim, pool):
    """Under autocommit or not; with the number of rows."""
    assert await pool.execute("INSERT INTO t VALUES (1), (2)") == 2
    assert await held(sim) == [1, 2]

    assert list(await pool.fetch_all("SELECT a FROM t ORDER BY a")) == [(1,), (2,)]
    assert await pool.fetch_one("SELECT a FROM t WHERE a = %s", (2,)) == (2,)
    assert await pool.fetch_value("SELECT a FROM t WHERE a = %(a)s", {"a": 2}) == 2
    assert await pool.fetch_one("SELECT a FROM t WHERE a = 9") is None
    assert await pool.fetch_value("SELECT a FROM t WHERE a = 9") is None
    assert await is_as_it_was(pool)


async def test_a_value_of_a_row_with_names(sim, monkeypatch):
    """The first one, of a DictCursor's row."""
    async with pooled(sim, monkeypatch, cursorclass=aioaurora.DictCursor) as pool:
        assert await pool.fetch_value("SELECT 7 AS seven, 8 AS eight") == 7


async def test_one_statement_that_fails_raises(sim, pool):
    """The server's own error; nothing is open after it."""
    await pool.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(err.IntegrityError):
        await pool.execute("INSERT INTO t VALUES (1)")

    await asyncio.sleep(0.1)
    assert await is_as_it_was(pool)


async def test_no_statement_of_several_fails_unnoticed(sim, pool):
    """The second of a packet; its answer is not in the first result."""
    await pool.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(err.IntegrityError):
        await pool.execute("INSERT INTO t VALUES (2); INSERT INTO t VALUES (1)")


async def test_one_statement_that_was_never_sent_is_sent_again(sim, monkeypatch):
    """The connection had died in the pool."""
    async with pooled(sim, monkeypatch, maxsize=1) as pool:
        await pool.execute("INSERT INTO t VALUES (1)")
        (slot,) = pool._books.slots
        slot.connection.lose("as if its host were gone")

        assert await pool.execute("INSERT INTO t VALUES (2)") == 1
        assert await held(sim) == [1, 2]


async def test_one_statement_that_a_frozen_writer_refuses_waits_for_it(sim, pool):
    """1290: not run, so it may be run again (case 61)."""
    await pool.execute("INSERT INTO t VALUES (1)")
    await sim.freeze()
    running = asyncio.create_task(pool.execute("INSERT INTO t VALUES (2)"))
    await asyncio.sleep(2)
    assert not running.done()

    await sim.heal()

    assert await running == 1
    assert await held(sim) == [1, 2]


async def test_a_write_whose_answer_is_lost_is_not_repeated(sim, monkeypatch):
    """Under autocommit nobody knows; it was done here."""
    async with pooled(sim, monkeypatch, autocommit=True) as pool:
        await sim.lose_answer("INSERT")

        with pytest.raises(errors.OutcomeUnknown):
            await pool.execute("INSERT INTO t VALUES (1)")

        assert await held(sim) == [1]


async def test_a_commit_of_one_statement_whose_answer_is_lost_is_not_repeated(sim, monkeypatch):
    """DECISIONS 17."""
    async with pooled(sim, monkeypatch, autocommit=False) as pool:
        await sim.lose_commit_answer()

        with pytest.raises(errors.CommitOutcomeUnknown):
            await pool.execute("INSERT INTO t VALUES (1)")

        assert await held(sim) == [1]


async def test_one_statement_that_patching_undoes_before_its_commit_is_not_reported_done(sim, monkeypatch):
    """Case 52: the OK to a COMMIT proves nothing if the transaction was gone before it."""
    async with pooled(sim, monkeypatch, autocommit=False) as pool:
        await sim.slow(0.2)
        executing = asyncio.create_task(pool.execute("INSERT INTO t VALUES (1)"))
        await asyncio.sleep(0.1)
        await sim.patch(silent_for=1.0)

        await executing

        assert await held(sim) == [1]


async def test_what_does_no_harm_twice_is_repeated_if_the_caller_says_so(sim, pool):
    """`idempotent=True`, on the writer."""
    await sim.lose_answer("REPLACE")

    await pool.execute("REPLACE INTO t VALUES (1)", idempotent=True)

    assert await held(sim) == [1]


async def test_a_read_on_the_writer_is_not_repeated(sim, pool):
    """A read cannot be proven from SQL (DECISIONS 16)."""
    await sim.lose_answer("SELECT a")

    with pytest.raises(errors.ConnectionLost):
        await pool.fetch_all("SELECT a FROM t")


async def test_a_read_on_a_reader_is_repeated(sim, monkeypatch):
    """It wrote nothing there."""
    async with pooled(sim, monkeypatch) as pool:
        await sim.lose_answer("SELECT a")

        assert list(await pool.fetch_all("SELECT a FROM t", role="reader")) == []


@pytest.mark.parametrize("lost", ["SELECT a", "COMMIT"])
async def test_a_read_that_the_writer_serves_in_a_reader_s_stead_is_one_on_a_reader(sim, monkeypatch, lost):
    """Nothing is committed, so nobody need wonder what became of it, and it is repeated."""
    async with pooled(sim, monkeypatch, autocommit=False) as pool:
        for each in sim.readers:
            await sim.crash(each.id)
        await pool.run(put, 1)
        await sim.lose_answer(lost)

        assert list(await pool.fetch_all("SELECT a FROM t", role="reader")) == [(1,)]


@pytest.mark.parametrize("executed", [True, False])
async def test_a_write_on_a_reader_is_not_repeated(sim, monkeypatch, executed):
    """A reader may forward writes; where its answer is lost nobody knows."""
    async with pooled(sim, monkeypatch, autocommit=True) as pool:
        await sim.lose_answer("DELETE", executed=executed)

        with pytest.raises(errors.OutcomeUnknown):
            await pool.execute("DELETE FROM t", role="reader")


async def test_a_write_that_a_reader_takes_is_committed(sim, monkeypatch):
    """Readers may forward writes: what is reported as done stays done."""
    async with pooled(sim, monkeypatch, maxsize=1, autocommit=False) as pool:
        async with pool.acquire() as connection:
            connection.role = Role.READER  # It takes writes all the same.
        await is_as_it_was(pool)

        assert await pool.execute("INSERT INTO t VALUES (1)") == 1

        assert await is_as_it_was(pool)
        assert await held(sim) == [1]


async def test_one_statement_ends_at_its_deadline(sim, monkeypatch):
    """Refused again and again."""
    async with pooled(sim, monkeypatch) as pool:
        await pool.execute("INSERT INTO t VALUES (1)")
        loop = asyncio.get_running_loop()
        await sim.freeze()
        began_at = loop.time()

        with pytest.raises(err.OperationalError):
            await pool.execute("INSERT INTO t VALUES (2)", timeout=2)

        assert loop.time() - began_at <= 2.1
