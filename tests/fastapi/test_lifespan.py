"""The life of an application's pools: how they begin, how they are told apart, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Annotated

import pytest
from fastapi import Depends, FastAPI, Request

import aioaurora
from aioaurora import errors
from aioaurora import fastapi as aurora
from tests.fastapi.served import StartFailed, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ORDERS_WRITER = Annotated[aioaurora.Connection, Depends(aurora.writer("orders"), scope="function")]
CATALOGUE_READER = Annotated[aioaurora.Connection, Depends(aurora.reader("catalogue"), scope="function")]


async def test_the_pool_is_there_from_the_start_to_the_end(sim):
    """It is opened before the first request, and closed after the last."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), minsize=2))

    async with served(app) as shop:
        pool = shop.state["aurora"]
        assert (pool.size, pool.closed) == (2, False)

    assert pool.closed


async def test_nothing_is_opened_before_the_application_starts(sim):
    """It may be imported before a fork, and where no loop runs."""
    aurora.aurora_lifespan(**sim.connect_options() | {"host": "no-such-host.test"})


async def test_a_lifespan_of_ones_own_runs_within(sim):
    """It has begun when the pool is there, and has ended before the pool goes; both states meet."""
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def own(_app) -> AsyncIterator[dict]:
        told.append("begun")
        yield {"mailer": "a mailer"}
        told.append("ended")

    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), within=own))

    @app.get("/")
    async def root(request: Request, pool: aurora.Database) -> list:
        return [request.state.mailer, request.state.aurora is pool]

    async with served(app) as shop:
        assert (await shop.get("/")).json() == ["a mailer", True]
        assert told == ["begun"]

    assert told == ["begun", "ended"]


class ShopState(aurora.AuroraState):
    """The state of an application with a part of its own."""

    orders_at_start: int


async def test_it_can_be_entered_by_a_lifespan_of_ones_own(sim):
    """Which then uses the pool, too."""

    @contextlib.asynccontextmanager
    async def own(app) -> AsyncIterator[ShopState]:
        async with aurora.aurora_lifespan(**sim.connect_options())(app) as state:
            count = await state["aurora"].fetch_value("SELECT COUNT(*) FROM orders")
            yield ShopState(aurora=state["aurora"], aioaurora=state["aioaurora"], orders_at_start=count)

    app = FastAPI(lifespan=own)
    aurora.install(app)

    @app.get("/")
    async def root(request: Request, connection: aurora.Writer) -> list:
        return [request.state.orders_at_start, connection.instance]

    async with served(app) as shop:
        assert (await shop.get("/")).json() == [0, "db-1"]
        assert (await shop.get("/health/ready")).status_code == 200


async def test_several_clusters_in_one_application(sim):
    """Each has a name; here one cluster plays two (case 24: nothing is the process's)."""
    catalogue = aurora.aurora_lifespan(**sim.connect_options(), name="catalogue", role="reader")
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), name="orders", within=catalogue))
    aurora.install(app)

    @app.get("/")
    async def root(orders: ORDERS_WRITER, catalogue: CATALOGUE_READER) -> list:
        return [str(orders.role), str(catalogue.role)]

    @app.get("/wrong")
    async def wrong(connection: aurora.Writer) -> str:
        return connection.instance

    async with served(app) as shop:
        assert (await shop.get("/")).json() == ["writer", "reader"]
        assert (await shop.get("/wrong")).status_code == 500
        assert sorted((await shop.get("/health/ready")).json()["pools"]) == ["catalogue", "orders"]


async def test_two_pools_of_one_name_are_refused(sim):
    """One would hide the other."""
    inner = aurora.aurora_lifespan(**sim.connect_options())
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), within=inner))

    with pytest.raises(StartFailed, match="give one another name="):
        async with served(app):
            pass


