"""Pauses and limits stay within their bounds."""

from __future__ import annotations

import hypothesis
from hypothesis import strategies as st

from aioaurora._core.backoff import (
    Ramp,
    dispersed,
    jittered,
    lookout_pause,
    redial_pause,
    relief,
    role_pause,
)

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
    assert [role_pause(sought_s, 0.1) for sought_s in (0.0, 9.99, 10.0, 3600.0)] == [0.1, 0.1, 0.25, 0.25]


def test_nobody_is_asked_more_often_than_every_search_interval():
    """Raised for a large fleet, it spares those that answer, too (case 59)."""
    assert [role_pause(sought_s, 1.0) for sought_s in (0.0, 9.99, 10.0)] == [1.0, 1.0, 1.0]
    assert [role_pause(sought_s, 0.2) for sought_s in (0.0, 10.0)] == [0.2, 0.25]


def test_endpoints_are_looked_at_less_often_with_time():
    """Down to once in the 5 s for which an answer of DNS is believed."""
    assert [lookout_pause(looks) for looks in (0, 1, 2, 3, 4, 10_000)] == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_who_refuses_at_once_is_left_alone_for_5_s_at_most():
    """1040 and its like (case 25): doubled from `search_interval` on."""
    pauses = [0.0]
    for _ in range(8):
        pauses.append(relief(pauses[-1], 0.001, 0.1))

    assert pauses[1:] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_who_lets_us_wait_in_vain_is_left_alone_for_as_long_first():
    """Twice as long each time, up to a minute: those that were not served must come back as seldom as they can be."""
    assert [relief(before_s, 15.0, 0.1) for before_s in (0.0, 15.0, 30.0, 60.0)] == [15.0, 30.0, 60.0, 60.0]


@hypothesis.given(st.floats(0, 100), chances)
def test_what_is_dispersed_is_at_most_halved(seconds, chance):
    """Those who failed together must not come back together."""
    assert seconds / 2 <= dispersed(seconds, chance) <= seconds


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


@hypothesis.given(st.integers(1, 64), st.lists(st.tuples(st.booleans(), st.floats(0, 20))))
def test_ramp_stays_within_one_and_most(most, results):
    """Whatever succeeds or strains (case 26)."""
    ramp, now = Ramp.cautious(most), 0.0

    for succeeds, took_s in results:
        began_at, now = now, now + took_s
        ramp = ramp.after_success(took_s) if succeeds else ramp.after_strain(began_at=began_at, now=now)
        assert 1 <= ramp.allowed <= ramp.most == most
        assert 0 <= ramp.pause_s <= 60


def test_ramp_doubles_on_quick_success_and_halves_on_strain():
    """It starts with one after a failover."""
    ramp = Ramp.cautious(8)
    quick = ramp.after_success(0.01).after_success(0.25)

    assert ramp.allowed == 1
    assert quick.allowed == 4
    assert quick.after_success(0.1).after_success(0.1).allowed == 8
    assert quick.after_strain(began_at=1.0, now=1.1).allowed == 2


def test_ramp_takes_connects_that_strain_together_for_one():
    """Four that time out at once halve it once; what was begun after that halves it again."""
    strained = Ramp(4, 4).after_strain(began_at=0.0, now=3.0)

    assert strained.after_strain(began_at=0.0, now=3.0) is strained
    assert strained.allowed == 2
    assert strained.after_strain(began_at=3.0, now=6.0).allowed == 1


def test_ramp_pauses_where_one_at_a_time_is_too_many():
    """For as long as that one waited, then twice as long; a success ends it."""
    once = Ramp(1, 4).after_strain(began_at=0.0, now=3.0)
    twice = once.after_strain(began_at=6.0, now=9.0)

    assert (once.pause_s, twice.pause_s) == (3.0, 6.0)
    assert twice.after_success(2.9).pause_s == 0.0


def test_ramp_does_not_pause_for_a_refusal():
    """1040 costs the server little, and who waits in a pool is paced by the pool."""
    assert Ramp(1, 4).after_strain(began_at=0.0, now=0.01).pause_s == 0.0


def test_ramp_grows_by_one_on_slow_success():
    """Slow is what far away always is: it shows less room than quick does, and else it stayed at one for ever."""
    ramp = Ramp.cautious(4)

    slow = ramp.after_success(0.26).after_success(1.0)

    assert slow.allowed == 3
    assert slow.after_success(1.0).after_success(1.0).allowed == 4


def test_ramp_halves_where_a_connect_stood_in_line():
    """Others stand in it, too: more of ours make it longer."""
    assert Ramp(4, 4).after_success(1.1).allowed == 2
    assert Ramp(1, 4).after_success(9.0).allowed == 1


def test_ramp_tells_a_line_from_distance():
    """From another continent a connect takes two seconds always (case 62)."""
    assert Ramp(2, 4).after_success(2.1, round_trip_s=0.3).allowed == 3
    assert Ramp(2, 4).after_success(2.1, round_trip_s=0.01).allowed == 1
