"""Health checks: whether this process lives, and whether it should get requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from aioaurora._core.options import seconds
from aioaurora._core.verdict import errno_of
from aioaurora._io.driver import sentence_of
from aioaurora.errors import Role
from aioaurora.fastapi._service import services_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aioaurora.fastapi._service import Service
    from aioaurora.pool import Pool

UNREADY_AFTER_S = 30.0
_NOT_STORED = {"Cache-Control": "no-store"}


def health_routes(
    prefix: str = "/health", *, unready_after: float | None = UNREADY_AFTER_S, details: bool = True
) -> list[Route]:
    """Give the routes `{prefix}/live` and `{prefix}/ready`; `install` adds them, too.

    `live` is always 200: the process answers. `ready` is 200, or 503 when the application is draining, its cluster was
    never reached, or the writer has been sought for long by a pool that is not for readers. A short failover makes
    nobody unready: all processes would be at once, and none would serve reads meanwhile.

    Args:
        prefix: Path before "/live" and "/ready".
        unready_after: Seconds of a search for the writer after which the application is not ready; None: never.
        details: Show the writer's id, the pool's numbers and the sentence of what keeps it from its cluster to whoever
            asks.
    """
    patience_s = None if unready_after is None else seconds("unready_after", unready_after)

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "live"}, headers=_NOT_STORED)

    async def ready(request: Request) -> Response:
        pools = {service.name: _look(service, patience_s, details=details) for service in services_of(request.scope)}
        is_ready = bool(pools) and all(each["status"] == "ready" for each in pools.values())
        body = {"status": "ready" if is_ready else "unready", "pools": pools}
        return JSONResponse(body, status_code=200 if is_ready else 503, headers=_NOT_STORED)

    return [Route(f"{prefix}/live", live), Route(f"{prefix}/ready", ready)]


def _look(service: Service, patience_s: float | None, *, details: bool) -> dict[str, Any]:
    pool, sought_s = service.pool, service.pool.searching_for_s
    status = "ready"
    if service.is_draining or pool.closed:
        status = "draining"
    elif not pool.has_reached:
        status = "not reached yet"
    elif patience_s is not None and sought_s >= patience_s and pool.default_role is not Role.READER:
        status = "no writer"
    reason = _reason(pool.failure, details=details) if status == "not reached yet" and pool.failure is not None else {}
    return {"status": status} | reason | (_details(pool, sought_s) if details else {})


def _reason(error: BaseException, *, details: bool) -> dict[str, str]:
    """Say why the cluster was not reached; its sentence may name hosts and users."""
    number = errno_of(error)
    what = type(error).__name__ if number is None else f"{type(error).__name__} {number}"
    return {"reason": f"{what}: {sentence_of(error)}" if details else what}


def _details(pool: Pool, sought_s: float) -> dict[str, Any]:
    topology, stats = pool.topology, pool.stats()
    numbers = {name: getattr(stats, name) for name in ("size", "idle", "leased", "opening", "waiting")}
    return {
        "writer": topology.writer.id if topology.writer else None,
        "readers": [reader.id for reader in topology.readers],
        "epoch": topology.epoch,
        "searching_for_s": round(sought_s, 3),
        "pool": numbers,
    }
