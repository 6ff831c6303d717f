"""Connections as dependencies: whose they are, when they go back, and what becomes of the work."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import aioaurora
from aioaurora import fastapi as aurora
from tests.fastapi.served import served

SERIALIZABLE = Annotated[aioaurora.Connection, Depends(aurora.transaction(isolation="serializable"), scope="function")]


async def _user(connection: aurora.Writer) -> aioaurora.Connection:
    return connection


OF_A_USER = Annotated[aioaurora.Connection, Depends(_user, scope="function")]


@pytest.fixture
def app(sim):
    """An application without handlers."""
    made = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), minsize=1, maxsize=2))
    aurora.install(made)
    return made


async def _insert(connection, order: str) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute("INSERT INTO orders (id, product) VALUES (%s, 1)", (order,))


async def _orders(sim) -> list[str]:
    return sorted(order for (order,) in await sim.rows("SELECT id FROM orders"))


async def test_each_role_has_its_connection(app):
    """Two handlers, two roles."""

    @app.get("/writer")
    async def writer(connection: aurora.Writer) -> str:
        return f"{connection.instance} {connection.role}"

    @app.get("/reader")
    async def reader(connection: aurora.Reader) -> str:
        return str(connection.role)

    async with served(app) as shop:
        assert (await shop.get("/openapi.json")).status_code == 200
        assert (await shop.get("/writer")).json() == "db-1 writer"
        assert (await shop.get("/reader")).json() == "reader"


async def test_a_transaction_is_committed_before_the_response_is_sent(app, sim):
    """Who reads the answer finds the order."""
    found: list[list[str]] = []

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Transaction) -> str:
        await _insert(connection, order)
        return order

    async with served(app) as shop:
        exchange = shop.begin("/orders/a", method="POST")
        await exchange.stirred.wait()  # The response's first byte.
        found.append(await _orders(sim))
        await exchange.task

        assert (exchange.status, found) == (200, [["a"]])
        assert shop.state["aurora"].stats().leased == 0


@pytest.mark.parametrize("error", [HTTPException(404), KeyError("a bug")])
async def test_a_transaction_is_rolled_back_if_the_handler_raises(app, sim, error):
    """Whatever it raises."""

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Transaction) -> str:
        await _insert(connection, order)
        raise error

    async with served(app) as shop:
        response = await shop.post("/orders/a")

        assert response.status_code == (404 if isinstance(error, HTTPException) else 500)
        assert "Traceback" not in response.text
        assert await _orders(sim) == []
        assert shop.state["aurora"].stats().leased == 0


async def test_what_a_writer_does_not_commit_is_rolled_back(app, sim):
    """As with a pool."""

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Writer, keep: bool = False) -> str:
        await _insert(connection, order)
        if keep:
            await connection.commit()
        return order

    async with served(app) as shop:
        await shop.post("/orders/a")
        await shop.post("/orders/b?keep=true")

        assert await _orders(sim) == ["b"]


async def test_a_commit_that_fails_is_an_error_and_no_success(app, sim):
    """The response is not sent before its outcome is known."""

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Transaction) -> str:
        await _insert(connection, order)
        await sim.lose_commit_answer(executed=False)
        return order

    async with served(app) as shop:
        response = await shop.post("/orders/a")

    assert response.status_code == 503
    assert response.json() == {"detail": "it is not known whether this was done", "outcome": "unknown"}
    assert "Retry-After" not in response.headers
    assert await _orders(sim) == []


async def test_a_transaction_is_begun_anew_as_long_as_the_handler_has_not_got_it(app, sim):
    """The connection that it was to have had turns out to be dead."""
    calls: list[str] = []

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Transaction) -> str:
        calls.append(order)
        await _insert(connection, order)
        return connection.instance

    async with served(app) as shop:
        await sim.lose_answer("START TRANSACTION", executed=False)

        response = await shop.post("/orders/a")

    assert (response.status_code, calls) == (200, ["a"])
    assert await _orders(sim) == ["a"]


async def test_a_handler_is_not_run_twice(app, sim):
    """It has the connection already: what it did beside the database cannot be undone."""
    calls: list[str] = []

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Transaction) -> str:
        calls.append(order)
        await sim.restart(mode="crash", down_for=0.1)
        await _insert(connection, order)
        return order

    async with served(app) as shop:
        response = await shop.post("/orders/a")

    assert (response.status_code, calls) == (503, ["a"])
    assert response.json()["outcome"] in {"nothing_sent", "rolled_back"}
    assert response.headers["Retry-After"] == "1"


async def test_options_of_a_transaction_are_those_of_attempts(app):
    """Such as the isolation."""

    @app.get("/level")
    async def level(connection: SERIALIZABLE) -> str:
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT 1")
        return "done"

    async with served(app) as shop:
        assert (await shop.get("/level")).json() == "done"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: aurora.writer(timeout=0), "timeout=0"),
        (lambda: aurora.reader(timeout="soon"), "timeout= is a str"),
        (lambda: aurora.transaction(isolation="seralizable"), "isolation='seralizable'"),
        (lambda: aurora.transaction(isolaton="serializable"), "did you mean 'isolation'"),
        (lambda: aurora.transaction(timeout=-1), "timeout=-1"),
        (lambda: aurora.transaction(stop=None), "stop"),
    ],
)
def test_a_dependency_that_cannot_work_is_refused_when_it_is_made(make, says):
    """Not in each request, as a 500."""
    with pytest.raises(aioaurora.ConfigurationError, match=says):
        make()


async def test_what_is_asked_for_twice_in_a_request_is_one_connection(app):
    """A dependency's dependency shares the handler's."""

    @app.get("/")
    async def root(connection: aurora.Writer, other: OF_A_USER) -> bool:
        return connection is other

    async with served(app) as shop:
        assert (await shop.get("/")).json() is True


async def test_a_background_task_leases_for_itself(app, sim):
    """The handler's connection is back before the response is sent; the task uses the pool."""
    leased: list[int] = []

    @app.post("/orders/{order}")
    async def place(order: str, connection: aurora.Transaction, pool: aurora.Database, later: BackgroundTasks) -> str:
        async def bill() -> None:
            leased.append(pool.stats().leased)
            await pool.execute("INSERT INTO orders (id, product) VALUES (%s, 2)", (f"{order} billed",))

        later.add_task(bill)
        await _insert(connection, order)
        return order

    async with served(app) as shop:
        exchange = shop.begin("/orders/a", method="POST")
        await exchange.task  # The client is gone as soon as it has its answer, and the task goes on.

        assert (exchange.status, leased) == (200, [0])
        assert await _orders(sim) == ["a", "a billed"]


