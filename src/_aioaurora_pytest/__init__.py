"""What pytest loads where aioaurora is installed: options and fixtures, and nothing else until a test asks for one.

It stands outside of the package, as importing anything from that imports the driver: every run of pytest would wait
for it. What the fixtures do is in `aioaurora.pytest_plugin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from aioaurora.pytest_plugin import Aurora

__all__ = ["aurora", "aurora_cluster", "aurora_options", "pytest_addoption"]

_ENGINES = ("auto", "mariadb", "memory", "dsn")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the command line say what plays the storage of the simulated cluster."""
    group = parser.getgroup("aioaurora", "a simulated Aurora cluster (fixtures `aurora` and `aurora_cluster`)")
    group.addoption(
        "--aurora-engine",
        choices=_ENGINES,
        default="auto",
        help="what plays the storage: mariadb starts a private mariadbd, memory needs nothing, dsn uses --aurora-dsn; "
        "auto, the default: dsn if that is given, else mariadb if mariadbd is installed, else memory",
    )
    group.addoption(
        "--aurora-dsn",
        metavar="URL",
        help="a MySQL or MariaDB that runs already: mysql://root:password@127.0.0.1:3306",
    )


@pytest.fixture(scope="session")
def aurora_options() -> dict[str, Any]:
    """Override it to say how the cluster is made: keywords of `SimulatedCluster`, such as `instances`."""
    return {}


@pytest.fixture(scope="session")
def aurora_cluster(request: pytest.FixtureRequest, aurora_options: dict[str, Any]) -> Iterator[Aurora]:
    """Give a simulated Aurora cluster that lives as long as the test session, in a thread of its own."""
    from aioaurora.pytest_plugin import serving  # noqa: PLC0415 - the driver is imported only where it is wanted.

    said = {"engine": request.config.getoption("aurora_engine"), "dsn": request.config.getoption("aurora_dsn")}
    with serving(**{**said, **aurora_options}) as cluster:
        yield cluster


@pytest.fixture
def aurora(aurora_cluster: Aurora) -> Iterator[Aurora]:
    """Give the cluster in good health, and heal it again after the test."""
    aurora_cluster.healthy().wait()
    yield aurora_cluster
    aurora_cluster.healthy().wait()
