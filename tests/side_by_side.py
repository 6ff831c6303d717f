"""Run the tests of `tests/system` in two processes at a time: most of them wait, for clocks and for servers.

`python tests/side_by_side.py [arguments for pytest]`; what each process says is shown when it has ended. Those that
measure run alone, before the others.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

MEASURING = "test_drill or test_pool_failover or test_import or test_pool_nearest or test_dead_host"
# About half of the rest, by the time that it takes.
SOME = "test_chaos or test_recipes or test_shop or test_web_servers or test_pytest_plugin or test_sqlalchemy_mariadb"
OTHERS = f"not ({MEASURING} or {SOME})"


def main() -> int:
    """Give the worst exit status."""
    alone = _status(MEASURING)
    with ThreadPoolExecutor(max_workers=2) as workers:
        return max(alone, *workers.map(_status, (OTHERS, SOME)))


def _status(names: str) -> int:
    with tempfile.TemporaryFile() as told:
        command = [sys.executable, "-m", "pytest", "tests/system", *sys.argv[1:], "-k", names]
        status = subprocess.run(command, stdout=told, stderr=told, check=False).returncode
        told.seek(0)
        print(told.read().decode(errors="replace"), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
