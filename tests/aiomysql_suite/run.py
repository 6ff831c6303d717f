"""Run aiomysql's own tests with our Connection, then its pool's with our pool: `python run.py [arguments for pytest]`.

The tests come from aiomysql's sdist on PyPI, and run against a private mariadbd. Left out are the files that need
SQLAlchemy below 1.4, and `test_load_local`, of which two tests fail on MariaDB with aiomysql itself.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.mariadb import private_mariadb  # noqa: E402 - A script: it is found from here only.

FILES = (
    "test_basic test_bulk_inserts test_connection test_cursor test_dictcursor test_issues test_nextset test_pool "
    "test_sha_connection test_ssl test_sscursor"
).split()

# The pool's, with our pool in its place.
POOL_FILES = "test_issues test_pool test_sha_connection test_ssl".split()
DIFFERENT = {
    "test_bad_context_manager_usage": "`with pool:` is a TypeError, as Python says itself",
    "test_invalid_minsize_and_maxsize": "a ConfigurationError says what to write instead",
    "test_parallel_tasks": "the connection that was used last is lent first: the others may go idle",
    "test_parallel_tasks_more": "as test_parallel_tasks",
    "test_release_closed": "its successor is opened at once, as `minsize` asks for it",
    "test_release_with_invalid_status": "an open transaction is rolled back, and the connection is kept",
    "test_release_with_invalid_status_wait_release": "as test_release_with_invalid_status",
}

TLS = {"ca": "ca.pem", "cert": "server-cert.pem", "key": "server-key.pem"}


def main() -> int:
    """Download, start, run; give pytest's exit status."""
    with tempfile.TemporaryDirectory(prefix="aa-") as temporary:
        place = pathlib.Path(temporary)
        suite = _unpacked(place)
        with (
            private_mariadb(place / "db", _tls_of(suite)) as one,
            private_mariadb(place / "other", _tls_of(suite)) as other,
            ThreadPoolExecutor(max_workers=2) as workers,
        ):
            connections = workers.submit(_run, suite, one.port, FILES)
            pools = workers.submit(_run, suite, other.port, POOL_FILES, "-p", "pool_plugin", *_deselected())
            return connections.result() or pools.result()


def _unpacked(place: pathlib.Path) -> pathlib.Path:
    wanted = f"aiomysql=={version('aiomysql')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "aiomysql", "-d", str(place)]
    command.append(wanted)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (archive,) = place.glob("aiomysql-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def _tls_of(suite: pathlib.Path) -> list[str]:
    files = suite / "tests" / "ssl_resources" / "ssl"
    return [f"--ssl-{name}={files / file}" for name, file in TLS.items()]


def _deselected() -> list[str]:
    kinds = [f"{loop}-tcp0" for loop in ("asyncio", "uvloop")]
    return [f"--deselect=tests/test_pool.py::{name}[{kind}]" for name in DIFFERENT for kind in kinds]


def _run(suite: pathlib.Path, port: int, names: list[str], *options: str) -> int:
    files = [str(suite / "tests" / f"{name}.py") for name in names]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT), *sys.path]),
        "MYSQL_ROOT_PASSWORD": "",
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # The suite brings its own way to run coroutines.
    command = [sys.executable, "-m", "pytest", "-p", "plugin", "-q", "-p", "no:cacheprovider"]
    command += ["--mysql-address", f"127.0.0.1:{port}", *files, *options, *sys.argv[1:]]
    with tempfile.TemporaryFile() as told:
        status = subprocess.run(command, cwd=suite, env=environment, stdout=told, stderr=told, check=False).returncode
        told.seek(0)
        versions = f"aiomysql {version('aiomysql')}, PyMySQL {version('PyMySQL')}, {len(files)} files"
        print(f"{versions}\n{told.read().decode(errors='replace')}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
