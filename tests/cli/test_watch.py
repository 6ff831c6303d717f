"""What is noticed while a drill runs."""

from __future__ import annotations

import asyncio
import time

import pytest

from aioaurora.cli.drill.watch import Suspicions, Ticker
from aioaurora.events import FailoverFinished, FailoverStarted, InstanceLost, InstanceSuspected, SearchEnded

FINISHED = FailoverFinished(
    cluster="orders", epoch=2, old_writer="db-1", new_writer="db-2", duration_s=0.0, connections_aborted=3
)


@pytest.mark.parametrize(
    "event",
    [
        InstanceSuspected(cluster="orders", instance="db-1", silent_s=0.3),
        InstanceLost(cluster="orders", instance="db-1", cause="refused", connections=1),
        FailoverStarted(cluster="orders", epoch=1, writer="db-1", cause="late"),
        FINISHED,
    ],
    ids=lambda event: type(event).__name__,
)
async def test_whatever_puts_the_writer_in_doubt_first_counts(event):
    """Also a new writer that is seen before the old one's silence is."""
    suspicions = Suspicions()
    await asyncio.sleep(5.0)

    suspicions(event)
    await asyncio.sleep(1.0)
    suspicions(FINISHED)

    assert suspicions.first("db-1", since=2.0) == pytest.approx(5.0)
    assert suspicions.first("db-1", since=5.5) == pytest.approx(6.0)
    assert suspicions.first("db-2", since=0.0) is None


async def test_other_news_are_no_suspicion():
    """The same writer came back."""
    suspicions = Suspicions()

    suspicions(SearchEnded(cluster="orders", epoch=1, writer="db-1", duration_s=1.0))

    assert suspicions.first("db-1", since=0.0) is None


@pytest.mark.real_time
async def test_the_ticker_notes_when_the_loop_stood_still():
    """Whoever blocks it."""
    ticker = Ticker()
    running = asyncio.create_task(ticker.run())
    await asyncio.sleep(0.05)
    before = asyncio.get_running_loop().time()

    time.sleep(0.2)
    await asyncio.sleep(0.05)
    running.cancel()

    (stall, *_) = ticker.between(before, before + 10.0)
    assert stall.lasted_s == pytest.approx(0.2, abs=0.05)
