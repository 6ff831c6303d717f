"""Plays scenario files: what happens to a cluster, and what is to be believed and done after each step.

A scenario has a `title`, may name its `endpoint` and `pattern`, and is a list of `[[phase]]`, each with

- `at`: seconds; a phase without one is 0.1 s after the one before;
- one event: `observed = {id, mode, thread, host}` (an instance answered; `host` is the name that was dialled, its own
  unless said, `"endpoint"` for the scenario's; `plain = true`: no Aurora), with `rows` as `replica_host_status` gives
  them, and the server's time of the newest, `clock`, the phase's unless said; or, in `failover/`, `late`,
  `session_lost`, `instance_lost`, `silenced`, `demoted`; `times` repeats it;
- `expect`: what must hold afterwards. In `failover/` the commands are compared always: no `commands` means none.

`[[any_order]]` lists events that come after the phases, in every order; `finally` must hold after each.
"""

from __future__ import annotations

import datetime
import itertools
import pathlib
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aioaurora._core.endpoint import parse_endpoint
from aioaurora._core.failover import (
    Abort,
    Ask,
    Command,
    Demoted,
    Event,
    InstanceLost,
    Late,
    Observed,
    SearchEnded,
    SearchStarted,
    SessionLost,
    Silenced,
    State,
    step,
    watched,
)
from aioaurora._core.observation import Mode, Observation, View, view_of
from aioaurora._core.topology import Health, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent / "scenarios"
ENDPOINT = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
EPOCH = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 - the server's time, which has no zone here
COLUMNS = ("SERVER_ID", "SESSION_ID", "LAST_UPDATE_TIMESTAMP", "REPLICA_LAG_IN_MILLISECONDS")
EVENTS = ("observed", "late", "session_lost", "instance_lost", "silenced", "demoted")
PHASE_KEYS = {"at", "rows", "clock", "times", "expect", *EVENTS}


@dataclass(frozen=True, slots=True)
class Scene:
    """One scenario file."""

    path: pathlib.Path
    content: dict[str, Any]

    @property
    def decides(self) -> bool:
        """Whether the search machine is played, not only what is believed."""
        return self.path.parent.name == "failover"

    def orders(self) -> Iterator[list[dict[str, Any]]]:
        """Give the phases, in every order that they may come in."""
        for order in itertools.permutations(self.content.get("any_order", [])):
            yield [*self.content.get("phase", []), *order]


def scenes() -> list[Scene]:
    """Read all scenario files."""
    paths = [*ROOT.glob("topology/*.toml"), *ROOT.glob("failover/*.toml")]
    return [Scene(path, tomllib.loads(path.read_text(encoding="utf-8"))) for path in sorted(paths)]


def play(scene: Scene) -> None:
    """Play a scenario in every order; fails where something else is believed or done than it says."""
    assert scene.content["title"]
    for phases in scene.orders():
        state = _started(scene)
        at = 0.0
        for number, phase in enumerate(phases, 1):
            assert phase.keys() <= PHASE_KEYS, phase.keys() - PHASE_KEYS
            at = phase.get("at", at + 0.1)
            state, commands = _played(scene, state, phase, at)
            wanted = _with_commands(scene, phase)
            assert _seen(state, commands, wanted) == wanted, f"phase {number} of {scene.path.name}"
        if "finally" in scene.content:
            wanted = _sorted_lists(scene.content["finally"])
            assert _seen(state, (), wanted) == wanted, f"after {[list(phase.values()) for phase in phases]}"


def observation(topology: Topology, said: dict[str, Any], view: View | None = None) -> Observation:
    """Build what an instance answered."""
    host = said["host"] if "host" in said else topology.endpoint.instance_host(said["id"])[0]
    return Observation(
        host=topology.endpoint.host if host == "endpoint" else host,
        port=topology.endpoint.port,
        server_id=None if said.get("plain") else said["id"],
        mode=Mode(said["mode"]),
        thread_id=said.get("thread", 0),
        view=view,
    )


def _started(scene: Scene) -> State:
    content = scene.content
    endpoint = parse_endpoint(content.get("endpoint", ENDPOINT), instance_pattern=content.get("pattern"))
    return State(topology=Topology(endpoint=endpoint))


def _played(scene: Scene, state: State, phase: dict[str, Any], at: float) -> tuple[State, tuple[Command, ...]]:
    done: list[Command] = []
    for _ in range(phase.get("times", 1)):
        state, commands = step(state, _event(state.topology, phase, at), at)
        done += commands
    return state, tuple(done) if scene.decides else ()


def _event(topology: Topology, phase: dict[str, Any], at: float) -> Event:
    (kind,) = phase.keys() & set(EVENTS)
    said = phase[kind]
    match kind:
        case "observed":
            view = _view(phase, said["id"], at) if "rows" in phase else None
            return Observed(observation(topology, said, view))
        case "late":
            return Late(said["id"], said["silent"])
        case "session_lost":
            return SessionLost(said["id"], said["generation"])
        case "instance_lost":
            return InstanceLost(said["id"], said["generation"], said.get("cause", "refused"))
        case "silenced":
            return Silenced(said["id"], said["generation"], said.get("cause", "silent"))
        case _:
            return Demoted(said["id"])


def _view(phase: dict[str, Any], observer: str, at: float) -> View | None:
    clock = EPOCH + datetime.timedelta(seconds=phase.get("clock", at))
    table = [
        (
            row["id"],
            row.get("session", "5f8b2c1e-9d1c-11ee-8d11-0a1b2c3d4e5f"),
            clock - datetime.timedelta(seconds=row["age"]) if "age" in row else None,
            row.get("lag_ms"),
        )
        for row in phase["rows"]
    ]
    return view_of(COLUMNS, table, observer)


def _with_commands(scene: Scene, phase: dict[str, Any]) -> dict[str, Any]:
    wanted = _sorted_lists(phase.get("expect", {}))
    if scene.decides and phase not in scene.content.get("any_order", []):
        wanted.setdefault("commands", [])
    return wanted


def _sorted_lists(wanted: dict[str, Any]) -> dict[str, Any]:
    return {key: sorted(value) if key in {"readers", "watched", "known"} else value for key, value in wanted.items()}


def _seen(state: State, commands: tuple[Command, ...], wanted: dict[str, Any]) -> dict[str, Any]:
    topology = state.topology
    everyone = {each.id: each for each in topology.instances}
    seen: dict[str, Any] = {
        "phase": type(state.phase).__name__,
        "writer": topology.writer.id if topology.writer else "",
        "epoch": topology.epoch,
        "hint": topology.hint or "",
        "readers": [each.id for each in topology.readers],
        "known": list(everyone),
        "health": {name: str(each.health) for name, each in everyone.items() if each.health is not Health.UP},
        "generation": {name: each.generation for name, each in everyone.items() if each.generation},
        "hosts": {name: each.host for name, each in everyone.items()},
        "lag_s": {name: each.lag_s for name, each in everyone.items() if each.lag_s is not None},
        "watched": sorted(watched(state, frozenset())),
        "commands": [_told(command) for command in commands],
    }
    return {key: seen[key] for key in wanted}


def _told(command: Command) -> str:
    match command:
        case Ask(instance):
            return f"ask {instance}"
        case Abort(instance, _, writers_only):
            return f"abort writers on {instance}" if writers_only else f"abort all on {instance}"
        case SearchStarted():
            return "search started"
        case SearchEnded(old, new, _):
            return f"search ended: {old} again" if old == new else f"search ended: {old} -> {new}"
