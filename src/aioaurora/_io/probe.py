"""One asking: role and identity in one round trip, and with rows the topology too."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora._core.observation import PLAIN_ROLE_QUERY, PROBE_QUERY, ROLE_QUERY, Observation, mode_of, view_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from aioaurora._io.driver import Cursor
    from aioaurora._io.session import Session

_ROLE_COLUMNS = 3
# What taking an answer apart raises when it is not what MySQL would send.
UNREADABLE = (ValueError, LookupError, TypeError, struct.error)


async def probe(session: Session, *, plain: bool, with_view: bool) -> Observation:
    """Ask an instance what it is; `with_view` also what it has heard of the others.

    Args:
        session: The monitor's own; topology SQL never runs on an application's connection (case 40).
        plain: The server is no Aurora: it has neither an id nor rows.
        with_view: Costs the server a query of a small in-memory table; the round trip is the same.
    """
    sql = PLAIN_ROLE_QUERY if plain else PROBE_QUERY if with_view else ROLE_QUERY
    asked_at = asyncio.get_running_loop().time()
    try:
        columns, rows = await _answered(session, sql)
        observation = replace(observed(session, tuple(rows[0][:_ROLE_COLUMNS]), asked_at=asked_at), thread_id=0)
    except UNREADABLE as error:
        raise unreadable(session.host, error) from error
    if not columns or observation.server_id is None:
        return observation
    return replace(observation, view=view_of(columns, [row[_ROLE_COLUMNS:] for row in rows], observation.server_id))


async def _answered(session: Session, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor: Cursor
    async with session.cursor() as cursor:
        await cursor.execute(sql)
        description: Sequence[tuple[Any, ...]] = cursor.description
        columns = [str(column[0]) for column in description][_ROLE_COLUMNS:]
        return columns, list(await cursor.fetchall())


def unreadable(host: str, error: BaseException) -> err.InternalError:
    """Say that an answer is none that a MySQL server gives."""
    return err.InternalError(2027, f"what {host!r} answers cannot be read: {type(error).__name__}")


def observed(
    session: Session, role_row: tuple[object, ...], *, asked_at: float, dialled_at: float | None = None
) -> Observation:
    """Read the answer to the role query of a connection made just now."""
    innodb_read_only, read_only, server_id = role_row
    return Observation(
        host=session.host,
        port=session.port,
        server_id=None if server_id is None else str(server_id),
        mode=mode_of(innodb_read_only, read_only),
        thread_id=session.thread_id(),
        dialled_at=dialled_at,
        asked_at=asked_at,
    )
