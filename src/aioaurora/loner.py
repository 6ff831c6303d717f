"""A connection without a Cluster of the application's: it has one to itself, and ends it with itself.

closed, or collected         the Cluster ends, on its own loop
closed and waited for        the same; on its own loop its end is waited for, too
busy when it is waited for   ConnectionBusy: nothing was closed, so both live on until one of the above
whole again by `ping`        the Cluster begins anew
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any

from aioaurora.cluster import Cluster
from aioaurora.connecting import Connecting
from aioaurora.connection import Connection
from aioaurora.errors import ConnectionBusy

if TYPE_CHECKING:
    from aioaurora._io.parts import Parts
    from aioaurora.errors import Role


def connect(*args: Any, role: Role | str | None = None, **kwargs: Any) -> Connecting:
    """Connect as `aiomysql.connect` does, with its arguments, to the instance that holds a role now.

    Takes a URL, or aiomysql's keywords, and the options of `Config`. The connection owns a Cluster of its own, which
    costs one more server connection; use a `Cluster` where there are several. Raises what `Cluster.connect` does.
    """
    if role is not None:
        kwargs["role"] = role
    cluster = _LoneCluster(*args, **kwargs)
    return Connecting(lambda: _connected(cluster))


async def _connected(cluster: _LoneCluster) -> Connection:
    try:
        connection = await cluster.connect()
    except BaseException:
        await cluster.close()
        raise
    assert isinstance(connection, _LoneConnection)  # noqa: S101 - built by its cluster
    connection.hand_out()
    return connection


class _LoneConnection(Connection):
    """A connection that has a Cluster to itself."""

    def __init__(self, *, cluster: _LoneCluster, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._cluster = cluster
        self._is_handed_out = False

    def hand_out(self) -> None:
        """End the Cluster with this connection from now on; until then it may be one try of several."""
        self._is_handed_out = True
        weakref.finalize(self, self._cluster.rest)

    def close(self) -> None:
        super().close()
        if self._is_handed_out:
            self._cluster.rest()

    async def ensure_closed(self) -> None:
        try:
            await super().ensure_closed()
        except ConnectionBusy:
            raise
        except BaseException:
            self.close()
            raise
        if self._is_handed_out:
            await self._cluster.rested()


class _LoneCluster(Cluster):
    """A Cluster that rests while its only connection is closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._closing: set[asyncio.Task[None]] = set()

    def rest(self) -> None:
        """Stop following without waiting, from any thread; the next request begins anew."""
        if os.getpid() != self._pid:
            return  # It is the parent's.
        parts, self._parts = self._parts, None
        if parts is not None:
            with contextlib.suppress(RuntimeError):  # The loop is closed, and all that was on it is gone.
                parts.loop.call_soon_threadsafe(self._begin_to_close, parts)

    async def rested(self) -> None:
        """Stop following, and wait for what ends on this loop."""
        self.rest()
        await asyncio.sleep(0)  # It begins to close in the loop's next turn.
        ours = {task for task in tuple(self._closing) if task.get_loop() is asyncio.get_running_loop()}
        if ours:
            await asyncio.wait(ours)

    def _begin_to_close(self, parts: Parts) -> None:
        closing = parts.loop.create_task(parts.close(), name="aioaurora closing")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _built(self, **keywords: Any) -> Connection:
        return _LoneConnection(cluster=self, **keywords)
