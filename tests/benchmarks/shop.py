"""The example shops under load, through failovers: `nox -s shop`, or `python tests/benchmarks/shop.py --seconds 60`.

Each variant is served by uvicorn in a process of its own, over a simulated cluster of its own, to real HTTP clients.
A client orders, looks at the catalogue, and looks for what it ordered. It is told 503: it waits as long as it was told,
and asks again with the same key. What is counted is what clients were told, and what the database holds in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import sys
import tempfile
import uuid
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import httpx

from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

SERVER = pathlib.Path(__file__).with_name("shop_server.py")
MODES = ("graceful", "crash", "blackhole")
PRODUCTS, RESTOCKED, STOCK = 5, 99, 1_000_000
GRACE_S = 0.5  # After the promotion, until the last 503.
PATIENCE_S = 45.0  # Of a client for one answer.
TICK_S, STALL_S = 0.02, 0.02
PAUSE_S = 1.0, 3.0  # Of a client between two things.
TABLES = (
    "CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(50) NOT NULL, stock INT NOT NULL)",
    "CREATE TABLE orders (id VARCHAR(36) PRIMARY KEY, product INT NOT NULL, quantity INT NOT NULL)",
)


def _ours(sim: SimulatedCluster) -> dict[str, str]:
    return {"AIOAURORA_URL": sim.url}


def _under_sqlalchemy(sim: SimulatedCluster) -> dict[str, str]:
    return {"DATABASE_URL": f"mysql+aioaurora{sim.url.removeprefix('mysql')}"}


def _plain(sim: SimulatedCluster) -> dict[str, str]:
    return {
        "SHOP_HOST": sim.endpoint,
        "SHOP_PORT": str(sim.port),
        "SHOP_USER": sim.user,
        "SHOP_PASSWORD": sim.password,
    }


def _plain_sqlalchemy(sim: SimulatedCluster) -> dict[str, str]:
    return {"DATABASE_URL": f"mysql+aiomysql{sim.url.removeprefix('mysql').partition('?')[0]}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to write the shop.

    Attributes:
        name: As the table has it.
        app: The application, a module of docs/how-to/fastapi.
        environment: What tells it where the cluster is.
    """

    name: str
    app: str
    environment: Callable[[SimulatedCluster], dict[str, str]]


# Another one is a module of docs/how-to/fastapi with the same paths, and a line here.
VARIANTS = (
    Variant(name="aioaurora", app="shop:app", environment=_ours),
    Variant(name="aioaurora under SQLAlchemy", app="sqlalchemy_shop:app", environment=_under_sqlalchemy),
    Variant(name="plain aiomysql", app="plain_shop:app", environment=_plain),
    Variant(name="plain mysql+aiomysql", app="plain_sqlalchemy_shop:app", environment=_plain_sqlalchemy),
)


# --- what clients are told ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """One answer; status 0: there was none."""

    asked_at: float
    at: float
    what: str
    status: int


