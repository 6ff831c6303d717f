"""Applications under real servers: how they start, fork, lose their clients, and end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = pathlib.Path(__file__).parent
UVICORN = [sys.executable, "-m", "uvicorn", "web_app:app", "--app-dir", str(HERE), "--log-level", "warning", "--port"]
GUNICORN = [
    sys.executable,
    "-W",
    "ignore",
    "-m",
    "gunicorn",
    "web_app:app",
    "--pythonpath",
    str(HERE),
    "--preload",
    "--workers",
    "2",
]
WORKERS = ["uvicorn.workers.UvicornWorker", "asgi"]

pytestmark = pytest.mark.timeout(60)


class Server:
    """A server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, errors: pathlib.Path) -> None:
        self.process, self.errors = process, errors
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False)

    async def answers(self) -> None:
        """Wait until it does."""
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await self.client.get("/health/live")
                    return
                assert self.process.returncode is None, self.errors.read_text()
                await asyncio.sleep(0.05)

    async def ended(self, within_s: float) -> int:
        """Wait for its end; gives its exit status."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def started(
    command: list[str], sim: SimulatedCluster, tmp_path: pathlib.Path, **said: str
) -> AsyncIterator[Server]:
    """Start a server, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AIOAURORA_")}
    environment |= {"AIOAURORA_URL": sim.url, "PYTHONUNBUFFERED": "1", **said}
    where = [str(port)] if "uvicorn" in command else ["--bind", f"127.0.0.1:{port}"]
    errors = tmp_path / "errors"
    with errors.open("wb") as told:
        process = await asyncio.create_subprocess_exec(*command, *where, env=environment, stdout=told, stderr=told)
    server = Server(process, port, errors)
    try:
        yield server
    finally:
        await server.client.aclose()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await server.ended(10)
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def sim() -> AsyncIterator[SimulatedCluster]:
    """A cluster of three."""
    async with SimulatedCluster(3, engine="memory") as running:
        yield running


async def test_sigterm_lets_running_requests_finish(sim, tmp_path):
    """Readiness is false at once, while the server still listens; then it ends, with nothing left behind."""
    async with started(UVICORN, sim, tmp_path, DRAIN_DELAY="1") as server:
        await server.answers()
        assert (await server.client.get("/health/ready")).status_code == 200
        running = asyncio.create_task(server.client.get("/sleep/2.5"))
        await asyncio.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)

        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as anew:
            ready = await anew.get("/health/ready")
        assert (ready.status_code, ready.json()["pools"]["aurora"]["status"]) == (503, "draining")
        assert (await running).json() == "slept"
        await server.ended(5)
        assert server.errors.read_text() == ""


async def test_what_does_not_finish_is_cut_when_the_time_is_up(sim, tmp_path):
    """The server alone would wait for ever."""
    async with started(UVICORN, sim, tmp_path, DRAIN_TIMEOUT="1") as server:
        await server.answers()
        running = asyncio.create_task(server.client.get("/sleep/60"))
        await asyncio.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)

        response = await running
        assert (response.status_code, response.json()["outcome"]) == (503, "rolled_back")
        await server.ended(5)


@pytest.mark.parametrize("worker", WORKERS)
async def test_workers_share_nothing_when_the_application_was_loaded_before_the_fork(sim, tmp_path, worker):
    """`gunicorn --preload`: each has a pool of its own, and SIGTERM ends them all."""
    async with started([*GUNICORN, "--worker-class", worker], sim, tmp_path) as server:
        await server.answers()
        pids: set[int] = set()
        async with asyncio.timeout(15):
            while len(pids) < 2:
                async with httpx.AsyncClient(base_url=server.url, timeout=10, trust_env=False) as anew:
                    answers = await asyncio.gather(*(anew.get("/who") for _ in range(8)))
                assert {answer.json()["instance"] for answer in answers} == {"db-1"}
                pids |= {answer.json()["pid"] for answer in answers}

        assert server.process.pid not in pids
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended(10) == 0


