"""What `import aioaurora` costs and starts."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import pytest

pytestmark = pytest.mark.alone

PAIRS = 25
DEPENDENCIES = "aiodns, aiomysql, anyio, tenacity"  # DECISIONS 32.
TIMED = """
import time
begun = time.process_time()
import {modules}
print(time.process_time() - begun)
"""
UNWANTED = ["aioaurora.simulator", "opentelemetry", "pytest", "rich", "typer"]
COUNTED = f"""
import sys, threading
import aioaurora
print(threading.active_count(), *(name in sys.modules for name in {UNWANTED}))
"""


def test_import_costs_little_more_than_its_dependencies(tmp_path):
    """At most half as much again, in the median of interleaved pairs."""
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    _printed(COUNTED, **compiled)  # Once, so that nothing is compiled later.

    ratios = [
        float(_printed(TIMED.format(modules="aioaurora"), **compiled))
        / float(_printed(TIMED.format(modules=DEPENDENCIES), **compiled))
        for _ in range(PAIRS)
    ]

    assert statistics.median(ratios) <= 1.5, ratios


def test_import_starts_nothing():
    """No thread, and neither the simulator, the command line, nor an integration."""
    assert _printed(COUNTED) == " ".join(["1"] + ["False"] * len(UNWANTED))


def _printed(program: str, **environment: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=os.environ | environment)
    return done.stdout.strip()
