"""The fixtures that pytest finds where aioaurora is installed, in projects of their own."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest

import aioaurora
from tests.mariadb import private_mariadb

pytestmark = [pytest.mark.timeout(120), pytest.mark.needs("pytest_asyncio")]

HOW_TO = pathlib.Path(__file__).parents[2] / "docs/how-to/test-your-application.md"
BLOCK = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHOUT_FIXTURES = """
import sys, threading


def test_nothing_was_begun(request):
    assert not [name for name in sys.modules if name.partition(".")[0] in ("aioaurora", "aiomysql", "pymysql")]
    assert threading.active_count() == 1
"""
IN_TURN = """
import asyncio, aiomysql, pytest


@pytest.mark.asyncio
@pytest.mark.parametrize("turn", range(3))
async def test_each_finds_it_whole(aurora, turn):
    assert all(each.is_up for each in aurora.instances.values())
    with aurora.resolving():  # A client that knows nothing of Aurora.
        conn = await aiomysql.connect(aurora.endpoint, aurora.user, aurora.password, port=aurora.port)
        conn.close()
    await aurora.crash(aurora.readers[0])
    await aurora.hang()
    await aurora.limit_connections(0)
    aurora.failover(promote_after=0.3)  # Nobody waits for it.


def test_a_test_without_a_loop(aurora):
    before = aurora.writer
    aurora.failover(mode="graceful", promote_after=0.1, target_down_for=0.1).wait()
    assert aurora.writer != before
    assert aurora.rows("SELECT 1").wait() == [(1,)]


@pytest.fixture(scope="session")
def aurora_options():
    return {"instances": 3, "name": "stock"}


def test_options_reach_the_cluster(aurora_cluster):
    assert aurora_cluster.name == "stock"
"""


@pytest.fixture
def tried(tmp_path):
    """Runs pytest in a project made of the given files; gives what it printed."""
    own = pathlib.Path(aioaurora.__file__).parents[1]
    is_installed = any(each.name == "aioaurora" for each in importlib.metadata.entry_points(group="pytest11"))
    plugin = [] if is_installed else ["-p", "_aioaurora_pytest"]
    command = [sys.executable, "-m", "pytest", "-p", "no:looptime_plugin", "-p", "no:cacheprovider", *plugin]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": f"{own}{os.pathsep}{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(files, *arguments, fails=False):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        settings = ["[pytest]", "asyncio_default_fixture_loop_scope = function", "filterwarnings = error"]
        (tmp_path / "pytest.ini").write_text("\n".join(settings))
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode == (1 if fails else 0), told
        return told

    return run


@pytest.fixture(scope="module")
def project():
    """The how-to's own files."""
    blocks = [text for language, text in BLOCK.findall(HOW_TO.read_text()) if language == "python"]
    names = ["orders.py", "test_orders.py", "conftest.py", "test_anyio.py"]

    return dict(zip(names, blocks, strict=True))


@pytest.mark.parametrize("engine", ["memory", pytest.param("mariadb", marks=pytest.mark.needs("mariadbd"))])
def test_the_how_to_works_as_it_stands(tried, project, engine):
    """With pytest-asyncio and with anyio's plugin (case 50)."""
    assert "2 passed" in tried(project, f"--aurora-engine={engine}")


@pytest.mark.needs("mariadbd")
def test_the_how_to_works_on_a_server_that_runs_already(tried, project, short_tmp):
    """As a service container does; nothing is left on it."""
    with private_mariadb(short_tmp / "service") as server:
        dsn = f"--aurora-dsn=mysql://root@127.0.0.1:{server.port}"
        left = "SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT LIKE '%schema' AND "
        left += "schema_name NOT IN ('mysql', 'sys')"

        told = tried(project, dsn)
        rows = subprocess.run(
            ["mariadb", "--no-defaults", "-uroot", f"-S{server.socket}", "-Ne", left],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )

    assert "2 passed" in told
    assert rows.stdout == ""


def test_each_test_finds_the_cluster_whole(tried):
    """Whatever the one before did to it, and under whatever loop, or none."""
    assert "5 passed" in tried({"test_in_turn.py": IN_TURN}, "--aurora-engine=memory", "-p", "no:randomly")


def test_who_uses_no_fixture_pays_nothing(tried):
    """Every run of pytest on the machine loads the plugin."""
    assert "1 passed" in tried({"test_other.py": WITHOUT_FIXTURES})


def test_a_server_that_does_not_answer_is_named_without_its_password(tried, project):
    """The log of a CI is public."""
    told = tried(project, "--aurora-dsn=mysql://root:hunter2@127.0.0.1:1", "--no-header", fails=True)

    assert "no server answers at 127.0.0.1:1" in told
    assert "hunter2" not in told
