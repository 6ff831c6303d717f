"""`aioaurora drill`: the options, what is printed, and the exit status."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from aioaurora.cli.options import BAD_USAGE, Dsn, Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from aioaurora.cli.drill.conduct import Drill
    from aioaurora.cli.drill.plan import Plan

BROKEN = 1
_SEEDS = 1_000_000
_FEWEST_INSTANCES, _MOST_INSTANCES = 2, 16
_FEWEST_CLIENTS, _MOST_CLIENTS = 2, 200  # One sits in a transaction, one waits for it.

T = TypeVar("T", bound=str)

Instances = Annotated[int, typer.Option(min=_FEWEST_INSTANCES, max=_MOST_INSTANCES, help="Of the simulated cluster.")]
Clients = Annotated[
    int, typer.Option(min=_FEWEST_CLIENTS, max=_MOST_CLIENTS, help="Writers of each kind, ours and plain aiomysql.")
]
Rounds = Annotated[int, typer.Option(min=1, help="How often each failover is run.")]
Modes = Annotated[
    list[str] | None,
    typer.Option(
        "--mode", metavar="graceful|crash|blackhole", help="How the writer goes; may be repeated. Default: all."
    ),
]
PromoteAfter = Annotated[
    list[float] | None,
    typer.Option(metavar="SECONDS", help="From the fault to the promotion; may be repeated. Default: 3."),
]
Seed = Annotated[int | None, typer.Option(help="Runs the same faults again; printed at the start.")]
Svg = Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Draw a timeline into this file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Look at a real cluster instead, without writing or breaking anything."),
]


def drill(  # noqa: PLR0917 - typer calls it, by name
    context: typer.Context,
    engine: Engine = "auto",
    dsn: Dsn = None,
    instances: Instances = 3,
    clients: Clients = 8,
    rounds: Rounds = 1,
    mode: Modes = None,
    promote_after: PromoteAfter = None,
    seed: Seed = None,
    svg: Svg = None,
    json_: Json = False,
    url: Url = None,
) -> None:
    """Take the writer of a simulated cluster away in three ways, and see what clients go through.

    Clients that write through aioaurora, and as many that use plain aiomysql on the cluster endpoint, side by side.

    Exit status: 0 if aioaurora kept its promises, 1 if one was broken, 2 on bad usage.
    """
    if url is not None:
        _refuse_beside_url(context)
        raise typer.Exit(_looked_at(url, as_json=json_))
    from aioaurora.cli.drill import plan as plans

    engine_name = _chosen("--engine", engine, plans.ENGINES)
    if (engine_name == "dsn") != (dsn is not None):
        raise typer.BadParameter("--engine dsn and --dsn URL go together")
    plan = plans.Plan(
        engine=engine_name,
        dsn=dsn,
        instances=instances,
        clients=clients,
        rounds=rounds,
        modes=tuple(_chosen("--mode", each, plans.MODES) for each in mode or plans.MODES),
        promote_after=tuple(map(_seconds, promote_after or (3.0,))),
        seed=random.randrange(_SEEDS) if seed is None else seed,  # noqa: S311 - no secret
    )
    if svg is not None and not svg.absolute().parent.is_dir():
        raise typer.BadParameter(f"--svg {svg}: there is no such directory")
    raise typer.Exit(_drilled(plan, svg=svg, as_json=json_))


def _drilled(plan: Plan, *, svg: Path | None, as_json: bool) -> int:
    from rich.console import Console

    from aioaurora.cli.drill.picture import drawn
    from aioaurora.cli.drill.record import as_json as recorded
    from aioaurora.cli.drill.report import print_summary
    from aioaurora.simulator import SimulatorError

    console = Console(stderr=as_json)
    try:
        drill = asyncio.run(_shown(plan, console, tables=not as_json))
    except SimulatorError as error:
        typer.echo(f"aioaurora drill: {error}", err=True)
        return BAD_USAGE
    if as_json:
        typer.echo(json.dumps(recorded(drill), indent=2))
    else:
        print_summary(console, drill)
    if svg is not None:  # Last: a full disk must not cost the figures.
        svg.write_text(drawn(drill), encoding="utf-8")
    return BROKEN if drill.broken else 0


async def _shown(plan: Plan, console: Console, *, tables: bool) -> Drill:
    from aioaurora.cli.drill.conduct import Drill, conducted
    from aioaurora.cli.drill.live import Display

    drill = Drill(plan)
    # What happens is shown in the tables; without a handler Python would print warnings into them.
    logging.getLogger("aioaurora").addHandler(logging.NullHandler())
    async with Display(console, drill, tables=tables) as display:
        await conducted(drill, display)
    return drill


def _refuse_beside_url(context: typer.Context) -> None:
    """Refuse what would be passed over: a real cluster is looked at, nothing more."""
    sources = {name: context.get_parameter_source(name) for name in context.params.keys() - {"url", "json_"}}
    others = sorted(name for name, source in sources.items() if source and source.name == "COMMANDLINE")
    if others:
        raise typer.BadParameter(f"--url looks at a real cluster: --{others[0].replace('_', '-')} has no meaning then")


def _looked_at(url: str, *, as_json: bool) -> int:
    from rich.console import Console

    from aioaurora.cli.drill import remote
    from aioaurora.errors import ConfigurationError

    if "://" not in url:
        raise typer.BadParameter("--url: write mysql://user:password@host/db")
    try:
        view = asyncio.run(remote.looked_at(url))
    except ConfigurationError as error:
        typer.echo(f"aioaurora drill: {error}", err=True)
        return BAD_USAGE
    except remote.UNREACHABLE as error:
        typer.echo(f"aioaurora drill: {error}", err=True)
        return BROKEN
    if as_json:
        typer.echo(json.dumps(remote.as_json(view), indent=2))
    else:
        remote.print_view(Console(), view)
    return BROKEN if remote.is_wrong(view) else 0


def _chosen(option: str, text: str, allowed: Sequence[T]) -> T:
    found = next((each for each in allowed if each == text), None)
    if found is None:
        raise typer.BadParameter(f"{option} {text!r}: choose from {', '.join(allowed)}")
    return found


def _seconds(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"--promote-after {value:g}: say how many seconds, more than 0")
    return value
