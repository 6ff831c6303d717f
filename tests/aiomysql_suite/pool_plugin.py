"""A pytest plug-in that puts our pool in the place of aiomysql's, for aiomysql's own tests of it."""

from __future__ import annotations

import aiomysql
import aiomysql.pool

import aioaurora
from aioaurora._core.shares import LEASED

aiomysql.create_pool = aiomysql.pool.create_pool = aioaurora.create_pool
aiomysql.Pool = aiomysql.pool.Pool = aioaurora.Pool


def _used(pool: aioaurora.Pool) -> set[aioaurora.Connection]:
    return {slot.connection for slot in pool._books.slots if slot.where is LEASED}


def _free(pool: aioaurora.Pool) -> list[aioaurora.Connection]:
    return [slot.connection for slot in pool._books.idle_slots]


# What the tests look at of aiomysql's insides.
aioaurora.Pool._used = property(_used)
aioaurora.Pool._free = property(_free)


def pytest_report_header() -> str:
    """Show that it is us who are tested."""
    return f"aiomysql.create_pool is {aiomysql.create_pool.__module__}.{aiomysql.create_pool.__qualname__}"