@dataclass(slots=True, kw_only=True)
class Run:
    """What became of one variant.

    Attributes:
        told: All answers.
        acknowledged: Keys of the orders that clients were told to have been placed, and when.
        faults: When the writer fell, when the next one was promoted, and how.
        stored: The orders that the database holds in the end.
        sold: By how much the stock has shrunk.
        wrong_roles: Writes that reached an instance which was no writer, by the simulator's count.
        raised: What handlers raised: error number and class.
        stalls: When a loop went on that stood still, the server's or the clients', and how late it was.
        unexpected: Answers that no client can make sense of.
    """

    told: list[Told] = field(default_factory=list)
    acknowledged: dict[str, float] = field(default_factory=dict)
    faults: list[tuple[float, float, str]] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    sold: int = 0
    wrong_roles: int = 0
    raised: collections.Counter[str] = field(default_factory=collections.Counter)
    stalls: list[tuple[float, float]] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def count(self, *statuses: int) -> int:
        """How many answers had one of these statuses."""
        return sum(each.status in statuses for each in self.told)

    @property
    def late(self) -> list[Told]:
        """The answers 503 that came neither during a failover nor just after."""
        windows = [(fault, promotion + GRACE_S + self._stalled_s(promotion)) for fault, promotion, _ in self.faults]
        return [each for each in self.told if each.status == 503 and not any(a <= each.at <= b for a, b in windows)]

    def _stalled_s(self, promotion: float) -> float:
        """For how long the machine did something else when it mattered (DECISIONS 33)."""
        return sum(late_s for at, late_s in self.stalls if promotion <= at <= promotion + 4 * GRACE_S)

    @property
    def lost(self) -> set[str]:
        """Orders that were acknowledged and are not there."""
        return self.acknowledged.keys() - self.stored

    @property
    def doubled(self) -> int:
        """How much more was taken from the stock than was ordered; less than nothing: less."""
        return self.sold - len(self.stored)

    @property
    def refused_role(self) -> int:
        """How many errors 1290 reached a handler."""
        return sum(count for error, count in self.raised.items() if error.startswith("1290 "))

    @property
    def first_orders_s(self) -> list[float]:
        """Seconds from each promotion to the next order that was acknowledged."""
        found = []
        for _, promotion, _ in self.faults:
            after = [at for at in self.acknowledged.values() if at >= promotion]
            found.append(min(after) - promotion if after else float("inf"))
        return found

    @property
    def longest_s(self) -> float:
        """The longest that a client waited for one answer."""
        return max((each.at - each.asked_at for each in self.told), default=0.0)


def client_of(url: str) -> httpx.AsyncClient:
    """Make a client with a connection of its own."""
    return httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False, verify=False)