@pytest.mark.parametrize(
    "options", [{"name": "no name"}, {"name": "aioaurora"}, {"drain_timeout": -1}, {"drain_delay": "soon"}]
)
def test_what_cannot_work_is_refused_at_once(options):
    """Not only when the application starts."""
    with pytest.raises(errors.ConfigurationError):
        aurora.aurora_lifespan("mysql://app@db.test/shop", **options)


def test_what_is_misspelt_is_told_by_its_name():
    """Of this function's own options, too."""
    with pytest.raises(errors.ConfigurationError, match="did you mean 'drain_timeout'"):
        aurora.aurora_lifespan("mysql://app@db.test/shop", drain_timout=3)


async def test_where_no_url_is_said_it_names_the_variable(monkeypatch):
    """Whoever writes `aurora_lifespan()` has meant that."""
    monkeypatch.delenv("AIOAURORA_URL", raising=False)

    for prefix in ("AIOAURORA_", "ORDERS_"):
        with pytest.raises(StartFailed, match=f"no host: pass a URL, or set {prefix}URL"):
            async with served(FastAPI(lifespan=aurora.aurora_lifespan(env_prefix=prefix))):
                pass


@pytest.mark.parametrize("follow", ["observe", "off"])
async def test_the_switch_leaves_an_application_that_works(sim, monkeypatch, follow):
    """Handlers, readers and health checks."""
    monkeypatch.setenv("AIOAURORA_FOLLOW", follow)
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options()))
    aurora.install(app)

    @app.get("/")
    async def root(writer: aurora.Writer, reader: aurora.Reader) -> list:
        return [writer.instance, reader.instance]

    async with served(app) as shop:
        assert (await shop.get("/")).json() == ["db-1", "db-1"]
        assert (await shop.get("/health/ready")).status_code == 200


# --- the cluster is down --------------------------------------------------------------------------------------------


async def _down(sim) -> None:
    for each in sim.instances:
        await sim.refuse(each)


async def test_an_application_whose_cluster_is_down_does_not_start(sim):
    """It says what was tried, within `connect_timeout`."""
    await _down(sim)
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), connect_timeout=2.0))
    began_at = asyncio.get_running_loop().time()

    with pytest.raises(StartFailed, match=r"orders\.cluster"):
        async with served(app):
            pass

    assert asyncio.get_running_loop().time() - began_at <= 2.2


async def test_or_it_starts_without_and_is_ready_when_the_cluster_is(sim):
    """`wait_ready=False`: 503 until then."""
    await _down(sim)
    options = sim.connect_options() | {"wait_ready": False, "connect_timeout": 1.0}
    app = FastAPI(lifespan=aurora.aurora_lifespan(**options))
    aurora.install(app)

    @app.get("/")
    async def root(connection: aurora.Writer) -> str:
        return connection.instance

    async with served(app) as shop:
        refused, ready = await shop.get("/"), await shop.get("/health/ready")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert (ready.status_code, ready.json()["pools"]["aurora"]["status"]) == (503, "not reached yet")
        assert (await shop.get("/health/live")).status_code == 200

        await sim.heal()
        await asyncio.sleep(5)

        assert (await shop.get("/")).json() == "db-1"
        assert (await shop.get("/health/ready")).status_code == 200


@pytest.mark.parametrize("details", [True, False])
async def test_a_start_without_the_cluster_says_why(sim, details, caplog):
    """Once in the log, aloud, and in the readiness check; hosts and users are a detail."""
    options = sim.connect_options() | {"wait_ready": False, "password": "hunter2"}
    app = FastAPI(lifespan=aurora.aurora_lifespan(**options))
    aurora.install(app, details=details)

    async with served(app) as shop:
        await asyncio.sleep(20)
        ready = await shop.get("/health/ready")

    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.aurora_event == "aioaurora.pool.not_reached"
    assert "Access denied" in warning.getMessage()
    reason = ready.json()["pools"]["aurora"]["reason"]
    assert reason.startswith("OperationalError 1045: Access denied") if details else reason == "OperationalError 1045"
    assert "hunter2" not in ready.text + caplog.text


