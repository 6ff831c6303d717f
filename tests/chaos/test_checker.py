"""The checker finds what is planted in a history, each kind of it, and nothing in a right one."""

from __future__ import annotations

import dataclasses
import pathlib
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql import err

from aioaurora import errors
from aioaurora.cli.drill.judge import Stall
from aioaurora.cli.drill.ledger import Step, Told
from aioaurora.errors import Outcome
from tests.chaos import checker
from tests.chaos.checker import Fault
from tests.chaos.history import (
    History,
    Kind,
    Misled,
    Operation,
    Said,
    Trial,
    is_documented,
    name_of,
    told_of,
    told_of_cut,
)


def operation(kind=Kind.APPEND, **changes):
    """An append of two rows by `pool.run` that was done, in the midst of the only trial."""
    usual = Operation(
        kind=kind,
        client=0,
        door="run",
        unit="0-1",
        began_at=12.0,
        ended_at=12.1,
        limit_at=20.0,
        step=Step.COMMIT,
        rows=("0-1-1-0", "0-1-1-1") if kind is Kind.APPEND else (),
    )
    return dataclasses.replace(usual, **changes)


def failed(told, step=Step.COMMIT, error="ConnectionLost", **changes):
    """One that failed."""
    return operation(told=told, step=step, error=error, **changes)


def trial(**changes):
    """An episode from 10 to 20, healed at 15, after which both clients were back at once."""
    usual = Trial(name="a crash", began_at=10.0, healed_at=15.0, ended_at=20.0, back={0: 15.5, 1: 15.6})
    return dataclasses.replace(usual, **changes)


def history(*operations, held=("0-1-1-0", "0-1-1-1"), **facts):
    """What was noted, and what is stored in the end."""
    usual = {"clients": 2, "total": 200, "opening": 100, "balances": {0: 100, 1: 100}, "trials": [trial()]}
    return History(operations=list(operations), held=Counter(held), **(usual | facts))


def found(*operations, **facts):
    """The kinds of what is found."""
    return [each.fault for each in checker.violations(history(*operations, **facts))]


# --- a right history ------------------------------------------------------------------------------------------------


def test_nothing_is_found_in_a_right_history():
    """Done, done again after it was rolled back, lost in COMMIT and stored or not, cut inside, refused."""
    assert (
        found(
            operation(),
            operation(rows=("0-2-2-0",), given_up=("0-2-1-0",)),
            failed(Told.UNKNOWN, rows=("a",)),
            failed(Told.UNKNOWN, rows=("b",)),
            failed(Told.UNKNOWN, step=Step.WRITE, error="OutcomeUnknown", rows=("c",)),
            failed(Told.ROLLED_BACK, step=Step.INSIDE, rows=("d",)),
            failed(Told.ROLLED_BACK, step=Step.INSIDE, error="TimeoutError", is_cut=True, rows=("e",)),
            failed(Told.NOTHING_SENT, step=Step.BEGIN, error="PoolTimeout", rows=()),
            operation(Kind.AUDIT, value=200),
            held=("0-1-1-0", "0-1-1-1", "0-2-2-0", "a"),
        )
        == []
    )


# --- what is stored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planted", "held", "fault"),
    [
        pytest.param(operation(), (), Fault.LOST, id="acknowledged and lost"),
        pytest.param(failed(Told.ROLLED_BACK, rows=("a",)), ("a",), Fault.UNTRUE, id="rolled back and stored"),
        pytest.param(failed(Told.NOTHING_SENT, rows=("a",)), ("a",), Fault.UNTRUE, id="never sent and stored"),
        pytest.param(failed(Told.REFUSED, rows=("a",)), ("a",), Fault.UNTRUE, id="refused and stored"),
        pytest.param(
            failed(told_of_cut(Step.INSIDE), step=Step.INSIDE, is_cut=True, rows=("a",)),
            ("a",),
            Fault.UNTRUE,
            id="cut before its COMMIT and stored",
        ),
        pytest.param(operation(rows=("a",)), ("a", "a"), Fault.TWICE, id="one row stored twice"),
        pytest.param(failed(Told.UNKNOWN, rows=("a",)), ("a", "a"), Fault.TWICE, id="unknown and stored twice"),
        pytest.param(failed(Told.UNKNOWN), ("0-1-1-0",), Fault.TORN, id="half a transaction"),
    ],
)
def test_a_planted_untruth_is_found(planted, held, fault):
    """What a caller was told is what the engine holds."""
    assert found(planted, held=held) == [fault]