class Customer:
    """One client."""

    def __init__(self, url: str, run: Run, chance: random.Random, until: float) -> None:
        self._url, self._run, self._chance, self._until = url, run, chance, until
        self._loop = asyncio.get_running_loop()
        self._mine: list[str] = []

    async def shop(self) -> None:
        """Order and look until it is time to go."""
        await asyncio.sleep(self._chance.uniform(0, PAUSE_S[1]))
        async with client_of(self._url) as self._client:
            await self._visit()

    async def _visit(self) -> None:
        while self._loop.time() < self._until:
            drawn = self._chance.random()
            if drawn < 0.6:
                await self._order()
            elif drawn < 0.85:
                await self._persist("GET", "/products")
            elif drawn < 0.95 and self._mine:
                response = await self._persist("GET", f"/orders/{self._chance.choice(self._mine)}")
                if response is not None and response.status_code == 404:
                    self._run.unexpected.append("an order that was acknowledged is not found")
            else:
                await self._persist("PUT", f"/products/{RESTOCKED}/stock?quantity={self._chance.randrange(100)}")
            await asyncio.sleep(self._chance.uniform(*PAUSE_S))

    async def _order(self) -> None:
        key, order = str(uuid.UUID(int=self._chance.getrandbits(128))), {"product": self._chance.randrange(PRODUCTS)}
        order["quantity"] = 1
        response = await self._persist("POST", "/orders", json=order, headers={"Idempotency-Key": key})
        if response is not None and response.status_code == 201:
            self._run.acknowledged[key] = self._loop.time()
            self._mine.append(key)

    async def _persist(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Ask, and ask again while the answer is a 503 that names a time, or is none."""
        while True:
            asked_at, response = self._loop.time(), None
            with contextlib.suppress(httpx.TransportError):
                response = await self._client.request(method, path, **options)
            status = response.status_code if response is not None else 0
            self._run.told.append(
                Told(asked_at, self._loop.time(), f"{method} {path.split('?', maxsplit=1)[0]}", status)
            )
            if status not in {200, 201, 404, 500, 503, 0}:
                self._run.unexpected.append(f"{status}: {response.text if response is not None else ''}")
            if status not in {0, 500, 503} or self._loop.time() > self._until:
                return response
            await asyncio.sleep(_pause_s(response))


def _pause_s(response: httpx.Response | None) -> float:
    if response is None or response.status_code != 503:
        return 1.0
    return float(response.json().get("retry_after_s", 1.0))


# --- one variant ----------------------------------------------------------------------------------------------------


async def run(variant: Variant, *, clients: int, seconds: float, failovers: int, seed: int, engine: str) -> Run:
    """Serve a variant, load it, fail over, and look at what is there in the end."""
    outcome, loop = Run(), asyncio.get_running_loop()
    async with SimulatedCluster(3, engine=engine) as sim:
        for statement in TABLES:
            await sim.execute(statement)
        for product in (*range(PRODUCTS), RESTOCKED):
            await sim.execute("INSERT INTO products VALUES (%s, %s, %s)", product, f"product {product}", STOCK)
        async with _serving(variant, sim, outcome) as url:
            until = loop.time() + seconds
            chance = random.Random(seed)
            customers = [Customer(url, outcome, random.Random(chance.random()), until) for _ in range(clients)]
            async with asyncio.TaskGroup() as group:
                for each in customers:
                    group.create_task(each.shop())
                group.create_task(_fail_over(sim, outcome, failovers, seconds))
                group.create_task(_tick(outcome, until))
        outcome.stored = {str(key) for (key,) in await sim.rows("SELECT id FROM orders")}
        rows = await sim.rows("SELECT stock FROM products WHERE id <> %s", RESTOCKED)
        outcome.sold = sum(STOCK - int(stock or 0) for (stock,) in rows)
        outcome.wrong_roles = len(sim.timeline.of("wrong_role"))
    return outcome


async def _tick(outcome: Run, until: float) -> None:
    """Take note of when our own loop stands still."""
    loop = asyncio.get_running_loop()
    while (now := loop.time()) < until:
        await asyncio.sleep(TICK_S)
        if (late_s := loop.time() - now - TICK_S) > STALL_S:
            outcome.stalls.append((loop.time(), late_s))


async def _fail_over(sim: SimulatedCluster, outcome: Run, count: int, seconds: float) -> None:
    """Fail over at equal distances, each time in another way."""
    loop, began_at = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for number in range(count):
        await asyncio.sleep(began_at + (number + 0.5) * seconds / count - loop.time())
        mode, fault_at = MODES[number % len(MODES)], loop.time()
        await sim.failover(mode=mode, promote_after=2.0, returns_after=3.0)
        (*_, promoted) = sim.timeline.of("promoted")
        outcome.faults.append((fault_at, promoted.at, mode))


@contextlib.asynccontextmanager
async def _serving(variant: Variant, sim: SimulatedCluster, outcome: Run) -> AsyncIterator[str]:
    """Start a shop, and say where it is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = await asyncio.start_server(lambda *streams: _answer_names(sim, *streams), "127.0.0.1", 0)
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AIOAURORA_")}
    environment |= variant.environment(sim) | {"SHOP_NAMES": str(names.sockets[0].getsockname()[1])}
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, str(SERVER), variant.app, str(port)]
        process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=errors)
        try:
            url = f"http://127.0.0.1:{port}"
            await _until_it_answers(url, process, errors)
            yield url
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(30):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
            names.close()
            await names.wait_closed()
            errors.seek(0)
            for line in errors.read().decode(errors="replace").splitlines():
                if line.startswith("stalled "):
                    _, at, late_s = line.split()
                    outcome.stalls.append((float(at), float(late_s)))
                else:
                    outcome.raised[line] += 1


async def _until_it_answers(url: str, process: asyncio.subprocess.Process, errors: IO[bytes]) -> None:
    async with asyncio.timeout(20), client_of(url) as client:
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/products")).status_code == 200:
                    return
            await asyncio.sleep(0.05)
    errors.seek(0)
    raise RuntimeError(f"the shop has ended with {process.returncode}: {errors.read().decode()[-2000:]}")


