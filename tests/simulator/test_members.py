"""Who belongs to a simulated cluster, and what their names lead to."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulator.plain_client import ask, dialled, role


def leads_to(sim, name):
    """The ids that a name's answers lead to, of four in a row."""
    found = {address for _ in range(4) for address in sim.dns.answer(name).addresses}
    return sorted(each.id for each in sim.instances.values() if each.address in found)


async def test_the_writer_is_not_removed(sim):
    """Nobody would be the writer then."""
    with pytest.raises(ValueError, match="'db-1' is the writer: fail over first"):
        await sim.remove_instance("db-1")

    assert await role(await dialled(sim, sim.writer)) == (0, 0, "db-1")


async def test_who_is_being_promoted_is_not_removed(sim):
    """The cluster would stay without a writer for ever."""
    failing = asyncio.create_task(sim.failover("crash", to="db-2", promote_after=0.6))
    await asyncio.sleep(0.1)

    for server_id in ("db-1", "db-2"):
        with pytest.raises(ValueError, match="fail over"):
            await sim.remove_instance(server_id)
    await failing

    assert await role(await dialled(sim, sim.writer)) == (0, 0, "db-2")
    await sim.timeline.wait_for("returned", since=0)
    await sim.remove_instance("db-1")
    assert list(sim.instances) == ["db-2", "db-3"]


async def test_who_is_removed_while_restarting_stays_away(sim):
    """Nothing listens at its address."""
    restarting = asyncio.create_task(sim.restart("db-3", down_for=1.0))
    await asyncio.sleep(0.1)

    removed = sim.instances["db-3"]
    await sim.remove_instance("db-3")
    await restarting

    assert not removed.is_up
    assert sim.timeline.of("returned") == []


async def test_an_id_that_was_removed_may_be_added_again(sim):
    """It shows the rows of a newcomer."""
    await sim.remove_instance("db-3")
    again = await sim.add_instance("db-3")

    rows = await ask(await dialled(sim, again), "SELECT SERVER_ID FROM information_schema.replica_host_status")
    assert sorted(rows) == [("db-1",), ("db-2",), ("db-3",)]


async def test_no_switch_to_green_during_a_failover(sim):
    """Who is being promoted would be gone."""
    failing = asyncio.create_task(sim.failover("crash", to="db-2", promote_after=0.6))
    await asyncio.sleep(0.1)

    with pytest.raises(ValueError, match="'db-2' is being promoted"):
        await sim.switch_to_green()
    await failing


async def test_a_custom_endpoint_leads_to_its_members_in_turn(sim):
    """Whatever their role, as far as they are up."""
    name = sim.add_custom_endpoint("night", ["db-1", "db-3"])

    assert name == "night.cluster-custom-abc123.us-east-1.aurora.test"
    assert leads_to(sim, name) == ["db-1", "db-3"]
    assert [record.kind for record in sim.dns.answer(name).records] == ["CNAME", "A"]


async def test_a_custom_endpoint_follows_its_members(sim):
    """Down, back, to green, and gone."""
    name = sim.add_custom_endpoint("night", ["db-1", "db-3"])
    await sim.failover("crash", to="db-2", promote_after=0.5, dns_lag=0.1, returns_after=2.0)
    await asyncio.sleep(0.2)
    assert leads_to(sim, name) == ["db-3"]

    await sim.timeline.wait_for("returned", since=0)
    assert leads_to(sim, name) == ["db-1", "db-3"]

    await sim.switch_to_green()
    assert leads_to(sim, name) == ["db-1-green-abc123", "db-3-green-abc123"]

    await sim.remove_instance("db-1-green-abc123")
    await sim.remove_instance("db-3-green-abc123")
    assert sim.dns.answer(name).addresses == ()


async def test_a_custom_endpoint_has_members_that_exist(sim):
    """Else it says who there is."""
    with pytest.raises(LookupError, match="no instance 'db-7': there are db-1, db-2, db-3"):
        sim.add_custom_endpoint("night", ["db-7"])
