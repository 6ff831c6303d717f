"""SQLAlchemy over a simulated cluster on MariaDB, in real time: what it can do, and what a failover does to it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import pathlib
import tempfile
from collections import Counter

import pytest
from alembic import autogenerate, command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    exc,
    func,
    insert,
    inspect,
    select,
    text,
)  # fmt: skip
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from aioaurora import errors
from aioaurora.simulator import SimulatedCluster
from aioaurora.sqlalchemy import cluster_of, run_in_transaction
from tests.engines import WHO, asked, driver_of, engine_on, filled
from tests.mariadb import private_mariadb

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.timeout(60)]
MODES = ["graceful", "crash", "blackhole"]


class Base(DeclarativeBase):
    """What is mapped."""


class Order(Base):
    """An order of a shop."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(String(50), index=True)
    details: Mapped[dict] = mapped_column(JSON)
    lines: Mapped[list[Line]] = relationship(back_populates="order", lazy="selectin")


class Line(Base):
    """A line of an order."""

    __tablename__ = "lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    article: Mapped[str] = mapped_column(String(50))
    order: Mapped[Order] = relationship(back_populates="lines")


@pytest.fixture
async def sim(installed_once):
    """Three instances on MariaDB."""
    async with SimulatedCluster(3, engine="mariadb") as started:
        yield started


@pytest.fixture
async def engine(sim):
    """An engine, and its tables."""
    async with engine_on(sim, pool_size=20) as entered:
        async with entered.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield entered


# --- what it can do -------------------------------------------------------------------------------------------------


async def test_orm_and_json(engine):
    """Objects, their relations and documents come back as they were."""
    sessions = async_sessionmaker(engine)
    details = {"gift": True, "note": "für Zoë ☃", "weights": [1.5, None]}
    async with sessions.begin() as session:
        session.add(Order(customer="zoe", details=details, lines=[Line(article="tea"), Line(article="pot")]))

    async with sessions() as session:
        order = (await session.scalars(select(Order))).one()
        gifts = await session.scalar(select(func.count()).where(Order.details["gift"].as_boolean()))

    assert (order.details, [line.article for line in order.lines], gifts) == (details, ["tea", "pot"], 1)


async def test_executemany_tells_how_many(engine):
    """In one round trip."""
    async with engine.begin() as connection:
        rows = [{"customer": f"c{number}", "details": {}} for number in range(1000)]
        result = await connection.execute(insert(Order), rows)
        assert result.rowcount == 1000
        changed = await connection.execute(text("UPDATE orders SET customer = 'c1' WHERE customer IN ('c1', 'c2')"))

    assert changed.rowcount == 2  # Found, not changed: as SQLAlchemy wants it.


async def test_server_side_cursors(engine):
    """Rows come as they are asked for, and one that is left early costs nobody his connection."""
    async with engine.begin() as connection:
        await connection.execute(insert(Order), [{"customer": "c", "details": {}} for _ in range(1000)])

    async with engine.connect() as connection:
        result = await connection.stream(select(Order.id).order_by(Order.id))
        first = [row.id for row in await result.fetchmany(3)]
        await result.close()
        again = (await connection.stream(select(Order.id))).scalars()
        assert [number async for number in again][:3] == first == [1, 2, 3]

    assert await asked(engine, "SELECT COUNT(*) FROM orders") == (1000,)


@pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE", "REPEATABLE READ", "AUTOCOMMIT"])
async def test_isolation_levels(engine, level):
    """For one connection; the pool's is as it was."""
    async with engine.connect() as connection:
        chosen = await connection.execution_options(isolation_level=level)
        if level == "AUTOCOMMIT":
            await chosen.execute(insert(Order), {"customer": "c", "details": {}})
            assert (await driver_of(chosen)).get_autocommit()
        else:
            assert await chosen.get_isolation_level() == level

    async with engine.connect() as connection:
        assert await connection.get_isolation_level() == "REPEATABLE READ"
        assert not (await driver_of(connection)).get_autocommit()
        assert (await connection.execute(text("SELECT COUNT(*) FROM orders"))).scalar() == (level == "AUTOCOMMIT")


