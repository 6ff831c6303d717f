"""What callbacks of the loop lack and tasks have: anyio's knowledge of which loop it is.

Where sniffio is installed, anyio asks it, and sniffio knows a loop within tasks only. News come in callbacks, too: a
connection's end, a timer. What they start, anyio would refuse there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_sniffio: Any = None
with contextlib.suppress(ImportError):  # anyio needs it no more; many programs have it.
    _sniffio = importlib.import_module("sniffio")


@contextlib.contextmanager
def as_in_a_task() -> Iterator[None]:
    """Let anyio make scopes and start tasks within, in a callback, too."""
    if _sniffio is None or asyncio.current_task() is not None:
        yield
        return
    token = _sniffio.current_async_library_cvar.set("asyncio")
    try:
        yield
    finally:
        _sniffio.current_async_library_cvar.reset(token)
