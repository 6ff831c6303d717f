"""Run the tests in two processes at a time: what is on real time waits, one test at a time, while others compute.

`python tests/side_by_side.py [arguments for pytest]`; what each process says is shown when it has ended. Those of
`tests/system` that measure run alone, before the others.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ON_REAL_TIME = "real_time or loops"
# On virtual time, in parts that take about as long as each other; by the names of files.
POOL, UNITS = "test_pool", "test_units or test_books or test_slots or test_mutants"
TESTS = (
    ["-m", ON_REAL_TIME],
    ["-m", f"not ({ON_REAL_TIME})", "-k", f"not ({POOL} or {UNITS})"],
    ["-m", f"not ({ON_REAL_TIME})", "-k", f"{POOL} and not ({UNITS})"],
    ["-m", f"not ({ON_REAL_TIME})", "-k", UNITS],
)
MEASURING = "test_drill or test_pool_failover or test_import or test_pool_nearest or test_dead_host"
APPLICATIONS = "test_recipes or test_shop or test_web_servers or test_pytest_plugin or test_sqlalchemy_mariadb"
SYSTEM = (["-k", f"not ({MEASURING} or {APPLICATIONS})"], ["-k", APPLICATIONS])


def main() -> int:
    """Give the worst exit status."""
    is_system = "tests/system" in sys.argv
    alone = _status(["-k", MEASURING]) if is_system else 0
    with ThreadPoolExecutor(max_workers=2) as workers:
        return max(alone, *workers.map(_status, SYSTEM if is_system else TESTS))


def _status(options: list[str]) -> int:
    with tempfile.TemporaryFile() as told:
        command = [sys.executable, "-m", "pytest", *sys.argv[1:], *options]
        status = subprocess.run(command, stdout=told, stderr=told, check=False).returncode
        told.seek(0)
        print(told.read().decode(errors="replace"), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
