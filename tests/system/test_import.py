"""What `import aioaurora` costs and starts."""

from __future__ import annotations

import statistics
import subprocess
import sys

PAIRS = 11
DEPENDENCIES = "aiodns, aiomysql, anyio, tenacity"
TIMED = """
import time
begun = time.process_time()
import {modules}
print(time.process_time() - begun)
"""
COUNTED = """
import sys, threading
import aioaurora
print(threading.active_count(), "aioaurora.simulator" in sys.modules, "rich" in sys.modules, "typer" in sys.modules)
"""


def test_import_costs_little_more_than_its_dependencies():
    """At most half as much again, in the median of interleaved pairs."""
    _printed(TIMED.format(modules="aioaurora"))  # Once, so that all is compiled.

    ratios = [
        float(_printed(TIMED.format(modules="aioaurora"))) / float(_printed(TIMED.format(modules=DEPENDENCIES)))
        for _ in range(PAIRS)
    ]

    assert statistics.median(ratios) <= 1.5


def test_import_starts_nothing():
    """No thread, and neither the simulator nor the command line."""
    assert _printed(COUNTED) == "1 False False False"


def _printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
