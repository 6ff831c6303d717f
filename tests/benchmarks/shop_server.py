"""One of the example shops under uvicorn, as `shop.py` starts it: `python shop_server.py shop:app PORT`.

Whatever a handler raises is told on standard error, one line each: the error's number and its class; so are stalls of
the loop: when it went on, on the machine's monotonic clock, and how late that was. Names are looked
up at SHOP_NAMES, an address that answers for the simulator, where it is given: aiomysql knows no `nameservers=`.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import socket
import sys
from typing import Any

import fastapi.routing
import uvicorn

from aioaurora.simulator.questions import Answer, Record, Status
from aioaurora.simulator.resolving import resolving

TICK_S, STALL_S = 0.02, 0.02
SHOPS = pathlib.Path(__file__).parents[2] / "docs/how-to/fastapi"


class Names:
    """The simulator's names, asked for over a socket."""

    def __init__(self, port: int) -> None:
        self._port = port

    def knows(self, name: str) -> bool:
        """Say whether it is one of the simulator's."""
        return name.endswith(".test")

    def answer(self, name: str) -> Answer:
        """Resolve a name."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=2) as asked, asked.makefile("rw") as lines:
            lines.write(f"{name}\n")
            lines.flush()
            told = json.loads(lines.readline())
        records = tuple(Record(**record) for record in told["records"])
        return Answer(Status[told["status"]], records)


def tell_what_handlers_raise() -> None:
    """Have FastAPI's call of a handler say what comes out of it."""
    call = fastapi.routing.run_endpoint_function

    async def told(**options: Any) -> Any:
        try:
            return await call(**options)
        except Exception as error:
            cause = getattr(error, "orig", None) or error  # SQLAlchemy's errors have the driver's in them.
            number = cause.args[0] if cause.args and isinstance(cause.args[0], int) else 0
            print(number, type(cause).__name__, file=sys.stderr, flush=True)
            raise

    fastapi.routing.run_endpoint_function = told


class TellsStalls(uvicorn.Server):
    """A server that says when its loop stood still."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to watch, too."""
        self._watching = asyncio.create_task(self._watch())
        await super().startup(sockets)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            if (late_s := loop.time() - due) > STALL_S:
                print("stalled", loop.time(), late_s, file=sys.stderr, flush=True)


def main(app: str, port: str) -> None:
    """Serve until SIGTERM."""
    tell_what_handlers_raise()
    config = uvicorn.Config(
        app,
        port=int(port),
        timeout_keep_alive=75,
        loop="asyncio",  # uvloop does not ask `socket`.
        log_level=os.environ.get("SHOP_LOG", "critical"),
    )
    sys.path.insert(0, str(SHOPS))
    server = TellsStalls(config)
    if "SHOP_NAMES" in os.environ:
        with resolving(Names(int(os.environ["SHOP_NAMES"]))):
            server.run()
    else:
        server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
