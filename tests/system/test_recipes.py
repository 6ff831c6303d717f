"""Each program of use-other-frameworks.md and run-workers.md runs as it stands, through a failover.

Web applications are processes that serve HTTP, Celery's worker forks its own, arq's has a Redis that is played by
fakeredis, and Lambda's sandbox is a process that is stopped and continued.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import pathlib
import signal
import sys
from typing import TYPE_CHECKING

import pytest

import aioaurora
from aioaurora.simulator import SimulatedCluster
from tests import recipes
from tests.recipes import ITEM, fails_over, running, stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FRAMEWORKS = ("aiohttp", "arq", "celery", "databases", "fakeredis", "litestar", "tortoise", "uvicorn")
MISSING = [name for name in FRAMEWORKS if importlib.util.find_spec(name) is None]
RUNTIME = pathlib.Path(__file__).parent / "lambda_runtime.py"
AN_HOUR_S = 3600.0

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("AIOAURORA_REQUIRE_ALL") != "1",
        reason=f"not installed: {', '.join(MISSING)} (dependency group `recipes`)",
    ),
]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with all programs of the pages."""
    assert not MISSING
    recipes.write(tmp_path)
    return tmp_path


@pytest.fixture
async def sim(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedCluster]:
    """Three instances in memory; `real` has them over MariaDB."""
    async with SimulatedCluster(3, engine="memory") as started:
        await recipes.make_tables(started)
        yield started


@pytest.fixture
async def real(installed_once: None) -> AsyncIterator[SimulatedCluster]:
    """Two instances over MariaDB."""
    async with SimulatedCluster(2, engine="mariadb") as started:
        await recipes.make_tables(started)
        yield started


def test_every_program_of_the_pages_is_run_here() -> None:
    """A program that nobody runs is wrong sooner or later."""
    assert set(recipes.programs()) == {
        "aurora_databases.py",
        "aurora_tortoise.py",
        "shop_aiohttp.py",
        "shop_arq.py",
        "shop_celery.py",
        "shop_databases.py",
        "shop_in_kubernetes.py",
        "shop_lambda.py",
        "shop_litestar.py",
        "shop_tortoise.py",
    }


# --- web applications -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [("-m", "uvicorn", "shop_litestar:app", "--port", "{port}"), ("shop_aiohttp.py",)],
    ids=["litestar", "aiohttp"],
)
async def test_a_shop_serves_through_a_failover(sim: SimulatedCluster, folder: pathlib.Path, command: tuple) -> None:
    """Each order is answered with 200 or 503, and is stored once; SIGTERM ends it in order."""
    import aiohttp

    port = recipes.free_port()
    words = [word.format(port=port) for word in command]
    async with running(folder, *words, DATABASE_URL=sim.url, PORT=str(port)) as shop:
        await shop.listens(port)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def order(order_id: str) -> bool:
                async with session.put(f"/orders/{order_id}", json={"item": ITEM, "quantity": 1}) as answer:
                    assert answer.status in {200, 503}, await answer.text()
                    assert answer.status == 200 or answer.headers["Retry-After"] == "1"
                    return answer.status == 200

            crowd = await fails_over(sim, order)
            assert await order(crowd.done[0])
            async with session.get(f"/stock/{ITEM}") as answer:
                assert await answer.json() == recipes.AVAILABLE - len(crowd.done)
            async with session.get("/stock/nothing") as answer:
                assert answer.status == 404

        assert await shop.end() in {0, -signal.SIGTERM}
        assert "Traceback" not in shop.said


async def test_a_pod_answers_its_requests_before_it_ends(sim: SimulatedCluster, folder: pathlib.Path) -> None:
    """SIGTERM comes while a request waits for the writer; until then the probes say what they should."""
    import aiohttp

    port = recipes.free_port()
    async with running(folder, "shop_in_kubernetes.py", DATABASE_URL=sim.url, PORT=str(port)) as pod:
        await pod.listens(port)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

            async def status(path: str) -> int:
                async with session.get(path) as answer:
                    return answer.status

            async def ordered() -> int:
                async with session.put("/orders/1", json={"item": ITEM, "quantity": 1}) as answer:
                    return answer.status

            probed = [await status("/health/live"), await status("/health/ready")]
            failover = asyncio.create_task(sim.failover(mode="crash", promote_after=1.5, target_down_for=0.2))
            await asyncio.sleep(0.2)
            probed += [await status("/health/live"), await status("/health/ready")]
            order = asyncio.create_task(ordered())
            await asyncio.sleep(0.3)
            ending = asyncio.create_task(pod.end())

            assert probed == [200, 200, 200, 200]
            assert await order == 200
            assert await ending in {0, -signal.SIGTERM}
            await failover
    assert await stored(sim) == ({"1"}, 1)


