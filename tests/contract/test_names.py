"""The cluster's names in DNS."""

from __future__ import annotations

import asyncio

from tests.contract.claims import holds


def chain(sim, name):
    """What a name leads to, step by step, each with its TTL."""
    return [(record.kind, record.value, record.ttl) for record in sim.dns.answer(name).records]


@holds("cluster-alias")
async def test_the_cluster_endpoint_is_an_alias_of_the_writer_for_five_seconds(sim):
    """Then a client has to ask again."""
    writer = sim.writer

    assert chain(sim, sim.endpoint) == [("CNAME", writer.host, 5), ("A", writer.address, 5)]


@holds("dns-late")
async def test_the_cluster_endpoint_moves_after_the_promotion(sim):
    """Who connects by it in between reaches the old writer."""
    old = sim.writer
    await sim.failover("graceful", to="db-2", promote_after=0.2, dns_lag=0.5)
    assert sim.dns.answer(sim.endpoint).addresses == (old.address,)
    await asyncio.sleep(0.7)

    assert sim.dns.answer(sim.endpoint).addresses == (sim.instances["db-2"].address,)


@holds("reader-turns")
async def test_the_reader_endpoint_names_readers_in_turn(sim):
    """One at a time: a client that keeps the answer stays with that reader."""
    answers = [chain(sim, sim.reader_endpoint) for _ in range(4)]

    assert all([kind for kind, _, _ in answer] == ["CNAME", "A"] for answer in answers)
    hosts = [answer[0][1] for answer in answers]
    assert hosts[:2] == hosts[2:]
    assert set(hosts) == {sim.instances[name].host for name in ("db-2", "db-3")}


@holds("reader-alone")
async def test_without_readers_the_reader_endpoint_leads_to_the_writer(start):
    """So a reader's connection may turn out to be the writer's."""
    sim = await start(1)

    assert sim.dns.answer(sim.reader_endpoint).addresses == (sim.writer.address,)


@holds("custom-turns")
async def test_a_custom_endpoint_names_its_members_in_turn(sim):
    """The writer among them, if it was chosen; one that is down is passed over."""
    name = sim.add_custom_endpoint("night", ["db-1", "db-2", "db-3"])
    await sim.failover("crash", to="db-2", promote_after=0.2, dns_lag=0.0, returns_after=60.0)
    await asyncio.sleep(0.1)

    answers = [chain(sim, name) for _ in range(4)]

    assert all([kind for kind, _, _ in answer] == ["CNAME", "A"] for answer in answers)
    hosts = [answer[0][1] for answer in answers]
    assert hosts[:2] == hosts[2:]
    assert set(hosts) == {sim.instances[each].host for each in ("db-2", "db-3")}


@holds("removed-name")
async def test_a_removed_instance_has_no_name(sim):
    """Though rows of it may be seen for a while."""
    host = sim.instances["db-3"].host
    await sim.remove_instance("db-3")

    assert sim.dns.answer(host).addresses == ()
    assert {chain(sim, sim.reader_endpoint)[0][1] for _ in range(3)} == {sim.instances["db-2"].host}