def test_a_unit_that_was_done_again_though_it_was_done_is_found():
    """Both attempts are stored."""
    again = operation(rows=("0-1-2-0",), given_up=("0-1-1-0",))

    assert set(found(again, held=("0-1-1-0", "0-1-2-0"))) == {Fault.TWICE, Fault.UNTRUE}


def test_half_of_an_acknowledged_transaction_is_found():
    """It is lost, and torn."""
    assert set(found(operation(), held=("0-1-1-0",))) == {Fault.LOST, Fault.TORN}


def test_an_unguarded_transaction_that_met_an_undoing_is_counted_and_not_judged():
    """docs/explanation/outcomes.md: there is no guard where the client begins and commits itself."""
    mine = operation(is_guarded=False)
    undone = [trial(undone=((11.0, 13.0),))]

    assert found(mine, held=(), trials=undone) == []
    assert checker.excused(history(mine, held=(), trials=undone)) == 1
    assert found(operation(), held=(), trials=undone) == [Fault.LOST]
    assert found(mine, held=(), trials=[trial(undone=((13.0, 14.0),))]) == [Fault.LOST]


# --- what was said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        pytest.param(failed(Told.UNKNOWN, step=Step.INSIDE), Fault.INEXACT, id="unknown before the COMMIT"),
        pytest.param(
            operation(Kind.GET, told=Told.UNKNOWN, step=Step.INSIDE, error="OutcomeUnknown"),
            Fault.INEXACT,
            id="an unknown read",
        ),
        pytest.param(failed(Told.NOTHING, error="OperationalError 1180"), Fault.UNTOLD, id="no outcome"),
        pytest.param(
            failed(Told.NOTHING, error="AttributeError", is_documented=False),
            Fault.UNDOCUMENTED,
            id="no documented error",
        ),
    ],
)
def test_a_planted_report_is_found(planted, fault):
    """Exact, and documented."""
    assert found(planted, held=()) == [fault]


