"""The engine `memory`: what the simulator stands on where there is no MariaDB, and on virtual time."""

from __future__ import annotations

from aioaurora.simulator.memory.server import MemoryEngine

__all__ = ["MemoryEngine"]
