"""A client that hangs up ends what is done for it.

Neither FastAPI nor Starlette ends a handler whose client is gone: a slow query would run on, and hold its connection,
for nobody. This middleware listens while the handler works, and cancels it: the driver then has the server end the
query, and the pool gets its place back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_GONE = "http.disconnect"
_LAST = frozenset({"http.response.body", "http.response.pathsend"})


class CancelOnDisconnect:
    """ASGI middleware: cancels a request's handler when its client goes away before the response is complete.

    What runs after the response, such as a background task, is not cancelled; nor is a WebSocket's handler. It has to
    be outside of middleware that hides the client, as Starlette's `BaseHTTPMiddleware` may: add it last.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(receive, send).run(self.app, scope)
        else:
            await self.app(scope, receive, send)


class _Exchange:
    """One request and its response: reads one message ahead of the application, so as to hear of the client's going."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._ahead: asyncio.Queue[Message | Exception] = asyncio.Queue(maxsize=1)
        self._is_answered = False
        self._is_over: Message | None = None
        self._limit = asyncio.timeout(None)  # It cancels once, and tells its own cancellation from others.

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Run the application until it is done, or the client is gone."""
        listening: asyncio.Task[None] | None = None
        try:
            async with self._limit:
                listening = asyncio.create_task(self._listen(), name="aioaurora listens for a hang-up")
                await app(scope, self._next, self._answer)
        except TimeoutError:
            if not self._limit.expired():
                raise
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.wait({listening})

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._receive()
            except Exception as error:  # noqa: BLE001 - the server's: the application meets it where it receives.
                await self._ahead.put(error)
                return
            if message["type"] == _GONE and not self._is_answered:
                self._limit.reschedule(asyncio.get_running_loop().time())
            await self._ahead.put(message)
            if message["type"] == _GONE:
                return

    async def _next(self) -> Message:
        if self._is_over is None:
            message = await self._ahead.get()
            if isinstance(message, Exception):
                raise message
            if message["type"] != _GONE:
                return message
            self._is_over = message
        return self._is_over

    async def _answer(self, message: Message) -> None:
        if message["type"] in _LAST and not message.get("more_body", False):
            self._is_answered = True  # Servers report a disconnect when all is sent, too.
        await self._send(message)
