"""Connections to one instance: a deadline over all their steps, few at a time, and none cut off without need.

A dial is a task of its own. Whoever waits for it may leave at any time; a dial that was greeted by then is let
finish, within its deadline, and closed politely: servers count cut handshakes, and lock a whole NAT out for them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio
from pymysql import err

from aioaurora._core.backoff import Ramp
from aioaurora._core.endpoint import without_green_suffix
from aioaurora._core.observation import PLAIN_ROLE_QUERY, ROLE_QUERY, UNKNOWN_VARIABLE, Observation
from aioaurora._core.silence import OUR_LATENESS_S
from aioaurora._core.verdict import Scope, scope_of
from aioaurora._io.driver import CANNOT_CONNECT
from aioaurora._io.probe import observed
from aioaurora._io.resolver import ResolveError, Resolver, UnknownHost
from aioaurora._io.session import Session
from aioaurora.errors import ConnectTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.config import Config
    from aioaurora.credentials import CredentialCache, Credentials

UNKNOWN_HOST, ACCESS_DENIED = 2005, 1045
# Phases after the greeting: a dial that got so far is not cut off.
_GREETED = frozenset({"tls", "login", "role check", "ready"})

S = TypeVar("S", bound=Session)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to dial: a name, which the certificate must carry, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Dialled(Generic[S]):
    """An open session and what its server said of itself on it."""

    session: S
    observation: Observation


class Dial(Generic[S]):
    """One dial under way: a task that ends by its deadline."""

    def __init__(self, place: Place, deadline: float) -> None:
        self.place = place
        self.deadline = deadline
        self.started_at = asyncio.get_running_loop().time()
        self.session: S | None = None
        self.was_late = False  # Its deadline was missed by our own stalled loop: proves nothing about the server.
        self.is_expired = False
        self.task: asyncio.Task[Dialled[S]]

    @property
    def phase(self) -> str:
        """What it waits for: "dns", or the session's phase."""
        return "dns" if self.session is None else self.session.phase

    @property
    def is_greeted(self) -> bool:
        """Whether the server has said its first words."""
        return self.phase in _GREETED

    async def wait(self) -> Dialled[S]:
        """Give the open session.

        Raises:
            ConnectTimeout: The deadline passed; says in which phase.
            pymysql.err.OperationalError: Refused, unknown host, log-in refused and so on.
        """
        try:
            await asyncio.wait({self.task})
        except asyncio.CancelledError:
            self.leave()
            raise
        return self.task.result()

    def leave(self) -> None:
        """Stop caring: a greeted dial finishes and closes politely, another is cut."""
        self.task.add_done_callback(_closed_politely)
        if not self.is_greeted:
            self.task.cancel()

    def expire(self) -> None:
        """End it at its deadline; an answer that lies unread because our loop stalled is read first."""
        loop = asyncio.get_running_loop()
        if not self.was_late and loop.time() - self.deadline > OUR_LATENESS_S:
            self.was_late = True
            loop.call_later(OUR_LATENESS_S, self.expire)
            return
        self.is_expired = not self.task.done()
        self.task.cancel()


