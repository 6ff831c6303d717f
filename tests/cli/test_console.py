"""What may stand behind a command of `aioaurora simulate`."""

from __future__ import annotations

import pytest

from aioaurora.cli.simulate.console import Words
from aioaurora.simulator import SimulatedCluster


@pytest.fixture
async def sim():
    """Whose ids are known."""
    async with SimulatedCluster(2, engine="memory") as started:
        yield started


async def test_words_come_in_any_order(sim):
    """None is asked for."""
    assert Words.of(["db-2", "1.5", "crash"], sim) == Words(mode="crash", seconds=1.5, instance="db-2")
    assert Words.of([], sim) == Words()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nan"], "'nan' is no duration"),
        (["inf"], "'inf' is no duration"),
        (["-1"], "'-1' is no duration"),
        (["soon"], "'soon' is no number and none of graceful, crash, blackhole, db-1, db-2"),
        (["1", "2"], "two of a kind: 1.0 and 2"),
    ],
)
async def test_other_words_are_refused(sim, words, says):
    """An instance that restarts for `inf` seconds would be gone for good."""
    with pytest.raises(ValueError, match=says):
        Words.of(words, sim)
