"""Whom a request is led to."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.failover import ReaderOnly, Searching, State, Steady, Unreached
from aioaurora._core.observation import Mode
from aioaurora._core.selection import Chosen, Hopeless, chosen
from aioaurora._core.topology import Health, Instance, Topology
from aioaurora.errors import Role
from tests.core import walks

histories = st.tuples(st.sampled_from(walks.ENDPOINTS), walks.histories)


def instance(name, mode=Mode.READ_ONLY, health=Health.UP):
    """One instance, as it was last seen."""
    return Instance(id=name, host=f"{name}.test", port=3306, mode=mode, health=health)


def state(*instances, phase=None):
    """A cluster; its writer is the instance that says so."""
    writer = next((each for each in instances if each.mode is Mode.WRITABLE), None)
    topology = Topology(
        endpoint=walks.ENDPOINTS[0],
        writer_id=writer.id if writer else None,
        epoch=1 if writer else 0,
        instances=instances,
    )
    return State(topology=topology, phase=phase or Steady())


WRITER, SECOND, THIRD = instance("db-1", Mode.WRITABLE), instance("db-2"), instance("db-3")


def test_writer_is_led_to_the_writer():
    """And must prove on the connection that it is."""
    assert chosen(state(WRITER, SECOND), Role.WRITER, pinned=None, chance=0.5) == Chosen(WRITER, Role.WRITER)


@pytest.mark.parametrize("phase", [Unreached(), Searching(0.0, "lost")])
def test_writer_is_waited_for_while_it_is_sought(phase):
    """None says: wait for the topology to change."""
    assert chosen(state(SECOND, phase=phase), Role.WRITER, pinned=None, chance=0.5) is None


def test_writer_of_a_reader_only_cluster_is_hopeless():
    """No waiting helps, so none is asked for (case 58)."""
    choice = chosen(state(SECOND, phase=ReaderOnly()), Role.WRITER, pinned=None, chance=0.5)

    assert choice == Hopeless("'orders' is a reader-only cluster: none of its instances was ever a writer")


def test_readers_are_spread_by_chance():
    """Each of them gets its share."""
    cluster = state(WRITER, SECOND, THIRD)

    names = [chosen(cluster, Role.READER, pinned=None, chance=n / 10).instance.id for n in range(11)]

    assert set(names) == {"db-2", "db-3"}
    assert names[:10].count("db-2") == 5


def test_reader_falls_back_to_the_writer():
    """Where no reader is left; nobody need prove to be a reader then (case 17)."""
    cluster = state(WRITER, instance("db-2", health=Health.DOWN))

    assert chosen(cluster, Role.READER, pinned=None, chance=0.5) == Chosen(WRITER, None, is_fallback=True)


def test_any_role_is_no_fallback():
    """Who did not ask for a reader does not miss one."""
    assert chosen(state(WRITER), None, pinned=None, chance=0.5) == Chosen(WRITER, None)


def test_reader_that_failed_the_request_is_avoided():
    """Another one, or else the writer."""
    cluster = state(WRITER, SECOND, THIRD)

    assert chosen(cluster, Role.READER, pinned=None, chance=0.0, avoid=frozenset({"db-2"})).instance == THIRD
    assert chosen(cluster, Role.READER, pinned=None, chance=0.0, avoid=frozenset({"db-2", "db-3"})).is_fallback


def test_reader_that_failed_is_better_than_nobody():
    """A full instance (1040) may have room a moment later (case 25)."""
    cluster = state(SECOND, phase=ReaderOnly())

    choice = chosen(cluster, Role.READER, pinned=None, chance=0.5, avoid=frozenset({"db-2"}))

    assert choice == Chosen(SECOND, Role.READER)


def test_frozen_writer_is_no_reader():
    """It would be refused on the connection, again and again (case 57)."""
    cluster = state(instance("db-1", Mode.FROZEN), phase=Searching(0.0, "frozen"))

    assert chosen(cluster, Role.READER, pinned=None, chance=0.5) is None


def test_pinned_instance_is_the_only_one():
    """Whatever its role, unless one was asked for too."""
    assert chosen(state(WRITER, SECOND), None, pinned="db-2", chance=0.5) == Chosen(SECOND, None)
    assert chosen(state(WRITER, SECOND), Role.READER, pinned="db-1", chance=0.5) == Chosen(WRITER, Role.READER)


def test_pinned_instance_that_is_unknown_is_hopeless():
    """The sentence says which there are."""
    choice = chosen(state(WRITER, SECOND), None, pinned="db-7", chance=0.5)

    assert choice == Hopeless("no instance 'db-7' in 'orders'; there are db-1, db-2")


def test_pinned_instance_that_is_lost_is_waited_for_during_a_search():
    """The search dials it anyway; otherwise the request does."""
    lost = instance("db-2", health=Health.DOWN)

    assert chosen(state(lost, phase=Searching(0.0, "lost")), None, pinned="db-2", chance=0.5) is None
    assert chosen(state(WRITER, lost), None, pinned="db-2", chance=0.5) == Chosen(lost, None)


@hypothesis.given(histories, st.none() | st.sampled_from(Role), st.floats(0, 1), st.frozensets(walks.ids))
def test_choice_is_total_and_sound(history, role, chance, avoid):
    """In any state: somebody who may be asked, a reason why not, or patience."""
    for turn in walks.turns(*history):
        choice = chosen(turn.after, role, pinned=None, chance=chance, avoid=avoid)
        topology = turn.after.topology
        if isinstance(choice, Chosen):
            assert choice.instance.health is Health.UP
            assert choice.instance in topology.readers or choice.instance == topology.writer
            assert choice.role in {role, None}
            assert role is not Role.WRITER or choice == Chosen(topology.writer, Role.WRITER)
            assert not choice.is_fallback or (role is Role.READER and choice.instance == topology.writer)
        elif choice is None:
            assert topology.writer is None
            assert role is Role.WRITER or not topology.readers


def test_choice_is_a_value():
    """Nothing in it can be changed under a request."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Chosen(WRITER, None).role = Role.READER
