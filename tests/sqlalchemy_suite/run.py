"""Run SQLAlchemy's dialect compliance suite over aiomysql, then over ours: `python run.py [arguments for pytest]`.

Both run on a private mariadbd, each in empty schemas. What the suite must know of a database comes from SQLAlchemy's
sdist on PyPI, and what it says of aiomysql holds for us. Fails if a test fails over ours that does not over aiomysql.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from xml.etree import ElementTree

import pymysql

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from tests.mariadb import MariaDB, private_mariadb  # noqa: E402 - A script: it is found from here only.

DRIVERS = "aiomysql", "aioaurora"
SCHEMAS = "test", "test_schema", "test_schema_2"
CONFIG = """[sqla_testing]
requirement_cls = requirements:DefaultRequirements
profile_file = {place}/profiles.txt

[db]
aiomysql = mysql+aiomysql://root@127.0.0.1:{port}/test?charset=utf8mb4
aioaurora = mysql+aioaurora://root@127.0.0.1:{port}/test?charset=utf8mb4

[tool:pytest]
python_files = cases.py
"""


def main() -> int:
    """Download, start, run twice, compare; give the exit status."""
    with tempfile.TemporaryDirectory(prefix="aa-") as temporary:
        place = pathlib.Path(temporary)
        (place / "requirements.py").write_text(_requirements(place))
        (place / "cases.py").write_text((HERE / "cases.py").read_text())
        with private_mariadb(place / "db", ["--character-set-server=utf8mb4"]) as server:
            (place / "setup.cfg").write_text(CONFIG.format(place=place, port=server.port))
            runs = {driver: _run(driver, place, server) for driver in DRIVERS}
    return _compared(*(runs[driver] for driver in DRIVERS))


def _requirements(place: pathlib.Path) -> str:
    """What is said of aiomysql is said of us, too."""
    wanted = f"sqlalchemy=={version('sqlalchemy')}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        "sqlalchemy",
        "-d",
        str(place),
    ]
    subprocess.run([*command, wanted], check=True, stdout=subprocess.DEVNULL)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        (name,) = (name for name in packed.getnames() if name.endswith("/test/requirements.py"))
        file = packed.extractfile(name)
        assert file is not None
        return re.sub(r'"(\w*\+)aiomysql"', r'"\1aiomysql", "\1aioaurora"', file.read().decode())


def _run(driver: str, place: pathlib.Path, server: MariaDB) -> dict[str, str]:
    """Give what became of each test."""
    _empty(server)
    report = place / f"{driver}.xml"
    command = [sys.executable, "-m", "pytest", "-p", "plugin", "-q", "-p", "no:cacheprovider", "--tb=short"]
    command += ["--db", driver, f"--junitxml={report}", "--maxfail=100000", "cases.py", *sys.argv[1:]]
    paths = [str(HERE), str(place), str(ROOT), *sys.path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    print(f"\nmysql+{driver}: SQLAlchemy {version('sqlalchemy')}, PyMySQL {version('PyMySQL')}", flush=True)
    subprocess.run(command, cwd=place, env=environment, check=False)
    return {_name(case, driver): _became(case) for case in ElementTree.parse(report).iter("testcase")}


def _empty(server: MariaDB) -> None:
    with pymysql.connect(unix_socket=server.socket, user="root") as connection, connection.cursor() as cursor:
        for schema in SCHEMAS:
            cursor.execute(f"DROP DATABASE IF EXISTS {schema}")
            cursor.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")


def _name(case: ElementTree.Element, driver: str) -> str:
    return f"{case.get('classname')}.{case.get('name')}".replace(driver, "")


def _became(case: ElementTree.Element) -> str:
    return next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")


def _compared(theirs: dict[str, str], ours: dict[str, str]) -> int:
    for driver, run in zip(DRIVERS, (theirs, ours), strict=True):
        counts = {kind: [*run.values()].count(kind) for kind in ("passed", "failure", "error", "skipped")}
        print(f"mysql+{driver}:", ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    bad = {"failure", "error"}
    only_ours = sorted(name for name, became in ours.items() if became in bad and theirs.get(name) not in bad)
    not_run = sorted(name for name, became in theirs.items() if became == "passed" and ours.get(name) != "passed")
    for name in only_ours:
        print("fails over ours only:", name)
    for name in not_run:
        print("passed over aiomysql, and not over ours:", name)
    return 1 if only_ours or not_run or "passed" not in ours.values() else 0


if __name__ == "__main__":
    sys.exit(main())
