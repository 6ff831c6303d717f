"""What is told of the core's news, and how often."""

from __future__ import annotations

import pytest

from aioaurora._core.endpoint import parse_endpoint
from aioaurora._core.failover import Observed, State, step
from aioaurora._core.observation import Mode, Observation, Row, View
from aioaurora._core.topology import Topology
from aioaurora._io.reports import Reports
from aioaurora.events import RowsIgnored

ENDPOINT = parse_endpoint("orders.cluster-abc123.us-east-1.rds.amazonaws.com")


class Episode:
    """A cluster of two, and what is told of it."""

    def __init__(self):
        self.state = State(topology=Topology(endpoint=ENDPOINT))
        self.told = []
        self.reports = Reports(self.told.append, self.state.topology)
        self.now = 0.0

    def see(self, observer, *ignored, others=("db-1", "db-2")):
        """Take in a view in which rows of these ids were left out."""
        self.now += 1.0
        rows = tuple(Row(server_id=each, is_writer=each == "db-1", age_s=0.0, lag_s=0.0) for each in others)
        news = Observed(
            Observation(
                host=f"{observer}.abc123.us-east-1.rds.amazonaws.com",
                port=3306,
                server_id=observer,
                mode=Mode.WRITABLE if observer == "db-1" else Mode.READ_ONLY,
                view=View(stamp=self.now, rows=rows, ignored=ignored),
            )
        )
        before = self.state
        self.state, _ = step(before, news, self.now)
        self.reports.news(news, before, self.state, connections=lambda instance: 0)

    @property
    def ignored(self):
        """The ids that were told of, event by event."""
        return [event.server_ids for event in self.told if isinstance(event, RowsIgnored)]


@pytest.fixture
def episode():
    """Nothing was seen yet."""
    return Episode()


def test_ignored_rows_are_told_of_once(episode):
    """Views come every few seconds, from every instance (case 67)."""
    for _ in range(100):
        episode.see("db-1", "x y")
        episode.see("db-2", "x y")

    assert episode.ignored == [("x y",)]


def test_instance_that_shows_no_such_row_changes_nothing(episode):
    """Views differ for a while."""
    for _ in range(10):
        episode.see("db-1", "x y")
        episode.see("db-2")

    assert episode.ignored == [("x y",)]


def test_other_ignored_rows_are_news(episode):
    """Also a row that was gone and comes back; that it went is none."""
    episode.see("db-1", "x y")
    episode.see("db-2", "z z")
    episode.see("db-1")
    episode.see("db-2")
    episode.see("db-1", "x y")

    assert episode.ignored == [("x y",), ("x y", "z z"), ("x y",)]


def test_word_of_an_instance_that_is_gone_does_not_stay(episode):
    """Else its row would never be news again."""
    episode.see("db-1")
    episode.see("db-2", "x y")
    episode.now += 100.0
    episode.see("db-1", others=("db-1",))
    episode.see("db-1", "x y", others=("db-1",))

    assert episode.ignored == [("x y",), ("x y",)]