async def _answer_names(sim: SimulatedCluster, reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
    """Tell another process what the simulator's DNS says."""
    name = (await reading.readline()).decode().strip()
    answer = sim.dns.answer(name)
    records = [{"name": each.name, "kind": each.kind, "value": each.value, "ttl": each.ttl} for each in answer.records]
    writing.write(json.dumps({"status": answer.status.name, "records": records}).encode() + b"\n")
    await writing.drain()
    writing.close()
    await writing.wait_closed()


# --- the table ------------------------------------------------------------------------------------------------------


def table(runs: dict[str, Run]) -> str:
    """Put the variants side by side."""
    rows: list[tuple[str, Callable[[Run], object]]] = [
        ("answers", lambda each: len(each.told)),
        ("200 and 201", lambda each: each.count(200, 201)),
        ("503", lambda each: each.count(503)),
        (f"503 outside of fault to promotion + {GRACE_S} s", lambda each: len(each.late)),
        ("500", lambda each: each.count(500)),
        ("no answer", lambda each: each.count(0)),
        ("error 1290 in a handler", lambda each: each.refused_role),
        ("writes at an instance that is no writer", lambda each: each.wrong_roles),
        ("orders acknowledged", lambda each: len(each.acknowledged)),
        ("acknowledged and lost", lambda each: len(each.lost)),
        ("taken from the stock twice, or not at all", lambda each: each.doubled),
        ("promotion to first order, median", lambda each: f"{statistics.median(each.first_orders_s):.2f} s"),
        ("promotion to first order, worst", lambda each: f"{max(each.first_orders_s):.2f} s"),
        ("longest wait for an answer", lambda each: f"{each.longest_s:.2f} s"),
        ("longest stall of a loop", lambda each: f"{max((late_s for _, late_s in each.stalls), default=0.0):.2f} s"),
    ]
    lines = ["| | " + " | ".join(runs) + " |", "| --- |" + " ---: |" * len(runs)]
    lines += [f"| {name} | " + " | ".join(str(show(each)) for each in runs.values()) + " |" for name, show in rows]
    return "\n".join(lines)


def broken_promises(outcome: Run) -> list[str]:
    """Say what of a variant of our own is not as the documentation has it."""
    promises = {
        "a 500": outcome.count(500),
        "no answer": outcome.count(0),
        "a late 503": len(outcome.late),
        "1290 in a handler": outcome.refused_role,
        "a write in the wrong place": outcome.wrong_roles,
        "an order lost": len(outcome.lost),
        "an order doubled": outcome.doubled,
    }
    told = [f"{what}: {count}" for what, count in promises.items() if count]
    told += [f"a late 503: {each.at:.2f}, windows {outcome.faults}" for each in outcome.late[:3]]
    return told + outcome.unexpected[:3]


async def _main(words: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--failovers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--only", help="One variant, by its name.")
    said = parser.parse_args(words)
    runs: dict[str, Run] = {}
    for variant in VARIANTS:
        if said.only in (None, variant.name):
            runs[variant.name] = await run(
                variant, clients=said.clients, seconds=said.seconds, failovers=said.failovers, seed=said.seed,
                engine=said.engine,
            )  # fmt: skip
    kinds = ", ".join(mode for _, _, mode in next(iter(runs.values())).faults)
    print(f"{said.clients} clients, {said.seconds:.0f} s, failovers: {kinds}; seed {said.seed}.\n\n{table(runs)}")
    ours = {name: outcome for name, outcome in runs.items() if name.startswith("aioaurora")}
    broken = [f"{name}: {what}" for name, outcome in ours.items() for what in broken_promises(outcome)]
    print("\n".join(["", "Broken promises:", *broken] if broken else ["", "Every promise kept."]))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
