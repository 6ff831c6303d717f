"""What makes a connection stale, and what a pool sees of a cluster."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest

from aioaurora._core.failover import ReaderOnly, Searching, State, Steady, Unreached
from aioaurora._core.observation import Mode
from aioaurora._core.sight import Sight, sight_of
from aioaurora._core.topology import Health, Instance, Topology
from aioaurora.errors import Role
from tests.core import walks
from tests.core.counter import sight
from tests.core.test_selection import histories

FRESH = {"epoch": 1, "generation": 0}


@pytest.mark.parametrize(
    ("role", "instance", "counters", "why"),
    [
        (Role.WRITER, "db-1", FRESH, ""),
        (Role.READER, "db-2", FRESH, ""),
        (None, "db-1", FRESH, ""),
        (Role.WRITER, "db-9", FRESH, "its instance left the cluster"),
        (None, None, FRESH, "its instance left the cluster"),
        (Role.READER, "db-2", {"epoch": 1, "generation": 1}, "its instance was written off"),
        (None, "db-1", {"epoch": 1, "generation": 1}, "its instance was written off"),
        (Role.WRITER, "db-1", {"epoch": 0, "generation": 0}, "the writer changed"),
        (Role.READER, "db-2", {"epoch": 0, "generation": 0}, ""),
        (None, "db-2", {"epoch": 0, "generation": 0}, ""),
        (Role.READER, "db-1", FRESH, "its instance is the writer now"),
    ],
)
def test_staleness(role, instance, counters, why):
    """The sentence is the reason that the pool gives for closing."""
    assert sight().staleness(role, instance, **counters) == why


@pytest.mark.parametrize(
    ("wanted", "instance", "counters", "why"),
    [
        (Role.WRITER, "db-1", FRESH, ""),
        (Role.WRITER, "db-1", {"epoch": 0, "generation": 0}, "the writer changed"),
        (Role.READER, "db-2", FRESH, ""),
        (Role.READER, "db-2", {"epoch": 0, "generation": 0}, ""),
        (Role.READER, "db-2", {"epoch": 1, "generation": 1}, "its instance was written off"),
        (Role.READER, "db-1", FRESH, "its instance is the writer now"),
        (Role.READER, "db-4", FRESH, "its instance does not answer"),
        (Role.READER, "db-9", FRESH, "its instance left the cluster"),
        (None, "db-1", FRESH, ""),
        (None, "db-4", FRESH, ""),
    ],
)
def test_who_can_choose_anew_does(wanted, instance, counters, why):
    """What a pool's slots are kept for, an idle connection of another pool is not: a better one may be opened."""
    assert sight(others=["db-4"]).unfitness(wanted, instance, **counters) == why


@pytest.mark.parametrize(
    ("counters", "why"), [(FRESH, ""), ({"epoch": 1, "generation": 1}, "its instance was written off")]
)
def test_the_writer_stands_in_while_there_is_no_reader(counters, why):
    """Connecting anew would lead to it again."""
    assert sight("db-1", []).unfitness(Role.READER, "db-1", **counters) == why


def test_a_plain_server_is_a_reader_too():
    """Nothing better is to be had."""
    plain = dataclasses.replace(sight("db-1", ["db-1"]), is_plain=True)

    assert plain.unfitness(Role.READER, "db-1", **FRESH) == ""


def test_nothing_is_unfit_while_nothing_is_known():
    """As nothing is stale then."""
    assert Sight().unfitness(Role.READER, "db-9", epoch=7, generation=3) == ""


def test_nothing_is_stale_while_nothing_is_known():
    """Not followed, or not reached: whoever answers is as good as another."""
    assert Sight().staleness(Role.WRITER, "db-9", epoch=7, generation=3) == ""


def test_plain_server_serves_every_role():
    """It is its own reader."""
    plain = dataclasses.replace(sight("db-1", []), is_plain=True)

    assert plain.staleness(Role.READER, "db-1", **FRESH) == ""


def state(phase, *instances):
    """A state of the cluster, whose writer is db-1."""
    writer_id = "db-1" if any(each.id == "db-1" for each in instances) else None
    return State(
        topology=Topology(endpoint=walks.ENDPOINTS[0], epoch=4, writer_id=writer_id, instances=instances), phase=phase
    )


WRITER = Instance(id="db-1", host="db-1.test", port=3306, mode=Mode.WRITABLE)
READER = Instance(id="db-2", host="db-2.test", port=3306, mode=Mode.READ_ONLY)
LOST = Instance(id="db-3", host="db-3.test", port=3306, mode=Mode.READ_ONLY, health=Health.DOWN)


def test_sight_of_a_sound_cluster():
    """Who is led to whom; an instance that is down is known, and serves nobody."""
    seen = sight_of(state(Steady(), WRITER, READER, LOST), is_plain=False)

    assert (seen.is_known, seen.is_sought, seen.epoch) == (True, False, 4)
    assert (seen.writer, seen.readers) == (WRITER, (READER,))
    assert seen.instances == {"db-1": WRITER, "db-2": READER, "db-3": LOST}


def test_nobody_is_led_to_a_writer_that_is_sought():
    """Though it may answer: that is what the search is about."""
    seen = sight_of(state(Searching(0.0, "late"), WRITER, READER), is_plain=False)

    assert (seen.is_sought, seen.writer, seen.readers) == (True, None, (READER,))


def test_nothing_is_known_before_an_instance_has_answered():
    """And much of a cluster without a writer."""
    assert not sight_of(state(Unreached()), is_plain=False).is_known
    assert sight_of(state(ReaderOnly(), READER), is_plain=False).readers == (READER,)


def test_sight_of_a_plain_server():
    """Its readers are itself."""
    seen = sight_of(state(Steady(), WRITER), is_plain=True)

    assert (seen.writer, seen.readers) == (WRITER, (WRITER,))


@hypothesis.given(histories)
def test_sight_is_sound(history):
    """In any state: whoever serves is part of the cluster, and a connection that is made now is fresh."""
    for turn in walks.turns(*history):
        seen = sight_of(turn.after, is_plain=False)
        for role, each in [(Role.WRITER, seen.writer), *((Role.READER, reader) for reader in seen.readers)]:
            if each is not None and seen.is_known:
                assert seen.staleness(role, each.id, epoch=seen.epoch, generation=each.generation) == ""
