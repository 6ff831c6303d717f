"""Where the engine `dsn` looks for its server."""

from __future__ import annotations

import pytest

from aioaurora.simulator import SimulatedCluster, SimulatorError
from aioaurora.simulator.dsn import DsnEngine


def test_a_dsn_for_another_engine_is_refused():
    """Who gave it means his own server; it is not repeated."""
    with pytest.raises(SimulatorError, match="'memory' uses no dsn") as told:
        SimulatedCluster(engine="memory", dsn="mysql://root:hunter2@127.0.0.1")

    assert "hunter2" not in str(told.value)


def test_parts_of_a_dsn():
    """What is left out is as for MySQL's own clients."""
    engine = DsnEngine("mysql://ro%40t:p%2Fw@db:3307")
    bare = DsnEngine("mysql://db")

    assert (engine.host, engine.port, engine.user, engine.password) == ("db", 3307, "ro@t", "p/w")
    assert (bare.host, bare.port, bare.user, bare.password) == ("db", 3306, "root", "")


@pytest.mark.parametrize(
    "dsn", ["mysql://u:p@h:notaport", "mysql://u:p@h:70000", "mysql://u:p/w@h", "mysql://[u", "h:3306", "pg://h", ""]
)
def test_what_is_no_dsn_is_refused(dsn):
    """With one that is to be seen, and nothing of the password."""
    with pytest.raises(SimulatorError, match="a dsn looks like mysql://root:password@") as told:
        DsnEngine(dsn)

    assert told.value.__cause__ is None
    assert "'p'" not in str(told.value)
