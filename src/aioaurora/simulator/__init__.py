"""A local Aurora cluster for tests and demonstrations."""

from __future__ import annotations

from aioaurora.simulator.cluster import SimulatedCluster
from aioaurora.simulator.conditions import HostRow, Knock
from aioaurora.simulator.dns import DnsServer, Query
from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.instance import SimulatedInstance
from aioaurora.simulator.questions import Answer, Record, Status
from aioaurora.simulator.relay import Ending
from aioaurora.simulator.timeline import Entry, Timeline

__all__ = [
    "Answer",
    "DnsServer",
    "Ending",
    "Entry",
    "HostRow",
    "Knock",
    "Query",
    "Record",
    "SimulatedCluster",
    "SimulatedInstance",
    "SimulatorError",
    "Status",
    "Timeline",
]
