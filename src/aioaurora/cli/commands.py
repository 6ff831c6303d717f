"""The commands, put together."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from aioaurora.cli.drill.command import drill
from aioaurora.cli.simulate.command import simulate

app: typer.Typer = typer.Typer(
    name="aioaurora",
    help="The asyncio smart driver for Amazon Aurora MySQL: see it fail over, or play a cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(drill)
app.command()(simulate)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aioaurora {importlib.metadata.version('aioaurora')}")
        raise typer.Exit


@app.callback()
def _common(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options of all commands."""
