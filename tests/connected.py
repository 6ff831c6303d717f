"""A connection to a scripted server, as a cluster would have made it, and what it tells that cluster."""

from __future__ import annotations

import contextlib

from aioaurora.connection import Connection
from aioaurora.errors import Role

SECRET = "not-to-be-seen"


class Told:
    """What a connection told its cluster."""

    def __init__(self):
        self.reports, self.abandoned, self.redialled = [], [], 0

    def report(self, _connection, scope, error):
        """Note what broke."""
        self.reports.append((scope, type(error)))

    def abandon(self, connection):
        """Note that its socket is gone already."""
        self.abandoned.append(connection.closed)

    async def redial(self, connection):
        """Go to the same server."""
        self.redialled += 1
        await connection.reopen()


@contextlib.asynccontextmanager
async def connected(server, told=None, *, role=Role.WRITER, autocommit=None, **keywords):
    """Give a connection as the cluster would have made it."""
    told = told or Told()
    connection = Connection(
        host="127.0.0.1", port=server.port, user="app", password=SECRET, autocommit=autocommit,
        report=told.report, abandon=told.abandon, redial=told.redial, **keywords,
    )  # fmt: skip
    await connection._connect()
    connection.bind(instance="db-1", role=role, epoch=3, generation=1)
    try:
        yield connection
    finally:
        connection.close()


async def execute(connection, text):
    """Run a statement through a cursor."""
    async with connection.cursor() as cursor:
        await cursor.execute(text)
        return await cursor.fetchall()
