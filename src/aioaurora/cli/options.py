"""Options and exit statuses that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

BAD_USAGE = 2

Engine = Annotated[
    str,
    typer.Option(
        metavar="auto|mariadb|memory|dsn", help="What plays the storage. auto: mariadb if there is one, else memory."
    ),
]
Dsn = Annotated[
    str | None, typer.Option(metavar="URL", help="For the engine dsn: mysql://user:password@host:port of any server.")
]
