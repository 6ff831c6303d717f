"""Who to log in as: a fixed password, one that is asked for at each connect, or a provider that rotates it.

    password="..."           fixed
    password=fetch           a function or coroutine function without arguments, asked at each connect
    credentials=provider     async (host, port, user) -> Credentials(user=..., password=..., expires_at=...)

A provider is asked once for each host, port and user (an IAM token is signed for the host that is dialled), again 30 s
before what it gave expires, and when the server refused it. No password is in any repr.

What a provider raises may hold what it signed or was given. So our error says of it only its type and the lines that
led to it, in tracebacks too; the exception itself is the `__context__` of ours, for who looks for it on purpose.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol, cast

from pymysql.err import OperationalError

from aioaurora._core.value import dataclass
from aioaurora.errors import AioauroraError, ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType, UnionType

EXPIRY_MARGIN_S = 30.0  # What is handed out must still be good when the log-in packet arrives.
_NO_CREDENTIALS = 2059  # CR_AUTH_PLUGIN_CANNOT_LOAD: the client itself could not make up its log-in.

PasswordSource = Callable[[], str | Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user and a password, good until `expires_at`.

    Attributes:
        user: Log-in name; None: that of the configuration.
        password: Never in the repr.
        expires_at: Unix time in seconds; None: until the server refuses it.

    Raises:
        ConfigurationError: One of them is of another type; it is not repeated.
    """

    user: str | None
    password: str = field(repr=False)
    expires_at: float | None = None

    def __post_init__(self) -> None:
        _refuse_others("user", self.user, str | None, "a str or None")
        _refuse_others("password", self.password, str, "a str")
        _refuse_others("expires_at", self.expires_at, int | float | None, "Unix time, as datetime.timestamp() gives it")
        if self.expires_at is not None and math.isnan(self.expires_at):
            raise ConfigurationError("Credentials: expires_at= is not a number: it must be Unix time, or None")


def _refuse_others(name: str, value: object, kind: type | UnionType, says: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigurationError(f"Credentials: {name}= is a {type(value).__name__}: it must be {says}")


class CredentialProvider(Protocol):
    """What `credentials=` takes: told where a connection goes, it says who to log in as."""

    async def __call__(self, host: str, port: int, user: str | None, /) -> Credentials:
        """Return the credentials for this host; what is raised fails the connect."""
        ...


@dataclass(frozen=True, slots=True)
class FixedPassword:
    """The provider behind `password="..."`."""

    password: str = field(repr=False)

    async def __call__(self, _host: str, _port: int, user: str | None, /) -> Credentials:
        """Return the one password, for every host."""
        return Credentials(user=user, password=self.password)


NO_PASSWORD = FixedPassword("")


@dataclass(frozen=True, slots=True)
class AskedPassword:
    """The provider behind `password=fetch`: asked at each connect, so that it may change at any time."""

    fetch: PasswordSource = field(repr=False)  # A partial shows its arguments.

    async def __call__(self, _host: str, _port: int, user: str | None, /) -> Credentials:
        """Return what `fetch` says now."""
        answer = self.fetch()
        password = await answer if inspect.isawaitable(answer) else answer
        if not isinstance(password, str):
            raise ConfigurationError(
                f"password= is a function that returned {type(password).__name__}: it must return a str"
            )
        return Credentials(user=user, password=password, expires_at=0.0)  # For this connect only.


def provider_of(password: object = None, credentials: object = None) -> CredentialProvider:
    """Return the provider for what was written as `password=` or `credentials=`.

    Raises:
        ConfigurationError: Both were given, or something else than a str or a function.
    """
    if credentials is not None:
        if password is not None:
            raise ConfigurationError("password= and credentials= were both given: credentials= brings the password")
        if not callable(credentials):
            raise ConfigurationError("credentials= must be async (host, port, user) -> Credentials")
        return cast("CredentialProvider", credentials)
    match password:
        case None:
            return NO_PASSWORD
        case str():
            return FixedPassword(password)
        case _ if callable(password):
            return AskedPassword(password)
        case _:
            raise ConfigurationError(f"password= is a {type(password).__name__}: pass a str or a function")


class CredentialCache:
    """Asks a provider as seldom as it allows, for one Cluster.

    Calls for the same host, port and user share one question. Cancelling a caller does not cancel it for the others.
    """

    def __init__(self, provider: CredentialProvider, *, clock: Callable[[], float] = time.time) -> None:
        """Keep what `provider` gives; `clock` says the Unix time."""
        self._provider = provider
        self._clock = clock
        self._kept: dict[tuple[str, int, str | None], Credentials] = {}
        self._asking: dict[tuple[str, int, str | None], asyncio.Task[Credentials]] = {}

    async def get(self, host: str, port: int, user: str | None, *, fresh: bool = False) -> Credentials:
        """Return credentials that are good for at least 30 s more; for less, if the provider has no better ones.

        Args:
            host: The name (not the address) that is dialled.
            port: Its port.
            user: As configured.
            fresh: The server refused what was kept (1045): ask anew.

        Raises:
            OperationalError: 2059, the provider failed and what was kept has expired; says how, without its text.
            ConfigurationError: It returned something else than Credentials.
        """
        key = (host, port, user)
        kept = self._kept.get(key)
        if kept is not None and not fresh and self._lives_for(kept) > EXPIRY_MARGIN_S:
            return kept
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key), name=f"aioaurora credentials {host}")
            task.add_done_callback(_looked_at)
            if not task.done():  # On a loop with eager tasks it may be.
                self._asking[key] = task
        await asyncio.wait({task})
        if task.cancelled():
            raise OperationalError(_NO_CREDENTIALS, f"no credentials for {host!r}: closed while they were fetched")
        error = task.exception()
        if error is None:
            return task.result()
        if kept is not None and not fresh and self._lives_for(kept) > 0 and isinstance(error, OperationalError):
            return kept
        raise error

    async def close(self) -> None:
        """Cancel the questions that are open."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: tuple[str, int, str | None]) -> Credentials:
        host, port, user = key
        try:
            given = await self._provider(host, port, user)
        except AioauroraError:
            raise
        except Exception as exc:  # noqa: BLE001 - the edge of foreign code.
            what = f"{type(exc).__name__} ({_way_to(exc.__traceback__)})"
            sentence = f"no credentials for {host!r}: the provider raised {what}"
            raise OperationalError(_NO_CREDENTIALS, sentence) from None
        finally:
            self._asking.pop(key, None)
        if not isinstance(given, Credentials):
            raise ConfigurationError(
                f"credentials= returned {type(given).__name__}: return Credentials(user=..., password=...)"
            )
        self._kept[key] = kept = given if given.user is not None else replace(given, user=user)
        return kept

    def _lives_for(self, kept: Credentials) -> float:
        return math.inf if kept.expires_at is None else kept.expires_at - self._clock()


def _looked_at(task: asyncio.Task[Credentials]) -> None:
    """Mark the task's error as seen: all who asked may have been cancelled."""
    if not task.cancelled():
        task.exception()


def _way_to(trace: TracebackType | None) -> str:
    """Name the lines of a traceback, our own first one only if there is no other."""
    lines: list[str] = []
    while trace is not None:
        frame = trace.tb_frame
        lines.append(f"{frame.f_globals.get('__name__')}:{trace.tb_lineno} in {frame.f_code.co_name}")
        trace = trace.tb_next
    return " > ".join(lines[1:] or lines)
