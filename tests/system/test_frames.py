"""What stands between a cursor and the socket."""

from __future__ import annotations

import sys
from typing import Any

import aiomysql

import aioaurora
from aioaurora.simulator import SimulatedCluster


async def test_one_frame_more_than_the_driver_below_at_most():
    """Each costs about a hundredth of a small statement; the wrapper that we compare with has sixteen."""
    async with SimulatedCluster(instances=1, engine="memory") as sim:
        plain = {"host": sim.writer.address, "port": sim.writer.port, "user": sim.user, "password": sim.password}
        async with aiomysql.connect(**plain) as raw:
            theirs = await _frames(raw)
        async with aioaurora.Cluster(**sim.connect_options()) as cluster, cluster.connect() as conn:
            ours = await _frames(conn)

    assert ours <= theirs + 1


async def _frames(conn: Any) -> int:
    """Count the frames from the cursor's call of the connection down to the one that writes."""
    counted = []
    write = conn._writer.write
    conn._writer.write = lambda data: counted.append(_frames_below_the_cursor()) or write(data)
    async with conn.cursor() as cur:
        await cur.execute("SELECT 1")
    conn._writer.write = write

    assert len(counted) == 1, "one statement, one write"
    return counted[0]


def _frames_below_the_cursor() -> int:
    frame, count = sys._getframe(2), 0
    while frame.f_code.co_filename != aiomysql.cursors.__file__:
        frame, count = frame.f_back, count + 1
    return count
