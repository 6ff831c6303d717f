"""All that an application needs beside its lifespan, in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.fastapi._answers import exception_handlers
from aioaurora.fastapi._hangups import CancelOnDisconnect
from aioaurora.fastapi._health import UNREADY_AFTER_S, health_routes

if TYPE_CHECKING:
    from starlette.applications import Starlette


def install(
    app: Starlette,
    *,
    health: str | None = "/health",
    unready_after: float | None = UNREADY_AFTER_S,
    details: bool = True,
    cancel_on_disconnect: bool = True,
) -> None:
    """Add answers for errors, health checks and the middleware that cancels on disconnect; after all other middleware.

    Args:
        app: A FastAPI or Starlette application that has not started yet.
        health: Path before "/live" and "/ready"; None: no health checks.
        unready_after: As for `health_routes`.
        details: As for `health_routes`.
        cancel_on_disconnect: Cancel the handler of a client that is gone.
    """
    for kind, handler in exception_handlers().items():
        app.add_exception_handler(kind, handler)
    if health is not None:
        app.router.routes.extend(health_routes(health, unready_after=unready_after, details=details))
    if cancel_on_disconnect:
        app.add_middleware(CancelOnDisconnect)
