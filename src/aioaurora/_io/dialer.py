"""Makes connections, in turn: finds the address, logs in, asks for the role."""

from __future__ import annotations

import asyncio
import functools
import math
from typing import TYPE_CHECKING, Any, TypeVar

from pymysql import err

from aioaurora._core.endpoint import without_green_suffix
from aioaurora._core.observation import PLAIN_ROLE_QUERY, ROLE_QUERY, UNKNOWN_VARIABLE
from aioaurora._io.dial import UNKNOWN_HOST, Dial, Dialled, Place, closed
from aioaurora._io.driver import CANNOT_CONNECT, NOT_MYSQL, SERVER_LOST, sentence_of
from aioaurora._io.kernel import KeepAlive
from aioaurora._io.login import Secret, secret
from aioaurora._io.probe import UNREADABLE, observed, unreadable
from aioaurora._io.resolver import ResolveError, Resolver, UnknownHost
from aioaurora._io.session import Session
from aioaurora._io.turns import Turns
from aioaurora._io.wire import OutOfStep, ServerLost
from aioaurora.errors import ConnectTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aioaurora.config import Config
    from aioaurora.credentials import CredentialCache, Credentials

ACCESS_DENIED = 1045

S = TypeVar("S", bound=Session)


class Dialer:
    """Makes the connections of one Cluster."""

    def __init__(self, config: Config, resolver: Resolver, credentials: CredentialCache) -> None:
        self._config = config
        self._resolver = resolver
        self._credentials = credentials
        self.turns = Turns(config.max_connecting)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._secret = secret("")
        self._keep_alive = KeepAlive(
            idle_s=config.keepalive_idle,
            interval_s=config.keepalive_interval,
            count=config.keepalive_count,
            user_timeout_s=config.tcp_user_timeout,
        )
        self.is_plain: bool | None = None  # Whether the server is no Aurora; None until one has answered.

    def keywords(self, place: Place, address: str, credentials: Credentials) -> dict[str, Any]:
        """Give what every session of this Cluster is built with."""
        config = self._config
        return {
            "host": place.host,
            "port": place.port,
            "address": address,
            "user": credentials.user or config.user,
            "password": self._secret_of(credentials),
            "tls": config.tls.context,
            "require_tls": config.tls.require,
            "keep_alive": self._keep_alive,
        }

    def _secret_of(self, credentials: Credentials) -> Secret:
        """Wrap a password once for all connections: there may be thousands."""
        if self._secret != credentials.password:
            self._secret = secret(credentials.password)
        return self._secret

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

    def start(
        self, place: Place, build: Callable[..., S], *, deadline: float = math.inf, patience_s: float | None = None
    ) -> Dial[S]:
        """Start to dial, past the limit of connects at a time; it takes `connect_timeout` at most.

        With patience, because nobody else will do, it may stand in line for the log-in for `stall_timeout`, and so many
        seconds more.
        """
        if self._is_closed:
            raise closed(place.host)
        loop = asyncio.get_running_loop()
        full = loop.time() + self._config.connect_timeout
        patient_until = -math.inf
        if patience_s is not None:
            patient_until = min(deadline, loop.time() + self._config.stall_timeout + patience_s)
        dial: Dial[S] = Dial(place, min(deadline, full), is_hurried=deadline < full, patient_until=patient_until)
        dial.task = loop.create_task(self._bounded(dial, build), name=f"aioaurora dial {place}")
        self._tasks.add(dial.task)
        dial.task.add_done_callback(functools.partial(self._ended, dial))
        return dial

    async def in_turn(
        self,
        place: Place,
        build: Callable[..., S],
        *,
        deadline: float,
        dial_by: float | None = None,
        is_patient: bool = False,
    ) -> Dial[S]:
        """Start to dial when it is this one's turn, which lasts as long as the dial itself.

        The turn must come by `deadline`, and the dial end by `dial_by`; None: by the deadline, too.

        Raises:
            ConnectTimeout: The turn did not come by the deadline.
            Dismissed: Whoever is there is no longer what it was; `Dial.wait` raises it, too.
        """
        turns, ticket = self.turns, object()
        await turns.take(place, ticket, deadline=deadline)
        try:
            dial_by = deadline if dial_by is None else dial_by
            patience_s = turns.pause_s(place) if is_patient else None
            dial = self.start(place, build, deadline=dial_by, patience_s=patience_s)
        except BaseException:
            turns.give_back(place, ticket)
            raise
        turns.aim(place, dial.dismiss)

        def has_ended(_: asyncio.Task[Dialled[S]]) -> None:
            turns.give_back(place, ticket)
            turns.unaim(place, dial.dismiss)
            turns.learn(dial)

        dial.task.add_done_callback(has_ended)
        return dial

    async def leads_to_one_of(self, place: Place, others: Iterable[Place]) -> bool:
        """Tell whether a name leads, as of now, only to where others lead that were dialled: then it need not be.

        Raises:
            ResolveError: Nobody could say where it leads.
        """
        deadline = asyncio.get_running_loop().time() + self._config.connect_timeout
        addresses = await self._resolver.resolve(place.host, place.port, deadline=deadline)
        known = {(each, other.port) for other in others for each in self._resolver.last_known(other.host)}
        return all((address, place.port) in known for address in addresses)

    async def close(self) -> None:
        """Cut all dials that are under way; who waits for one is told so."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, dial: Dial[Any], task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        dial.wake()

    async def _bounded(self, dial: Dial[S], build: Callable[..., S]) -> Dialled[S]:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(dial.deadline, dial.expire)  # Which comes again as long as it stands in line.
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
            dial.session, dial.own_phase = None, "credentials"
            renewed = await self._credentials.get(place.host, place.port, self._config.user, fresh=True)
            if renewed == credentials:
                raise
        return await self._open(dial, build, renewed)

    async def _open(self, dial: Dial[S], build: Callable[..., S], credentials: Credentials) -> Dialled[S]:
        dial.own_phase = "dns"
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
        dial.session, loop = session, asyncio.get_running_loop()
        dialled_at = loop.time()
        try:
            await session.open()
            asked_at = loop.time()
            row = await self._role_of(session)
        except UNREADABLE as error:
            session.abort()
            raise unreadable(str(dial.place), error) from error
        except ServerLost as error:
            session.abort()
            raise err.OperationalError(SERVER_LOST, _hung_up(dial, error)) from error
        except OutOfStep as error:
            session.abort()
            raise err.InternalError(NOT_MYSQL, f"{dial.place} does not speak MySQL's protocol ({error})") from error
        except BaseException as error:
            session.abort()
            error.add_note(f"while connecting to {dial.place}: {dial.phase}")
            raise
        return Dialled(session, observed(session, row, asked_at=asked_at, dialled_at=dialled_at))

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


def _hung_up(dial: Dial[Any], error: ServerLost) -> str:
    told = error.__cause__
    why = f" ({sentence_of(told)})" if told is not None and not isinstance(told, EOFError) else ""
    return f"{dial.place} hung up while we waited for {dial.phase}{why}"


def _the_row(row: tuple[object, ...] | None) -> tuple[object, ...]:
    if row is None:
        raise err.InternalError(0, "the role query gave no row")
    return row
