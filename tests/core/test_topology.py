"""What `merged` keeps whatever instances say, and in whatever order."""

from __future__ import annotations

import copy
import dataclasses
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.endpoint import parse_endpoint
from aioaurora._core.failover import Observed
from aioaurora._core.observation import Mode, Observation, Row, View
from aioaurora._core.topology import Health, Instance, Topology, merged, suspected, written_off
from tests.core import walks

CLUSTER = walks.ENDPOINTS[0]
histories = st.tuples(st.sampled_from(walks.ENDPOINTS), walks.histories)


def reached(endpoint, history):
    """The topology that a history leads to, and when that is."""
    lived = walks.turns(endpoint, history)
    return (lived[-1].after.topology, lived[-1].now) if lived else (Topology(endpoint=endpoint), 0.0)


@hypothesis.given(histories, walks.observations)
def test_merging_leaves_the_argument_as_it_was(history, observation):
    """It makes a new value; whoever holds the old one goes on with it."""
    topology, now = reached(*history)
    before = copy.deepcopy(topology)

    merged(topology, observation, now)

    assert topology == before


@hypothesis.given(histories, walks.observations)
def test_merging_twice_is_merging_once(history, observation):
    """The same answer, heard again, is no news."""
    topology, now = reached(*history)

    once = merged(topology, observation, now)

    assert merged(once, observation, now) == once


@hypothesis.given(histories, walks.observations)
def test_epoch_grows_with_the_writer_and_never_shrinks(history, observation):
    """One epoch, one writer."""
    topology, now = reached(*history)

    after = merged(topology, observation, now)

    has_changed = after.writer_id != topology.writer_id
    assert after.epoch == topology.epoch + has_changed
    assert (after.epoch == 0) == (after.writer_id is None)


@hypothesis.given(histories, walks.observations)
def test_only_the_word_of_an_instance_makes_it_the_writer(history, observation):
    """Rows never do (case 1)."""
    topology, now = reached(*history)

    after = merged(topology, observation, now)

    if after.writer_id != topology.writer_id:
        assert after.writer_id == observation.instance_id
        assert observation.mode is Mode.WRITABLE
        assert after.writer is not None


@hypothesis.given(histories, walks.observations)
def test_rows_change_nobody_s_mode_and_health(history, observation):
    """They tell where to look."""
    topology, now = reached(*history)

    after = merged(topology, observation, now)

    others = [each for each in after.instances if each.id != observation.instance_id]
    observer = after.get(observation.instance_id)
    before = {each.id: each for each in topology.instances}
    for each in others:
        was = before.get(each.id)
        # Who has lost its name is a new one (case 51), or what it was, under its own.
        lost_its_name = was is not None and (was.host, was.port) == (observer.host, observer.port)
        is_new = (each.mode, each.health) == (None, Health.UP)
        is_the_same = was is not None and (each.mode, each.health, each.turned_at) == (
            was.mode,
            was.health,
            was.turned_at,
        )
        assert is_the_same or (is_new and (was is None or lost_its_name))
        assert was is None or each.host == was.host or lost_its_name


def answer(name, server_id, mode=Mode.READ_ONLY, **facts):
    """What is answered under the name of an instance."""
    host, port = CLUSTER.instance_host(name)
    return Observation(host=host, port=port, server_id=server_id, mode=mode, **facts)


def test_who_answered_under_another_s_name_goes_by_its_own_again():
    """A DNS that lied led to the writer under a reader's name: it stays the writer, with all its connections."""
    topology = merged(Topology(endpoint=CLUSTER), answer("db-1", "db-1", Mode.WRITABLE, thread_id=9), 0.0)
    lied = merged(topology, answer("db-2", "db-1", Mode.WRITABLE, thread_id=20), 1.0)

    after = merged(lied, answer("db-2", "db-2", thread_id=3), 2.0)

    assert [(each.id, each.host.partition(".")[0]) for each in lied.instances] == [("db-1", "db-2")]
    assert [(each.id, each.host.partition(".")[0]) for each in after.instances] == [("db-1", "db-1"), ("db-2", "db-2")]
    assert (after.writer.id, after.epoch, after.get("db-1").generation) == ("db-1", 1, lied.get("db-1").generation)


def test_a_connection_of_before_tells_of_no_name():
    """It was made while the name led elsewhere, and goes on answering."""
    topology = merged(Topology(endpoint=CLUSTER), answer("db-2", "db-1", Mode.WRITABLE, thread_id=20), 1.0)
    topology = merged(topology, answer("db-2", "db-2", thread_id=3), 2.0)

    after = merged(topology, answer("db-2", "db-1", Mode.WRITABLE), 3.0)

    assert [(each.id, each.host) for each in after.instances] == [(each.id, each.host) for each in topology.instances]


