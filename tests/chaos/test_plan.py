"""What is drawn: the same from the same seed, in a file the same as in memory, and of everything that there is."""

from __future__ import annotations

import inspect
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioaurora.simulator import DnsServer, SimulatedCluster
from aioaurora.simulator.faults import Faults
from tests.chaos import host, own, plan, scenes

SCENARIOS = sorted((pathlib.Path(__file__).parent / "scenarios").glob("*.toml"))
# What undoes, looks, or is no fault by itself.
NO_FAULTS = {"add_custom_endpoint", "dns", "heal", "instances", "readers", "timeline", "writer", "wrong_roles"}
DNS = ["drop", "servfail", "refused", "nxdomain", "delay", "lie", "freeze"]


@given(seed=st.integers(0, 10_000))
def test_a_plan_is_a_function_of_its_seed(seed):
    """So that a seed that failed can be run again."""
    assert scenes.planned(seed) == scenes.planned(seed)


@given(seed=st.integers(0, 10_000))
def test_a_file_says_the_same(tmp_path_factory, seed):
    """A seed that failed becomes one."""
    path = tmp_path_factory.mktemp("plans") / "plan.toml"
    drawn = scenes.planned(seed, 5)

    path.write_text(drawn.as_toml(), encoding="utf-8")

    assert plan.read(path) == drawn


def test_every_fault_of_the_simulator_is_drawn():
    """Those of the cluster, its members and its names."""
    there_is = {name for name, _ in inspect.getmembers(Faults) if not name.startswith("_")} - NO_FAULTS
    there_is |= {f"dns_{name}" for name in DNS}
    drawn = {fault.call for seed in range(20) for episode in scenes.planned(seed).episodes for fault in episode.faults}

    assert there_is - drawn == set()
    assert drawn - there_is == {"clock", "kill", "stall", "suspend"}


def test_every_fault_that_is_drawn_can_be_done():
    """By the simulator, by the process that it lives in, or here; with the arguments that it takes."""
    for seed in range(20):
        for episode in scenes.planned(seed).episodes:
            for fault in episode.faults:
                inspect.signature(_doer(fault.call)).bind(None, **fault.arguments)


def _doer(call):
    if call in plan.OWN:
        return lambda _, **arguments: own.CALLS[call](*arguments.values())
    if own_way := getattr(host.Host, f"_{call}", None):
        return own_way
    return getattr(DnsServer, call.removeprefix("dns_")) if call.startswith("dns_") else getattr(SimulatedCluster, call)


@pytest.mark.parametrize("seed", range(6))
def test_some_episodes_may_cost_no_session(seed):
    """Among them the patching, and what befalls only ourselves."""
    harmless = {episode.name for episode in scenes.planned(seed).episodes if episode.is_harmless}

    assert {"patching", "our own loop stalls", "suspended", "dns down alone"} <= harmless


def test_a_patient_client_sits_the_longest_patching_out():
    """With an even seed; else the silence is shorter than the default `stall_timeout`."""
    for seed in (1, 2):
        drawn = scenes.planned(seed)
        (silent_for,) = [
            fault.arguments["silent_for"]
            for episode in drawn.episodes
            if episode.name == "patching"
            for fault in episode.faults
            if fault.call == "patch"
        ]
        assert silent_for + 5 < drawn.options.get("stall_timeout", 15.0)


def test_scenarios_say_what_they_show():
    """And are short."""
    for kept in map(plan.read, SCENARIOS):
        assert kept.title
        assert sum(episode.lasts_s for episode in kept.episodes) < 30
