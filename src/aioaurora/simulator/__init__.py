"""A local Aurora cluster for tests and demonstrations."""

from __future__ import annotations

from aioaurora.simulator.cluster import SimulatedCluster
from aioaurora.simulator.conditions import HostRow
from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.instance import SimulatedInstance
from aioaurora.simulator.timeline import Entry, Timeline

__all__ = ["Entry", "HostRow", "SimulatedCluster", "SimulatedInstance", "SimulatorError", "Timeline"]
