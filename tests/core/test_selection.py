"""Whom a request is led to."""

from __future__ import annotations

import dataclasses
import math
import random as dice
from collections import Counter
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.failover import ReaderOnly, Searching, State, Steady, Unreached
from aioaurora._core.observation import Mode
from aioaurora._core.selection import (
    STRATEGIES,
    Chosen,
    Hopeless,
    careful,
    chosen,
    least_leased,
    nearest,
    random,
    round_robin,
    two_choices,
    weighted,
)
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


# --- reader strategies ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Reader:
    """A candidate, as the pool's books give it."""

    id: str = "db-2"
    busy: int = 0
    round_trip_s: float | None = None
    weight: float = 1.0
    turn: int = 0
    lag_s: float | None = None

    def __repr__(self) -> str:
        return self.id


def readers(*busy):
    """Readers that are so busy."""
    return [Reader(f"db-{number}", leases) for number, leases in enumerate(busy, 2)]


def names(order):
    """Their ids, in order."""
    return [each.id for each in order]


JUST_BELOW_ONE = math.nextafter(1.0, 0.0)
chances = st.floats(0, 1) | st.sampled_from([0.0, JUST_BELOW_ONE, 1.0])
candidates = st.lists(
    st.builds(
        Reader,
        busy=st.integers(0, 40),
        round_trip_s=st.sampled_from([None, 0.0, 0.0001, 0.0006, 0.0013, 0.01]),
        weight=st.sampled_from([0.0, 1.0, 2.5]),
        turn=st.integers(0, 3),
    ),
    max_size=6,
)


@hypothesis.given(st.sampled_from(list(STRATEGIES.values())), candidates, chances)
def test_strategy_gives_each_candidate_once_at_most(strategy, given, chance):
    """Whatever they look like, and whatever lot is drawn; somebody, if there is anybody."""
    order = list(strategy(given, chance))

    assert len(set(order)) == len(order)
    assert set(order) <= set(given)
    assert bool(order) == bool(given)
    assert strategy is nearest or len(order) == len(given)


def test_two_choices_are_even():
    """Each pair is as likely as any other; the less busy of the two is first."""
    four = readers(0, 0, 0, 0)
    pairs = Counter(frozenset(names(two_choices(four, (number + 0.5) / 1200))[:2]) for number in range(1200))
    firsts = Counter(two_choices(four, (number + 0.5) / 1200)[0].id for number in range(1200))

    assert set(pairs.values()) == {200}
    assert set(firsts.values()) == {300}


def test_two_choices_prefer_the_less_busy_of_two():
    """The busiest is never first; the others follow by how busy they are."""
    given = readers(9, 3, 5)

    orders = {tuple(names(two_choices(given, number / 60))) for number in range(60)}

    assert orders == {("db-3", "db-2", "db-4"), ("db-3", "db-4", "db-2"), ("db-4", "db-2", "db-3")}


@pytest.mark.parametrize("chance", [0.0, 0.5, JUST_BELOW_ONE, 1.0])
def test_two_choices_draw_two(chance):
    """Also at the ends of chance."""
    assert sorted(names(two_choices(readers(0, 0), chance))) == ["db-2", "db-3"]
    assert names(two_choices(readers(7), chance)) == ["db-2"]


def test_two_choices_spread_like_least_leased():
    """A thousand leases on five readers: none has much more than its share."""
    five, lot = readers(0, 0, 0, 0, 0), dice.Random(1)

    for _ in range(1000):
        two_choices(five, lot.random())[0].busy += 1

    assert all(195 <= each.busy <= 205 for each in five)


def test_round_robin_takes_turns():
    """Who was chosen longest ago is first."""
    given, chosen_ids = readers(0, 50, 0), []

    for turn in range(1, 7):
        first = round_robin(given, 0.9)[0]
        first.turn = turn
        chosen_ids.append(first.id)

    assert chosen_ids == ["db-2", "db-3", "db-4"] * 2


def test_random_draws_by_lot():
    """However busy they are; the others follow in turn."""
    given = readers(50, 0, 0)

    firsts = Counter(random(given, number / 300)[0].id for number in range(300))

    assert set(firsts.values()) == {100}
    assert names(random(given, 0.4)) == ["db-3", "db-4", "db-2"]


def test_least_leased_draws_among_equals():
    """The least busy first; of several any."""
    given = readers(4, 2, 2)

    assert {least_leased(given, number / 30)[0].id for number in range(30)} == {"db-3", "db-4"}
    assert least_leased(given, 0.0)[-1].id == "db-2"


def test_weighted_draws_by_weight():
    """Three quarters to the one that weighs three times as much; after it by weight."""
    given = [Reader("db-2", weight=3.0), Reader("db-3", weight=1.0), Reader("db-4", weight=0.0)]

    firsts = Counter(weighted(given, number / 400)[0].id for number in range(400))

    assert firsts == {"db-2": 300, "db-3": 100}
    assert names(weighted(given, JUST_BELOW_ONE)) == ["db-3", "db-2", "db-4"]


