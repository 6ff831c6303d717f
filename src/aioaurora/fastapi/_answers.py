"""What clients are told when the database could not do it.

    nothing was done, and may succeed soon                  503, Retry-After
    a COMMIT or an autocommit write is of unknown outcome   503, without Retry-After: doing it again may do it twice
    the transaction met another one (1213, 1205)            409, Retry-After
    anything else                                           not ours: raised on, which makes it a 500

What SQLAlchemy has wrapped is answered, and logged, as what is inside: its own sentence shows the statement and values.

The sentences are fixed: an error's own names hosts and instances, which are none of a client's business.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymysql import err
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from aioaurora._core.verdict import Scope, errno_of, scope_of
from aioaurora._io.driver import sentence_of
from aioaurora.errors import (
    AioauroraError,
    ConfigurationError,
    Outcome,
    OutcomeUnknown,
    PoolClosed,
    TransactionLost,
    WriterUnavailable,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_log = logging.getLogger("aioaurora")
_CONFLICTS = frozenset({1213, 1205})  # Deadlock; a lock wait that took too long.
_NOT_LET_IN = frozenset({Scope.INSTANCE, Scope.ADMISSION})  # What connects raise before anybody has answered.
_TRY_AGAIN_LATER = 1013  # RFC 6455's registry: the server is in a passing condition.
_SOON_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to tell a client.

    Attributes:
        status: The HTTP status.
        detail: One sentence.
        retry_after_s: Seconds after which the same request may succeed; None: it is not to be sent again blindly.
        outcome: What became of the work; None: nothing had begun.
        is_final: The connection to the client should be closed, as this process is about to end.
    """

    status: int
    detail: str
    retry_after_s: float | None = None
    outcome: Outcome | None = None
    is_final: bool = False


_TOO_LATE = Answer(status=503, detail="the database cannot be reached in time", retry_after_s=_SOON_S)


def answer_to(error: BaseException) -> Answer | None:
    """Say what a client is to be told of an error; None: it is the application's own affair."""
    error = _unwrapped(error)
    outcome = getattr(error, "outcome", None)
    match error:
        case OutcomeUnknown() | TransactionLost(outcome=Outcome.UNKNOWN):
            return Answer(status=503, detail="it is not known whether this was done", outcome=Outcome.UNKNOWN)
        case WriterUnavailable():
            return Answer(status=503, detail="there is no writer yet", retry_after_s=error.retry_after_s)
        case PoolClosed():
            return Answer(status=503, detail="this server is about to end", retry_after_s=_SOON_S, is_final=True)
        case ConfigurationError():
            return None
        case AioauroraError(retryable=True) if outcome is None:
            return _TOO_LATE
        case AioauroraError(retryable=True):
            detail = "the connection to the database was lost; nothing was done"
            return Answer(status=503, detail=detail, retry_after_s=_SOON_S, outcome=outcome)
        case err.OperationalError() if scope_of(errno_of(error) or 0) in _NOT_LET_IN:
            return Answer(status=503, detail="the database cannot be reached", retry_after_s=_SOON_S)
        case err.OperationalError() if errno_of(error) in _CONFLICTS:
            detail = "another transaction was in the way; nothing was done"
            return Answer(status=409, detail=detail, retry_after_s=_SOON_S, outcome=Outcome.ROLLED_BACK)
        case _:
            return None


def exception_handlers() -> dict[Any, Any]:
    """Give what `FastAPI(exception_handlers=...)` takes; `install` adds them, too.

    They answer 503 and 409 as above, and close WebSockets with 1013. All other errors are raised on.
    """
    handlers: dict[Any, Any] = {AioauroraError: _answered, err.OperationalError: _answered}
    with contextlib.suppress(ImportError):  # Who has no SQLAlchemy meets none of its errors.
        from sqlalchemy import exc  # noqa: PLC0415

        handlers |= {exc.DBAPIError: _answered, exc.TimeoutError: _answered_late}
    return handlers


def _unwrapped(error: BaseException) -> BaseException:
    """Give the driver's error that SQLAlchemy has put into one of its own: `DBAPIError.orig`."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, err.MySQLError) else error


async def _answered(connection: Request | WebSocket, error: Exception) -> Response | None:
    answer = answer_to(error)
    if answer is None:
        return await _answered_otherwise(connection, error)
    return await _told(connection, answer, _unwrapped(error))


async def _answered_late(connection: Request | WebSocket, error: Exception) -> Response | None:
    """Answer for SQLAlchemy's pool, which had no connection to hand out in time."""
    return await _told(connection, _TOO_LATE, error)


async def _told(connection: Request | WebSocket, answer: Answer, error: BaseException) -> Response | None:
    what = f"{type(error).__name__}: {sentence_of(error)}"
    _log.debug(
        "aioaurora.request.refused",
        extra={"aurora_status": answer.status, "aurora_path": connection.scope["path"], "aurora_error": what},
    )
    if isinstance(connection, WebSocket):
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # It is closed: by its handler, or its client.
            await connection.close(_TRY_AGAIN_LATER)
        return None
    return _response(answer, http_version=connection.scope.get("http_version", "1.1"))


async def _answered_otherwise(connection: Request | WebSocket, error: Exception) -> Response | None:
    """Let the application's handler of a wider class answer, which ours has kept from it; else raise on."""
    handlers = connection.app.exception_handlers
    for kind in type(error).__mro__:
        handler = handlers.get(kind)
        if handler in {None, _answered} or kind is Exception:  # That for Exception is asked when it is raised on.
            continue
        if inspect.iscoroutinefunction(handler):
            return await handler(connection, error)  # type: ignore[no-any-return]
        return await run_in_threadpool(handler, connection, error)
    raise error


def _response(answer: Answer, *, http_version: str) -> Response:
    body: dict[str, Any] = {"detail": answer.detail}
    headers = {"Cache-Control": "no-store"}
    if answer.outcome is not None:
        body["outcome"] = answer.outcome.value
    if answer.retry_after_s is not None:
        body["retry_after_s"] = round(answer.retry_after_s, 3)
        headers["Retry-After"] = str(max(1, math.ceil(answer.retry_after_s)))  # Whole seconds: RFC 9110, 10.2.3.
    if answer.is_final and http_version.startswith("1"):  # HTTP/2 has no such header: RFC 9113, 8.2.2.
        headers["Connection"] = "close"
    return JSONResponse(body, status_code=answer.status, headers=headers)