async def test_a_start_with_the_cluster_says_nothing(sim, caplog):
    """Not even one that does not wait for it."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), wait_ready=False))

    async with served(app) as shop:
        await asyncio.sleep(1)
        await sim.deny_logins(60)
        await shop.state["aurora"].clear()
        await asyncio.sleep(5)

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_wrong_password_is_told_at_the_start(sim):
    """And not repeated."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options() | {"password": "hunter2"}))

    with pytest.raises(StartFailed, match="Access denied") as failed:
        async with served(app):
            pass

    assert "hunter2" not in str(failed.value)


# --- the environment ------------------------------------------------------------------------------------------------


async def test_the_environment_says_what_nothing_else_does(sim, monkeypatch):
    """Argument over URL over environment over the defaults of this module."""
    monkeypatch.setenv("AIOAURORA_URL", f"{sim.url}&maxsize=4")
    monkeypatch.setenv("AIOAURORA_MAXSIZE", "5")
    monkeypatch.setenv("AIOAURORA_MINSIZE", "3")
    monkeypatch.setenv("AIOAURORA_GIVE_UP_WAITING_AFTER", "7.5")
    app = FastAPI(lifespan=aurora.aurora_lifespan(minsize=2))

    async with served(app) as shop:
        pool = shop.state["aurora"]
        assert (pool.minsize, pool.maxsize) == (2, 4)
        assert pool.cluster._config.give_up_waiting_after == 7.5


async def test_the_environment_can_be_left_out(sim, monkeypatch):
    """Or have another prefix, as for a second cluster."""
    monkeypatch.setenv("AIOAURORA_MINSIZE", "3")
    monkeypatch.setenv("CATALOGUE_MINSIZE", "2")
    catalogue = aurora.aurora_lifespan(**sim.connect_options(), name="catalogue", env_prefix="CATALOGUE_")
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), env_prefix=None, within=catalogue))

    async with served(app) as shop:
        assert (shop.state["aurora"].minsize, shop.state["catalogue"].minsize) == (1, 2)
        assert shop.state["aurora"].cluster._config.give_up_waiting_after == 5.0


# --- the end --------------------------------------------------------------------------------------------------------


async def test_the_end_waits_for_what_is_still_leased(sim):
    """A task that the application left behind, say; but not for ever."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), drain_timeout=3.0))
    loop = asyncio.get_running_loop()

    async with served(app) as shop:
        connection = await shop.state["aurora"].acquire()
        began_at = loop.time()

    assert loop.time() - began_at == pytest.approx(3.0, abs=0.1)
    assert connection.closed


async def test_what_runs_when_the_end_is_announced_may_finish_and_what_does_not_is_cut(sim):
    """Readiness is false at once; requests go on until the time is up."""
    app = FastAPI(lifespan=aurora.aurora_lifespan(**sim.connect_options(), drain_timeout=4.0, maxsize=4))
    aurora.install(app)

    @app.get("/sleep/{length}")
    async def sleep(length: int, connection: aurora.Writer) -> str:
        async with connection.cursor() as cursor:
            await cursor.execute("SELECT SLEEP(%s)", (length,))
        return "slept"

    async with served(app) as shop:
        short, long = shop.begin("/sleep/2"), shop.begin("/sleep/60")
        await asyncio.sleep(1)
        (service,) = shop.state["aioaurora"]
        service.begin_draining()

        ready = await shop.get("/health/ready")
        assert (ready.status_code, ready.json()["pools"]["aurora"]["status"]) == (503, "draining")
        assert (await shop.get("/health/live")).status_code == 200
        assert (await shop.get("/sleep/0")).json() == "slept"  # It came on a connection that was open already.
        await short.task
        assert short.body == "slept"
        await asyncio.wait_for(long.task, timeout=4)
        assert (long.status, long.body["outcome"]) == (503, "rolled_back")
        late = await shop.get("/sleep/0")
        assert (late.status_code, late.headers["Connection"]) == (503, "close")