def test_weight_of_nothing_is_used_where_there_is_no_other():
    """All weigh nothing: any order will do."""
    assert names(weighted([Reader("db-2", weight=0.0)], 0.5)) == ["db-2"]


def near_and_far(*, far_s, near_busy=0, far_busy=0):
    """Two readers 0.2 ms away, and one further."""
    return [
        Reader("db-2", near_busy, 0.0002),
        Reader("db-3", near_busy, 0.0002),
        Reader("db-4", far_busy, far_s),
    ]


@pytest.mark.parametrize(("far_s", "is_near"), [(0.0012, False), (0.00075, False), (0.00073, True), (0.0002, True)])
def test_nearest_uses_who_is_near(far_s, is_near):
    """Within 0.5 ms and 20 % of the nearest; a reader 1 ms further away gets nothing (case 62)."""
    given = near_and_far(far_s=far_s)

    seen = {name for number in range(60) for name in names(nearest(given, number / 60))}

    assert ("db-4" in seen) == is_near
    assert {"db-2", "db-3"} <= seen


@pytest.mark.parametrize(
    ("near_busy", "far_busy", "spills"), [(8, 0, False), (9, 0, True), (9, 4, True), (9, 5, False), (40, 20, False)]
)
def test_nearest_spills_over_when_the_near_are_twice_as_busy(near_busy, far_busy, spills):
    """And have more than eight leases each; the near ones follow."""
    given = near_and_far(far_s=0.002, near_busy=near_busy, far_busy=far_busy)

    order = names(nearest(given, 0.5))

    assert (order[0] == "db-4") == spills
    assert not spills or sorted(order[1:]) == ["db-2", "db-3"]


def test_nearest_spills_over_only_when_all_near_ones_are_busy():
    """One that is not is preferred."""
    given = near_and_far(far_s=0.002, near_busy=30)
    given[1].busy = 1

    assert nearest(given, 0.5)[0].id == "db-3"


def test_nearest_spills_over_to_the_least_busy():
    """Of those further away."""
    given = [Reader("db-2", 30, 0.0002), Reader("db-3", 6, 0.002), Reader("db-4", 3, 0.003)]

    assert names(nearest(given, 0.5)) == ["db-4", "db-3", "db-2"]


def test_nearest_waits_until_a_reader_is_measured():
    """Who is not is used only where none is."""
    given = [Reader("db-2"), Reader("db-3", round_trip_s=0.5)]
    assert names(nearest(given, 0.5)) == ["db-3"]

    given[1].round_trip_s = None

    assert sorted(names(nearest(given, 0.5))) == ["db-2", "db-3"]


# --- a user's strategy ----------------------------------------------------------------------------------------------


def test_our_strategies_need_no_care():
    """They are called as they are: nothing is lost on them."""
    assert all(careful(each, print) is each for each in STRATEGIES.values())


def test_users_strategy_gives_the_order():
    """Whom it leaves out serves nobody; any iterable will do."""
    given, failures = readers(0, 0, 0), []
    ordered = careful(lambda candidates, chance: (each for each in candidates[:0:-1]), failures.append)

    assert names(ordered(given, 0.5)) == ["db-4", "db-3"]
    assert not failures


def test_users_strategy_may_give_one():
    """It is better than the others, which serve where it cannot."""
    given = readers(0, 0, 0)
    ordered = careful(lambda candidates, chance: candidates[1], pytest.fail)

    order = names(ordered(given, 0.5))

    assert order[0] == "db-3"
    assert sorted(order) == ["db-2", "db-3", "db-4"]


def test_users_strategy_cannot_change_the_candidates():
    """It gets a copy."""
    given = readers(0, 0)
    failures = []

    careful(lambda candidates, chance: candidates.clear(), failures.append)(given, 0.5)

    assert len(given) == 2
    assert isinstance(failures[0], AttributeError)


@pytest.mark.parametrize("answer", [None, [], 7, "db-2", [Reader("db-7")], Reader("db-7"), [None, 3]])
def test_strangers_serve_nobody(answer):
    """Two choices stand in, and it is told: else all would wait for ever."""
    given, failures = readers(0, 0), []

    order = careful(lambda candidates, chance: answer, failures.append)(given, 0.5)

    assert sorted(names(order)) == ["db-2", "db-3"]
    assert str(failures[0]) == "it gave none of db-2, db-3"


def test_strangers_among_the_candidates_are_passed_over():
    """The others serve."""
    given = readers(0, 0)

    assert careful(lambda candidates, chance: [Reader(), given[1]], pytest.fail)(given, 0.5) == [given[1]]


def test_failing_strategy_is_told_of_once():
    """Not at each of thousands of leases; again when something else goes wrong."""
    given, failures, faults = readers(0, 0), [], iter([1, 1, 1, 2, 2])

    def failing(candidates, chance):
        raise KeyError(next(faults))

    ordered = careful(failing, failures.append)
    for _ in range(5):
        assert len(ordered(given, 0.5)) == 2

    assert [str(each) for each in failures] == ["1", "2"]
