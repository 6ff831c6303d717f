"""The judge finds what was planted in a history, and nothing else."""

from __future__ import annotations

import math

import pytest

from aioaurora.cli.drill import judge
from aioaurora.cli.drill.judge import Stall
from aioaurora.cli.drill.ledger import Side, Step, Told
from aioaurora.simulator.conditions import Knock
from tests.cli.histories import ENDED_AT, attempt, failed_connect, ledger, scene


def promises_broken(history, stage):
    """Say which of our promises a history breaks."""
    found = judge.figures(history, stage, Side.OURS)
    return [each.promise for each in judge.broken(found, stage)]


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_a_clean_failover_breaks_no_promise():
    """A write cut off, rolled back, done again and stored once."""
    history = ledger(attempt(Told.ROLLED_BACK, rows=("cut",), ended_at=100.0), attempt())

    assert promises_broken(history, scene()) == []


def test_a_write_of_unknown_outcome_may_be_stored_or_not():
    """Only the server can know: neither is a broken promise."""
    stored = attempt(Told.UNKNOWN, unit=2, rows=("a",), ended_at=100.0)
    not_stored = attempt(Told.UNKNOWN, unit=3, rows=("b",), ended_at=100.1, step=Step.COMMIT)

    assert promises_broken(ledger(stored, not_stored, attempt()), scene(held=frozenset({"a", "ours-0-1-1-0"}))) == []


@pytest.mark.parametrize(
    "missing",
    [{"in_flight": {Side.OURS: 0, Side.PLAIN: 1}}, {"in_transaction": {Side.OURS: 1, Side.PLAIN: 0}}],
    ids=["nobody waits", "nobody sits in a transaction"],
)
def test_a_failover_that_met_nobody_is_no_trial(missing):
    """DECISIONS 34: half of the clients wait for an answer, and one sits in a transaction."""
    found = judge.broken(judge.figures(ledger(attempt()), scene(**missing), Side.OURS), scene(**missing))

    assert [each.promise for each in found] == [None]
    assert str(found[0]).startswith("no trial: at the fault ")


# --- what is planted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "step", "held", "figure"),
    [
        pytest.param(Told.DONE, Step.WRITE, set(), "lost", id="acknowledged and lost"),
        pytest.param(Told.DONE, Step.COMMIT, {"a-0"}, "lost", id="acknowledged and half lost"),
        pytest.param(Told.ROLLED_BACK, Step.INSIDE, {"a-0", "a-1"}, "untrue", id="rolled back and stored"),
        pytest.param(Told.NOTHING_SENT, Step.WRITE, {"a-0", "a-1"}, "untrue", id="never sent and stored"),
        pytest.param(Told.REFUSED, Step.WRITE, {"a-0", "a-1"}, "untrue", id="refused and stored"),
        pytest.param(Told.UNKNOWN, Step.COMMIT, {"a-0"}, "torn", id="half a transaction"),
        pytest.param(Told.UNKNOWN, Step.INSIDE, set(), "inexact", id="unknown inside a transaction"),
        pytest.param(Told.UNKNOWN, Step.BEGIN, set(), "inexact", id="unknown before anything was written"),
        pytest.param(Told.NOTHING, Step.WRITE, set(), "untold", id="an error without an outcome"),
    ],
)
def test_a_planted_untruth_is_found(told, step, held, figure):
    """Promise 4: what a caller was told is true and exact."""
    planted = attempt(told, unit=7, rows=("a-0", "a-1"), ended_at=100.0, step=step)
    stage = scene(held=frozenset(held | {"ours-0-1-1-0"}))

    found = judge.figures(ledger(planted, attempt()), stage, Side.OURS)

    assert getattr(found, figure) == 1
    assert 4 in [each.promise for each in judge.broken(found, stage)]


def test_a_unit_that_was_done_again_and_is_stored_twice_is_a_duplicate():
    """The first try counts though it ended in an earlier window."""
    history = ledger(attempt(Told.ROLLED_BACK, rows=("a",), ended_at=97.0), attempt(rows=("b",)))
    stage = scene(held=frozenset({"a", "b"}))

    found = judge.figures(history, stage, Side.OURS)

    assert found.duplicates == 1
    assert [each.promise for each in judge.broken(found, stage)] == [4]


def test_duplicates_of_plain_clients_are_counted_but_are_not_ours():
    """They are told nothing, so they repeat what may have been done."""
    twice = [attempt(told, side=Side.PLAIN, rows=(row,)) for told, row in ((Told.NOTHING, "a"), (Told.DONE, "b"))]
    history = ledger(*twice, attempt())
    stage = scene(held=frozenset({"a", "b", "ours-0-1-1-0"}))

    assert judge.figures(history, stage, Side.PLAIN).duplicates == 1
    assert promises_broken(history, stage) == []


def test_a_connection_to_the_wrong_role_breaks_the_first_promise():
    """The relay has seen a writer's statement on a reader."""
    assert promises_broken(ledger(attempt()), scene(wrong_roles={Side.OURS: 1})) == [1]


def test_a_storm_breaks_the_fifth_promise():
    """More connects at once than max_connecting and the monitor's own."""
    assert promises_broken(ledger(attempt()), scene(peak_connects={Side.OURS: 40})) == [5]


def test_a_loss_that_only_the_end_shows_is_found():
    """A later failover can undo what an earlier one had stored."""
    history = ledger(attempt())

    assert judge.broken_in_the_end(history, frozenset({"ours-0-1-1-0"})) == []
    assert [each.promise for each in judge.broken_in_the_end(history, frozenset())] == [4]


# --- waits ----------------------------------------------------------------------------------------------------------


