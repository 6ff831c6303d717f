"""Clients that go away: what was done for them ends, and the pool is clean."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware

from aioaurora import fastapi as aurora
from tests.fastapi.served import served
from tests.pools import assert_balanced


@pytest.fixture
def app(sim):
    """An application with a slow page."""
    made = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), maxsize=4))

    @made.get("/slow")
    async def slow(connection: aurora.Writer) -> str:
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT SLEEP(60)")
        return "slept"

    @made.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    return made


async def test_clients_that_go_in_the_middle_of_a_query_end_it(app):
    """A hundred of them for four connections: those that wait leave the line, those that are served end their query."""
    aurora.install(app)
    loop = asyncio.get_running_loop()
    async with served(app) as shop:
        pool = shop.state["aurora"]
        exchanges = [shop.begin("/slow") for _ in range(100)]
        await asyncio.sleep(1)
        assert (pool.stats().leased, pool.stats().waiting) == (4, 96)
        began_at = loop.time()

        for each in exchanges:
            each.hang_up()
        await asyncio.gather(*(each.task for each in exchanges))

        assert loop.time() - began_at < 0.1
        assert [each.sent for each in exchanges if each.sent] == []
        assert (pool.stats().leased, pool.stats().waiting) == (0, 0)
        assert_balanced(pool)
        assert (await shop.get("/health/ready")).json()["pools"]["aurora"]["pool"]["waiting"] == 0


async def test_without_the_middleware_the_query_runs_on(app):
    """It is this one that ends it."""
    aurora.install(app, cancel_on_disconnect=False)
    async with served(app) as shop:
        exchange = shop.begin("/slow")
        await asyncio.sleep(1)
        exchange.hang_up()
        await asyncio.sleep(10)

        assert shop.state["aurora"].stats().leased == 1
        await exchange.task


async def test_a_middleware_within_does_not_hide_the_hang_up(app):
    """Starlette's own base class runs the handler in another task."""

    async def pass_on(request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    aurora.install(app)
    async with served(app) as shop:
        exchange = shop.begin("/slow")
        await asyncio.sleep(1)
        exchange.hang_up()
        await asyncio.wait_for(exchange.task, 1)

        assert shop.state["aurora"].stats().leased == 0


async def test_bodies_arrive_whole(app):
    """Reading ahead loses nothing."""
    aurora.install(app)
    async with served(app) as shop:
        assert (await shop.post("/echo", content=b"x" * 300_000)).json() == 300_000
        exchange = shop.begin("/echo", method="POST", body=b"12345")
        await exchange.task
        assert exchange.body == 5


async def test_no_more_than_two_pieces_are_read_ahead(app):
    """A body that nobody reads stays with the server."""
    read: list[int] = []

    async def receive() -> dict:
        read.append(1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def ignores(_scope, _receive, send) -> None:
        await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(_message: dict) -> None:
        pass

    await aurora.CancelOnDisconnect(ignores)({"type": "http"}, receive, send)

    assert len(read) == 2


@pytest.mark.parametrize("error", [KeyError("a bug"), TimeoutError("its own")])
async def test_what_the_application_raises_is_raised_on(error):
    """A time-out of its own is no hang-up."""

    async def fails(_scope, _receive, _send) -> None:
        raise error

    async def receive() -> dict:
        return await asyncio.get_running_loop().create_future()

    with pytest.raises(type(error)):
        await aurora.CancelOnDisconnect(fails)({"type": "http"}, receive, receive)


async def test_what_the_server_raises_reaches_the_application():
    """Where it receives."""

    async def reads(_scope, receive, _send) -> None:
        await receive()

    async def receive() -> dict:
        raise ConnectionResetError("by peer")

    with pytest.raises(ConnectionResetError):
        await aurora.CancelOnDisconnect(reads)({"type": "http"}, receive, receive)


async def test_a_request_that_is_cancelled_from_outside_is_cancelled():
    """By the server, when it ends."""

    async def waits(_scope, _receive, _send) -> None:
        await asyncio.sleep(60)

    async def receive() -> dict:
        return await asyncio.get_running_loop().create_future()

    request = asyncio.create_task(aurora.CancelOnDisconnect(waits)({"type": "http"}, receive, receive))
    await asyncio.sleep(1)
    request.cancel()

    with pytest.raises(asyncio.CancelledError):
        await request


async def test_who_asks_whether_the_client_is_gone_is_told():
    """As often as it asks."""
    told: list[str] = []

    async def asks(_scope, receive, _send) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.extend([(await receive())["type"], (await receive())["type"]])

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    await aurora.CancelOnDisconnect(asks)({"type": "http"}, receive, receive)

    assert told == ["http.disconnect", "http.disconnect"]
