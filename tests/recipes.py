"""The programs on the pages of docs/how-to, word for word, as processes beside a simulated cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aioaurora

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from aioaurora.simulator import SimulatedCluster

PAGES = pathlib.Path(__file__).parent.parent / "docs" / "how-to"
SOURCE = pathlib.Path(aioaurora.__file__).parent.parent
BLOCK = re.compile(
    r"^<!-- not run: here, but by tests/system/test_recipes\.py, as `(\w+\.py)` -->\n```python\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
AVAILABLE = 1000
ITEM = "pencil"
STARTS_WITHIN_S, ENDS_WITHIN_S = 10.0, 10.0


def programs() -> dict[str, str]:
    """Every program of every page, by its file's name."""
    return {name: code for page in sorted(PAGES.glob("*.md")) for name, code in BLOCK.findall(page.read_text())}


def write(folder: pathlib.Path) -> None:
    """Write them into a folder, as a reader would."""
    for name, code in programs().items():
        (folder / name).write_text(code)


async def make_tables(sim: SimulatedCluster) -> None:
    """As the pages say."""
    await sim.execute(
        "CREATE TABLE orders (id VARCHAR(36) PRIMARY KEY, item VARCHAR(32) NOT NULL, quantity INT NOT NULL)"
    )
    await sim.execute("CREATE TABLE stock (item VARCHAR(32) PRIMARY KEY, available INT NOT NULL)")
    await sim.execute(f"INSERT INTO stock VALUES ('{ITEM}', {AVAILABLE})")


async def stored(sim: SimulatedCluster) -> tuple[set[str], int]:
    """The ids of the orders that the storage has, and how many pieces have left the stock."""
    orders = await sim.rows("SELECT id FROM orders")
    ((available,),) = await sim.rows("SELECT available FROM stock")
    return {str(order) for (order,) in orders}, AVAILABLE - int(available)


def free_port() -> int:
    """A port that nobody has, below those from which a client that looks for it might connect to itself."""
    for port in random.sample(range(20_000, 32_000), 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port below the ephemeral ones")


class Program:
    """A process, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process, log: pathlib.Path) -> None:
        self.process, self._log = process, log

    @property
    def said(self) -> str:
        """All that it has written to its standard error."""
        return self._log.read_text(errors="replace")

    async def until(self, condition: Callable[[], Awaitable[bool]], *, within_s: float = STARTS_WITHIN_S) -> None:
        """Wait until something holds, as long as it runs."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while not await condition():
            assert self.process.returncode is None, self.said
            assert loop.time() < until, self.said
            await asyncio.sleep(0.02)

    async def listens(self, port: int) -> None:
        """Wait until it takes connections."""

        async def is_open() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await self.until(is_open)

    async def end(self) -> int:
        """Send SIGTERM, and give its exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(ENDS_WITHIN_S):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def running(folder: pathlib.Path, *command: str | pathlib.Path, **environment: str) -> AsyncIterator[Program]:
    """Run a Python program in a folder of its own."""
    path = os.pathsep.join([str(folder), str(SOURCE)])
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path} | environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE if environment.get("SPEAKS") else log,
            stderr=log,
        )
        try:
            yield Program(process, pathlib.Path(log.name))
        finally:
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            await process.wait()
            process._transport.close()


@contextlib.contextmanager
def redis() -> Iterator[int]:
    """A Redis that is played by fakeredis, in threads of its own; gives its port."""
    from fakeredis import TcpFakeServer

    with TcpFakeServer(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Crowd:
    """Customers who order, one after the other, until they are told to stop; each asks again for what was refused.

    Attributes:
        order: Asks for an order; True: it is stored, False: ask again.
        done: Ids of the orders that were acknowledged.
        refused: How often one was to ask again.
    """

    order: Callable[[str], Awaitable[bool]]
    done: list[str] = field(default_factory=list)
    refused: int = 0
    is_over: bool = False

    async def buy(self, who: int) -> None:
        """Order, and order again."""
        number = 0
        while not self.is_over:
            number += 1
            order_id = f"00000000-0000-4000-8000-{who:04d}{number:08d}"
            while not await self.order(order_id):
                self.refused += 1
                await asyncio.sleep(0.1)
            self.done.append(order_id)
            await asyncio.sleep(0.01)

    async def more(self, count: int) -> None:
        """Wait until so many more orders were acknowledged."""
        wanted = len(self.done) + count
        async with asyncio.timeout(10):
            while len(self.done) < wanted:
                await asyncio.sleep(0.01)


async def fails_over(sim: SimulatedCluster, order: Callable[[str], Awaitable[bool]], *, customers: int = 6) -> Crowd:
    """Have a crowd order before, during and after a failover; nothing may be lost or done twice."""
    crowd = Crowd(order)
    async with asyncio.TaskGroup() as group:
        for who in range(customers):
            group.create_task(crowd.buy(who))
        await crowd.more(30)
        await sim.failover(mode="crash", promote_after=0.5, target_down_for=0.2)
        await crowd.more(30)
        crowd.is_over = True
    orders, gone = await stored(sim)
    assert orders == set(crowd.done)
    assert gone == len(crowd.done)
    assert sim.writer.id == "db-2"
    return crowd
