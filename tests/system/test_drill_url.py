"""`drill --url`: a look at a cluster that is not ours to break."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from aioaurora.cli.drill import remote
from aioaurora.errors import ConfigurationError
from aioaurora.simulator import SimulatedCluster


async def test_a_healthy_cluster_is_shown_instance_by_instance():
    """Who is who, what each says, and how far away it is."""
    async with SimulatedCluster(instances=3, engine="memory") as sim:
        view = await remote.looked_at(sim.url)

    assert [(each.instance, each.believed, each.said) for each in view.instances] == [
        ("db-1", "writer", "writer"),
        ("db-2", "reader", "reader"),
        ("db-3", "reader", "reader"),
    ]
    assert view.writer == "db-1"
    assert view.reader in {"db-2", "db-3"}
    assert all(each.round_trip_s < each.connect_s for each in view.instances)
    assert not remote.is_wrong(view)
    assert json.dumps(remote.as_json(view))


async def test_it_only_reads():
    """Nothing that the instances are asked could change anything."""
    async with SimulatedCluster(instances=2, engine="memory") as sim:
        await remote.looked_at(sim.url)

        assert sim.wrong_roles == []


async def test_a_single_instance_gives_its_readers_role_too():
    """The writer serves readers where there is no other: no problem."""
    async with SimulatedCluster(instances=1, engine="memory") as sim:
        view = await remote.looked_at(sim.url)

    assert (view.writer, view.reader, view.problems) == ("db-1", "db-1", ())


async def test_a_cluster_that_cannot_be_reached_is_told():
    """With the driver's own sentence."""
    async with SimulatedCluster(instances=1, engine="memory") as sim:
        await sim.refuse()

        with pytest.raises(remote.UNREACHABLE):
            await remote.looked_at(f"{sim.url}&connect_timeout=0.3")


async def test_a_url_that_is_none_is_refused():
    """Before anything is asked."""
    with pytest.raises(ConfigurationError):
        await remote.looked_at("mysql://")


def test_the_table_says_what_is_wrong():
    """In red, below the table."""
    seen = remote.Seen(instance="db-1", believed="writer", said="reader", connect_s=0.012, round_trip_s=0.001)
    view = remote.View(
        cluster="orders", writer="db-1", reader="", instances=(seen,), problems=("role=reader: no reader",)
    )
    console = Console(width=100)

    with console.capture() as captured:
        remote.print_view(console, view)

    shown = captured.get()
    assert "cluster orders" in shown
    assert "12.0 ms" in shown
    assert "role=reader: no reader" in shown
    assert remote.is_wrong(view)
