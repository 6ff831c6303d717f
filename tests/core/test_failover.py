"""What `step` keeps in any history of a cluster."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.endpoint import parse_endpoint
from aioaurora._core.failover import (
    Abort,
    Ask,
    Demoted,
    InstanceLost,
    Late,
    Observed,
    ReaderOnly,
    SearchEnded,
    Searching,
    SearchStarted,
    SessionLost,
    State,
    Steady,
    Unreached,
    lease_target,
    step,
    watched,
)
from aioaurora._core.observation import Mode, Observation, Row, View
from aioaurora._core.restart import Opening, Outlived
from aioaurora._core.topology import Topology
from tests.core import walks

CLUSTER = walks.ENDPOINTS[0]
histories = st.tuples(st.sampled_from(walks.ENDPOINTS), walks.histories)


def said(server_id, mode=Mode.WRITABLE, **facts):
    """What an instance answers under its own name."""
    host, port = CLUSTER.instance_host(server_id)
    return Observed(Observation(host=host, port=port, server_id=server_id, mode=mode, **facts))


def steady(*readers):
    """A cluster with `db-1` for a writer."""
    listed = (Row(server_id="db-1", is_writer=True, age_s=0.0, lag_s=0.0),)
    listed += tuple(Row(server_id=name, is_writer=False, age_s=0.0, lag_s=0.1) for name in readers)
    state, _ = step(walks.begun(CLUSTER), said("db-1", thread_id=90, view=View(stamp=0.0, rows=listed)), 0.0)
    return state


@hypothesis.given(histories)
def test_step_is_total(history):
    """Any event in any state that can be reached gives a state and commands; it never raises."""
    for turn in walks.turns(*history):
        assert isinstance(turn.after.phase, Unreached | Steady | Searching | ReaderOnly)
        assert isinstance(turn.commands, tuple)


@hypothesis.given(histories)
def test_phase_is_steady_when_a_writer_is_known_and_answers(history):
    """One truth, told twice: whoever waits for a writer gets it when there is one."""
    for turn in walks.turns(*history):
        assert isinstance(turn.after.phase, Steady) == (turn.after.topology.writer is not None)
        assert lease_target(turn.after) == turn.after.topology.writer


@hypothesis.given(histories)
def test_searches_start_and_end_in_turn(history):
    """Two lines in a log tell the story of a failover (case 67)."""
    told = [
        type(command)
        for turn in walks.turns(*history)
        for command in turn.commands
        if isinstance(command, SearchStarted | SearchEnded)
    ]

    assert told[::2] == [SearchStarted] * len(told[::2])
    assert told[1::2] == [SearchEnded] * len(told[1::2])


@hypothesis.given(histories)
def test_search_that_ended_names_what_is_believed(history):
    """Its old and new writer are those before and after."""
    for turn in walks.turns(*history):
        for command in turn.commands:
            if isinstance(command, SearchEnded):
                assert command.new == turn.after.topology.writer_id
                assert command.old == turn.before.topology.writer_id
                assert command.lasted_s >= 0
                assert (command.old == command.new) == (turn.before.topology.epoch == turn.after.topology.epoch)


@hypothesis.given(histories)
def test_only_observations_change_the_epoch(history):
    """Losing a writer does not make another one."""
    for turn in walks.turns(*history):
        before, after = turn.before.topology, turn.after.topology
        assert after.epoch - before.epoch == (after.writer_id != before.writer_id)
        assert isinstance(turn.event, Observed) or after.epoch == before.epoch


@hypothesis.given(histories)
def test_generations_never_shrink(history):
    """Stale stays stale (case 27)."""
    for turn in walks.turns(*history):
        for each in turn.after.topology.instances:
            known = turn.before.topology.get(each.id)
            assert each.generation >= (known.generation if known else turn.before.topology.floor)


@hypothesis.given(histories)
def test_observation_never_aborts_the_writer_that_it_leaves(history):
    """An Abort of the present, verified writer follows from its own silence alone (promise 3)."""
    for turn in walks.turns(*history):
        if isinstance(turn.event, Observed):
            aborted = {command.instance for command in turn.commands if isinstance(command, Abort)}
            present = turn.after.topology.get(turn.after.topology.writer_id)  # None: its name leads to another one now.
            assert present is None or present.id not in aborted
            others = {each.id for each in turn.before.topology.instances} - {turn.before.topology.writer_id}
            assert all(turn.after.topology.get(name) is None for name in aborted & others)


@hypothesis.given(histories)
def test_whoever_is_replaced_or_removed_is_aborted(history):
    """Nobody watches them any more, so nothing may go on waiting for them."""
    for turn in walks.turns(*history):
        before, after = turn.before.topology, turn.after.topology
        aborted = {command.instance for command in turn.commands if isinstance(command, Abort)}
        gone = {each.id for each in before.instances if after.get(each.id) is None}
        deposed = {before.writer_id} if before.writer_id != after.writer_id and before.get(before.writer_id) else set()
        assert gone | deposed <= aborted


@hypothesis.given(histories, st.frozensets(walks.ids))
def test_watched_are_known_and_enough(history, in_use):
    """The writer always, those in use, and everybody while there is something to find out."""
    for turn in walks.turns(*history):
        state = turn.after
        everyone = {each.id for each in state.topology.instances}
        names = watched(state, in_use)
        assert names <= everyone
        match state.phase:
            case Unreached():
                assert not names
            case Steady():
                assert names == (in_use & everyone) | {state.topology.writer_id}
            case Searching():
                assert names == everyone
            case ReaderOnly():
                assert in_use & everyone <= names
                assert names


@hypothesis.given(histories)
def test_only_known_instances_are_asked(history):
    """Each once: a command is a question over the network."""
    for turn in walks.turns(*history):
        asked = [command.instance for command in turn.commands if isinstance(command, Ask)]
        assert len(asked) == len(set(asked))
        assert all(turn.after.topology.get(name) for name in asked)


@hypothesis.given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.001, 0.05, 0.2]), st.booleans()), min_size=200, max_size=200)
)
@hypothesis.settings(max_examples=20)
def test_200_losses_of_one_generation_start_at_most_one_search(losses):
    """The 200th connection to break must not start a second search (case 27)."""
    state, now, commands = steady("db-2"), 0.0, []

    for pause, is_session in losses:
        now += pause
        event = SessionLost("db-1", 0) if is_session else InstanceLost("db-1", 0, "refused")
        state, more = step(state, event, now)
        commands += more

    assert sum(isinstance(command, SearchStarted) for command in commands) <= 1
    assert state.topology.get("db-1").generation <= 1
    assert not any(isinstance(command, Abort) for command in commands)


def test_reader_that_is_late_starts_no_search():
    """Only the writer is sought."""
    state, commands = step(steady("db-2"), Late("db-2", 0.3), 1.0)

    assert isinstance(state.phase, Steady)
    assert commands == ()
    assert state.topology.readers == ()


@pytest.mark.parametrize("news", [Late("db-1", 0.3), Demoted("db-1"), InstanceLost("db-1", 0, "refused")])
def test_search_says_when_and_why_it_began(news):
    """The cause goes into the error of whoever waits in vain."""
    state, commands = step(steady(), news, 3.0)

    assert isinstance(state.phase, Searching)
    assert state.phase.since == 3.0
    assert commands[0] == SearchStarted(state.phase.cause)
    assert "db-1" in state.phase.cause or state.phase.cause == "refused"


def test_search_says_how_long_it_lasted():
    """From its start to the writer's own word."""
    state, _ = step(steady("db-2"), Late("db-1", 0.3), 3.0)

    _, commands = step(state, said("db-2", thread_id=5), 5.5)

    assert commands[-1] == SearchEnded("db-1", "db-2", 2.5)