async def test_a_stream_holds_a_connection_while_it_reads_and_no_longer(app, sim):
    """What a handler holds is back before the first byte; what a stream leases, when it or its client is done."""
    await sim.execute("INSERT INTO orders (id, product) VALUES ('a', 1), ('b', 2), ('c', 3)")
    leased: list[int] = []

    @app.get("/export")
    async def export(connection: aurora.Reader, pool: aurora.Database) -> StreamingResponse:
        async def lines():
            leased.append(pool.stats().leased)
            async with pool.acquire(role="reader") as reader, reader.cursor(aioaurora.SSCursor) as cursor:
                await cursor.execute("SELECT id FROM orders ORDER BY id")
                while row := await cursor.fetchone():
                    leased.append(pool.stats().leased)
                    yield f"{row[0]}\n"
                    await asyncio.sleep(1)
            await asyncio.sleep(1)  # Its session is made clean meanwhile.
            leased.append(pool.stats().leased)
            yield "end\n"

        return StreamingResponse(lines())

    async with served(app) as shop:
        assert (await shop.get("/export")).text == "a\nb\nc\nend\n"
        assert leased == [0, 1, 1, 1, 0]

        exchange = shop.begin("/export")
        await asyncio.sleep(0.5)
        exchange.hang_up()
        await exchange.task
        await asyncio.sleep(1)

        assert shop.state["aurora"].stats().leased == 0