def test_the_first_write_counts_from_the_promotion():
    """Writes before it, and later ones, do not."""
    history = ledger(attempt(ended_at=99.0), attempt(ended_at=103.125), attempt(ended_at=103.5))

    assert judge.figures(history, scene(), Side.OURS).first_writes_s == pytest.approx((0.125,))


@pytest.mark.parametrize(("promoted_at", "counted_from"), [(100.25, 101.25), (103.0, 103.0)])
def test_a_silent_writer_counts_from_the_first_late_heartbeat_if_that_is_later(promoted_at, counted_from):
    """DECISIONS 2: nobody can know before."""
    assert scene(mode="blackhole", promoted_at=promoted_at).counted_from == counted_from


def test_a_writer_that_goes_with_a_word_counts_from_the_promotion():
    """FIN and RST are noticed at once."""
    assert scene(mode="graceful", promoted_at=100.25).counted_from == 100.25


@pytest.mark.parametrize("ended_at", [103.6, 103.2])
def test_a_late_first_write_breaks_the_second_promise(ended_at):
    """0.5 s at worst, 0.15 s in the median."""
    assert 2 in promises_broken(ledger(attempt(ended_at=ended_at)), scene())


def test_a_stall_of_the_loop_in_the_same_window_is_not_held_against_the_driver():
    """DECISIONS 33: the ticker was as late."""
    late = ledger(attempt(ended_at=103.3))

    assert promises_broken(late, scene(stalls=(Stall(103.2, 0.2),))) == []
    assert promises_broken(late, scene(stalls=(Stall(103.1, 0.1), Stall(103.25, 0.1)))) == []
    assert promises_broken(late, scene(stalls=(Stall(101.0, 0.2),))) == [2]
    assert promises_broken(late, scene(stalls=(Stall(103.05, 0.2),))) == [2]  # Most of it was before the promotion.


def test_a_client_that_never_writes_again_breaks_the_second_promise():
    """There is no worst figure then, and no median if it is half of them."""
    stage = scene(clients=2)

    found = judge.figures(ledger(attempt()), stage, Side.OURS)

    assert (found.median_s, found.worst_s) == (None, None)
    assert [each.promise for each in judge.broken(found, stage)] == [2]


def test_the_median_counts_those_who_never_came_back():
    """One of three: the median is the slower of the two others."""
    history = ledger(attempt(), attempt(client=1, ended_at=103.1))

    assert judge.figures(history, scene(clients=3), Side.OURS).median_s == pytest.approx(0.1)


@pytest.mark.parametrize("suspected_at", [None, 103.2])
def test_a_silence_that_is_noticed_late_or_never_breaks_the_third_promise(suspected_at):
    """Within 3 s."""
    assert promises_broken(ledger(attempt()), scene(suspected_at=suspected_at)) == [3]


def test_a_statement_that_hangs_beyond_the_new_writer_breaks_the_third_promise():
    """It ends when another writer is verified."""
    cut = attempt(Told.ROLLED_BACK, rows=("cut",), began_at=99.9, ended_at=104.0, step=Step.INSIDE)

    assert promises_broken(ledger(cut, attempt(client=0)), scene()) == [3]


def test_a_statement_may_hang_until_the_stall_times_out():
    """Where no other writer appears for so long, and not longer."""
    stage = scene(mode="blackhole", promoted_at=140.0, ended_at=142.0)
    back = attempt(ended_at=140.05)

    def cut(at):
        return attempt(Told.ROLLED_BACK, rows=("cut",), began_at=99.9, ended_at=at, step=Step.INSIDE)

    assert promises_broken(ledger(cut(116.2), back), stage) == []
    assert promises_broken(ledger(cut(118.0), back), stage) == [3]


def test_a_plain_client_notices_by_its_first_error():
    """A connect that fails counts as well as a statement."""
    history = ledger(attempt(Told.NOTHING, side=Side.PLAIN, ended_at=102.0), connects=(failed_connect(),))

    assert judge.figures(history, scene(), Side.PLAIN).detection_s == pytest.approx(1.0)


# --- windows --------------------------------------------------------------------------------------------------------


def test_what_ended_in_another_window_is_another_failovers():
    """A window is closed at its end."""
    history = ledger(attempt(), attempt(Told.NOTHING, rows=("later",), ended_at=ENDED_AT))

    assert judge.figures(history, scene(), Side.OURS).untold == 0


def test_figures_count_errors_and_outcomes_by_kind():
    """Callers' errors by class, failed writes by what was said of them."""
    history = ledger(
        attempt(Told.UNKNOWN, rows=("a",), ended_at=100.0, error="OutcomeUnknown"),
        attempt(Told.ROLLED_BACK, rows=("b",), ended_at=100.0),
        attempt(Told.ROLLED_BACK, rows=("c",), ended_at=100.0),
        attempt(),
    )

    found = judge.figures(history, scene(), Side.OURS)

    assert found.errors == {"ConnectionLost": 2, "OutcomeUnknown": 1}
    assert found.outcomes == {"rolled_back": 2, "unknown": 1}
    assert (found.acknowledged, found.unknown) == (1, 1)


def test_the_most_log_ins_at_once_are_where_they_overlap():
    """One that ends when another begins does not overlap it."""
    assert judge.peak([]) == 0
    assert judge.peak([(0.0, 1.0), (1.0, 2.0)]) == 1
    assert judge.peak([(0.0, 3.0), (1.0, 2.0), (1.5, 4.0), (5.0, math.inf)]) == 3


def test_log_ins_that_are_refused_are_counted():
    """A storm is one, whether it gets in or not, and whoever it says that it is."""
    users = ["app", "nobody", "", "plain"]
    knocks = [Knock(user, began_at=1.0, ended_at=2.0) for user in users]

    assert judge.connects_at_once(knocks, plain_user="plain") == {Side.OURS: 3, Side.PLAIN: 1}
