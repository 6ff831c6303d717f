"""A pytest plug-in that puts our Connection in the place of aiomysql's, for aiomysql's own tests."""

from __future__ import annotations

import aiomysql.connection
import aiomysql.pool

from aioaurora.connection import Connection

aiomysql.connection.Connection = Connection
aiomysql.Connection = Connection


def pytest_report_header() -> str:
    """Show that it is us who are tested."""
    return f"aiomysql.Connection is {aiomysql.Connection.__module__}.{aiomysql.Connection.__qualname__}"
