"""What happened, as frozen values with dotted names, and the hub that hands them to listeners, streams and the log.

A listener is a function that takes an event; it is called at once, on the loop, and must not block. A stream is an
async iterator over all that happens from the call on. The log is one more listener: logger `aioaurora`, the event's
name and its fields as the message, and each as `extra` too, `aurora_event` and `aurora_...` (DEBUG: a connection; INFO:
the topology; WARNING: the start and the end of an episode that callers felt).
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Self

from aioaurora._core.event import (
    ChoiceWithheld,
    ConnectionClosed,
    ConnectionOpened,
    DnsFallback,
    DnsStale,
    FailoverFinished,
    FailoverStarted,
    InstanceLost,
    InstanceSuspected,
    MonitorFailed,
    NotFollowed,
    ReaderFallback,
    RowsIgnored,
    SearchEnded,
    StatementKilled,
    StatementsAborted,
    TlsUnverified,
    TopologyChanged,
    Withheld,
)
from aioaurora._core.frozen import Event, Level, fields_of
from aioaurora._core.pool_event import PoolConnectFailed, PoolFailed, PoolNotReached, PoolServedLate, PoolTimedOut

if TYPE_CHECKING:
    from types import TracebackType

__all__ = [
    "ChoiceWithheld",
    "ConnectionClosed",
    "ConnectionOpened",
    "DnsFallback",
    "DnsStale",
    "Event",
    "EventStream",
    "Events",
    "FailoverFinished",
    "FailoverStarted",
    "InstanceLost",
    "InstanceSuspected",
    "Level",
    "Listener",
    "MonitorFailed",
    "NotFollowed",
    "PoolConnectFailed",
    "PoolFailed",
    "PoolNotReached",
    "PoolServedLate",
    "PoolTimedOut",
    "ReaderFallback",
    "RowsIgnored",
    "SearchEnded",
    "StatementKilled",
    "StatementsAborted",
    "TlsUnverified",
    "TopologyChanged",
    "Withheld",
    "fields_of",
    "log_event",
]

Listener = Callable[[Event], None]

KEPT_BY_STREAM = 1000

_log = logging.getLogger("aioaurora")


def log_event(event: Event) -> None:
    """Write one log record: the default listener."""
    if _log.isEnabledFor(event.level):
        fields = fields_of(event)
        told = " ".join(f"{name}={value!r}" for name, value in fields.items())
        extra = {f"aurora_{name}": value for name, value in fields.items()}
        _log.log(event.level, "%s %s", event.name, told, extra={"aurora_event": event.name, **extra})


class Events:
    """Hands each event to all listeners and streams of one Cluster."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        """Start with the log and `listeners`."""
        self._listeners: tuple[Listener, ...] = (log_event, *listeners)
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._closed = False

    def emit(self, event: Event) -> None:
        """Tell everybody, in order; a listener that raises is logged and does not keep the others from hearing it."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - the outermost edge of foreign code.
                _log.exception("aioaurora.listener.failed", extra={"aurora_event": event.name})
        if self._streams:
            for stream in tuple(self._streams):
                stream._put(event)  # noqa: SLF001 - one class in two halves.

    def listen(self, listener: Listener) -> None:
        """Tell one more, of what happens from now on."""
        self._listeners = (*self._listeners, listener)

    def stream(self) -> EventStream:
        """Return what happens from now on; it ends when the Cluster is closed."""
        stream = EventStream()
        if self._closed:
            stream.close()
        else:
            self._streams.add(stream)
        return stream

    def close(self) -> None:
        """End all streams, after what they still hold."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.close()


class EventStream:
    """An async iterator over events, from the call that made it on.

    It keeps 1,000 that nobody has taken yet; then the oldest go.

    Attributes:
        dropped: How many went untaken.
    """

    dropped: int

    def __init__(self) -> None:
        """Start empty; `Events.stream()` makes and registers it."""
        self.dropped = 0
        self._kept: deque[Event] = deque(maxlen=KEPT_BY_STREAM)
        self._stirred = asyncio.Event()
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<EventStream {state} | {len(self._kept)} waiting, {self.dropped} dropped>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._kept:
            if self._closed:
                raise StopAsyncIteration
            self._stirred.clear()
            await self._stirred.wait()
        return self._kept.popleft()

    def close(self) -> None:
        """Take no more events; those kept can still be read."""
        self._closed = True
        self._stirred.set()

    def _put(self, event: Event) -> None:
        if self._closed:
            return
        self.dropped += len(self._kept) == KEPT_BY_STREAM
        self._kept.append(event)
        self._stirred.set()
