"""A program of somebody else's: the AWS Advanced Python Wrapper writes through a failover of a simulated cluster.

Run by test_other_clients.py in a process of its own, as the wrapper keeps threads and tasks to itself.
Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

import aiomysql
from aws_advanced_python_wrapper.aio.cleanup import release_resources_async
from aws_advanced_python_wrapper.aio.wrapper import AsyncAwsWrapperConnection

from aioaurora.simulator import SimulatedCluster


async def answered(connection, sql):
    """The first row of one statement."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql)
        return await cursor.fetchone()


async def ran(mode):
    """Write, fail over, write again on the same wrapped connection; what it met."""
    async with SimulatedCluster(3, engine="mariadb") as sim:
        await sim.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, said VARCHAR(20))")
        with sim.resolving():
            connection = await AsyncAwsWrapperConnection.connect(
                aiomysql.connect,
                host=sim.endpoint,
                port=sim.port,
                user=sim.user,
                password=sim.password,
                db=sim.database,
                autocommit=True,
                connect_timeout=2,
                plugins="failover,host_monitoring_v2",
                wrapper_dialect="aurora-mysql",
                cluster_instance_host_pattern=sim.instance_pattern.replace("{id}", "?") + f":{sim.port}",
                failover_timeout_sec=30,
                failure_detection_time_ms=1000,
                failure_detection_interval_ms=500,
                failure_detection_count=2,
                topology_refresh_ms=500,  # Its default of 30 s is how long its failover takes.
            )
            try:
                return await through(sim, connection, mode)
            finally:
                with contextlib.suppress(Exception):
                    await connection.close()
                await release_resources_async()


async def through(sim, connection, mode):
    """What the wrapped connection says before and after the failover."""
    before = (await answered(connection, "SELECT @@aurora_server_id"))[0]
    await answered(connection, "INSERT INTO t (said) VALUES ('before')")
    # A statement has to be under way: a connection that is lost while idle, the wrapper does not always notice.
    waiting = asyncio.create_task(answered(connection, "SELECT SLEEP(20)"))
    await asyncio.sleep(0.3)
    await sim.failover(mode, promote_after=1.0, target_down_for=0.5)
    async with asyncio.timeout(45):
        met = (await asyncio.gather(waiting, return_exceptions=True))[0]
    after = await answered(connection, "SELECT @@aurora_server_id, @@innodb_read_only")
    await answered(connection, "INSERT INTO t (said) VALUES ('after')")
    written = [row[0] for row in await sim.rows("SELECT said FROM t ORDER BY id")]
    return {"before": before, "met": type(met).__name__, "after": after[0], "read_only": after[1], "written": written}


print(json.dumps(asyncio.run(ran(sys.argv[1]))))
