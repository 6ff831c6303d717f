"""An application as a server would run it, on the loop of the test: its lifespan, its requests, and clients that go."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Served:
    """A running application."""

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        self.app, self.state = app, state
        transport = httpx.ASGITransport(self._with_state, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://shop.test")

    async def get(self, path: str) -> httpx.Response:
        """Ask for a page, and wait for all of it."""
        return await self.client.get(path, timeout=None)

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """Send something."""
        return await self.client.post(path, timeout=None, **options)

    def begin(self, path: str, *, method: str = "GET", body: bytes = b"") -> Exchange:
        """Begin a request, and go on at once."""
        return Exchange(self._with_state, path, method=method, body=body)

    async def _with_state(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = dict(self.state)
        await self.app(scope, receive, send)


class Exchange:
    """One request whose client may go away at any time."""

    def __init__(self, app: Any, path: str, *, method: str, body: bytes) -> None:
        self.sent: list[dict[str, Any]] = []
        self.stirred = asyncio.Event()
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
        headers = [(b"host", b"shop.test"), (b"content-type", b"application/json")]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("shop.test", 80),
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._messages.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self.stirred.set()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.hang_up()  # As servers do when all is sent.

    def hang_up(self) -> None:
        """Go away."""
        self._messages.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        """The status of the response; 0: there is none."""
        return next((each["status"] for each in self.sent if each["type"] == "http.response.start"), 0)

    @property
    def body(self) -> Any:
        """What was sent of the body, read as JSON."""
        return json.loads(b"".join(each.get("body", b"") for each in self.sent))


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[Served]:
    """Run an application from its start to its end."""
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    life = asyncio.create_task(app(scope, told.get, said.put))
    told.put_nowait({"type": "lifespan.startup"})
    answer = await said.get()
    if answer["type"] == "lifespan.startup.failed":
        with contextlib.suppress(Exception):
            await life
        raise StartFailed(answer["message"])
    running = Served(app, state)
    try:
        yield running
    finally:
        await running.client.aclose()
        told.put_nowait({"type": "lifespan.shutdown"})
        answer = await said.get()
        with contextlib.suppress(Exception):
            await life
        assert answer["type"] == "lifespan.shutdown.complete", answer


class StartFailed(Exception):
    """The application did not start."""