async def test_reflection(engine):
    """What is there is read back: tables, keys, indexes."""
    read = MetaData()
    async with engine.connect() as connection:
        await connection.run_sync(read.reflect)
        indexes = await connection.run_sync(lambda sync: inspect(sync).get_indexes("orders"))

    assert sorted(read.tables) == ["lines", "orders"]
    assert [key.target_fullname for key in read.tables["lines"].foreign_keys] == ["orders.id"]
    assert [index["column_names"] for index in indexes] == [["customer"]]


async def test_the_character_set_is_said_with_the_connect(sim):
    """As SQLAlchemy says it, without a round trip of its own; an `init_command` of the user's too."""
    query = {"charset": "latin1", "init_command": "SET @greeting = 'hello'"}
    async with engine_on(sim, query=query) as engine:
        assert await asked(engine, "SELECT @@character_set_client, @@character_set_results, @greeting, 'é'") == (
            "latin1",
            "latin1",
            "hello",
            "é",
        )


async def test_a_plain_replica_is_a_cluster_of_one():
    """No Aurora, and read-only: nobody waits for its writer."""
    with (
        tempfile.TemporaryDirectory(prefix="aa-") as place,
        private_mariadb(pathlib.Path(place), ["--read-only"]) as it,
    ):
        engine = create_async_engine(f"mysql+aioaurora://root@127.0.0.1:{it.port}")
        try:
            seen = [await asked(engine, "SELECT CONNECTION_ID(), @@read_only")]
            assert not engine.dialect.clusters.here().is_sought()
            seen.append(await asked(engine, "SELECT CONNECTION_ID(), @@read_only"))
        finally:
            await engine.dispose()

    assert seen == [(seen[0][0], 1)] * 2


REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "1", None


def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True), sa.Column("customer", sa.String(50)))
    op.create_index("by_customer", "orders", ["customer"])


def downgrade():
    op.drop_table("orders")
