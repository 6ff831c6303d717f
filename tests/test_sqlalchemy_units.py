"""Units of work with a session of SQLAlchemy, on virtual time: what is run again, and what is never believed."""

from __future__ import annotations

import asyncio
import contextlib
import re

import pytest
from pymysql import err
from sqlalchemy import event, exc, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from aioaurora import errors
from aioaurora.errors import Outcome
from aioaurora.simulator import SimulatedCluster
from aioaurora.sqlalchemy import run_in_transaction
from tests.engines import driver_of, engine_on
from tests.pools import CancelAt


class Base(DeclarativeBase):
    """What the tests map."""


class Number(Base):
    """A row."""

    __tablename__ = "t"
    a: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer, and a table."""
    async with SimulatedCluster(3, engine="memory") as started:
        await started.execute("CREATE TABLE t (a INT PRIMARY KEY)")
        yield started


EITHER = pytest.mark.parametrize("engine", [None, "AUTOCOMMIT"], ids=["autocommit off", "autocommit on"], indirect=True)


@pytest.fixture
async def engine(request, sim, monkeypatch):
    """An engine of one connection to the writer."""
    level = getattr(request, "param", None)
    options = {"isolation_level": level} if level else {}
    async with engine_on(sim, monkeypatch, pool_size=1, max_overflow=0, **options) as entered:
        yield entered


@pytest.fixture
def sessions(engine):
    """Makes its sessions."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def put(session, *numbers):
    """Insert numbers."""
    for number in numbers:
        session.add(Number(a=number))
    await session.flush()
    return numbers


async def held(sim):
    """The numbers that the engine has committed."""
    return sorted(number for (number,) in await sim.rows("SELECT a FROM t"))


async def is_as_it_was(engine):
    """Whether its connection is back, with nothing open on it, and autocommit as configured."""
    assert engine.pool.checkedout() == 0
    async with engine.connect() as connection:
        driver = await driver_of(connection)
        is_clean = not (driver.is_in_transaction or driver.is_in_unit or driver._guard)
        return is_clean and driver.get_autocommit() == driver.autocommit_mode


class Flaky:
    """A function that puts its number, and fails the first times."""

    def __init__(self, *failures, number=1):
        self.failures, self.calls, self.number = list(failures), 0, number

    async def __call__(self, session):
        self.calls += 1
        await put(session, self.number)
        if self.failures:
            raise self.failures.pop(0)
        return self.number


def wrapped(error):
    """What SQLAlchemy makes of an error of the driver's."""
    return exc.DBAPIError.instance("INSERT", None, error, err.Error)


@EITHER
async def test_it_gives_the_result_and_commits(sim, engine, sessions):
    """With the arguments after the session."""
    assert await run_in_transaction(sessions, put, 1, 2) == (1, 2)

    assert await held(sim) == [1, 2]
    assert await is_as_it_was(engine)


async def test_connections_that_are_stale_when_they_are_there_are_asked_for_again(sim, engine, sessions):
    """SQLAlchemy's pool gives up at the third in a row: so many failovers at a time."""
    await run_in_transaction(sessions, put, 1)
    left = iter(range(3))

    def stale(*_):
        if next(left, None) is not None:
            raise exc.DisconnectionError("it is no longer the writer")

    event.listen(engine.sync_engine.pool, "checkout", stale)

    assert await run_in_transaction(sessions, put, 2) == (2,)

    assert await held(sim) == [1, 2]
    assert await is_as_it_was(engine)


async def test_what_was_not_flushed_is_committed(sim, engine, sessions):
    """As with any session."""

    async def add(session):
        session.add(Number(a=1))

    await run_in_transaction(sessions, add)

    assert await held(sim) == [1]
    assert await is_as_it_was(engine)


@EITHER
async def test_a_function_that_does_nothing(sim, engine, sessions):
    """Nothing is to be committed."""

    async def nothing(session):
        return 7

    assert await run_in_transaction(sessions, nothing) == 7
    assert await is_as_it_was(engine)


@EITHER
async def test_it_rolls_back_whatever_the_function_raises(sim, engine, sessions):
    """And hands its exception on."""
    flaky = Flaky(KeyError("x"))

    with pytest.raises(KeyError, match="x"):
        await run_in_transaction(sessions, flaky)

    assert (flaky.calls, await held(sim)) == (1, [])
    assert await is_as_it_was(engine)