async def test_a_cluster_made_before_the_fork_says_so(sim, tmp_path):
    """Rather than share its sockets (case 66)."""
    command = [*GUNICORN, "--worker-class", WORKERS[0]]
    async with started(command, sim, tmp_path, MADE_BEFORE_THE_FORK="1") as server:
        assert await server.ended(15) != 0

        assert "WrongProcess: the Cluster was made in process" in server.errors.read_text()


async def test_a_server_whose_cluster_is_down_does_not_start(sim, tmp_path):
    """It says what was tried, and no password."""
    for each in sim.instances:
        await sim.refuse(each)
    async with started(UVICORN, sim, tmp_path, AIOAURORA_CONNECT_TIMEOUT="1") as server:
        assert await server.ended(15) == 3

        told = server.errors.read_text()
        assert sim.endpoint in told
        assert sim.password not in told


async def test_or_it_starts_degraded(sim, tmp_path):
    """503 until the cluster is there."""
    for each in sim.instances:
        await sim.refuse(each)
    said = {"AIOAURORA_CONNECT_TIMEOUT": "1", "AIOAURORA_WAIT_READY": "false"}
    async with started(UVICORN, sim, tmp_path, **said) as server:
        await server.answers()
        assert (await server.client.get("/health/ready")).status_code == 503
        assert (await server.client.get("/who")).status_code == 503
        await sim.heal()
        async with asyncio.timeout(10):
            while (await server.client.get("/health/ready")).status_code != 200:
                await asyncio.sleep(0.1)
        assert (await server.client.get("/who")).json()["instance"] == "db-1"


@pytest.mark.parametrize("worker", WORKERS)
async def test_under_gunicorn_a_hang_up_ends_a_query_too(sim, tmp_path, worker):
    """Its own worker tells the application as uvicorn does."""
    command = [*GUNICORN[:-1], "1", "--worker-class", worker]
    async with started(command, sim, tmp_path) as server:
        await server.answers()
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as leaving:
            request = asyncio.create_task(leaving.get("/sleep/600", timeout=600))
            await asyncio.sleep(1)
            assert (await server.client.get("/state")).json()["leased"] == 1
            request.cancel()
            await asyncio.wait({request})

        async with asyncio.timeout(5):
            while (await server.client.get("/state")).json()["leased"]:
                await asyncio.sleep(0.05)


@pytest.mark.needs("mariadbd")
async def test_a_hundred_clients_that_go_in_the_middle_of_a_query_leave_nothing(installed_once, tmp_path):
    """No connection lost, no task left, and no query still running at the server."""
    async with SimulatedCluster(3, engine="mariadb") as sim, started(UVICORN, sim, tmp_path) as server:
        await server.answers()
        before = (await server.client.get("/state")).json()
        async with httpx.AsyncClient(
            base_url=server.url, trust_env=False, limits=httpx.Limits(max_connections=None)
        ) as leaving:
            requests = [asyncio.create_task(leaving.get("/sleep/600", timeout=600)) for _ in range(100)]
            async with asyncio.timeout(20):
                while await _sleeping(sim) < 20 or (await server.client.get("/state")).json()["waiting"] < 80:
                    await asyncio.sleep(0.1)
            for each in requests:
                each.cancel()
            await asyncio.wait(requests)

        async with asyncio.timeout(10):
            while await _sleeping(sim):
                await asyncio.sleep(0.05)
            while True:
                after = (await server.client.get("/state")).json()
                if (after["leased"], after["waiting"]) == (0, 0) and after["tasks"] <= before["tasks"] + 2:
                    break
                await asyncio.sleep(0.1)
        answers = await asyncio.gather(*(server.client.get("/who") for _ in range(40)))
        assert {answer.status_code for answer in answers} == {200}
        assert server.errors.read_text() == ""


async def _sleeping(sim: SimulatedCluster) -> int:
    ((count,),) = await sim.rows(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE INFO LIKE 'SELECT SLEEP(6%'"
    )
    return int(count)
