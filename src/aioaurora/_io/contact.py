"""The first contact with a cluster: whoever answers first, of the endpoint and the one for the other role beside it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from pymysql import err

from aioaurora._core.endpoint import Endpoint, EndpointKind
from aioaurora._core.observation import UNKNOWN_TABLE
from aioaurora._core.verdict import errno_of
from aioaurora._io.dial import UNKNOWN_HOST, Dial, Place
from aioaurora._io.dialer import ACCESS_DENIED, Dialer
from aioaurora._io.limits import limited
from aioaurora._io.probe import probe
from aioaurora.errors import ConfigurationError

if TYPE_CHECKING:
    from aioaurora._core.observation import Observation
    from aioaurora._io.session import Session

# The endpoint may still lead to an instance that is gone; after this long one of the other role is asked as well.
_SECOND_AFTER_S = 0.5
_NO_DATABASE = 1049


async def first_contact(endpoint: Endpoint, dialer: Dialer, *, deadline: float) -> tuple[Session, Observation]:
    """Reach any instance, and ask it for all that it knows.

    Raises:
        ConfigurationError: It is an Aurora instance, and nothing says how the others are called.
        pymysql.err.OperationalError: Nobody could be reached; the endpoint's own failure is told.
    """
    session = await _first_open(
        [dialer.start(Place(endpoint.host, endpoint.port), dialer.bare, deadline=deadline)], endpoint, dialer, deadline
    )
    try:
        async with limited(deadline):
            observation = await _probed(session, dialer)
    except TimeoutError as error:
        session.abort()
        raise err.OperationalError(2013, f"{endpoint.host!r} logged us in and then said nothing") from error
    except BaseException:
        session.abort()
        raise
    if observation.server_id is not None and endpoint.pattern is None:
        session.close()
        raise ConfigurationError(_pattern_missing(endpoint, observation))
    # Made just now, so its id counts where two say that they are the writer.
    return session, replace(observation, thread_id=session.thread_id())


async def _probed(session: Session, dialer: Dialer) -> Observation:
    if not dialer.is_plain:
        try:
            return await probe(session, plain=False, with_view=True)
        except err.MySQLError as error:
            if error.args[0] != UNKNOWN_TABLE:
                raise
        dialer.is_plain = True  # It has an Aurora instance's id and no topology, so nothing can be followed.
    return await probe(session, plain=True, with_view=True)


async def _first_open(dials: list[Dial[Session]], endpoint: Endpoint, dialer: Dialer, deadline: float) -> Session:
    first = dials[0]
    try:
        await asyncio.wait({first.task}, timeout=_SECOND_AFTER_S)
        if not _is_open(first) and not _is_final(first) and (second := beside(endpoint)) is not None:
            dials.append(dialer.start(second, dialer.bare, deadline=deadline))
        while not any(_is_open(dial) for dial in dials) and not all(dial.task.done() for dial in dials):
            pending = {dial.task for dial in dials if not dial.task.done()}
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        opened = next((dial for dial in dials if _is_open(dial)), first)
        dials.remove(opened)
        return opened.task.result().session
    finally:
        for dial in dials:
            dial.leave()


def beside(endpoint: Endpoint) -> Place | None:
    """Give the reader endpoint of a cluster endpoint, and the other way round."""
    match endpoint.kind:
        case EndpointKind.CLUSTER:
            return Place(endpoint.host.replace(".cluster-", ".cluster-ro-", 1), endpoint.port)
        case EndpointKind.READER:
            return Place(endpoint.host.replace(".cluster-ro-", ".cluster-", 1), endpoint.port)
        case _:
            return None


def _is_open(dial: Dial[Session]) -> bool:
    return dial.task.done() and not dial.task.cancelled() and dial.task.exception() is None


def _is_final(dial: Dial[Session]) -> bool:
    """Tell whether asking elsewhere would be no better: a wrong password is wrong everywhere."""
    if not dial.task.done() or dial.task.cancelled():
        return False
    error = dial.task.exception()
    return isinstance(error, ConfigurationError) or errno_of(error) in {ACCESS_DENIED, _NO_DATABASE, UNKNOWN_HOST}


def _pattern_missing(endpoint: Endpoint, observation: Observation) -> str:
    seen = [row.server_id for row in observation.view.rows] if observation.view else [observation.instance_id]
    example = "{id}.<your id>.<region>.rds.amazonaws.com"
    return (
        f"{endpoint.host!r} is an Aurora cluster with the instances {', '.join(seen)}, and its name does not say how "
        f"they are reached: add instance_pattern={example!r}"
    )
