"""Pauses and ramps."""

from __future__ import annotations

import pytest

from aioaurora._core.backoff import jittered


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.075), (0.5, 0.0875), (1.0, 0.1)])
def test_jitter_never_makes_a_pause_longer_than_the_interval(chance, pause):
    """The promise is one search interval and one connect, not one and a quarter."""
    assert jittered(0.1, chance) == pytest.approx(pause)