@pytest.mark.parametrize(
    ("error", "step", "told", "documented"),
    [
        (errors.ConnectionLost("a", epoch=1, outcome=Outcome.ROLLED_BACK), Step.INSIDE, Told.ROLLED_BACK, True),
        (errors.CommitOutcomeUnknown("a", epoch=1, outcome=Outcome.UNKNOWN), Step.COMMIT, Told.UNKNOWN, True),
        (errors.PoolTimeout("late", waited_s=1.0), Step.BEGIN, Told.NOTHING_SENT, True),
        (errors.PoolClosed("closed"), Step.BEGIN, Told.NOTHING, False),
        (errors.ConnectionBusy(), Step.WRITE, Told.NOTHING, False),
        (err.OperationalError(1213, "deadlock"), Step.INSIDE, Told.ROLLED_BACK, True),
        (err.OperationalError(1317, "interrupted"), Step.WRITE, Told.REFUSED, True),
        (err.OperationalError(1317, "interrupted"), Step.COMMIT, Told.NOTHING, True),
        (err.OperationalError(2013, "lost"), Step.WRITE, Told.NOTHING, False),
        (err.InterfaceError(0, "Not connected"), Step.WRITE, Told.NOTHING, False),
        (TimeoutError(), Step.WRITE, Told.NOTHING, False),
        (OSError(104, "reset"), Step.WRITE, Told.NOTHING, False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_errors_are_read_as_their_pages_say(error, step, told, documented):
    """Of ours `outcome`; of the server's, what was waited for."""
    assert (told_of(error, step), is_documented(error)) == (told, documented)


def test_errors_are_named_with_the_server_s_number():
    """Ours have none of their own."""
    assert name_of(err.OperationalError(1213, "deadlock")) == "OperationalError 1213"
    assert name_of(errors.PoolTimeout("late", waited_s=1.0)) == "PoolTimeout"


def test_a_call_that_outlasts_its_deadline_is_found():
    """By more than a second, less the time for which our own loop stood."""
    late = operation(ended_at=21.5)

    assert found(late) == [Fault.OVERDUE]
    assert found(operation(ended_at=20.9)) == []
    assert found(late, stalls=(Stall(at=20.5, lasted_s=3.0),)) == []
    assert found(late, stalls=(Stall(at=11.5, lasted_s=3.0),)) == [Fault.OVERDUE]


# --- money and registers --------------------------------------------------------------------------------------------


def test_a_sum_that_is_wrong_is_found_in_a_read_and_in_the_end():
    """Whoever read it."""
    assert found(operation(Kind.AUDIT, value=190)) == [Fault.SUM]
    assert set(found(balances={0: 90, 1: 100})) == {Fault.SUM, Fault.BALANCE}


def test_a_transfer_of_which_only_the_row_or_only_the_money_is_stored_is_found():
    """The sum is right in both."""
    assert found(moved=[(0, 1, 10)], balances={0: 90, 1: 110}) == []
    assert found(moved=[(0, 1, 10)]) == [Fault.BALANCE]
    assert found(balances={0: 90, 1: 110}) == [Fault.BALANCE]


LONG = trial(began_at=0.0, healed_at=100.0, ended_at=1e7, back={0: 101.0, 1: 101.0})


def put(value, began_at, ended_at, told=Told.DONE, **changes):
    """A write of register 0."""
    error = "" if told is Told.DONE else "ConnectionLost"
    return operation(
        Kind.SET,
        rows=(value,),
        register=0,
        began_at=began_at,
        ended_at=ended_at,
        limit_at=ended_at,
        told=told,
        error=error,
        **changes,
    )


def got(value, began_at, ended_at, **changes):
    """A read of it."""
    return operation(
        Kind.GET, value=value, register=0, began_at=began_at, ended_at=ended_at, limit_at=ended_at, **changes
    )


@pytest.mark.parametrize(
    ("operations", "fault"),
    [
        pytest.param([put("a", 1, 2), put("b", 3, 4), got("a", 5, 6)], Fault.STALE, id="an older value"),
        pytest.param([put("a", 1, 2), got("", 3, 4)], Fault.STALE, id="the first value"),
        pytest.param(
            [put("a", 1, 2), put("b", 3, 4, Told.UNKNOWN), got("b", 5, 6), got("a", 7, 8)],
            Fault.STALE,
            id="older than an unknown one that was read before",
        ),
        pytest.param([put("a", 1, 2, Told.ROLLED_BACK), got("a", 3, 4)], Fault.PHANTOM, id="what was rolled back"),
        pytest.param(
            [put("b", 1, 2, given_up=("a",)), got("a", 1, 2)],
            Fault.PHANTOM,
            id="what was taken for undone and replaced",
        ),
        pytest.param([got("never", 3, 4)], Fault.PHANTOM, id="what nobody wrote"),
        pytest.param(
            [put("a", 1, 2, Told.REFUSED), got("a", 3, 4, is_writer=False)], Fault.PHANTOM, id="on a reader, too"
        ),
    ],
)
def test_a_planted_read_is_found(operations, fault):
    """On the writer, not older than what was acknowledged."""
    assert found(*operations, trials=[LONG]) == [fault]


@pytest.mark.parametrize(
    "operations",
    [
        [put("a", 1, 2), put("b", 3, 6), got("a", 4, 5), got("b", 4, 5)],
        [put("a", 1, 2, Told.UNKNOWN), put("b", 3, 4), got("a", 5, 6)],
        [put("a", 1, 2), put("b", 3, 4), got("a", 5, 6, is_writer=False)],
        [put("a", 1, 5), put("b", 2, 3), got("a", 6, 7)],
        [got("", 1, 2), put("a", 1, 5)],
    ],
    ids=["under way", "an unknown one comes late", "a reader lags", "they overlap", "nothing yet"],
)
def test_a_read_that_may_be_is_not_found(operations):
    """Whatever order of what overlaps explains it."""
    assert found(*operations, trials=[LONG]) == []


def test_a_register_that_ends_with_an_older_value_is_found():
    """The last read is the engine's own."""
    writes = [put("a", 1, 2), put("b", 3, 4)]

    assert found(*writes, registers={0: "b"}) == []
    assert found(*writes, registers={0: "a"}) == [Fault.STALE]
    assert found(*writes, registers={0: ""}) == [Fault.STALE]


@given(st.integers(), st.integers(0, 60))
def test_whatever_a_true_register_does_is_right(seed, count):
    """Clients that overlap, writes that are done at some moment, or never if nobody knows: nothing is found."""
    assert found(*_simulated(random.Random(seed), count), trials=[LONG]) == []


@given(st.integers(), st.integers(8, 60))
def test_a_read_of_what_is_surely_gone_is_found_in_any_history(seed, count):
    """Read the first value once more, after everything."""
    operations = _simulated(random.Random(seed), count)
    done = [each for each in operations if each.kind is Kind.SET and each.told is Told.DONE]
    planted = got("", 90.0, 91.0)

    is_found = Fault.STALE in found(*operations, planted, trials=[LONG])

    assert is_found == bool(done or any(each.value for each in operations if each.kind is Kind.GET))


def _simulated(chance, count):
    """Let a true register be written and read, each at one moment of a span; some say that nobody knows."""
    moments = []
    for number in range(count):
        began_at = chance.uniform(0, 50)
        ended_at = began_at + chance.uniform(0.01, 5)
        moments.append((chance.uniform(began_at, ended_at), began_at, ended_at, f"v{number}"))
    value, operations = "", []
    for _, began_at, ended_at, new in sorted(moments):
        match chance.choice(["set", "get", "unknown", "never", "undone"]):
            case "set":
                value = new
                operations.append(put(new, began_at, ended_at))
            case "get":
                operations.append(got(value, began_at, ended_at))
            case "unknown":
                value = new
                operations.append(put(new, began_at, ended_at, Told.UNKNOWN))
            case "never":
                operations.append(put(new, began_at, ended_at, Told.UNKNOWN))
            case _:
                operations.append(put(new, began_at, ended_at, Told.ROLLED_BACK, step=Step.INSIDE))
    return operations


# --- roles, coming back, false alarms -------------------------------------------------------------------------------


def test_a_writer_s_statement_on_a_reader_is_found():
    """At once; on a fenced writer only when it could have been known for long."""
    fenced = trial(faults=((11.0, "promoted db-2"),), began_at=10.0, ended_at=30.0)

    assert found(misled=[Misled(at=12.0, instance="db-2", statement="INSERT")]) == [Fault.WRONG_ROLE]
    for at, faults in ((16.0, []), (18.0, [Fault.WRONG_ROLE])):
        misled = [Misled(at=at, instance="db-1", statement="INSERT", is_fenced=True)]
        assert found(misled=misled, trials=[fenced]) == faults


def test_a_client_that_is_not_back_is_found():
    """Within ten seconds of the healing, less the time for which our own loop stood."""
    late = trial(back={0: 15.5, 1: 26.0}, ended_at=30.0)

    assert found(trials=[trial(back={0: 15.5}, ended_at=30.0)]) == [Fault.NOT_BACK]
    assert found(trials=[late]) == [Fault.NOT_BACK]
    assert found(trials=[late], stalls=(Stall(at=20.0, lasted_s=3.0),)) == []


def test_a_client_that_waits_alone_on_a_forgotten_connection_is_counted_and_not_judged():
    """docs/explanation/two-silences.md: it bounds the wait itself; others have witnesses."""
    silent = trial(
        faults=((11.0, "fault db-1 {'fault': 'restart', 'mode': 'blackhole'}"),), back={0: 26.0, 1: 15.5}, ended_at=30.0
    )
    cut = failed(Told.UNKNOWN, step=Step.WRITE, is_cut=True, rows=("a",), door="lone", ended_at=25.9, limit_at=25.9)

    assert found(cut, trials=[silent]) == []
    assert checker.alone(history(cut, trials=[silent])) == 1
    assert found(dataclasses.replace(cut, door="run"), trials=[silent]) == [Fault.NOT_BACK]
    assert found(cut, trials=[dataclasses.replace(silent, faults=())]) == [Fault.NOT_BACK]
    assert found(trials=[silent]) == [Fault.NOT_BACK]


def test_a_failure_in_fair_weather_is_found():
    """Before the first trial, and from the last client's return; a deadlock may be at any time."""
    for began_at in (5.0, 15.7):
        lost = failed(Told.ROLLED_BACK, step=Step.INSIDE, rows=(), began_at=began_at, ended_at=began_at + 0.1)
        assert found(lost) == [Fault.FAIR_WEATHER]
        assert found(dataclasses.replace(lost, error="OperationalError 1213")) == []
        assert found(lost, stalls=(Stall(at=began_at + 0.1, lasted_s=2.0),)) == [Fault.FAIR_WEATHER]
    assert found(failed(Told.ROLLED_BACK, step=Step.INSIDE, rows=(), began_at=15.55, ended_at=15.6)) == []


def test_a_session_that_is_lost_where_nothing_may_be_lost_is_found():
    """Patching keeps sessions, and our own stall is not the server's fault."""
    lost = failed(Told.ROLLED_BACK, step=Step.INSIDE, rows=())
    late = failed(Told.NOTHING_SENT, step=Step.BEGIN, error="PoolTimeout", rows=())
    harmless = [trial(is_harmless=True)]

    assert found(lost, trials=harmless) == [Fault.FALSE_ALARM]
    assert found(late, trials=harmless) == []
    assert found(said=[Said(12.0, "aioaurora.statements.aborted", "...")], trials=harmless) == [Fault.FALSE_ALARM]
    assert found(said=[Said(12.0, "aioaurora.failover.finished", "...")], trials=harmless) == [Fault.FALSE_ALARM]
    assert found(said=[Said(12.0, "aioaurora.failover.started", "...")], trials=harmless) == []


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ({"unfinished": ["client 1: run append since 12.0"]}, Fault.STUCK),
        ({"left": ["db-1: 2 connections"]}, Fault.LEFT),
        ({"unheard": ["Task exception was never retrieved"]}, Fault.UNHEARD),
    ],
    ids=["stuck", "left", "unheard"],
)
def test_what_is_left_in_the_end_is_found(facts, fault):
    """Nobody hangs, and nothing stays."""
    assert found(**facts) == [fault]


def test_what_grows_with_every_trial_is_found():
    """A few trials prove nothing, and what goes up and down is none."""

    def trials(*counts):
        return [trial(in_use={"sockets": count}) for count in counts]

    assert found(trials=trials(20, 22, 20, 21, 28, 30, 32, 34)) == [Fault.GROWN]
    assert found(trials=trials(20, 22, 20, 21, 24, 28, 20, 31)) == []
    assert found(trials=trials(20, 30, 40)) == []


def test_every_kind_of_fault_is_planted_somewhere_here():
    """A check that nothing here makes fail is none."""
    source = pathlib.Path(__file__).read_text(encoding="utf-8")

    assert [fault.name for fault in Fault if f"Fault.{fault.name}" not in source] == []


def test_a_violation_shows_the_piece_of_history():
    """What, by whom, when, and what is stored."""
    (violation,) = checker.violations(history(operation(), held=()))

    assert str(violation) == (
        "acknowledged, and not stored\n"
        "    12.000 to 12.100 client 0 run append ('0-1-1-0', '0-1-1-1'): done\n"
        "    stored: []"
    )
