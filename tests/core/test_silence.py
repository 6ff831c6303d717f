"""What a silence means, and when to look again."""

from __future__ import annotations

import dataclasses
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.silence import Patience, Quiet, Silence, Verdict, judged, usual

GRAVITY = [Verdict.HEALTHY, Verdict.SUSPECT, Verdict.DEAD, Verdict.STALLED]
seconds = st.floats(0, 50) | st.sampled_from([0.0, 0.1, 0.25, 1.0, 1.25, 3.0, 15.0])
patiences = st.builds(
    Patience,
    suspect_after=st.floats(0.01, 2),
    dead_after=st.floats(0.5, 20),
    stalled_after=st.floats(0.5, 60),
) | st.just(Patience())
silences = st.builds(
    lambda asked, sign, waited, unacknowledged, hangs: Silence(
        now=max(asked, sign) + waited,
        asked_at=asked,
        last_sign_at=sign,
        unacknowledged=unacknowledged,
        connect_hangs=hangs,
    ),
    seconds,
    seconds,
    seconds,
    st.none() | st.booleans(),
    st.booleans(),
)


def silence(waited_s, *, unacknowledged=None, hangs=False, idle_s=1.0):
    """A question asked `waited_s` ago of an instance that was heard of `idle_s` before."""
    return Silence(
        now=100.0 + waited_s,
        asked_at=100.0,
        last_sign_at=100.0 - idle_s,
        unacknowledged=unacknowledged,
        connect_hangs=hangs,
    )


@pytest.mark.parametrize(
    ("heard", "verdict"),
    [
        (silence(0.2), Verdict.HEALTHY),
        (silence(0.25), Verdict.SUSPECT),
        (silence(1.84, unacknowledged=True, hangs=True), Verdict.SUSPECT),
        (silence(1.85, unacknowledged=True, hangs=True), Verdict.DEAD),
        (silence(2.0, unacknowledged=None, hangs=True), Verdict.DEAD),
        (silence(2.0, unacknowledged=False, hangs=True), Verdict.SUSPECT),
        (silence(2.0, unacknowledged=True, hangs=False), Verdict.SUSPECT),
        (silence(13.9, unacknowledged=False), Verdict.SUSPECT),
        (silence(14.0, unacknowledged=False), Verdict.STALLED),
    ],
)
def test_two_silences_are_told_apart(heard, verdict):
    """Late at 0.25 s; dead in time for 3 s after the last sign; stalled at 15 s (DECISIONS 1, case 53)."""
    assert judged(heard, Patience()) is verdict


@hypothesis.given(silences, patiences, seconds)
def test_verdict_only_worsens_while_nothing_is_heard(heard, patience, longer):
    """Waiting alone takes no suspicion back."""
    later = dataclasses.replace(heard, now=heard.now + longer)

    assert GRAVITY.index(judged(later, patience)) >= GRAVITY.index(judged(heard, patience))


@hypothesis.given(silences, patiences)
def test_dead_needs_a_connect_that_hangs(heard, patience):
    """And bytes that nobody acknowledged, where that can be seen."""
    if judged(heard, patience) is Verdict.DEAD:
        assert heard.connect_hangs
        assert heard.unacknowledged is not False


@hypothesis.given(silences, patiences)
def test_sign_of_life_takes_every_suspicion_back(heard, patience):
    """Any byte of it, on any connection."""
    assert judged(dataclasses.replace(heard, last_sign_at=heard.now), patience) is Verdict.HEALTHY


@hypothesis.given(silences, patiences)
def test_nothing_is_suspected_before_it_was_asked_and_had_time_to_answer(heard, patience):
    """An idle instance says nothing, and may: however rare the questions are."""
    asked_now = dataclasses.replace(heard, asked_at=heard.now)

    assert judged(asked_now, patience) is Verdict.HEALTHY


