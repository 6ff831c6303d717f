"""Events as values, and their ways to listeners, streams and the log."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import inspect
import logging
import logging.handlers
import pickle
import queue
import re

import pytest

from aioaurora import events
from aioaurora.events import (
    ConnectionOpened,
    DnsStale,
    Event,
    Events,
    FailoverFinished,
    FailoverStarted,
    InstanceLost,
    InstanceSuspected,
    Level,
    StatementsAborted,
    TopologyChanged,
)

KINDS = [
    kind
    for name, kind in vars(events).items()
    if name in events.__all__ and isinstance(kind, type) and issubclass(kind, Event)
]
KINDS.remove(Event)
STARTED = FailoverStarted(cluster="orders", epoch=1, writer="db-1", cause="heartbeat silent")


def lost(number=1):
    """Some event."""
    return InstanceLost(cluster="orders", instance=f"db-{number}", cause="refused", connections=number)


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_event_is_a_frozen_plain_value(kind):
    """It crosses processes, and each field is documented for the reference page."""
    values = {"bool": True, "int": 1, "float": 0.5, "str": "x", "str | None": None, "tuple[str, ...]": ("a",)}
    event = kind(**{field.name: values[field.type] for field in dataclasses.fields(kind)})

    documented = set(re.findall(r"^ +(\w+): ", inspect.getdoc(kind) or "", re.MULTILINE))
    assert pickle.loads(pickle.dumps(event)) == event
    assert documented == {field.name for field in dataclasses.fields(kind)} - {"cluster"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.cluster = "other"


def test_events_are_equal_and_shown_by_their_fields():
    """As other dataclasses; in sets too."""
    assert lost(1) == lost(1) != lost(2)
    assert lost(1) != STARTED
    assert STARTED != "aioaurora.failover.started"
    assert len({lost(1), lost(1), lost(2), STARTED}) == 3
    assert repr(lost(1)) == "InstanceLost(cluster='orders', instance='db-1', cause='refused', connections=1)"


def test_levels_are_those_of_logging():
    """The core may not import logging, so it repeats four numbers."""
    assert {level.name: level.value for level in Level} == {
        name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR")
    }


# --- the log --------------------------------------------------------------------------------------------------------


def test_log_tells_the_name_and_the_fields_as_text_and_as_extra(caplog):
    """For a person with a plain log, and for a machine: prefixed, as a record has a `name` of its own."""
    with caplog.at_level(logging.DEBUG, logger="aioaurora"):
        Events().emit(STARTED)

    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (
        "aioaurora",
        "WARNING",
        "aioaurora.failover.started cluster='orders' epoch=1 writer='db-1' cause='heartbeat silent'",
    )
    assert record.aurora_event == "aioaurora.failover.started"
    assert (record.aurora_cluster, record.aurora_epoch, record.aurora_writer) == ("orders", 1, "db-1")


def test_records_pass_through_a_queue():
    """A QueueHandler, in a process of its own or not, gets plain values."""
    waiting = queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    logger = logging.getLogger("aioaurora")
    logger.addHandler(handler)
    try:
        Events().emit(STARTED)
    finally:
        logger.removeHandler(handler)

    record = pickle.loads(pickle.dumps(waiting.get_nowait()))
    assert (record.aurora_event, record.aurora_cause) == ("aioaurora.failover.started", "heartbeat silent")


def test_failover_of_a_thousand_connections_is_five_lines(caplog):
    """One WARNING at the start, one at the end, the topology between; connections at DEBUG (case 67)."""
    hub = Events()
    with caplog.at_level(logging.DEBUG, logger="aioaurora"):
        hub.emit(InstanceSuspected(cluster="orders", instance="db-1", silent_s=0.3))
        hub.emit(STARTED)
        hub.emit(StatementsAborted(cluster="orders", instance="db-1", count=1000, why="another writer"))
        hub.emit(lost(1000))
        for _ in range(1000):
            hub.emit(ConnectionOpened(cluster="orders", instance="db-2", role="writer", why="application"))
        hub.emit(TopologyChanged(cluster="orders", epoch=2, writer="db-2", readers=("db-3",)))
        hub.emit(
            FailoverFinished(
                cluster="orders",
                epoch=2,
                old_writer="db-1",
                new_writer="db-2",
                duration_s=2.1,
                connections_aborted=1000,
            )
        )

    loud = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert len(loud) <= 5
    assert [record.levelname for record in loud].count("WARNING") == 2
    assert loud[0].levelname == loud[-1].levelname == "WARNING"


def test_quiet_log_costs_no_fields(caplog, monkeypatch):
    """What is not logged is not taken apart either."""
    monkeypatch.setattr(events, "fields_of", lambda *_, **__: pytest.fail("taken apart"))

    with caplog.at_level(logging.WARNING, logger="aioaurora"):
        Events().emit(lost())

    assert caplog.records == []


# --- listeners ------------------------------------------------------------------------------------------------------


def test_listeners_hear_everything_in_order():
    """At once, on the caller's stack."""
    heard = []
    hub = Events([heard.append, lambda event: heard.append(event.name)])

    hub.emit(STARTED)

    assert heard == [STARTED, "aioaurora.failover.started"]


