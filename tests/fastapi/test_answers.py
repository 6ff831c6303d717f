"""What clients are told: 503 and when to come back, 409, or nothing of ours."""

from __future__ import annotations

import asyncio
import logging

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import PlainTextResponse
from pymysql import err
from sqlalchemy import exc

from aioaurora import errors
from aioaurora import fastapi as aurora
from aioaurora.fastapi._answers import answer_to
from tests.engines import engine_on
from tests.fastapi.served import served

LOST = {"instance": "db-1", "epoch": 1}
NOT_OURS = [
    errors.ConfigurationError("no"),
    errors.ConnectionBusy(),
    errors.WrongLoop("the pool"),
    errors.WrongProcess("the pool", made_in=1, used_in=2),
    errors.ConnectionLost("db-1", epoch=1, outcome=errors.Outcome.ROLLED_BACK, errno=1153),
    err.IntegrityError(1062, "Duplicate entry"),
    err.OperationalError(1054, "Unknown column"),
    err.OperationalError(1045, "Access denied"),
    err.OperationalError(2013, "Lost connection, and who knows what was under way"),
    err.ProgrammingError(1064, "syntax"),
    err.OperationalError(),
    ValueError("a bug"),
]


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "outcome"),
    [
        (errors.WriterUnavailable("sought", waited_s=0, retry_after_s=0.3), 503, "1", None),
        (errors.WriterUnavailable("sought", waited_s=0, retry_after_s=2.1), 503, "3", None),
        (errors.NoWriter("none", waited_s=1), 503, "1", None),
        (errors.NoReader("none", waited_s=1), 503, "1", None),
        (errors.ConnectTimeout("db-1", phase="tcp", waited_s=3), 503, "1", None),
        (errors.PoolTimeout("late", waited_s=3), 503, "1", None),
        (errors.TooManyWaiting("many", waiting=9), 503, "1", None),
        (errors.PoolClosed("closed"), 503, "1", None),
        (errors.ConnectionLost("db-1", epoch=1, outcome=errors.Outcome.ROLLED_BACK), 503, "1", "rolled_back"),
        (errors.WriterDemoted("db-1", epoch=1, outcome=errors.Outcome.REFUSED), 503, "1", "refused"),
        (errors.TransactionLost("db-1", epoch=1, outcome=errors.Outcome.ROLLED_BACK), 503, "1", "rolled_back"),
        (errors.TransactionLost("db-1", epoch=1, outcome=errors.Outcome.UNKNOWN), 503, None, "unknown"),
        (errors.OutcomeUnknown("db-1", epoch=1, outcome=errors.Outcome.UNKNOWN), 503, None, "unknown"),
        (errors.CommitOutcomeUnknown("db-1", epoch=1, outcome=errors.Outcome.UNKNOWN), 503, None, "unknown"),
        (err.OperationalError(2003, "Can't connect to 'db-1'"), 503, "1", None),
        (err.OperationalError(1040, "Too many connections"), 503, "1", None),
        (err.OperationalError(1213, "Deadlock"), 409, "1", "rolled_back"),
        (err.OperationalError(1205, "Lock wait timeout"), 409, "1", "rolled_back"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_each_error_has_its_answer(error, status, retry_after, outcome):
    """The status, when to come back, and what became of the work; no name of a host, no sentence of the server's."""
    app = FastAPI()
    aurora.install(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    async with served(app) as shop:
        response = await shop.get("/")

    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert response.json().get("outcome") == outcome
    assert "db-1" not in response.text
    assert str(error) not in response.text


@pytest.mark.parametrize("error", NOT_OURS, ids=lambda error: type(error).__name__)
async def test_what_is_not_ours_is_the_applications(error):
    """A bug is a 500, and its traceback stays in the log."""
    app = FastAPI()
    aurora.install(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    async with served(app) as shop:
        response = await shop.get("/")

    assert answer_to(error) is None
    assert (response.status_code, response.text) == (500, "Internal Server Error")


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "outcome"),
    [
        (errors.WriterUnavailable("sought", waited_s=0, retry_after_s=2.1), 503, "3", None),
        (errors.NoReader("none", waited_s=1), 503, "1", None),
        (errors.ConnectionLost("db-1", epoch=1, outcome=errors.Outcome.ROLLED_BACK), 503, "1", "rolled_back"),
        (errors.CommitOutcomeUnknown("db-1", epoch=1, outcome=errors.Outcome.UNKNOWN), 503, None, "unknown"),
        (err.OperationalError(1213, "Deadlock"), 409, "1", "rolled_back"),
        (err.IntegrityError(1062, "Duplicate entry"), 500, None, None),
        (errors.ConfigurationError("no"), 500, None, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_what_sqlalchemy_has_wrapped_is_answered_as_what_is_inside(error, status, retry_after, outcome):
    """Of its own sentence, which shows the statement and its parameters, nothing is told."""
    app = FastAPI()
    aurora.install(app)

    @app.get("/")
    async def fail() -> None:
        raise exc.DBAPIError.instance("SELECT secret", {}, error, err.MySQLError)

    async with served(app) as shop:
        response = await shop.get("/")

    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert "secret" not in response.text
    assert "db-1" not in response.text
    if status != 500:
        assert response.json().get("outcome") == outcome


async def test_sqlalchemys_pool_that_is_exhausted_is_answered_as_ours(sim):
    """Nothing was begun, and a connection may soon come back."""
    async with engine_on(sim, pool_size=1, max_overflow=0, pool_timeout=1) as engine:
        app = FastAPI()
        aurora.install(app)

        @app.get("/")
        async def wait() -> None:
            async with engine.connect():
                pass

        async with served(app) as shop, engine.connect():
            response = await shop.get("/")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json() == {"detail": "the database cannot be reached in time", "retry_after_s": 0.5}


async def test_a_statement_and_its_values_are_not_logged_either(caplog):
    """What SQLAlchemy has wrapped is told as what is inside, too."""
    caplog.set_level(logging.DEBUG, "aioaurora")
    app = FastAPI()
    aurora.install(app)

    @app.get("/")
    async def fail() -> None:
        lost = errors.ConnectionLost("db-1", epoch=1, outcome=errors.Outcome.ROLLED_BACK)
        raise exc.DBAPIError.instance("INSERT INTO secrets VALUES (%s)", ("hunter2",), lost, err.MySQLError)

    async with served(app) as shop:
        assert (await shop.get("/")).status_code == 503

    (record,) = [each for each in caplog.records if each.getMessage() == "aioaurora.request.refused"]
    assert record.aurora_error == "ConnectionLost: lost 'db-1', epoch 1; transaction: rolled_back"
    assert "hunter2" not in str(vars(record))


async def test_an_application_may_answer_otherwise():
    """A handler for a narrower class wins."""
    app = FastAPI()
    aurora.install(app)

    @app.exception_handler(errors.WriterUnavailable)
    async def sorry(_request, _error):
        return PlainTextResponse("sorry", status_code=503)

    @app.get("/")
    async def fail() -> None:
        raise errors.WriterUnavailable("sought", waited_s=0, retry_after_s=0.3)

    async with served(app) as shop:
        assert (await shop.get("/")).text == "sorry"


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_is_not_ours_reaches_the_applications_handler_of_a_wider_class(is_async):
    """Ours for DBAPIError must not stand between an error of SQLAlchemy's and who was to answer it."""
    app = FastAPI()
    aurora.install(app)

    async def sorry(_request, _error):
        return PlainTextResponse("sorry", status_code=400)

    def sorry_in_a_thread(_request, _error):
        return PlainTextResponse("sorry", status_code=400)

    app.add_exception_handler(exc.SQLAlchemyError, sorry if is_async else sorry_in_a_thread)

    @app.get("/")
    async def fail() -> None:
        raise exc.DBAPIError.instance("SELECT 1", {}, err.IntegrityError(1062, "Duplicate entry"), err.MySQLError)

    async with served(app) as shop:
        assert (await shop.get("/")).text == "sorry"


@pytest.mark.parametrize("end", ["is open", "was closed by the handler", "was closed by the client"])
async def test_a_websocket_is_closed_with_try_again_later(end):
    """There is no status to send; nor anybody to tell it where it is closed already."""
    app = FastAPI()
    aurora.install(app)

    @app.websocket("/ws")
    async def fail(socket: WebSocket) -> None:
        await socket.accept()
        if end == "was closed by the handler":
            await socket.close(1001)
        raise errors.NoWriter("none", waited_s=1)

    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    async def send(message: dict) -> None:
        if sent and end == "was closed by the client":
            raise ConnectionResetError
        sent.append(message)

    scope = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "root_path": "", "scheme": "ws"}
    await app(scope | {"subprotocols": []}, receive, send)

    told = [each["code"] for each in sent if each["type"] == "websocket.close"]
    assert told == {"is open": [1013], "was closed by the handler": [1001], "was closed by the client": []}[end]


async def test_while_the_writer_is_sought_late_comers_are_told_at_once(sim):
    """After five seconds of a search, in the default configuration; who came before waits, and is served."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options()))
    aurora.install(app)
    loop = asyncio.get_running_loop()

    @app.get("/")
    async def root(connection: aurora.Writer) -> str:
        return connection.instance

    async with served(app) as shop:
        failover = asyncio.create_task(sim.failover(mode="crash", to="db-2", promote_after=8.0))
        await asyncio.sleep(1)
        early = asyncio.create_task(shop.get("/"))
        await asyncio.sleep(5)
        asked_at = loop.time()
        late = await shop.get("/")
        assert loop.time() - asked_at < 0.01
        assert (late.status_code, late.headers["Retry-After"]) == (503, "1")
        assert 0.2 <= late.json()["retry_after_s"] <= 0.4
        await failover
        assert (await early).json() == "db-2"
        assert (await shop.get("/")).json() == "db-2"


async def test_readiness_turns_false_when_the_writer_stays_away(sim):
    """Not during a short failover: all processes would be unready at once."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options()))
    aurora.install(app, unready_after=10.0)

    async with served(app) as shop:
        before = await shop.get("/health/ready")
        await sim.crash()
        await asyncio.sleep(5)
        soon = await shop.get("/health/ready")
        await asyncio.sleep(10)
        later = await shop.get("/health/ready")

    pool = before.json()["pools"]["aurora"]
    assert (pool["writer"], pool["epoch"], pool["searching_for_s"], pool["pool"]["size"]) == ("db-1", 1, 0.0, 1)
    assert (before.status_code, soon.status_code, later.status_code) == (200, 200, 503)
    assert later.json()["pools"]["aurora"]["status"] == "no writer"


async def test_who_reads_is_ready_without_a_writer(sim):
    """A pool of readers serves on, however long the writer is away."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), role="reader"))
    aurora.install(app, unready_after=10.0)

    async with served(app) as shop:
        await sim.crash()
        await asyncio.sleep(15)
        ready = await shop.get("/health/ready")

    assert ready.json()["pools"]["aurora"]["searching_for_s"] > 10
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_health_checks_may_keep_details_to_themselves(sim):
    """Where they are public."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options()))
    aurora.install(app, health="/up", details=False)

    async with served(app) as shop:
        assert (await shop.get("/up/ready")).json() == {"status": "ready", "pools": {"aurora": {"status": "ready"}}}
        assert (await shop.get("/health/ready")).status_code == 404
