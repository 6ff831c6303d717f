"""What stands between a cursor and the socket."""

from __future__ import annotations

import pathlib
import sys

import aioaurora
from aioaurora.simulator import SimulatedCluster

OURS = str(pathlib.Path(aioaurora.__file__).parent)


async def test_one_frame_of_ours_between_cursor_and_socket():
    """Each costs about a hundredth of a small statement; the wrapper that we compare with has sixteen."""
    counted = []
    async with (
        SimulatedCluster(instances=1, engine="memory") as sim,
        aioaurora.Cluster(**sim.connect_options()) as cluster,
        cluster.connect() as conn,
        conn.cursor() as cur,
    ):
        write = conn._writer.write
        conn._writer.write = lambda data: counted.append(_frames_of_ours()) or write(data)
        await cur.execute("SELECT 1")

    assert counted == [1]


def _frames_of_ours() -> int:
    """Count our frames above this one, up to the cursor's."""
    ours = 0
    frame = sys._getframe(2)
    while frame.f_code.co_name != "execute":
        ours += frame.f_code.co_filename.startswith(OURS)
        frame = frame.f_back
    return ours
