"""What a drill found, as a picture, as JSON and as tables."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from aioaurora.cli.drill import judge
from aioaurora.cli.drill.conduct import Drill, Judged
from aioaurora.cli.drill.ledger import Side, Told
from aioaurora.cli.drill.picture import GREEN, Stretch, drawn, stretches
from aioaurora.cli.drill.plan import Plan
from aioaurora.cli.drill.record import as_json, first_writes
from aioaurora.cli.drill.report import print_failover, print_summary
from tests.cli.histories import attempt, failed_connect, ledger, scene


@pytest.fixture
def drill():
    """One crash: our client is back, the plain one is not."""
    made = Drill(Plan(clients=1, seed=7), engine="memory")
    made.ledger = ledger(
        attempt(unit=0, rows=("before",), ended_at=99.5),
        attempt(Told.UNKNOWN, rows=("cut",), ended_at=100.0, error="OutcomeUnknown"),
        attempt(),
        connects=(failed_connect(error="<refused> & gone"),),
    )
    stage = scene(held=frozenset({"before", "ours-0-1-1-0"}))
    figures = {side: judge.figures(made.ledger, stage, side) for side in Side}
    made.failovers = [Judged(stage, figures, judge.broken(figures[Side.OURS], stage))]
    return made


def test_moments_close_together_are_one_stretch():
    """Clients are paced: a pause of their own is no gap."""
    assert stretches([1.0, 1.2, 1.5, 3.0], steady_s=0.4) == [Stretch(1.0, 1.5), Stretch(3.0, 3.0)]


def test_the_picture_is_xml_with_a_lane_for_each_client(drill):
    """Whatever an error calls itself."""
    picture = ElementTree.fromstring(drawn(drill))

    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    titles = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert {"crash: db-1 to db-2", "fault", "promoted", "aioaurora", "plain aiomysql"} <= set(texts)
    assert titles == ["0.00 s: OutcomeUnknown, unknown", "1.00 s: <refused> & gone"]


def test_the_picture_shows_writes_where_they_were(drill):
    """Before the fault, and after the promotion."""
    greens = [each for each in ElementTree.fromstring(drawn(drill)) if each.get("fill") == GREEN and each.get("y")]

    assert len(greens) == 3  # Two stretches, and the legend.


def test_the_json_has_its_documented_keys(drill):
    """Machines read it: names and nesting stay."""
    record = json.loads(json.dumps(as_json(drill)))

    (failover,) = record["failovers"]
    assert (record["engine"], record["seed"], record["kept"]) == ("memory", 7, True)
    assert failover["aioaurora"]["first_write_worst_s"] == 0.05
    assert failover["aioaurora"]["outcomes"] == {"unknown": 1}
    assert failover["plain"]["first_write_worst_s"] is None
    assert record["summary"]["crash"]["aioaurora"]["unknown"] == 1
    assert record["broken_promises"] == []


def test_every_key_of_the_json_is_documented(drill, request):
    """In the reference of the commands."""
    page = (request.config.rootpath / "docs/reference/cli.md").read_text()
    record = as_json(drill)

    (failover,) = record["failovers"]
    keys = {*record, *failover, *failover["plain"], *record["summary"]["crash"]["plain"]}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


def test_first_writes_of_several_failovers_are_taken_together(drill):
    """A published figure is of all of them; one client that never came back leaves no worst."""
    assert first_writes(drill.failovers, Side.OURS) == pytest.approx((0.05, 0.05))
    assert first_writes(drill.failovers, Side.PLAIN) == (None, None)


def test_the_tables_say_what_was_found(drill):
    """Both kinds of client side by side, and whether the promises were kept."""
    console = Console(width=100)

    with console.capture() as captured:
        print_failover(console, 1, drill.failovers[0])
        print_summary(console, drill)

    shown = captured.get()
    assert "1. crash: db-1 to db-2, promoted 3.00 s after the fault" in shown
    assert "1 OutcomeUnknown" in shown
    assert "never" in shown
    assert "Every promise kept in 1 failover on memory." in shown


def test_a_broken_promise_is_said(drill):
    """With its number and what was seen."""
    drill.failovers[0].broken.append(judge.Broken(1, "3 connections led astray"))
    console = Console(width=100)

    with console.capture() as captured:
        print_failover(console, 1, drill.failovers[0])
        print_summary(console, drill)

    assert "promise 1 broken: 3 connections led astray" in captured.get()
    assert "1 promise broken in 1 failover." in captured.get()
