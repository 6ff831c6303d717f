"""What the page on observing says, and the dashboard beside it: held against what is emitted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pathlib
import re

import prometheus_client
import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

import aioaurora
from aioaurora.events import ConnectionOpened, Events, FailoverStarted
from aioaurora.otel import Telemetry
from aioaurora.simulator import Ending, SimulatedCluster
from tests.pools import pooled, run

DOCS = pathlib.Path(__file__).parents[1] / "docs/how-to"
PAGE = (DOCS / "observe.md").read_text()
BOARD = json.loads((DOCS / "observe/dashboard.json").read_text())
STARTED = FailoverStarted(cluster="orders", epoch=1, writer="db-1", cause="heartbeat silent")


@pytest.fixture
async def emitted(monkeypatch):
    """The names of all metrics, and what Prometheus makes of them: its names with their labels."""
    plain, prometheus = InMemoryMetricReader(), PrometheusMetricReader()
    provider = MeterProvider([plain, prometheus], shutdown_on_exit=False)
    try:
        async with SimulatedCluster(3, engine="memory") as sim, pooled(sim, monkeypatch, minsize=0, maxsize=2) as pool:
            Telemetry(meter_provider=provider).watch(pool, name="web")
            await everything(sim, pool)
            data = plain.get_metrics_data()
            exposed = prometheus_client.generate_latest().decode()
    finally:
        provider.shutdown()
    labels = {}
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return {m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}, labels


async def everything(sim, pool):
    """Let all happen that has a metric."""
    with contextlib.suppress(aioaurora.ProgrammingError):
        await pool.execute("SELECT * FROM no_such_table")
    await pool.execute("SELECT 1", role="reader")
    await sim.report_lag(20.0, "db-3")
    await pool.execute("CREATE TABLE t (a INT)")
    await sim.lose_commit_answer(ending=Ending.RST)
    with contextlib.suppress(aioaurora.CommitOutcomeUnknown):
        await pool.run(lambda conn: run(conn, "INSERT INTO t VALUES (1)"))
    await pool.clear()  # The age of a connection's last byte is told in real time by the kernel.
    await asyncio.sleep(3.0)
    await sim.hang()
    await asyncio.sleep(3.0)
    await sim.heal()
    await sim.restart(down_for=1.0)
    async with pool.acquire(), pool.acquire():
        with contextlib.suppress(aioaurora.PoolTimeout):
            await pool.acquire(timeout=0.1)
        await sim.failover(mode="crash", promote_after=3.0)
        await asyncio.sleep(5.0)  # Whoever holds a connection does not look at it: it is cut.
    await pool.execute("SELECT 1")
    await asyncio.sleep(10.0)


def expressions():
    """All that the dashboard asks Prometheus."""
    yield from (target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", []))
    yield from (annotation["expr"] for annotation in BOARD["annotations"]["list"])
    yield from (each["query"]["query"] for each in BOARD["templating"]["list"] if each["type"] == "query")


def rules():
    """What the page's alerts ask."""
    return re.findall(r"^ +expr: (.*)$", PAGE, re.MULTILINE)


def asked(expression):
    """The names of metrics in an expression, and those of labels."""
    labels = set()
    for inside in re.findall(r"\bby \(([^)]*)\)", expression):
        labels |= {name.strip() for name in inside.split(",")} - {"le"}
    for inside in re.findall(r"\{([^}]*)\}", expression):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
    bare = re.sub(r'\bby \([^)]*\)|\{[^}]*\}|"[^"]*"', "", expression)
    bare, *grouped = bare.replace("label_values(", "").split(", aioaurora_cluster)")
    labels |= {"aioaurora_cluster"} if grouped else set()
    return set(re.findall(r"\b(?:db_client|aioaurora)_\w+", bare)), labels


async def test_the_dashboard_asks_for_what_there_is(emitted):
    """Every name, and every label of one of them."""
    _, labels = emitted

    for expression in [*expressions(), *rules()]:
        names, wanted = asked(expression)
        assert names, expression
        assert names <= labels.keys(), expression
        assert wanted <= set().union(*(labels[name] for name in names)), expression


async def test_the_dashboards_legends_are_labels(emitted):
    """A legend that names none shows nothing."""
    _, labels = emitted
    known = set().union(*labels.values())

    legends = [target["legendFormat"] for panel in BOARD["panels"] for target in panel.get("targets", [])]
    assert {name for legend in legends for name in re.findall(r"\{\{(\w+)\}\}", legend)} <= known


async def test_the_dashboard_shows_all_that_there_is(emitted):
    """But for what says the same twice."""
    names, _ = emitted
    shown = {name for expression in expressions() for name in asked(expression)[0]}

    left_out = {name for name in names if not any(each.startswith(name.replace(".", "_")) for each in shown)}
    assert left_out == {
        "aioaurora.topology.epoch", "db.client.connection.idle.max", "db.client.connection.idle.min",
    }  # fmt: skip


async def test_the_page_lists_what_there_is(emitted):
    """Every metric, and no other."""
    names, _ = emitted

    assert set(re.findall(r"^\| `((?:db|aioaurora)\.[a-z_.]+)` \|", PAGE, re.MULTILINE)) - {
        "aioaurora.pool.acquire", "aioaurora.failover",
    } == names  # fmt: skip


def test_the_dashboard_can_be_imported():
    """Each panel has an id and a place of its own."""
    panels = BOARD["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert BOARD["title"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


# --- logs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logger():
    """The logger that the page sets up; it is as it was afterwards."""
    logger = logging.getLogger("aioaurora")
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.usefixtures("logger")
@pytest.mark.parametrize("recipe", ["class AsJson", "foreign_pre_chain"])
def test_the_recipes_for_logs_write_json(capsys, recipe):
    """A line for what is INFO and above, with the fields beside the message."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    exec(next(block for block in blocks if recipe in block), {"__name__": "recipe"})

    hub = Events()
    hub.emit(ConnectionOpened(cluster="orders", instance="db-1", role="writer", why="connect"))
    hub.emit(STARTED)

    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["aurora_event"] == "aioaurora.failover.started"
    assert (told["aurora_cluster"], told["aurora_epoch"], told["level"].lower()) == ("orders", 1, "warning")
