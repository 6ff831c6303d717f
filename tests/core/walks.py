"""Made-up histories of a cluster, for properties: news in any order, of instances that we know and others."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

from aioaurora._core.endpoint import Endpoint, parse_endpoint
from aioaurora._core.failover import (
    Command,
    Demoted,
    Event,
    InstanceLost,
    Late,
    Observed,
    SessionLost,
    Silenced,
    State,
    step,
)
from aioaurora._core.observation import Mode, Observation, Row, View
from aioaurora._core.topology import Topology

ENDPOINTS = (
    parse_endpoint("orders.cluster-abc123.us-east-1.rds.amazonaws.com"),
    parse_endpoint("db-1.abc123.us-east-1.rds.amazonaws.com"),
    parse_endpoint("10.0.0.1", instance_pattern="{id}.example.com"),
    parse_endpoint("db.example.com"),
)
IDS = ("db-1", "db-2", "db-3", "db-2-green-ab12cd", "_no_name_", "db-")
HOSTS = (
    "orders.cluster-abc123.us-east-1.rds.amazonaws.com",
    "db-1.abc123.us-east-1.rds.amazonaws.com",
    "db-2.abc123.us-east-1.rds.amazonaws.com",
    "db-3.abc123.us-east-1.rds.amazonaws.com",
    "10.0.0.1",
    "db.example.com",
)

LISTS = (("db-1", "db-2"), ("db-2", "db-1", "db-3"), ("db-3",), ("db-2-green-ab12cd", "db-2"), ("DB-1", "db-1"))
VIEWS = tuple(
    View(
        stamp=stamp,
        rows=tuple(
            Row(server_id=name, is_writer=name == master, age_s=0.5 * number, lag_s=0.02 * number)
            for number, name in enumerate(names)
        ),
    )
    for names in LISTS
    for master in (names[0], None)
    for stamp in (0.0, 50.0, 100.0)
)

# Drawn from prepared ones: much quicker than drawing each field.
ids = st.sampled_from((*IDS, *IDS[:3]))
pauses = st.sampled_from([0.0, 0.01, 0.1, 0.5, 2.0, 20.0, 100.0])
observations = st.sampled_from(
    [
        Observation(host=host, port=3306, server_id=server_id, mode=mode, thread_id=thread_id, view=view)
        for number, (server_id, mode, thread_id) in enumerate(
            itertools.product((*IDS, *IDS[:3], None), Mode, (0, 1, 1000, 90000))
        )
        for host in (f"{server_id}.abc123.us-east-1.rds.amazonaws.com", HOSTS[number % len(HOSTS)])
        for view in (None, *VIEWS[number % 7 :: 7])
    ]
)
generations = st.integers(0, 4)
losses = (
    st.builds(Late, ids, st.floats(0, 20))
    | st.builds(SessionLost, ids, generations)
    | st.builds(InstanceLost, ids, generations, st.just("refused"))
    | st.builds(Silenced, ids, generations, st.just("silent"))
    | st.builds(Demoted, ids)
)
news: st.SearchStrategy[Event] = st.builds(Observed, observations) | losses
histories = st.lists(st.tuples(pauses, news), max_size=20)


@dataclass(frozen=True, slots=True)
class Turn:
    """One piece of news, and what it did."""

    before: State
    event: Event
    now: float
    after: State
    commands: tuple[Command, ...]


def begun(endpoint: Endpoint) -> State:
    """Give the state in which nothing was reached yet."""
    return State(topology=Topology(endpoint=endpoint))


def turns(endpoint: Endpoint, history: list[tuple[float, Event]]) -> list[Turn]:
    """Live through a history."""
    state, now, lived = begun(endpoint), 0.0, []
    for pause, event in history:
        now += pause
        after, commands = step(state, event, now)
        lived.append(Turn(state, event, now, after, commands))
        state = after
    return lived