# --- object mappers -------------------------------------------------------------------------------------------------


@pytest.fixture
def imported(real: SimulatedCluster, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """Import a program of the pages, which finds the cluster in its environment."""
    monkeypatch.setenv("DATABASE_URL", real.url)
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name in recipes.programs():
        sys.modules.pop(name.removesuffix(".py"), None)


@pytest.mark.needs("mariadbd")
async def test_tortoise_stores_through_a_failover(real: SimulatedCluster, imported) -> None:
    """Its transactions are tried again, and none of its connections is kept."""
    shop = imported("shop_tortoise")
    from tortoise import Tortoise

    await shop.start()
    try:
        crowd = await fails_over(real, _always(shop.store))
        await shop.store(crowd.done[0], ITEM, 1)

        assert await shop.available(ITEM) == recipes.AVAILABLE - len(crowd.done)
        assert Tortoise.get_connection("default")._pool.stats().leased == 0
        await _nests_and_undoes(shop, real)
    finally:
        await Tortoise.close_connections()


async def _nests_and_undoes(shop, sim: SimulatedCluster) -> None:
    from tortoise.transactions import in_transaction

    async with in_transaction("default"):
        await shop.Order.create(id="outer", item=ITEM, quantity=1)
        with contextlib.suppress(ZeroDivisionError):
            async with in_transaction("default"):
                await shop.Order.create(id="inner", item=ITEM, quantity=1)
                raise ZeroDivisionError
    orders, _ = await stored(sim)
    assert "outer" in orders
    assert "inner" not in orders


@pytest.mark.needs("mariadbd")
async def test_databases_stores_through_a_failover(real: SimulatedCluster, imported) -> None:
    """Its transactions are tried again, and none of its connections is kept."""
    shop = imported("shop_databases")
    await shop.start()
    try:
        crowd = await fails_over(real, _always(shop.store))
        await shop.store(crowd.done[0], ITEM, 1)

        assert await shop.available(ITEM) == recipes.AVAILABLE - len(crowd.done)
        assert shop.writer._backend._pool.stats().leased == 0
    finally:
        await shop.stop()


def _always(store):
    """An order that is refused only where nobody can know: the retries of the recipe see to that."""

    async def order(order_id: str) -> bool:
        try:
            await store(order_id, ITEM, 1)
        except aioaurora.CommitOutcomeUnknown:
            return False
        return True

    return order


# --- workers --------------------------------------------------------------------------------------------------------

CELERY = """
broker_url = "filesystem://"
broker_transport_options = {
    "data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control", "polling_interval": 0.02,
}
task_ignore_result = True
worker_prefetch_multiplier = 1
"""


# fakeredis knows no INFO, which arq wants for a line in its log.
ARQ = """
import arq.cli, arq.worker

async def say_nothing(*_):
    pass

arq.worker.log_redis_info = say_nothing
arq.cli.cli()
"""


async def _worked_off(sim: SimulatedCluster, program, ask) -> None:
    """Ask for jobs before, during and after a failover; each is done once."""
    asked: set[str] = set()

    async def ask_for(count: int) -> None:
        for _ in range(count):
            order_id = f"order-{len(asked)}"
            asked.add(order_id)
            await ask(order_id, ITEM, 1)

    async def is_done() -> bool:
        return (await stored(sim))[0] == asked

    await ask_for(10)
    await program.until(is_done, within_s=15)
    await ask_for(10)
    failover = asyncio.create_task(sim.failover(mode="crash", promote_after=0.5, target_down_for=0.2))
    await ask_for(10)
    await failover
    await program.until(is_done, within_s=15)
    await ask_for(10)
    await program.until(is_done, within_s=15)

    assert await stored(sim) == (asked, len(asked))
    assert sim.writer.id == "db-2"


async def test_celery_works_through_a_failover(sim: SimulatedCluster, folder: pathlib.Path, monkeypatch) -> None:
    """A worker with two processes, each with a loop and a pool of its own."""
    from celery import Celery

    (folder / "celeryconfig.py").write_text(CELERY)
    for name in ("queue", "control"):
        (folder / name).mkdir()
    monkeypatch.chdir(folder)
    sender = Celery("sender")
    sender.config_from_object(_settings())

    async def ask(*order: object) -> None:
        await asyncio.to_thread(sender.send_task, "shop_celery.store", order)

    words = ("-m", "celery", "--app", "shop_celery", "worker", "--concurrency", "2", "--without-mingle")
    async with running(folder, *words, DATABASE_URL=sim.url) as worker:
        await _worked_off(sim, worker, ask)

        assert await worker.end() == 0
        assert "Traceback" not in worker.said


def _settings() -> dict[str, object]:
    settings: dict[str, object] = {}
    exec(CELERY, settings)
    return {name: value for name, value in settings.items() if not name.startswith("_")}


async def test_arq_works_through_a_failover(sim: SimulatedCluster, folder: pathlib.Path) -> None:
    """Start-up opens the pool, shutdown closes it."""
    import arq

    with recipes.redis() as port:
        queue = await arq.create_pool(arq.connections.RedisSettings(port=port))

        async def ask(*order: object) -> None:
            await queue.enqueue_job("store", *order)

        environment = {"DATABASE_URL": sim.url, "REDIS_URL": f"redis://127.0.0.1:{port}"}
        async with running(folder, "-c", ARQ, "shop_arq.WorkerSettings", **environment) as worker:
            await _worked_off(sim, worker, ask)

            assert await worker.end() in {0, 1}
            assert "Traceback" not in worker.said
        await queue.aclose()


# --- Lambda ---------------------------------------------------------------------------------------------------------


class Sandbox:
    """A Lambda function's process, which is frozen between two invocations."""

    def __init__(self, program) -> None:
        self._process = program.process
        self._frozen_at = 0.0
        self._program = program

    async def invoke(self, order_id: str, *, clock_jumped_s: float = 0.0) -> dict:
        """Have it handle one event; it runs no longer than that."""
        event = {"id": order_id, "item": ITEM, "quantity": 1, "clock_jumped_s": clock_jumped_s}
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(event).encode() + b"\n")
        async with asyncio.timeout(15):
            line = await self._process.stdout.readline()
        assert line, self._program.said
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)