@pytest.mark.parametrize("number", [1213, 1205])
async def test_a_deadlock_is_run_again_and_a_lock_wait_if_asked_for(sim, engine, sessions, number):
    """SQLAlchemy's error stands for the driver's."""
    failures = [wrapped(err.OperationalError(number, "waited")) for _ in range(2)]
    flaky = Flaky(*failures)

    assert await run_in_transaction(sessions, flaky, retry_lock_waits=True) == 1

    assert (flaky.calls, await held(sim)) == (3, [1])
    assert await is_as_it_was(engine)
    if number == 1205:
        with pytest.raises(exc.OperationalError):
            await run_in_transaction(sessions, Flaky(*failures, number=2))


@pytest.mark.parametrize("outcome", Outcome)
async def test_what_was_lost_is_run_again_unless_nobody_knows(engine, sessions, outcome):
    """Not sent, refused, rolled back with its session."""
    flaky = Flaky(wrapped(errors.ConnectionLost("db-1", epoch=1, outcome=outcome)))

    if outcome is Outcome.UNKNOWN:
        with pytest.raises(exc.OperationalError):
            await run_in_transaction(sessions, flaky)
    else:
        assert await run_in_transaction(sessions, flaky) == 1

    assert flaky.calls == (1 if outcome is Outcome.UNKNOWN else 2)
    assert await is_as_it_was(engine)


async def test_nothing_else_is_run_again(sim, engine, sessions):
    """A duplicate key stays one."""
    await sim.execute("INSERT INTO t VALUES (1)")
    flaky = Flaky()

    with pytest.raises(exc.IntegrityError):
        await run_in_transaction(sessions, flaky)

    assert flaky.calls == 1
    assert await is_as_it_was(engine)


@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_a_failover_between_two_statements_is_run_again_on_the_new_writer(sim, engine, sessions, mode):
    """Nothing of it was done."""
    seen = []

    async def work(session):
        seen.append((await driver_of(await session.connection())).instance)
        await put(session, len(seen))
        if len(seen) == 1:
            await sim.failover(mode, "db-2", promote_after=1.0, target_down_for=0.5)
        await put(session, 10 + len(seen))

    await run_in_transaction(sessions, work)

    assert seen == ["db-1", "db-2"]
    assert await held(sim) == [2, 12]
    assert await is_as_it_was(engine)


@EITHER
async def test_a_commit_whose_answer_is_lost_is_never_run_again(sim, engine, sessions):
    """Only the caller can know; `orig` says so."""
    await run_in_transaction(sessions, put, 9)
    flaky = Flaky()
    await sim.lose_commit_answer()

    with pytest.raises(exc.OperationalError) as caught:
        await run_in_transaction(sessions, flaky)

    assert type(caught.value.orig) is errors.CommitOutcomeUnknown
    assert (flaky.calls, await held(sim)) == (1, [1, 9])
    assert await is_as_it_was(engine)


async def test_it_takes_three_packets(engine, sessions):
    """One to begin, one for the row; the session's commit is the guarded one, and the pool has nothing to roll back."""
    await run_in_transaction(sessions, put, 1)
    async with engine.connect() as connection:
        driver = await driver_of(connection)
    sent, send = [], driver._send
    driver._send = lambda command, payload: (sent.append(payload.decode()), send(command, payload))

    await run_in_transaction(sessions, put, 2)

    assert [re.findall(r"^;?([A-Z]+)", packet, re.MULTILINE) for packet in sent] == [
        ["START", "SAVEPOINT"], ["INSERT"], ["RELEASE", "COMMIT"],
    ]  # fmt: skip


async def test_ddl_of_the_functions_own_is_no_success(sim, engine, sessions):
    """Case 52: the transaction that would be committed is not the one that was begun."""

    async def work(session):
        await put(session, 1)
        await session.execute(text("CREATE TABLE u (a INT)"))

    with pytest.raises(exc.OperationalError) as caught:
        await run_in_transaction(sessions, work)

    assert type(caught.value.orig) is errors.TransactionLost
    assert caught.value.orig.outcome is Outcome.UNKNOWN
    assert await is_as_it_was(engine)


async def test_a_patch_that_undoes_the_transaction_is_run_again(sim, engine, sessions):
    """Case 39: the session lives, its transaction does not."""
    calls = []

    async def work(session):
        calls.append(1)
        await put(session, 1)
        if len(calls) == 1:
            await sim.patch("db-1", silent_for=0.1)
            await asyncio.sleep(0.5)

    await run_in_transaction(sessions, work)

    assert (len(calls), await held(sim)) == (2, [1])
    assert await is_as_it_was(engine)