def test_who_has_lost_its_own_name_is_gone():
    """To green, or to whoever was given it; nor is a name taken that another one answers to."""
    green = merged(Topology(endpoint=CLUSTER), answer("db-1", "db-1", Mode.WRITABLE, thread_id=9), 0.0)
    green = merged(green, answer("db-1", "db-1-green-abc123", Mode.WRITABLE, thread_id=2), 1.0)
    greener = merged(green, answer("db-1", "db-1-green-def456", Mode.WRITABLE, thread_id=2), 2.0)
    swapped = merged(Topology(endpoint=CLUSTER), answer("db-1", "db-2", thread_id=9), 0.0)
    swapped = merged(swapped, answer("db-2", "db-3", thread_id=9), 1.0)
    swapped = merged(swapped, answer("db-1", "db-1", thread_id=9), 2.0)

    assert [each.id for each in green.instances] == ["db-1-green-abc123"]
    assert [each.id for each in greener.instances] == ["db-1-green-def456"]
    assert [each.id for each in swapped.instances] == ["db-1", "db-3"]


@hypothesis.given(histories)
def test_writer_is_in_no_two_roles(history):
    """No instance is writer and reader at once, and no two are writers (case 9)."""
    topology, _ = reached(*history)

    roles = [each.id for each in topology.readers] + ([topology.writer.id] if topology.writer else [])

    assert len(roles) == len(set(roles))
    assert not any(each.is_sound_writer for each in topology.readers)
    assert len({each.id for each in topology.instances}) == len(topology.instances)


@hypothesis.given(histories)
def test_two_instances_never_share_a_name(history):
    """A name leads to one of them (case 51)."""
    topology, _ = reached(*history)

    direct = [(each.host, each.port) for each in topology.instances if each.mode is not None]

    assert len(direct) == len(set(direct))


@hypothesis.given(histories, walks.observations)
def test_stale_view_changes_nothing(history, observation):
    """An older view never overwrites a newer one, let alone removes (case 5)."""
    topology, now = reached(*history)
    if not math.isfinite(topology.stamp):
        topology = dataclasses.replace(topology, stamp=100.0)
    if observation.mode is Mode.WRITABLE:  # The writer's own view is taken: its clock may have been set back.
        observation = dataclasses.replace(observation, mode=Mode.READ_ONLY)
    told = dataclasses.replace(observation, view=None)
    believed = merged(topology, told, now)
    stale = View(stamp=topology.stamp - 1.0, rows=(Row(server_id="db-9", is_writer=True, age_s=0.0, lag_s=None),))

    assert merged(topology, dataclasses.replace(observation, view=stale), now) == believed


@hypothesis.given(histories, walks.observations)
def test_answer_is_noted_whether_it_is_news_or_not(history, observation):
    """What is said once more leaves behind what it would if it were taken apart: who said it, where, and when."""
    topology, now = reached(*history)
    once = merged(topology, dataclasses.replace(observation, view=None, asked_at=now), now)
    again = dataclasses.replace(observation, view=None, asked_at=now + 2.0, thread_id=observation.thread_id + 1)
    empty = View(stamp=-math.inf, rows=())

    confirmed = merged(once, again, now + 3.0)
    taken_apart = merged(once, dataclasses.replace(again, view=empty), now + 3.0)

    observer = confirmed.get(observation.instance_id)
    assert (observer.thread_id, observer.heard_at, observer.said_at) == (again.thread_id, now + 3.0, now + 2.0)
    others = {each.id: each.heard_at for each in confirmed.instances if each is not observer}
    assert all(each.heard_at == others.get(each.id, now + 3.0) for each in taken_apart.instances)
    if observation.mode is not Mode.WRITABLE:  # The writer's own view is taken, if it is older, too.
        assert confirmed == taken_apart


@pytest.mark.parametrize("mode", Mode)
def test_who_answers_under_another_name_is_reached_by_that(mode):
    """Also if it says nothing else that is new."""
    names = [CLUSTER.instance_host(server_id) for server_id in ("db-1", "db-one")]
    first, second = (
        Observation(host=host, port=port, server_id="db-1", mode=mode, thread_id=number)
        for number, (host, port) in enumerate(names, 1)
    )

    topology = merged(merged(Topology(endpoint=CLUSTER), first, 1.0), second, 2.0)

    assert [(each.host, each.port) for each in topology.instances] == names[1:]


@hypothesis.given(histories, walks.observations)
def test_only_the_writer_s_view_removes_and_only_the_forgotten(history, observation):
    """Others go only when their very name answers with another id."""
    topology, now = reached(*history)

    after = merged(topology, observation, now)

    gone = [each for each in topology.instances if after.get(each.id) is None]
    place = after.get(observation.instance_id)
    by_writer = after.writer is not None and after.writer.id == observation.instance_id
    for each in gone:
        lost_its_name = (each.host, each.port) == (place.host, place.port)
        assert lost_its_name or (by_writer and now - each.heard_at >= 60.0 and each.health is not Health.SUSPECT)


@hypothesis.given(histories, walks.observations)
def test_generation_never_shrinks_even_over_removal(history, observation):
    """A connection of an instance that was removed is stale when it is back (case 27)."""
    topology, now = reached(*history)

    after = merged(topology, observation, now)

    for each in topology.instances:
        again = after.get(each.id)
        assert again.generation >= each.generation if again else after.floor > each.generation
    assert all(each.generation >= topology.floor for each in after.instances if topology.get(each.id) is None)


