"""A client that knows nothing of Aurora: aiomysql, dialling one instance by address."""

from __future__ import annotations

import asyncio
import contextlib

import aiomysql

_made = []


async def dialled(sim, instance, **keywords):
    """Connect to one instance, in 3 s."""
    options = {"user": sim.user, "password": sim.password, "db": sim.database, "autocommit": True} | keywords
    async with asyncio.timeout(3):
        connection = await aiomysql.connect(host=instance.address, port=instance.port, **options)
    _made.append(connection)
    return connection


def close_all():
    """Close what was dialled."""
    for connection in _made:
        connection.close()
    _made.clear()


@contextlib.asynccontextmanager
async def connected(sim, instance, **keywords):
    """A connection to one instance, aborted at the end."""
    connection = await dialled(sim, instance, **keywords)
    try:
        yield connection
    finally:
        connection.close()


async def ask(connection, sql, within=3.0):
    """The rows of one statement."""
    async with asyncio.timeout(within), connection.cursor() as cursor:
        await cursor.execute(sql)
        return list(await cursor.fetchall())


async def role(connection):
    """What the instance says of itself: innodb_read_only, read_only, id."""
    return (await ask(connection, "SELECT @@innodb_read_only, @@read_only, @@aurora_server_id"))[0]


async def errno(awaitable):
    """The number of the error that something ends with."""
    try:
        await awaitable
    except aiomysql.MySQLError as error:
        return error.args[0]
    return None


def now():
    """The loop's time."""
    return asyncio.get_running_loop().time()