def test_listener_that_raises_is_logged_and_harms_nobody(caplog):
    """The others hear the event all the same."""
    heard = []
    hub = Events([lambda _: 1 / 0, heard.append])

    hub.emit(lost())

    failure = next(record for record in caplog.records if record.exc_info)
    assert (failure.getMessage(), failure.aurora_event) == ("aioaurora.listener.failed", "aioaurora.instance.lost")
    assert heard == [lost()]


# --- streams --------------------------------------------------------------------------------------------------------


async def test_stream_registers_at_the_call():
    """What happens before the first look at it is not lost."""
    hub = Events()

    stream = hub.stream()
    hub.emit(lost(1))

    assert await anext(stream) == lost(1)


async def test_stream_waits_for_what_comes():
    """In order, across any time."""
    hub = Events()

    async def watch():
        return [event async for event in hub.stream()]

    watching = asyncio.create_task(watch())
    await asyncio.sleep(1)
    for number in range(3):
        hub.emit(lost(number))
        await asyncio.sleep(3600)
    hub.close()

    assert await watching == [lost(0), lost(1), lost(2)]


async def test_slow_reader_loses_the_oldest_and_is_told_how_many():
    """A thousand are kept."""
    hub = Events()
    stream = hub.stream()

    for number in range(1003):
        hub.emit(lost(number))

    assert repr(stream) == "<EventStream open | 1000 waiting, 3 dropped>"
    assert (stream.dropped, await anext(stream)) == (3, lost(3))


async def test_each_stream_has_its_own_copy():
    """Readers do not take events from each other."""
    hub = Events()
    one, two = hub.stream(), hub.stream()

    hub.emit(lost())

    assert await anext(one) == await anext(two) == lost()


async def test_stream_that_is_left_hears_no_more():
    """Leaving the context ends it, after what it still holds."""
    hub = Events()
    async with hub.stream() as stream:
        hub.emit(lost(1))
    hub.emit(lost(2))

    assert [event async for event in stream] == [lost(1)]


async def test_waiting_reader_is_released_when_the_cluster_closes():
    """Nobody waits for what cannot come; a later stream ends at once."""
    hub = Events()
    waiting = asyncio.create_task(anext(hub.stream(), None))
    await asyncio.sleep(1)

    hub.close()

    assert await waiting is None
    assert [event async for event in hub.stream()] == []


async def test_cancelled_reader_loses_nothing():
    """The next one gets the event."""
    hub = Events()
    stream = hub.stream()
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(1)

    hub.emit(lost())
    waiting.cancel()
    await asyncio.wait({waiting})

    assert waiting.cancelled()
    assert await anext(stream) == lost()


async def test_two_readers_of_one_stream_share_it():
    """Each event goes to one of them, and both end."""
    hub = Events()
    stream = hub.stream()

    async def read():
        return [event async for event in stream]

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.sleep(1)
    hub.emit(lost(1))
    hub.emit(lost(2))
    await asyncio.sleep(1)
    hub.close()

    assert sorted(event.instance for events in await asyncio.gather(*readers) for event in events) == ["db-1", "db-2"]


async def test_stream_that_nobody_holds_is_forgotten():
    """A call whose result was dropped keeps nothing alive."""
    hub = Events()
    hub.stream()
    gc.collect()

    hub.emit(DnsStale(cluster="orders", host="db-1", age_s=1.0))

    assert len(hub._streams) == 0
