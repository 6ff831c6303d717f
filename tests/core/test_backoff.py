"""Pauses and limits stay within their bounds."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from aioaurora._core.backoff import Ramp, jittered, redial_pause, role_pause

chances = st.floats(0, 1)
searched = st.floats(0, 10_000)
intervals = st.floats(0.01, 5)


@hypothesis.given(st.floats(0, 100), chances)
def test_jitter_only_shortens(seconds, chance):
    """By a quarter at most: a bound on the pause is a bound on what is waited."""
    assert seconds * 0.75 <= jittered(seconds, chance) <= seconds


def test_jitter_spreads():
    """Processes that began together do not ask in step."""
    assert (jittered(1.0, 0.0), jittered(1.0, 0.5), jittered(1.0, 1.0)) == (0.75, 0.875, 1.0)


def test_live_reader_is_asked_often_at_first():
    """Ten times a second for 10 s, then four times (DECISIONS 1, case 59)."""
    assert [role_pause(sought_s) for sought_s in (0.0, 9.99, 10.0, 3600.0)] == [0.1, 0.1, 0.25, 0.25]


def test_redial_slows_down_after_a_minute():
    """To a second, over five minutes (DESIGN 7)."""
    assert [redial_pause(sought_s, 0.1) for sought_s in (0.0, 59.9, 60.0, 150.0, 300.0, 9e9)] == [
        0.1,
        0.1,
        0.2,
        0.5,
        1.0,
        1.0,
    ]


@hypothesis.given(searched, st.floats(0, 1000), intervals)
def test_redial_pause_never_shrinks(sought_s, longer_s, interval):
    """And is never less than was asked for, so nothing is dialled without a pause (case 29)."""
    now, later = redial_pause(sought_s, interval), redial_pause(sought_s + longer_s, interval)

    assert interval <= now <= later <= max(interval, 1.0)


@hypothesis.given(st.integers(1, 64), st.lists(st.none() | st.floats(0, 3)))
def test_ramp_stays_within_one_and_most(most, results):
    """Whatever succeeds or strains; None is a strain (case 26)."""
    ramp = Ramp.cautious(most)

    for took_s in results:
        ramp = ramp.after_strain() if took_s is None else ramp.after_success(took_s)
        assert 1 <= ramp.allowed <= ramp.most == most


def test_ramp_doubles_on_quick_success_and_halves_on_strain():
    """It starts with one after a failover."""
    ramp = Ramp.cautious(8)
    quick = ramp.after_success(0.01).after_success(0.25)

    assert ramp.allowed == 1
    assert quick.allowed == 4
    assert quick.after_success(0.1).after_success(0.1).allowed == 8
    assert quick.after_strain().allowed == 2


def test_ramp_grows_by_one_on_slow_success():
    """Slow is what far away always is: it shows less room than quick does, and else it stayed at one for ever."""
    ramp = Ramp.cautious(4)

    slow = ramp.after_success(0.26).after_success(9.0)

    assert slow.allowed == 3
    assert slow.after_success(9.0).after_success(9.0).allowed == 4