# --- instances that start anew --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "are_older"),
    [
        pytest.param({"a": Opening(90, 3.9, 4.0)}, "a", id="from before, with a larger number"),
        pytest.param({"a": Opening(7, 4.9, 5.0)}, "a", id="the same number, from before"),
        pytest.param({"a": Opening(6, 3.9, 4.0)}, "", id="a smaller number: perhaps of the same process"),
        pytest.param({"a": Opening(8, 4.9, 5.1)}, "", id="opened beside it"),
        pytest.param({"a": Opening((1 << 32) - 5, 3.9, 4.0)}, "", id="numbers begin anew after 32 bits, too"),
        pytest.param(
            {"a": Opening(2, 1.0, 1.1), "b": Opening(3, 3.8, 4.0), "c": Opening(90, 3.9, 4.0)},
            "ac",
            id="open before one that is older was begun",
        ),
    ],
)
def test_a_smaller_number_of_a_later_connection_shows_a_restart(held, are_older):
    """Numbers of connections only grow while a server runs: what has a larger one, and was there before, is gone."""
    _, commands = step(steady(), said("db-1", thread_id=7, dialled_at=5.0), 5.5)

    (outlived,) = [each for each in commands if isinstance(each, Outlived)]
    assert (outlived.instance, outlived.cause) == ("db-1", "db-1 has restarted")
    assert outlived.among(held) == list(are_older)