@hypothesis.given(histories, walks.ids)
def test_writing_off_counts_up_and_takes_out_of_use(history, instance_id):
    """Its connections are stale from then on."""
    topology, _ = reached(*history)

    after = written_off(topology, instance_id)

    if topology.get(instance_id) is None:
        assert after == topology
    else:
        assert after.get(instance_id).generation == topology.get(instance_id).generation + 1
        assert after.get(instance_id).health is Health.DOWN
        assert instance_id not in {each.id for each in after.readers}
        assert after.writer is None or after.writer.id != instance_id


@hypothesis.given(histories, walks.ids)
def test_suspicion_alone_makes_nothing_stale(history, instance_id):
    """It may yet answer (case 53)."""
    topology, _ = reached(*history)

    after = suspected(topology, instance_id)

    assert [each.generation for each in after.instances] == [each.generation for each in topology.instances]
    assert (after.epoch, after.writer_id) == (topology.epoch, topology.writer_id)
    assert after.writer is None or after.writer.id != instance_id
    before = topology.get(instance_id)
    assert before is None or before.health is not Health.DOWN or after.get(instance_id).health is Health.DOWN


@hypothesis.given(st.permutations(range(4)), st.booleans())
def test_two_that_say_writable_end_alike_in_any_order(order, with_ids):
    """At a cold start: connection ids that started anew win, or one of the two stays (case 1)."""
    said = [("db-1", 90000), ("db-2", 7 if with_ids else 0), ("db-1", 0), ("db-2", 0)]
    topology = Topology(endpoint=CLUSTER)

    for now, number in enumerate(order):
        server_id, thread_id = said[number]
        host, port = CLUSTER.instance_host(server_id)
        answer = Observation(host=host, port=port, server_id=server_id, mode=Mode.WRITABLE, thread_id=thread_id)
        topology = merged(topology, answer, float(now))

    assert topology.writer is not None
    assert topology.writer.id == ("db-2" if with_ids else "db-1")
    assert topology.epoch <= 3
    assert topology.readers == ()


def test_connection_ids_that_came_in_another_order_are_no_restart():
    """Connects that overlap may be told of in any order."""
    topology = Topology(endpoint=CLUSTER)
    host, port = CLUSTER.instance_host("db-1")

    for now, thread_id in enumerate([1000, 999, 600]):
        answer = Observation(host=host, port=port, server_id="db-1", mode=Mode.WRITABLE, thread_id=thread_id)
        topology = merged(topology, answer, float(now))
    stayed = topology.writer.turned_at
    restarted = merged(topology, dataclasses.replace(answer, thread_id=4), 9.0)

    assert stayed == float("-inf")
    assert restarted.writer.turned_at == 9.0


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.filter_too_much])  # Many end without a writer.
@hypothesis.given(histories)
def test_heartbeat_that_says_the_same_is_no_news(history):
    """Nobody who waits for a change is woken by it."""
    topology, now = reached(*history)
    hypothesis.assume(topology.writer is not None)
    writer = topology.writer
    server_id = None if writer.id == writer.host else writer.id
    answer = Observation(host=writer.host, port=writer.port, server_id=server_id, mode=Mode.WRITABLE)

    assert merged(topology, answer, now + 1.0) == topology


def test_repr_says_who_is_who():
    """As a person would ask."""
    topology = Topology(
        endpoint=parse_endpoint("orders.cluster-abc123.us-east-1.rds.amazonaws.com"),
        epoch=2,
        writer_id="db-2",
        instances=(
            Instance(id="db-1", host="a", port=1, mode=Mode.READ_ONLY),
            Instance(id="db-2", host="b", port=1, mode=Mode.WRITABLE),
            Instance(id="db-3", host="c", port=1, health=Health.DOWN),
        ),
    )

    assert repr(topology) == "<Topology orders epoch=2 writer=db-2 | db-1:read_only, db-3:unasked(down)>"


def test_cluster_without_a_name_is_called_by_its_host():
    """An address, or a domain of one's own."""
    topology = Topology(endpoint=parse_endpoint("10.0.0.1"))

    assert topology.cluster == "10.0.0.1"


def test_walks_reach_every_phase():
    """A property over histories that never get anywhere proves nothing."""
    seen = set()

    @hypothesis.settings(max_examples=300, database=None, derandomize=True)
    @hypothesis.given(histories)
    def walk(history):
        for turn in walks.turns(*history):
            seen.add(type(turn.after.phase).__name__)
            seen.add("replaced" if turn.after.topology.epoch > 1 else "")
            seen.add("removed" if turn.after.topology.floor else "")
            seen.add("observed" if isinstance(turn.event, Observed) else "lost")

    walk()

    assert {"Unreached", "Steady", "Searching", "ReaderOnly", "replaced", "removed"} <= seen