class Dialer:
    """Makes the connections of one Cluster."""

    def __init__(self, config: Config, resolver: Resolver, credentials: CredentialCache) -> None:
        self._config = config
        self._resolver = resolver
        self._credentials = credentials
        self._ramps: dict[Place, Ramp] = {}
        self._limiters: dict[Place, anyio.CapacityLimiter] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_plain: bool | None = None  # Whether the server is no Aurora; None until one has answered.

    def keywords(self, place: Place, address: str, credentials: Credentials) -> dict[str, Any]:
        """Give what every session of this Cluster is built with."""
        config = self._config
        return {
            "host": place.host,
            "port": place.port,
            "address": address,
            "user": credentials.user,
            "password": credentials.password,
            "tls": config.tls.context,
            "require_tls": config.tls.require,
            "keepalive": (config.keepalive_idle, config.keepalive_interval, config.keepalive_count),
            "user_timeout_s": config.tcp_user_timeout,
        }

    def bare(self, *, place: Place, address: str, credentials: Credentials) -> Session:
        """Build a session of the monitor's: no schema, none of the user's `init_command`, UTC, autocommit."""
        return Session(
            **self.keywords(place, address, credentials),
            init_command="SET time_zone = '+00:00'",
            autocommit=True,
            auth_plugin=self._config.session.get("auth_plugin", ""),
            server_public_key=self._config.session.get("server_public_key"),
            program_name="aioaurora monitor",
        )

    def start(self, place: Place, build: Callable[..., S], *, deadline: float) -> Dial[S]:
        """Start to dial, past the limit of connects at a time: for the monitor."""
        dial: Dial[S] = Dial(place, deadline)
        dial.task = asyncio.get_running_loop().create_task(self._bounded(dial, build), name=f"aioaurora dial {place}")
        self._tasks.add(dial.task)
        dial.task.add_done_callback(self._tasks.discard)
        return dial

    async def dial(self, place: Place, build: Callable[..., S], *, deadline: float) -> Dialled[S]:
        """Connect, log in and ask for the role, when it is this one's turn; see `Dial.wait` for what it raises."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        limiter = self._limiter(place)
        try:
            async with asyncio.timeout_at(deadline):
                await limiter.acquire_on_behalf_of(ticket := object())
        except TimeoutError:
            raise ConnectTimeout(place.host, phase="its turn", waited_s=loop.time() - asked_at) from None
        try:
            return await self._ramped(place, self.start(place, build, deadline=deadline))
        finally:
            limiter.release_on_behalf_of(ticket)

    def restrain(self, place: Place) -> None:
        """Trust an instance with one connect at a time, and more as it copes: it has just been promoted."""
        self._set_ramp(place, Ramp.cautious(self._config.max_connecting))

    async def close(self) -> None:
        """Cut all dials that are under way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _ramped(self, place: Place, dial: Dial[S]) -> Dialled[S]:
        ramp = self._ramp(place)
        try:
            dialled = await dial.wait()
        except ConnectTimeout:
            self._set_ramp(place, ramp.after_strain())
            raise
        except err.MySQLError as error:
            if scope_of(error.args[0]) is Scope.ADMISSION:
                self._set_ramp(place, ramp.after_strain())
            raise
        self._set_ramp(place, ramp.after_success(asyncio.get_running_loop().time() - dial.started_at))
        return dialled

    def _ramp(self, place: Place) -> Ramp:
        return self._ramps.get(place) or Ramp(self._config.max_connecting, self._config.max_connecting)

    def _set_ramp(self, place: Place, ramp: Ramp) -> None:
        self._ramps[place] = ramp
        self._limiter(place).total_tokens = ramp.allowed

    def _limiter(self, place: Place) -> anyio.CapacityLimiter:
        if place not in self._limiters:
            self._limiters[place] = anyio.CapacityLimiter(self._ramp(place).allowed)
        return self._limiters[place]

    async def _bounded(self, dial: Dial[S], build: Callable[..., S]) -> Dialled[S]:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(dial.deadline, dial.expire)
        try:
            return await self._run(dial, build)
        except asyncio.CancelledError:
            if not dial.is_expired:
                raise
            waited_s = loop.time() - dial.started_at
            raise ConnectTimeout(dial.place.host, phase=dial.phase, waited_s=waited_s) from None
        finally:
            timer.cancel()

    async def _run(self, dial: Dial[S], build: Callable[..., S]) -> Dialled[S]:
        place = dial.place
        credentials = await self._credentials.get(place.host, place.port, self._config.user)
        try:
            return await self._open(dial, build, credentials)
        except err.OperationalError as error:
            if error.args[0] != ACCESS_DENIED:
                raise
            renewed = await self._credentials.get(place.host, place.port, self._config.user, fresh=True)
            if renewed == credentials:
                raise
        return await self._open(dial, build, renewed)

    async def _open(self, dial: Dial[S], build: Callable[..., S], credentials: Credentials) -> Dialled[S]:
        try:
            place, addresses = await self._located(dial)
        except ResolveError as error:
            raise err.OperationalError(UNKNOWN_HOST, f"no address for {dial.place.host!r}: {error}") from error
        for address in addresses[:-1]:
            try:
                return await self._logged_in(dial, build(place=place, address=address, credentials=credentials))
            except err.OperationalError as error:
                if error.args[0] != CANNOT_CONNECT:
                    raise  # Somebody is there, and says no.
        return await self._logged_in(dial, build(place=place, address=addresses[-1], credentials=credentials))

    async def _located(self, dial: Dial[S]) -> tuple[Place, tuple[str, ...]]:
        """Find an address, under another name where ids have outlived theirs (case 51)."""
        place, deadline = dial.place, dial.deadline
        try:
            return place, await self._resolver.resolve(place.host, place.port, deadline=deadline)
        except UnknownHost as error:
            label, _, domain = place.host.partition(".")
            renamed = without_green_suffix(label)
            if renamed == label:
                raise
            unknown = error
        place = Place(f"{renamed}.{domain}", place.port)
        try:
            return place, await self._resolver.resolve(place.host, place.port, deadline=deadline)
        except UnknownHost:
            target = await self._resolver.canonical(self._config.endpoint.host, deadline=deadline)
            if target is None:
                raise unknown from None
        place = Place(target, place.port)
        return place, await self._resolver.resolve(place.host, place.port, deadline=deadline)

    async def _logged_in(self, dial: Dial[S], session: S) -> Dialled[S]:
        dial.session = session
        try:
            await session.open()
            row = await self._role_of(session)
        except BaseException:
            session.abort()
            raise
        return Dialled(session, observed(session, row))

    async def _role_of(self, session: S) -> tuple[object, ...]:
        if not self.is_plain:
            try:
                row = await session.declare(ROLE_QUERY)
            except err.MySQLError as error:
                if error.args[0] != UNKNOWN_VARIABLE:
                    raise
            else:
                self.is_plain = False
                return _the_row(row)
        row = await session.declare(PLAIN_ROLE_QUERY)
        self.is_plain = True
        return _the_row(row)


def _the_row(row: tuple[object, ...] | None) -> tuple[object, ...]:
    if row is None:
        raise err.InternalError(0, "the role query gave no row")
    return row


def _closed_politely(task: asyncio.Task[Dialled[Any]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().session.close()
