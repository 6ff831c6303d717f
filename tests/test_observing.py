"""The switch: with `follow="observe"` all is decided and told, and nothing is done; with "off" nobody is asked."""

from __future__ import annotations

import asyncio

import pytest

import aioaurora
from aioaurora import errors, events
from aioaurora.environment import from_env
from aioaurora.simulator import SimulatedCluster
from tests.pools import connections_at, pooled, run, told
from tests.virtual import following, made_for, names, until

SERVER_ID = "SELECT @@aurora_server_id"


@pytest.fixture
async def sim():
    """Three instances, of which db-1 is the writer."""
    async with SimulatedCluster(3, engine="memory") as started:
        yield started


async def test_it_watches_and_tells_the_same_failover(sim, monkeypatch):
    """Search and end of the search are those of "on"."""
    logs: dict[str, list] = {}
    for follow in ("on", "observe"):
        log = logs[follow] = []
        writer = sim.writer.id
        async with following(sim, monkeypatch, follow=follow, listeners=[log.append]) as cluster:
            connection = await cluster.connect()
            await asyncio.sleep(1)
            assert cluster.topology.writer.id == writer
            await sim.failover(mode="crash", promote_after=2.0, returns_after=1.0, dns_lag=0.0)
            await asyncio.sleep(3)
            assert cluster.topology.writer.id == sim.writer.id
            connection.close()
        await asyncio.sleep(5)

    kinds = (events.FailoverStarted, events.FailoverFinished)
    seen = {follow: [type(each) for each in log if isinstance(each, kinds)] for follow, log in logs.items()}
    assert seen["observe"] == seen["on"] == list(kinds)


async def test_it_connects_to_the_endpoint_wherever_that_leads(sim, monkeypatch):
    """And tells where it would have gone: here DNS still names the old writer, which is a reader by now."""
    log: list[events.Event] = []
    async with following(sim, monkeypatch, follow="observe", listeners=[log.append]) as cluster:
        (await cluster.connect()).close()
        await asyncio.sleep(1)
        sim.dns.freeze(sim.endpoint)
        await sim.failover(to="db-2", promote_after=2.0, returns_after=0.5)
        await asyncio.sleep(3)

        with pytest.raises(errors.NoWriter, match="'db-1' says it is read_only"):
            await cluster.connect(timeout=1.0)

        assert cluster.topology.writer.id == "db-2"
        told_of = {(each.role, each.instance, each.choice) for each in told(events.ChoiceWithheld, log)}
        assert told_of == {("writer", "db-1", "db-2")}


async def test_it_cuts_nothing_and_says_what_it_would_have_cut(sim, monkeypatch):
    """A statement on a silent writer goes on waiting when another is the writer."""
    log: list[events.Event] = []
    options = {"follow": "observe", "listeners": [log.append], "tcp_user_timeout": 600.0}
    async with following(sim, monkeypatch, **options) as cluster:
        connection = await cluster.connect()
        await asyncio.sleep(1)
        waiting = asyncio.create_task(run(connection, "SELECT SLEEP(100)"))
        await asyncio.sleep(0.1)
        await sim.failover(mode="blackhole", promote_after=2.0, returns_after=500.0)
        await until(lambda: told(events.Withheld, log), 300)  # The kernel's clock is real.
        await asyncio.sleep(20)

        assert not waiting.done()
        withheld = told(events.Withheld, log)
        assert {(each.what, each.instance, each.count) for each in withheld} == {("abort", "db-1", 1)}
        assert told(events.StatementsAborted, log) == []
        waiting.cancel()
        await asyncio.wait({waiting})
    await sim.heal()


async def test_a_pool_keeps_what_it_has_and_says_what_it_would_not_have_kept(sim, monkeypatch):
    """Idle connections to a writer that went silent, and was replaced."""
    log: list[events.Event] = []
    async with pooled(sim, monkeypatch, follow="observe", listeners=[log.append], minsize=3) as pool:
        await asyncio.sleep(1)
        await sim.failover(mode="blackhole", promote_after=2.0, returns_after=500.0, dns_lag=0.0)
        await until(lambda: told(events.Withheld, log), 300)  # The kernel's clock is real.
        await asyncio.sleep(1)

        expired = [each for each in told(events.Withheld, log) if each.what == "expire"]
        assert [(each.instance, each.count) for each in expired] == [("db-1", 3)]
        assert (pool.freesize, pool.stats().closed) == (3, {})
        pool.terminate()
    await sim.heal()


async def test_nobody_is_refused_for_a_search_that_only_watches(sim, monkeypatch):
    """`give_up_waiting_after` is a decision, too."""
    options = {"follow": "observe", "give_up_waiting_after": 1.0, "acquire_timeout": 60.0}
    async with following(sim, monkeypatch, **options) as cluster:
        (await cluster.connect()).close()
        await asyncio.sleep(1)
        failover = asyncio.create_task(sim.failover(mode="crash", promote_after=8.0, dns_lag=0.0))
        await asyncio.sleep(5)

        async with cluster.connect() as connection:
            assert connection.instance == sim.writer.id
        await failover


async def test_what_keeps_it_from_observing_is_told_and_harms_nobody(sim, monkeypatch):
    """Such as a name that does not say how the instances are called."""
    log: list[events.Event] = []
    address = next(iter(sim.instances.values())).address
    names(sim, monkeypatch)
    options = sim.connect_options() | {"host": address, "instance_pattern": None, "follow": "observe"}
    async with aioaurora.Cluster(**options, listeners=[log.append]) as cluster:
        for _ in range(3):
            async with cluster.connect() as connection:
                assert await run(connection, SERVER_ID) == (("db-1",),)
            await asyncio.sleep(1)

    (why,) = [each.why for each in told(events.NotFollowed, log)]
    assert "instance_pattern" in why


async def test_a_cluster_that_is_down_harms_no_start(sim, monkeypatch):
    """Watching begins when it is up."""
    for each in sim.instances:
        await sim.refuse(each)
    async with following(sim, monkeypatch, follow="observe", connect_timeout=1.0) as cluster:
        with pytest.raises(aioaurora.Error):
            await cluster.connect()
        await sim.heal()
        (await cluster.connect()).close()
        await asyncio.sleep(2)
        assert cluster.topology.writer.id == "db-1"


@pytest.mark.parametrize("follow", ["observe", "off"])
async def test_reads_are_served_by_whoever_the_endpoint_leads_to(sim, monkeypatch, follow):
    """As aiomysql has it: there is only one endpoint to ask."""
    async with following(sim, monkeypatch, follow=follow) as cluster, cluster.connect(role="reader") as connection:
        assert connection.instance == "db-1"


async def test_off_asks_nobody(sim, monkeypatch):
    """No connection but the application's own."""
    async with following(sim, monkeypatch, follow="off") as cluster, cluster.connect():
        await asyncio.sleep(10)
        assert connections_at(sim) == 1


async def test_the_environment_can_throw_the_switch(sim, monkeypatch):
    """Without a change of the program."""
    monkeypatch.setenv("AIOAURORA_FOLLOW", "observe")
    cluster = made_for(sim, monkeypatch, **from_env())

    assert cluster._config.follow == "observe"