@EITHER
async def test_the_functions_own_commit_counts(sim, engine, sessions):
    """Its last line may be `await session.commit()`."""

    async def work(session):
        await put(session, 1)
        await session.commit()

    await run_in_transaction(sessions, work)

    assert await held(sim) == [1]
    assert await is_as_it_was(engine)


async def test_nothing_is_run_again_after_the_functions_own_commit(sim, engine, sessions):
    """A part of it is done."""
    calls = []

    async def work(session):
        calls.append(1)
        await put(session, len(calls))
        await session.commit()
        raise wrapped(err.OperationalError(1213, "Deadlock found"))

    with pytest.raises(exc.OperationalError, match="Deadlock"):
        await run_in_transaction(sessions, work)

    assert (len(calls), await held(sim)) == (1, [1])
    assert await is_as_it_was(engine)


@EITHER
async def test_after_its_own_commit_the_next_transaction_is_guarded_too(sim, engine, sessions):
    """And its own rollback begins anew."""

    async def work(session):
        await put(session, 1)
        await session.commit()
        await put(session, 2)
        await session.rollback()
        async with session.begin():
            await put(session, 3)
        await put(session, 4)

    await run_in_transaction(sessions, work)

    assert await held(sim) == [1, 3, 4]
    assert await is_as_it_was(engine)


@EITHER
async def test_a_loss_that_is_passed_over_is_run_again(sim, engine, sessions):
    """SQLAlchemy would go on with a connection on which no unit was begun, and do it twice."""
    calls = []

    async def work(session):
        calls.append(1)
        await put(session, 1)
        if len(calls) == 1:
            await sim.lose_answer("SELECT 7", executed=False)
            with contextlib.suppress(exc.DBAPIError):
                await session.execute(text("SELECT 7"))
            await session.rollback()
            await put(session, 2)
            await session.commit()

    await run_in_transaction(sessions, work)

    assert (len(calls), await held(sim)) == (2, [1])
    assert await is_as_it_was(engine)


async def test_a_savepoint_of_the_functions_own(sim, engine, sessions):
    """`begin_nested` is no commit."""
    failures = [wrapped(err.OperationalError(1213, "Deadlock found"))]

    async def work(session):
        async with session.begin_nested():
            await put(session, 1)
        with contextlib.suppress(KeyError):
            async with session.begin_nested():
                await put(session, 2)
                raise KeyError
        if failures:
            raise failures.pop()

    await run_in_transaction(sessions, work)

    assert await held(sim) == [1]
    assert await is_as_it_was(engine)


async def test_it_is_bounded_by_its_timeout(engine, sessions):
    """The last error is raised."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    flaky = Flaky(*[wrapped(err.OperationalError(1213, "Deadlock found")) for _ in range(1000)])

    with pytest.raises(exc.OperationalError, match="Deadlock"):
        await run_in_transaction(sessions, flaky, timeout=3)

    assert loop.time() - began_at <= 3
    assert flaky.calls > 3


async def test_no_writer_is_waited_for_as_long_as_said(sim, engine, sessions):
    """The checkout has the unit's deadline."""
    await run_in_transaction(sessions, put, 1)
    loop = asyncio.get_running_loop()
    await sim.freeze()
    await asyncio.sleep(1.5)
    began_at = loop.time()

    with pytest.raises(exc.OperationalError) as caught:
        await run_in_transaction(sessions, put, 2, timeout=1)

    assert isinstance(caught.value.orig, errors.NoWriter)
    assert loop.time() - began_at == pytest.approx(1, abs=0.1)
    assert engine.pool.checkedout() == 0


async def test_a_pool_that_is_exhausted_is_waited_for_as_long_as_said(engine, sessions):
    """SQLAlchemy's own `pool_timeout` knows nothing of the unit's deadline."""
    await run_in_transaction(sessions, put, 1)
    loop = asyncio.get_running_loop()
    async with engine.connect():
        began_at = loop.time()
        with pytest.raises(errors.PoolTimeout, match=r"no connection within 2\.0 s: .*out connections: 1"):
            await run_in_transaction(sessions, put, 2, timeout=2)

    assert loop.time() - began_at == pytest.approx(2, abs=0.3)
    assert await is_as_it_was(engine)


