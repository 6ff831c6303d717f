"""The engine `dsn`: several clusters on a server that somebody else runs, which keeps nothing of them."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora.simulator import SimulatedCluster
from tests.mariadb import private_mariadb
from tests.simulator.plain_client import ask, close_all, dialled, errno

pytestmark = pytest.mark.needs("mariadbd")

AGES = (
    "SELECT TIMESTAMPDIFF(SECOND, LAST_UPDATE_TIMESTAMP, NOW()) FROM information_schema.replica_host_status "
    "WHERE SERVER_ID = @@aurora_server_id"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server far from UTC, with a schema and a table in it."""
    with private_mariadb(tmp_path_factory.mktemp("dsn"), ["--default-time-zone=-05:00"]) as running:
        yield running


@pytest.fixture
def start(server):
    """Make a cluster on the server."""

    def made(instances=3, **options):
        return SimulatedCluster(instances, engine="dsn", dsn=f"mysql://root@127.0.0.1:{server.port}", **options)

    return made


async def schemas(sim):
    """What there is on the server, besides its own."""
    names = {name for (name,) in await sim.rows("SHOW DATABASES")}
    return names - {"information_schema", "mysql", "performance_schema", "sys", "test"}


async def test_two_clusters_on_one_server_do_not_know_each_other(start):
    """Workers of one test run, beside one service container: also while one of them ends."""
    sql = "SELECT SERVER_ID FROM information_schema.replica_host_status WHERE SESSION_ID = 'MASTER_SESSION_ID'"
    async with start() as one:
        async with start() as other:
            await other.execute("CREATE TABLE t (n INT)")
            await other.failover("crash", to="db-2", promote_after=0.2)
            assert await ask(await dialled(one, one.writer), sql) == [("db-1",)]
            assert await ask(await dialled(other, other.writer), sql) == [("db-2",)]
            assert await errno(ask(await dialled(one, one.writer), "SELECT * FROM t")) == 1146

        assert await ask(await dialled(one, one.writer), sql) == [("db-1",)]
        close_all()


async def test_a_server_keeps_nothing_of_a_cluster(start):
    """Not even where a session sits in a transaction at the end; what was there before stays."""
    async with start(1, database="theirs") as keeper:
        await keeper.execute("CREATE TABLE kept (n INT)")
        before = await schemas(keeper)
        async with start(2, database="theirs") as guest, start(2) as other:
            await guest.add_instance("db-9")
            await guest.remove_instance("db-9")
            await guest.switch_to_green()
            for sim in (guest, other):
                await sim.execute("CREATE TABLE IF NOT EXISTS t (n INT)")
                connection = await dialled(sim, sim.writer, autocommit=False)
                await ask(connection, "INSERT INTO t VALUES (1)")
            assert await schemas(keeper) > before
        close_all()

        assert await schemas(keeper) == before
        assert await keeper.rows("SELECT * FROM kept") == []
    async with start(1) as last:
        assert await schemas(last) == {last.database, f"aurora_{last._core.mark}_1"}


async def test_rows_are_as_old_as_they_say(start):
    """Compared with NOW(), as clients do, whatever the server's time zone."""
    async with start(2) as sim:
        await asyncio.sleep(0.2)
        assert await ask(await dialled(sim, sim.readers[0]), AGES) in ([(0,)], [(1,)])
        close_all()


async def test_rows_of_a_private_server_are_as_old_as_they_say(monkeypatch):
    """It runs in UTC, as at RDS."""
    monkeypatch.setenv("TZ", "America/New_York")
    async with SimulatedCluster(2, engine="mariadb") as sim:
        connection = await dialled(sim, sim.readers[0])
        assert await ask(connection, AGES) in ([(0,)], [(1,)])
        assert await ask(connection, "SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), NOW())") == [(0,)]
        close_all()
