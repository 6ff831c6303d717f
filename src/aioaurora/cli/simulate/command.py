"""`aioaurora simulate`: the options, and a cluster that lives until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aioaurora.cli.options import BAD_USAGE, Dsn, Engine

if TYPE_CHECKING:
    from aioaurora.simulator import SimulatedCluster

_FEWEST, _MOST = 1, 16
_LOWEST_PORT, _HIGHEST_PORT = 1, 65535
_LOOK_EVERY_S = 0.05
_ENGINES = ("auto", "mariadb", "memory", "dsn")
_PLUGINS = ("mysql_native_password", "caching_sha2_password")

Instances = Annotated[int, typer.Option(min=_FEWEST, max=_MOST, help="How many; the first is the writer.")]
Name = Annotated[str, typer.Option(help="The cluster's id.")]
Port = Annotated[
    int | None,
    typer.Option(min=_LOWEST_PORT, max=_HIGHEST_PORT, help="Of all instances. Default: one that is free."),
]
Tls = Annotated[bool, typer.Option("--tls", help="Offer TLS, under names as RDS has them.")]
RequireTls = Annotated[bool, typer.Option("--require-tls", help="As --tls, and refuse log-ins in the clear.")]
Auth = Annotated[str, typer.Option(metavar="mysql_native_password|caching_sha2_password", help="How users log in.")]
User = Annotated[str, typer.Option(help="Who may log in.")]
Password = Annotated[str, typer.Option(help="Of the user. It is printed: this cluster keeps no secrets.")]
Database = Annotated[
    str | None,
    typer.Option(help="A schema that is made. Default: shop; on a server of yours, one that is dropped in the end."),
]


def simulate(  # noqa: PLR0917 - typer calls it, by name
    instances: Instances = 3,
    engine: Engine = "auto",
    dsn: Dsn = None,
    name: Name = "orders",
    port: Port = None,
    tls: Tls = False,
    require_tls: RequireTls = False,
    auth: Auth = "mysql_native_password",
    user: User = "app",
    password: Password = "secret",  # noqa: S107 - of a cluster on loopback
    database: Database = None,
) -> None:
    """Play an Aurora cluster on this machine until Ctrl-C, and print a line to copy for connecting to it.

    What happens to it is printed as it happens.
    Commands on standard input make it happen: failover, restart, crash, hang, patch, freeze, slow, dns, heal, status
    and quit; "help" says what each of them takes.

    Exit status: 0 when it was told to end, 2 if it cannot be started so.
    """
    if (engine == "dsn") != (dsn is not None):
        raise typer.BadParameter("--engine dsn and --dsn URL go together")
    options = {
        "instances": instances,
        "engine": _chosen("--engine", engine, _ENGINES),
        "dsn": dsn,
        "name": name,
        "port": port,
        "tls": "required" if require_tls else tls,
        "auth": _chosen("--auth", auth, _PLUGINS),
        "user": user,
        "password": password,
        "database": database,
    }
    raise typer.Exit(_played(options))


def _played(options: dict[str, Any]) -> int:
    from aioaurora.simulator import SimulatorError

    try:
        asyncio.run(_play(options))
    except SimulatorError as error:
        typer.echo(f"aioaurora simulate: {error}", err=True)
        return BAD_USAGE
    return 0


async def _play(options: dict[str, Any]) -> None:
    """Play until a signal, `quit`, or the end of whoever reads what is printed."""
    from aioaurora.cli.simulate import console, lines
    from aioaurora.simulator import SimulatedCluster

    _end_at_signals()
    with contextlib.suppress(asyncio.CancelledError, BrokenPipeError):
        async with SimulatedCluster(**options) as sim:
            for line in lines.banner(sim):
                typer.echo(line)
            telling = asyncio.create_task(_tell(sim))
            obeying = asyncio.create_task(console.obeyed(sim))
            try:
                done, _ = await asyncio.wait((telling, obeying), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (telling, obeying):
                    task.cancel()
                await asyncio.gather(telling, obeying, return_exceptions=True)
            for task in done:
                task.result()


async def _tell(sim: SimulatedCluster) -> None:
    """Print what happens."""
    from aioaurora.cli.simulate import lines

    since, count = sim.timeline[0].at, 0
    while True:
        for entry in sim.timeline[count:]:
            typer.echo(lines.told(entry, since))
            count += 1
        await asyncio.sleep(_LOOK_EVERY_S)


def _end_at_signals() -> None:
    """Let signals cancel the task that plays, so that the engine is ended in order, also while it is starting."""
    loop, playing = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if playing is not None:
            loop.add_signal_handler(number, playing.cancel)


def _chosen(option: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise typer.BadParameter(f"{option} {text!r}: choose from {', '.join(allowed)}")
    return text
