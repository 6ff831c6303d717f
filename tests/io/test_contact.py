"""The first contact with a server that is not quite what it says."""

from __future__ import annotations

import asyncio

import aioaurora
from aioaurora._core.observation import PLAIN_ROLE_QUERY, PROBE_QUERY, UNKNOWN_TABLE
from aioaurora.errors import Role
from tests.io.scripted_server import AUTOCOMMIT, MORE, ScriptedServer, err, ok, rows

HALF_AN_AURORA = {
    "SET time_zone": [ok(AUTOCOMMIT | MORE), ok(AUTOCOMMIT | MORE), *rows(("0", "0", "db-1"))],
    PROBE_QUERY: err(UNKNOWN_TABLE, "Unknown table 'REPLICA_HOST_STATUS' in information_schema"),
    PLAIN_ROLE_QUERY: rows(("0", "0", None)),
}


async def test_server_with_an_id_and_without_a_topology_is_a_cluster_of_one():
    """Some compatible servers have the variable and not the table; no pattern is asked for."""
    async with (
        ScriptedServer(HALF_AN_AURORA) as server,
        aioaurora.Cluster("127.0.0.1", port=server.port, user="app", autocommit=True) as cluster,
    ):
        connection = await cluster.connect("writer")
        await asyncio.sleep(60)

        assert (connection.instance, connection.role) == ("127.0.0.1", Role.WRITER)
        assert [each.id for each in cluster.topology.instances] == ["127.0.0.1"]
        assert cluster.topology.epoch == 1
        assert (len(server.guests), server.statements.count(PROBE_QUERY)) == (2, 1)
        await connection.ensure_closed()
