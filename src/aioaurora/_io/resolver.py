"""Addresses of host names, asked for as seldom as needed, and no caller waits long for a dead DNS server.

    fresh answer kept               -> it
    DNS answers                     -> that, kept for its TTL, at most `max_ttl`
    no answer for 0.5 s, or failed  -> the last answer, up to `stale_for` old: an instance's address rarely moves
    no such name, or never answered -> the system's resolver, if it is asked at all
    nothing                         -> ResolveError; UnknownHost if the name does not exist

One look-up is under way for each name, however many wait for it; it belongs to the resolver, so that cancelling a
caller, or its deadline, ends only that caller's wait.
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from aioaurora._core.value import dataclass
from aioaurora._io.dns import Answer, NameServers, ResolveError, Source, SystemResolver, UnknownHost
from aioaurora._io.limits import ended, limited
from aioaurora.events import DnsFallback, DnsStale, Event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Answer", "ResolveError", "Resolver", "Source", "UnknownHost"]

_LOCALHOST = ("127.0.0.1", "::1")
STALE_AFTER_S = 0.5  # How long a look-up may take before an older answer is used meanwhile.
ASK_AGAIN_AFTER_S = 1.0  # After a failure; RFC 2308, 7.1 allows up to 5 minutes.
LOOKUP_FOR_S = 5.0  # A look-up that nobody waits for any more ends too.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    answer: Answer
    at: float
    fresh_until: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Failed:
    error: ResolveError
    until: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LookUp:
    task: asyncio.Task[Answer]
    since: float


class Resolver:
    """The addresses that one Cluster dials."""

    def __init__(
        self,
        *,
        emit: Callable[[Event], None],
        nameservers: tuple[str, ...] = (),
        max_ttl: float = 5.0,
        stale_for: float = 300.0,
        cluster: str = "",
        source: Source | None = None,
        fallback: Source | None = None,
    ) -> None:
        """Ask nobody yet.

        Args:
            emit: Told of stale answers and of the fallback.
            nameservers: DNS servers; where given, the system's resolver is not asked.
            max_ttl: Seconds for which an answer is believed at most.
            stale_for: Age in seconds up to which it is used when DNS does not answer.
            cluster: Name for the events.
            source: Who is asked instead of DNS; then `fallback` too is only what is given.
            fallback: Who is asked for what `source` does not know.
        """
        self._emit, self._cluster = emit, cluster
        self._max_ttl, self._stale_for = max_ttl, stale_for
        if source is None and not nameservers:
            fallback = fallback or SystemResolver()
        self._source, self._fallback = source or NameServers(nameservers), fallback
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, _Failed] = {}
        self._look_ups: dict[str, _LookUp] = {}
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._said: set[tuple[str, type[Event]]] = set()
        self._flushed_at: float | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Resolver {len(self._known)} names known, {len(self._look_ups)} looked up>"

    async def resolve(self, host: str, port: int, *, deadline: float) -> tuple[str, ...]:
        """Return the addresses to dial, best first. An IP address is its own; so is the path of a socket.

        Args:
            host: Name or address.
            port: Only for the error.
            deadline: Loop time.

        Raises:
            UnknownHost: The name does not exist, or has no address.
            ResolveError: Nobody could say in time.
        """
        given = _as_given(host)
        if given is not None:
            return given
        try:
            return (await self._answer(_plain(host), deadline)).addresses
        except ResolveError as exc:
            exc.add_note(f"while connecting to {host}:{port}")
            raise

    async def canonical(self, host: str, *, deadline: float) -> str | None:
        """Return the name that `host` is an alias of, one step on; None if it is none. Raises as `resolve`."""
        if _as_given(host) is not None:
            return None
        chain = (await self._answer(_plain(host), deadline)).chain
        return chain[0] if chain else None

    def last_known(self, host: str) -> tuple[str, ...]:
        """Return the addresses that a name had when it was last looked up; nobody is asked."""
        known = self._known.get(_plain(host))
        return _as_given(host) or (known.answer.addresses if known is not None else ())

    def flush(self, *, force: bool = False) -> None:
        """Have every name asked for anew: a search starts.

        Within `max_ttl` of the last time it does nothing, as a VPC's resolver drops what exceeds 1,024 packets a
        second; `force` does it all the same. What is known stays at hand for when DNS does not answer.
        """
        now = asyncio.get_running_loop().time()
        if self._flushed_at is not None and now - self._flushed_at < self._max_ttl and not force:
            return
        self._flushed_at = now
        self._known = {name: replace(known, fresh_until=now) for name, known in self._known.items()}
        self._failed = {name: replace(failed, until=now) for name, failed in self._failed.items()}
        self._source.flush()

    def forget(self, host: str) -> None:
        """Drop a name's addresses for good, also as a stale answer: they lead to another instance now."""
        name = _plain(host)
        self._known.pop(name, None)
        self._failed.pop(name, None)
        self._look_ups.pop(name, None)  # What it brings is not kept.
        self._source.flush()

    async def close(self) -> None:
        """End what is under way; who waits gets ResolveError."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._source.close()
        if self._fallback is not None:
            await self._fallback.close()

    async def _answer(self, name: str, deadline: float) -> Answer:
        now = asyncio.get_running_loop().time()
        known, failed = self._known.get(name), self._failed.get(name)
        if known is not None and now < known.fresh_until:
            return known.answer
        if failed is not None and now < failed.until:
            return self._stale_or_raise(name, failed.error)
        if self._closed:
            raise ResolveError(name, "the resolver is closed")
        look_up = self._look_ups.get(name) or self._started(name, now)
        until = self._patience(name, look_up, deadline)
        if not await ended(look_up.task, by=until) and until < deadline and self._stale(name) is None:
            return await self._answer(name, deadline)  # Forgotten while we waited, so there is nothing older to use.
        return self._outcome(name, look_up, until)

    def _patience(self, name: str, look_up: _LookUp, deadline: float) -> float:
        if self._stale(name) is None:
            return deadline
        # After a failure nobody waits for the next attempt: who comes once it has worked gets its answer.
        return min(deadline, look_up.since + (0.0 if name in self._failed else STALE_AFTER_S))

    def _outcome(self, name: str, look_up: _LookUp, until: float) -> Answer:
        task = look_up.task
        if not task.done():
            return self._stale_or_raise(name, ResolveError(name, f"no answer within {until - look_up.since:.1f} s"))
        if task.cancelled():
            raise ResolveError(name, "the resolver was closed")
        error = task.exception()
        if error is None:
            return task.result()
        if not isinstance(error, ResolveError):
            raise error
        return self._stale_or_raise(name, error)

    def _stale_or_raise(self, name: str, error: ResolveError) -> Answer:
        stale = self._stale(name)
        if stale is None:
            raise type(error)(error.host, error.why) from error  # One each: many may be waiting for the same.
        age_s = asyncio.get_running_loop().time() - stale.at
        self._say_once(DnsStale(cluster=self._cluster, host=name, age_s=age_s))
        return stale.answer

    def _stale(self, name: str) -> _Known | None:
        known = self._known.get(name)
        if known is None or asyncio.get_running_loop().time() - known.at > self._stale_for:
            return None
        return known

    def _started(self, name: str, now: float) -> _LookUp:
        task = asyncio.create_task(self._look_up(name), name=f"aioaurora look-up {name}")
        look_up = self._look_ups[name] = _LookUp(task=task, since=now)
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._ended(name, look_up))
        return look_up

    async def _look_up(self, name: str) -> Answer:
        try:
            async with limited(asyncio.get_running_loop().time() + LOOKUP_FOR_S):
                return await self._ask(name)
        except TimeoutError:
            raise ResolveError(name, f"no answer within {LOOKUP_FOR_S:.1f} s") from None

    async def _ask(self, name: str) -> Answer:
        try:
            answer = await self._source.ask(name)
        except ResolveError as failure:
            if self._fallback is None or (self._stale(name) and not isinstance(failure, UnknownHost)):
                raise
            return await self._ask_fallback(self._fallback, failure)
        self._said -= {(name, DnsStale), (name, DnsFallback)}
        return answer

    async def _ask_fallback(self, fallback: Source, failure: ResolveError) -> Answer:
        try:
            answer = await fallback.ask(failure.host)
        except UnknownHost as unknown:
            raise failure from unknown
        except ResolveError as unsaid:
            raise unsaid from failure  # It might know the name: nobody has said that there is none.
        self._say_once(DnsFallback(cluster=self._cluster, host=failure.host, why=failure.why))
        return answer

    def _ended(self, name: str, look_up: _LookUp) -> None:
        """Keep what a look-up brought, unless the name was forgotten meanwhile."""
        task, now = look_up.task, look_up.task.get_loop().time()
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._look_ups.get(name) is not look_up:
            return
        del self._look_ups[name]
        if isinstance(error, UnknownHost):
            self._known.pop(name, None)  # The name is gone, so what it led to may be another's.
        if isinstance(error, ResolveError):
            self._failed[name] = _Failed(error=error, until=now + ASK_AGAIN_AFTER_S)
        elif error is None and not task.cancelled():
            self._learnt(name, task.result(), now)

    def _learnt(self, name: str, answer: Answer, now: float) -> None:
        useful_s = max(self._stale_for, self._max_ttl)
        self._known = {other: known for other, known in self._known.items() if now - known.at <= useful_s}
        self._known[name] = _Known(answer=answer, at=now, fresh_until=now + min(answer.ttl_s, self._max_ttl))
        self._failed = {other: failed for other, failed in self._failed.items() if now - failed.until <= useful_s}
        self._failed.pop(name, None)

    def _say_once(self, event: DnsStale | DnsFallback) -> None:
        if (event.host, type(event)) not in self._said:
            self._said.add((event.host, type(event)))
            self._emit(event)


def _as_given(host: str) -> tuple[str, ...] | None:
    """Return what needs no look-up: an IP address, the path of a socket, and localhost, which RFC 6761 fixes."""
    if host.startswith("/"):
        return (host,)
    if _plain(host) == "localhost":
        return _LOCALHOST
    address = host.strip("[]")
    if ":" not in address and not address[-1:].isdigit():
        return None  # As nearly all: no name of a public domain ends in a digit.
    try:
        return (str(ipaddress.ip_address(address)),)
    except ValueError:
        return None


def _plain(host: str) -> str:
    return host.removesuffix(".").lower()
