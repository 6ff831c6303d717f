"""Connections as dependencies of handlers.

FastAPI ends them with the handler, before it sends the response (`scope="function"`): a COMMIT that fails is answered
as an error, and no slow client keeps a connection.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, TypeAlias

from fastapi import Depends
from starlette.requests import HTTPConnection

from aioaurora._core.options import refuse_unknown, seconds
from aioaurora.connection import Connection
from aioaurora.errors import Role
from aioaurora.fastapi._service import DEFAULT_NAME, pool_of
from aioaurora.pool import Pool
from aioaurora.retrying import Options

_OPTIONS = ("timeout", "role", "isolation", "read_only")
_Leasing: TypeAlias = Callable[[HTTPConnection], AsyncIterator[Connection]]


@functools.cache  # FastAPI shares what one request depends on twice, if both times it is the same function.
def database(name: str = DEFAULT_NAME) -> Callable[[HTTPConnection], Awaitable[Pool]]:
    """Give the dependency on a pool, for `Depends`: for `run`, background tasks and streams.

    Args:
        name: As in `aurora_lifespan(name=...)`.
    """

    async def pool(connection: HTTPConnection) -> Pool:  # A plain function would be run in a thread.
        return pool_of(connection.scope, name)

    return pool


def writer(name: str = DEFAULT_NAME, *, timeout: float | None = None) -> _Leasing:
    """Give the dependency on a connection to the writer, for `Depends(..., scope="function")`.

    Args:
        name: As in `aurora_lifespan(name=...)`.
        timeout: Seconds for getting it, > 0; None: `acquire_timeout`.

    Raises:
        ConfigurationError: The time-out is none.
    """
    return _leased(name, Role.WRITER, timeout)


def reader(name: str = DEFAULT_NAME, *, timeout: float | None = None) -> _Leasing:
    """Give the dependency on a connection to a reader; else as `writer`."""
    return _leased(name, Role.READER, timeout)


@functools.cache
def _leased(name: str, role: Role, timeout_s: float | None) -> _Leasing:
    if timeout_s is not None:
        seconds("timeout", timeout_s)

    async def lease(connection: HTTPConnection) -> AsyncIterator[Connection]:
        async with pool_of(connection.scope, name).acquire(role=role, timeout=timeout_s) as leased:
            yield leased

    return lease


def transaction(name: str = DEFAULT_NAME, **options: Any) -> _Leasing:
    """Give the dependency on a transaction, for `Depends(..., scope="function")`.

    It is committed after the handler and before the response is sent, and rolled back if the handler raises. A handler
    is not run twice, so nothing is tried again once it has the connection: use `Database` and `run` for that.

    Args:
        name: As in `aurora_lifespan(name=...)`.
        options: `timeout`, `role`, `isolation`, `read_only`, as for `Pool.attempts`.

    Raises:
        ConfigurationError: An option is unknown, or cannot be: at once, and not in each request.
    """
    refuse_unknown(options, _OPTIONS, instead={})
    said = Options(**options)
    if said.timeout is not None:
        seconds("timeout", said.timeout)
    return _begun(name, tuple(sorted(options.items())))


@functools.cache
def _begun(name: str, options: tuple[tuple[str, Any], ...]) -> _Leasing:
    async def begin(connection: HTTPConnection) -> AsyncIterator[Connection]:
        given: list[Connection] = []
        # Until the handler has it, it can be begun anew without harm.
        async for attempt in pool_of(connection.scope, name).attempts(stop=lambda _: bool(given), **dict(options)):
            async with attempt as begun:
                given.append(begun)
                yield begun

    return begin


Database: TypeAlias = Annotated[Pool, Depends(database())]
"""The pool: for `run`, background tasks and streams."""

Writer: TypeAlias = Annotated[Connection, Depends(writer(), scope="function")]
"""A connection to the writer; what the handler does not commit is rolled back."""

Reader: TypeAlias = Annotated[Connection, Depends(reader(), scope="function")]
"""A connection to a reader."""

Transaction: TypeAlias = Annotated[Connection, Depends(transaction(), scope="function")]
"""A transaction on the writer: committed before the response is sent, rolled back if the handler raises."""