async def test_a_rollback_that_is_not_answered_is_not_waited_for(sim, monkeypatch):
    """Where nobody follows the cluster, nobody else would end it."""
    options = {"follow": "off"}
    async with engine_on(sim, monkeypatch, pool_size=1, max_overflow=0, connect_args=options) as engine:
        sessions = async_sessionmaker(engine)

        async def fail(session):
            await put(session, 1)
            await sim.hang("db-1")
            raise KeyError("x")

        with pytest.raises(KeyError, match="x"):
            async with asyncio.timeout(60):
                await run_in_transaction(sessions, fail)

        await sim.heal()
        assert await is_as_it_was(engine)


@pytest.mark.parametrize("options", [{"isolation": "read committed"}, {"read_only": True}])
async def test_options_are_those_of_a_pools_units(sim, engine, sessions, options):
    """Said as the transaction begins."""
    seen = []

    async def work(session):
        driver = await driver_of(await session.connection())
        seen.extend(driver._opened_with)

    await run_in_transaction(sessions, work, **options)

    assert "READ" in "; ".join(seen)
    assert await is_as_it_was(engine)


async def test_a_reader_engine_refuses_other_isolation(sim, monkeypatch):
    """Case 63."""
    async with engine_on(sim, monkeypatch, query={"role": "reader"}) as engine:
        sessions = async_sessionmaker(engine)

        async def read(session):
            return (await session.execute(text("SELECT @@innodb_read_only"))).scalar()

        assert await run_in_transaction(sessions, read) == 1
        with pytest.raises(errors.ConfigurationError, match="REPEATABLE READ only"):
            await run_in_transaction(sessions, read, isolation="serializable")
        assert engine.pool.checkedout() == 0


async def test_a_session_class_with_engines_of_its_own(sim, engine):
    """`engine=` says whose connection it gets."""

    class Routed(Session):
        def get_bind(self, mapper=None, **arguments):
            return self.bind or engine.sync_engine

    sessions = async_sessionmaker(sync_session_class=Routed)

    await run_in_transaction(sessions, put, 1, engine=engine)

    assert await held(sim) == [1]


async def test_a_session_whose_classes_have_engines_of_their_own(sim, engine):
    """All of a unit is done on its one connection: what went elsewhere would not be undone with it."""
    other = create_async_engine("mysql+aioaurora://app@db.test/shop")
    sessions = async_sessionmaker(engine, binds={Number: other})

    await run_in_transaction(sessions, put, 1)

    assert await held(sim) == [1]


async def test_what_cannot_work_is_refused(sessions):
    """With what to write instead."""
    other = create_async_engine("mysql+aiomysql://app@db.test/shop")
    with pytest.raises(errors.ConfigurationError, match="pass engine="):
        await run_in_transaction(async_sessionmaker(), put, 1)
    with pytest.raises(errors.ConfigurationError, match="pass engine="):
        await run_in_transaction(async_sessionmaker(other), put, 1)
    with pytest.raises(errors.ConfigurationError, match="role= is the engine's"):
        await run_in_transaction(sessions, put, 1, role="reader")
    with pytest.raises(errors.ConfigurationError, match="timeout=-1"):
        await run_in_transaction(sessions, put, 1, timeout=-1)
    with pytest.raises(errors.ConfigurationError, match="did you mean 'isolation'"):
        await run_in_transaction(sessions, put, 1, isolaton="serializable")


async def test_sessions_are_of_the_factorys_class(engine):
    """With its options."""

    class Own(AsyncSession):
        pass

    async def kind(session):
        return type(session), session.sync_session.expire_on_commit

    assert await run_in_transaction(async_sessionmaker(engine, class_=Own, expire_on_commit=False), kind) == (
        Own,
        False,
    )


async def test_cancelling_it_anywhere_loses_nothing(sim, monkeypatch):
    """Case 31: no connection, no transaction; and what was committed was committed whole."""
    async with engine_on(sim, monkeypatch, pool_size=1, max_overflow=0) as engine:
        sessions = async_sessionmaker(engine)
        await run_in_transaction(sessions, put, 100, 101)
        for k in range(200):
            sweep = CancelAt(run_in_transaction(sessions, put, 2 * k, 2 * k + 1000), k)
            with contextlib.suppress(asyncio.CancelledError):
                await sweep
            await asyncio.sleep(0.2)
            assert engine.pool.checkedout() == 0
            numbers = await held(sim)
            assert (2 * k in numbers) == (2 * k + 1000 in numbers)
            assert await is_as_it_was(engine)
            if not sweep.reached:
                break

        assert not sweep.reached
