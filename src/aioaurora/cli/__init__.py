"""The command line: `aioaurora drill` and `aioaurora simulate`.

It needs the extra `cli`; without it, it says what to install.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

_EXTRA = frozenset({"click", "rich", "typer"})
_WHAT_TO_INSTALL = "aioaurora's commands need two more packages: pip install 'aioaurora[cli]'\n"
BAD_USAGE = 2


def main() -> None:
    """Run the command that `sys.argv` names."""
    try:
        from aioaurora.cli.commands import app
    except ModuleNotFoundError as missing:
        if missing.name not in _EXTRA:
            raise
        sys.stderr.write(_WHAT_TO_INSTALL)
        raise SystemExit(BAD_USAGE) from None
    app()


def __getattr__(name: str) -> typer.Typer:
    """Give `app`, which needs the extra, to those who ask for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aioaurora.cli.commands import app

    return app