STREAMED = Annotated[aioaurora.Connection, Depends(aurora.reader())]


def _streams(app) -> None:
    """Have the page stream as the how-to does: leased and asked before the first byte."""

    @app.get("/export")
    async def export(connection: STREAMED) -> StreamingResponse:
        cursor = await connection.cursor(aioaurora.SSCursor)
        await cursor.execute("SELECT id FROM orders ORDER BY id")

        async def lines():
            async with cursor:
                while row := await cursor.fetchone():
                    yield f"{row[0]}\n"
                    await asyncio.sleep(1)

        return StreamingResponse(lines())


async def test_a_stream_has_its_connection_before_its_first_byte(app, sim):
    """And until its last one; a client that goes away before that takes nothing with it."""
    await sim.execute("INSERT INTO orders (id, product) VALUES ('a', 1), ('b', 1), ('c', 1)")
    _streams(app)

    async with served(app) as shop:
        pool = shop.state["aurora"]
        exchange = shop.begin("/export")
        await asyncio.sleep(0.5)
        assert (exchange.status, pool.stats().leased) == (200, 1)
        await exchange.task
        assert b"".join(each.get("body", b"") for each in exchange.sent) == b"a\nb\nc\n"
        await asyncio.sleep(1)  # Its session is made clean meanwhile.
        assert pool.stats().leased == 0

        exchange = shop.begin("/export")
        await asyncio.sleep(0.5)
        exchange.hang_up()
        await exchange.task
        await asyncio.sleep(1)
        assert pool.stats().leased == 0


@pytest.mark.parametrize("what", ["lease", "query"])
async def test_a_stream_that_cannot_begin_is_answered(sim, what):
    """With 503 where nobody serves it, and never with 200 and half a body."""
    lifespan = aurora.aurora_lifespan(**sim.connect_options(), acquire_timeout=3, reader_fallback=False)
    app = FastAPI(lifespan=lifespan)
    aurora.install(app)
    _streams(app)

    async with served(app) as shop:
        if what == "lease":
            for each in sim.readers:
                await sim.refuse(each.id)
        else:
            await sim.execute("DROP TABLE orders")
        answer = await shop.get("/export")

    assert answer.status_code == (503 if what == "lease" else 500)
    await sim.heal()


async def test_a_websocket_has_connections_too(app):
    """For as long as its handler runs."""

    @app.websocket("/ws")
    async def talk(socket: WebSocket, connection: aurora.Writer) -> None:
        await socket.accept()
        await socket.send_text(connection.instance)
        await socket.close()

    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message: dict) -> None:
        sent.append(message)

    async with served(app) as shop:
        scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "root_path": ""}
        await shop._with_state(scope | {"scheme": "ws", "subprotocols": []}, receive, send)

        assert [each.get("text") for each in sent if each["type"] == "websocket.send"] == ["db-1"]
        assert shop.state["aurora"].stats().leased == 0


async def test_starlette_finds_the_pool_in_the_state_of_the_request(sim):
    """Without FastAPI there are no dependencies."""

    async def count(request):
        return JSONResponse(await request.state.aurora.fetch_value("SELECT COUNT(*) FROM orders"))

    app = Starlette(routes=[Route("/", count)], lifespan=aurora.aurora_lifespan(**sim.connect_options()))
    aurora.install(app)

    async with served(app) as shop:
        assert (await shop.get("/")).json() == 0
        assert (await shop.get("/health/ready")).status_code == 200


async def test_an_application_without_the_lifespan_is_told_so():
    """The sentence says what to write."""
    app = FastAPI()
    aurora.install(app)

    @app.get("/")
    async def root(connection: aurora.Writer) -> str:
        return connection.instance

    async with served(app) as shop:
        assert (await shop.get("/")).status_code == 500
    with pytest.raises(aioaurora.ConfigurationError, match="lifespan=aurora_lifespan"):
        await aurora.database()(_Nobody())


class _Nobody:
    """A request to an application without a state."""

    scope: dict = {}  # noqa: RUF012 - it is only read.