@hypothesis.given(silences, patiences, st.floats(0, 1))
def test_early_is_only_when_no_sign_of_life_would_matter(heard, patience, share):
    """Else they would not be looked at, and somebody who is late would seem not to be."""
    now = heard.asked_at + patience.suspect_after * share

    is_early = patience.is_early(heard.asked_at, now)

    assert is_early is (now < heard.asked_at + patience.suspect_after)
    assert not is_early or judged(dataclasses.replace(heard, now=now), patience) is Verdict.HEALTHY


@hypothesis.given(silences, patiences)
def test_next_check_is_ahead_and_soon(heard, patience):
    """A time that has come, or all but come, would spin; one too far would miss a connect that begins to hang."""
    ahead_s = patience.next_check(heard) - heard.now

    assert 0.0009 < ahead_s <= max(patience.suspect_after, 0.001) + 1e-6


def test_next_check_does_not_spin_at_a_mark_that_is_ahead_by_a_rounding_error():
    """The clock may be too coarse to reach it: the same instance was dialled thousands of times at one moment."""
    heard = dataclasses.replace(silence(0.25), asked_at=math.nextafter(100.0, 101.0))

    assert Patience().next_check(heard) == pytest.approx(100.251)
    assert Patience().next_check(heard, within_s=5.0) == pytest.approx(100.251)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.filter_too_much])  # Some are due at once.
@hypothesis.given(silences, patiences, st.floats(0, 1))
def test_verdict_changes_at_no_moment_before_the_next_check(heard, patience, share):
    """So no verdict is late by more than the loop is, and a millisecond."""
    check = patience.next_check(heard) - 0.0011
    between = heard.now + (check - heard.now) * share
    hypothesis.assume(heard.now <= between < check)

    assert judged(dataclasses.replace(heard, now=between), patience) is judged(heard, patience)


@hypothesis.given(silences)
def test_checks_come_to_an_end(heard):
    """Whoever looks at each check finds the instance stalled in the end, after a bounded number of looks."""
    looks = 0

    while judged(heard, Patience()) is not Verdict.STALLED:
        heard = dataclasses.replace(heard, now=Patience().next_check(heard))
        looks += 1

    assert looks <= 15 / 0.25 + 4


def test_what_we_slept_through_is_no_silence():
    """After a stall of our own it is asked anew: no verdict before it had time to answer (case 36)."""
    quiet = Quiet(asked_at=100.0, last_sign_at=99.0)

    quiet.woken(now=110.0, due=100.25)

    after = quiet.silence(110.2, unacknowledged=True, connect_hangs=True)
    assert judged(after, Patience()) is Verdict.HEALTHY


def test_stalls_of_our_own_put_no_verdict_off_for_ever():
    """Each takes its own length out of the silence, and nothing more."""
    quiet = Quiet(asked_at=100.0, last_sign_at=100.0)

    for second in range(100, 120):
        quiet.woken(now=second + 0.2, due=float(second))

    assert quiet.last_sign_at == pytest.approx(104.0)
    assert judged(quiet.silence(120.0, unacknowledged=False, connect_hangs=False), Patience()) is Verdict.STALLED


def test_a_sign_of_life_begins_the_silence_anew():
    """What was ended before may be ended again."""
    quiet = Quiet(asked_at=100.0, last_sign_at=99.0, is_ended=True)

    quiet.heard(98.0)
    assert quiet.is_ended
    quiet.heard(101.0)

    assert (quiet.last_sign_at, quiet.is_ended) == (101.0, False)


def test_an_instance_that_is_slow_is_not_silent():
    """Whose answers take 0.3 s each is late from 0.6 s on; a dead host is found as soon as ever."""
    patience, usual_s = Patience(), 0.0

    for _ in range(5):
        usual_s = usual(usual_s, 0.3)
    slow = patience.with_usual(usual_s)

    assert slow.suspect_after == pytest.approx(0.6)
    assert slow.dead_after == patience.dead_after


def test_one_slow_answer_is_soon_forgotten():
    """And the first quick ones are enough."""
    usual_s = usual(0.001, 5.0)
    assert Patience().with_usual(usual_s).suspect_after == Patience().dead_after

    for _ in range(6):
        usual_s = usual(usual_s, 0.001)

    assert Patience().with_usual(usual_s) == Patience()