async def _nothing(sim: SimulatedCluster) -> None:
    await asyncio.sleep(0.5)


async def _connections_are_closed(sim: SimulatedCluster) -> None:
    await sim.restart(mode="crash", down_for=0.2)


async def _connections_are_forgotten(sim: SimulatedCluster) -> None:
    await sim.half_open()
    await asyncio.sleep(0.5)


async def _the_writer_changes(sim: SimulatedCluster) -> None:
    await sim.failover(mode="crash", promote_after=0.5, target_down_for=0.2)


async def _the_writer_changes_and_nothing_says_so(sim: SimulatedCluster) -> None:
    await sim.half_open()
    await sim.failover(mode="blackhole", promote_after=0.5, target_down_for=0.2)


@pytest.mark.parametrize(
    ("happens", "clock"),
    [
        (_nothing, "went on"),
        (_connections_are_closed, "stood still"),
        (_the_writer_changes, "jumped an hour"),
        (_connections_are_forgotten, "went on"),
        (_connections_are_forgotten, "stood still"),
        (_the_writer_changes_and_nothing_says_so, "stood still"),
        (_the_writer_changes_and_nothing_says_so, "jumped an hour"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__.strip("_").replace("_", " "),
)
async def test_a_thawed_sandbox_stores_at_once(sim: SimulatedCluster, folder: pathlib.Path, happens, clock) -> None:
    """Dead sockets and an old writer are found out, whatever happened in the meantime, and whatever its clock did."""
    loop = asyncio.get_running_loop()
    environment = {"DATABASE_URL": sim.url, "SPEAKS": "yes"}
    async with running(folder, RUNTIME, "shop_lambda", **environment) as program:
        sandbox = Sandbox(program)
        cold = await sandbox.invoke("cold")
        frozen_at = loop.time()
        await happens(sim)
        frozen_s = loop.time() - frozen_at
        jump_s = {"went on": 0.0, "stood still": -frozen_s, "jumped an hour": AN_HOUR_S}[clock]
        thawed = await sandbox.invoke("thawed", clock_jumped_s=jump_s)
        warm = await sandbox.invoke("warm")

        print(f"{happens.__name__} {clock}: {cold['took_s']:.3f} {thawed['took_s']:.3f} {warm['took_s']:.3f}")
        assert [each["statusCode"] for each in (cold, thawed, warm)] == [200, 200, 200], program.said
        assert await stored(sim) == ({"cold", "thawed", "warm"}, 3)
        assert thawed["took_s"] <= 1.5