def test_what_was_open_before_the_newest_connection_was_begun_went_with_it():
    """Also if it has a small number, and the connection whose number is larger is the monitor's own."""
    state, _ = step(steady(), said("db-1", thread_id=95, dialled_at=3.0), 3.2)
    _, commands = step(state, said("db-1", thread_id=7, dialled_at=5.0), 5.5)

    (outlived,) = [each for each in commands if isinstance(each, Outlived)]
    assert outlived.among({"a": Opening(1, 2.8, 2.9), "b": Opening(2, 2.9, 3.1)}) == ["a"]


def test_numbers_that_begin_anew_after_32_bits_show_no_restart():
    """Of a server that has let in four thousand million connections."""
    state, _ = step(steady(), said("db-1", thread_id=(1 << 32) - 5, dialled_at=3.0), 3.2)
    _, commands = step(state, said("db-1", thread_id=7, dialled_at=5.0), 5.5)

    assert not any(isinstance(each, Outlived) for each in commands)


@pytest.mark.parametrize(
    "news",
    [
        said("db-1", thread_id=91, dialled_at=5.0),
        said("db-1", dialled_at=5.0),
        said("db-2", thread_id=7, dialled_at=5.0),
        said("db-1", thread_id=7),
        said("db-1", thread_id=7, dialled_at=-0.1),
    ],
    ids=["larger", "none", "another instance's", "nobody knows when", "they overlapped"],
)
def test_a_larger_number_or_none_shows_no_restart(news):
    """Nor does that of an instance that nothing was known of."""
    _, commands = step(steady("db-2"), news, 5.5)

    assert not any(isinstance(each, Outlived) for each in commands)


def test_a_plain_server_shows_no_restart():
    """A name may lead to several servers in turn, each with numbers of its own."""
    answer = Observation(host="db.test", port=3306, server_id=None, mode=Mode.WRITABLE, thread_id=90)
    state, _ = step(State(topology=Topology(endpoint=parse_endpoint("db.test"))), Observed(answer), 0.0)

    _, commands = step(state, Observed(dataclasses.replace(answer, thread_id=7, dialled_at=5.0)), 5.5)

    assert commands == ()


# --- answers that arrive late ---------------------------------------------------------------------------------------


def test_an_answer_from_before_a_demotion_crowns_nobody():
    """It was on its way while our loop stood still (cases 9 and 36): the present writer keeps its connections."""
    state, _ = step(steady("db-2"), Demoted("db-1"), 10.0)
    state, _ = step(state, said("db-2", asked_at=10.1), 10.2)

    after, commands = step(state, said("db-1", asked_at=9.9), 10.3)

    assert (after.topology.writer.id, after.topology.epoch, commands) == ("db-2", state.topology.epoch, ())


def test_an_answer_that_arrives_late_is_a_sign_of_life():
    """Whoever was suspected for its silence is not, though it has said the same since."""
    state, _ = step(steady("db-2"), said("db-1", asked_at=10.1), 10.12)
    state, _ = step(state, Late("db-1", 0.25), 10.25)

    after, _ = step(state, said("db-1", asked_at=10.0), 10.3)

    assert lease_target(after).id == "db-1"
