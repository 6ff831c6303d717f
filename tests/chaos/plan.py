"""What is to go wrong, as data: a pure function of a seed, and a file that says the same.

A plan is episodes, an episode is faults with the seconds at which they begin; when it is over everything is healed.
Instances are named by what they are at that moment: "writer", "reader:0", "reader:1", "all".
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pathlib

# What costs no session that the server keeps: none of these may end one.
HARMLESS = frozenset(
    {
        "clock",
        "distort_view",
        "dns_delay",
        "dns_drop",
        "dns_freeze",
        "dns_refused",
        "dns_servfail",
        "patch",
        "report_lag",
        "slow",
        "stall",
        "suspend",
    }
)
# What befalls the program itself, and not the cluster.
OWN = frozenset({"clock", "stall"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong: the simulator's call, or our own (`host.py`, `own.py`), and its arguments."""

    at_s: float
    call: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """Faults that overlap; `lasts_s` later everything is healed."""

    name: str
    lasts_s: float
    faults: tuple[Fault, ...]

    @property
    def is_harmless(self) -> bool:
        """Whether nothing in it may cost a session."""
        return all(fault.call in HARMLESS for fault in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is to go wrong.

    Attributes:
        title: What it shows; of a file.
        seed: What it was drawn from, and what the clients draw from.
        patience_s: Time-out that clients set to each operation, besides those that they pass to the library.
        options: Of the library's, beside the usual ones.
    """

    title: str = ""
    seed: int = 0
    patience_s: float = 14.0
    options: dict[str, Any] = field(default_factory=dict)
    episodes: tuple[Episode, ...] = ()

    def as_toml(self) -> str:
        """Write it as a scenario file."""
        lines = [f"{name} = {_value(getattr(self, name))}" for name in ("title", "seed", "patience_s", "options")]
        for episode in self.episodes:
            lines += ["", "[[episode]]", f"name = {_value(episode.name)}", f"lasts_s = {episode.lasts_s}", "fault = ["]
            lines += [f"    {_value(_said(fault))}," for fault in episode.faults]
            lines += ["]"]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        shown = [f"seed {self.seed}, patience {self.patience_s:g} s, options {self.options}"]
        for episode in self.episodes:
            shown.append(f"  {episode.name}, {episode.lasts_s:g} s")
            shown += [f"    {fault.at_s:5.2f} {fault.call} {_value(fault.arguments)}" for fault in episode.faults]
        return "\n".join(shown)


def read(path: pathlib.Path) -> Plan:
    """Read a scenario file."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    episodes = tuple(
        Episode(name=each["name"], lasts_s=each["lasts_s"], faults=tuple(map(_fault, each["fault"])))
        for each in found.pop("episode")
    )
    return Plan(**found, episodes=episodes)


def as_dict(fault: Fault) -> dict[str, Any]:
    """Give a fault as what JSON takes."""
    return dataclasses.asdict(fault)


def _said(fault: Fault) -> dict[str, Any]:
    return {"at_s": fault.at_s, "call": fault.call, **fault.arguments}


def _fault(said: dict[str, Any]) -> Fault:
    at_s, call = said.pop("at_s"), said.pop("call")
    return Fault(at_s=at_s, call=call, arguments=said)


def _value(value: Any) -> str:
    """Write a value as TOML on one line; TOML's texts, numbers and truths are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(each)}" for name, each in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
