"""The AWS Advanced Python Wrapper fails over on the simulated cluster; other clients: test_simulator_mariadb.py."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).parent / "aws_wrapper_program.py"
NEEDED = ("aws_advanced_python_wrapper", "mysql.connector")


def missing():
    """The packages of the dependency group `system` that are not there."""
    return [name for name in NEEDED if importlib.util.find_spec(name.partition(".")[0]) is None]


@pytest.mark.needs("mariadbd")
@pytest.mark.timeout(90)
@pytest.mark.skipif(bool(missing()) and os.environ.get("AIOAURORA_REQUIRE_ALL") != "1", reason="wrapper not installed")
@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
def test_the_aws_wrapper_fails_over(mode):
    """Its plugins take the simulator for Aurora: dialect, topology, host pattern, and the way a writer ends."""
    assert missing() == []

    done = subprocess.run(
        [sys.executable, PROGRAM, mode], capture_output=True, text=True, check=False, timeout=80, cwd=PROGRAM.parents[2]
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "before": "db-1",
        "met": "FailoverSuccessError",
        "after": "db-2",
        "read_only": 0,
        "written": ["before", "after"],
    }