"""


async def test_alembic_migrates(sim, tmp_path):
    """By its own template for asyncio, up and down; and what it has made it finds again."""
    migrations = _migrations(tmp_path, _url(sim))
    read = MetaData()

    await asyncio.to_thread(command.upgrade, migrations, "head")
    async with engine_on(sim) as engine, engine.connect() as connection:
        await connection.run_sync(read.reflect)
        read.remove(read.tables["alembic_version"])
        differences = await connection.run_sync(
            lambda sync: autogenerate.compare_metadata(MigrationContext.configure(sync), read)
        )
    await asyncio.to_thread(command.downgrade, migrations, "base")

    assert list(read.tables) == ["orders"]
    assert [index.name for index in read.tables["orders"].indexes] == ["by_customer"]
    assert [what for what, table in differences if table.name != "alembic_version"] == []
    assert await sim.rows("SHOW TABLES LIKE 'orders'") == []


async def test_an_upsert_is_written_for_the_version_that_instances_say():
    """MariaDB does not know what SQLAlchemy writes for MySQL 8; `server_version` says what there is."""
    table = Table("stock", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
    upsert = mysql.insert(table).values(id=1, n=2)
    upsert = upsert.on_duplicate_key_update(n=upsert.inserted.n)
    async with (
        SimulatedCluster(1, engine="mariadb", server_version="10.11.6-MariaDB") as sim,
        engine_on(sim) as engine,
        engine.begin() as connection,
    ):
        await connection.run_sync(table.metadata.create_all)
        await connection.execute(upsert)
        await connection.execute(upsert)

        assert (await connection.execute(select(table.c.n))).scalars().all() == [2]
        assert engine.dialect.is_mariadb


def _url(sim: SimulatedCluster) -> str:
    return f"mysql+aioaurora{sim.url.removeprefix('mysql')}"


def _migrations(place: pathlib.Path, url: str) -> Config:
    config = Config(place / "alembic.ini", stdout=io.StringIO(), output_buffer=io.StringIO())
    command.init(config, str(place / "migrations"), template="async")
    (place / "migrations" / "versions" / "1.py").write_text(REVISION)
    config = Config(place / "alembic.ini", stdout=io.StringIO(), output_buffer=io.StringIO())
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


# --- what a failover does -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_the_first_checkout_after_a_failover_is_on_the_new_writer(sim, engine, mode):
    """Twenty pooled connections, no ping: none of them is ever handed out again."""
    old = await filled(engine, 20)
    failed_at = asyncio.get_running_loop().time()

    await sim.failover(mode, "db-2", promote_after=1.0, target_down_for=0.5)
    await asyncio.sleep(4.0 if mode == "blackhole" else 0.0)
    first = await asked(engine)
    async with contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(engine.connect()) for _ in range(20)]
        rows = {tuple((await connection.execute(text(WHO))).one()) for connection in connections}

    assert len(old) == 20
    assert first == ("db-2", 0)
    assert rows == {("db-2", 0)}
    assert asyncio.get_running_loop().time() - failed_at < 15
    assert cluster_of(engine).topology.epoch == 2


async def test_nobody_is_ever_handed_a_reader_for_the_writer(sim, engine):
    """Twenty tasks check out and write all the while; no first statement meets a reader, nor does a write."""
    seen, failures = Counter(), Counter()
    numbers, stop = itertools.count(1), asyncio.Event()
    acknowledged: set[int] = set()

    async def work():
        while not stop.is_set():
            number = next(numbers)
            with contextlib.suppress(exc.DBAPIError):
                try:
                    async with engine.begin() as connection:
                        seen[tuple((await connection.execute(text(WHO))).one())] += 1
                        await connection.execute(insert(Order), {"id": number, "customer": "c", "details": {}})
                    acknowledged.add(number)
                except exc.DBAPIError as error:
                    failures[type(error.orig)] += 1
                    raise
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(work())
        await asyncio.sleep(0.5)
        since = asyncio.get_running_loop().time()
        await sim.failover("crash", "db-2", promote_after=1.0, target_down_for=0.5, returns_after=1.0)
        await sim.timeline.wait_for("promoted", since=since)
        await asyncio.sleep(2.0)  # The old writer comes back meanwhile, as a reader.
        stop.set()

    assert set(seen) == {("db-1", 0), ("db-2", 0)}
    assert set(failures) <= {errors.ConnectionLost, errors.CommitOutcomeUnknown}
    kept = {number for (number,) in await sim.rows("SELECT id FROM orders")}
    assert acknowledged <= kept


async def test_units_of_work_go_through_a_failover(sim, engine):
    """Each is done once, whoever the writer was; only a lost COMMIT is told."""
    sessions = async_sessionmaker(engine)
    done, unknown = [], []

    async def place(session, number):
        session.add(Order(id=number, customer="c", details={}))
        await session.flush()
        session.add(Line(order_id=number, article="tea"))

    async def work(numbers):
        for number in numbers:
            try:
                await run_in_transaction(sessions, place, number)
                done.append(number)
            except exc.OperationalError as error:
                if not isinstance(error.orig, errors.CommitOutcomeUnknown):
                    raise
                unknown.append(number)
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for first in range(1, 1000, 100):
            group.create_task(work(range(first, first + 20)))
        await asyncio.sleep(0.5)
        await sim.failover("crash", "db-2", promote_after=1.0, target_down_for=0.5)

    orders = [number for (number,) in await sim.rows("SELECT id FROM orders")]
    lines = [number for (number,) in await sim.rows("SELECT order_id FROM `lines`")]
    assert len(done) + len(unknown) == 200
    assert set(done) <= set(orders) <= set(done) | set(unknown)
    assert sorted(orders) == sorted(lines)
    assert engine.pool.checkedout() == 0
