"""Addresses of instances, where the machine has all of 127.0.0.0/8 and where it has 127.0.0.1 only, as macOS."""

from __future__ import annotations

import pytest

import aioaurora.simulator.addresses
from aioaurora.simulator import SimulatedCluster, SimulatorError
from aioaurora.simulator.addresses import Addresses
from tests.simulator.plain_client import dialled, role


@pytest.fixture
def only(monkeypatch):
    """Let 127.0.0.1 and some other addresses exist."""

    def have(*addresses):
        monkeypatch.setattr(aioaurora.simulator.addresses, "_exists", {"127.0.0.1", *addresses}.__contains__)

    return have


def test_each_instance_has_an_address_and_all_have_one_port():
    """As at RDS, where a port stands for the whole cluster."""
    addresses = Addresses(3)

    given = [addresses.next() for _ in range(4)]
    addresses.release()

    assert [address.rpartition(".")[2] for address, _ in given] == ["1", "2", "3", "4"]
    assert {port for _, port in given} == {addresses.port}


def test_a_port_is_claimed_until_it_is_released():
    """Two clusters never get in each other's way, also while no instance listens."""
    first = Addresses(1)
    taken = first.next()
    second = Addresses(1, port=first.port)

    assert second.next() != taken
    first.release()
    second.release()


async def test_without_addresses_it_says_what_to_run(only):
    """The port alone cannot tell instances apart: all names would lead to one of them."""
    only("127.0.16.2")

    with pytest.raises(SimulatorError) as told:
        async with SimulatedCluster(3, engine="memory"):
            pass

    assert str(told.value) == (
        "each instance needs a loopback address of its own, and 127.0.16.1, 127.0.16.3 cannot be had; "
        "on macOS run: sudo ifconfig lo0 alias 127.0.16.1 up; sudo ifconfig lo0 alias 127.0.16.3 up"
    )


async def test_what_it_said_to_run_is_enough(only):
    """And two clusters share the addresses, on ports of their own."""
    only(*(f"127.0.16.{number}" for number in range(1, 4)))
    async with SimulatedCluster(3, engine="memory") as sim, SimulatedCluster(2, engine="memory") as other:
        connection = await dialled(sim, sim.instances["db-2"])

        assert await role(connection) == (1, 1, "db-2")
        connection.close()
        assert [each.address for each in other.instances.values()] == ["127.0.16.1", "127.0.16.2"]
        assert other.port != sim.port


async def test_one_instance_is_content_with_the_only_address(only):
    """At the port that was asked for, if one was."""
    only()
    async with SimulatedCluster(1, engine="memory") as sim:
        connection = await dialled(sim, sim.writer)

        assert (sim.writer.address, sim.writer.port) == ("127.0.0.1", sim.port)
        assert await role(connection) == (0, 0, "db-1")
        connection.close()
        with pytest.raises(SimulatorError, match=r"alias 127\.0\.16\.2 up"):
            await sim.add_instance("db-2")
