"""Who can say which address a name has: DNS itself, through aiodns, and the system's resolver in a thread.

aiodns (c-ares) keeps answers for their TTL and cannot be told not to, so to flush is to begin with a new resolver: that
takes 51 us and reads resolv.conf anew. Its event thread is ended by `close`, always: left to the garbage collector it
may call into a loop that is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import threading
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

import aiodns
import pycares
from aiodns.error import ARES_EBADNAME, ARES_ENODATA, ARES_ENOTFOUND, DNSError

from aioaurora._core.endpoint import is_rds_name
from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

# A silent server costs 0.4 s before the next one is asked; a lone one is asked again, more patiently, until 2.8 s.
_FIRST_TRY_S = 0.4
_TRIES = 3
_SECOND_FAMILY_S = 0.05  # RFC 8305, 3: what one waits for the other family's answer.
_SYSTEM_THREADS = 2  # A dead DNS server holds each for half a minute, and the application needs the others.
_UNKNOWN_TO_SYSTEM = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_NOBODY = {ARES_EBADNAME, ARES_ENODATA, ARES_ENOTFOUND}


# As socket.getaddrinfo returns it: family, kind, protocol, canonical name, address.
_Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


class ResolveError(OSError):
    """A name could not be looked up now.

    Attributes:
        host: The name.
        why: What went wrong.
    """

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host!r} could not be looked up: {why}")
        self.host, self.why = host, why

    def __reduce__(self) -> tuple[type[ResolveError], tuple[str, str]]:
        return type(self), (self.host, self.why)


class UnknownHost(ResolveError):
    """DNS says that there is no such name, or that it has no address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a name leads to.

    Attributes:
        addresses: IPv4 first, each family in the order of the answer.
        ttl_s: Seconds for which this may be believed; infinite where nobody said.
        chain: The names that it is an alias of, next one first.
    """

    addresses: tuple[str, ...]
    ttl_s: float = math.inf
    chain: tuple[str, ...] = ()


class Source(Protocol):
    """Who is asked for addresses."""

    async def ask(self, host: str) -> Answer:
        """Return the addresses of a name; UnknownHost if there is none, ResolveError if nobody could say."""
        ...

    def flush(self) -> None:
        """Forget all answers."""
        ...

    async def close(self) -> None:
        """Give up what is under way and free what is held."""
        ...


@dataclass(slots=True, eq=False)
class _Channel:
    resolver: aiodns.DNSResolver
    under_way: int = 0


@dataclass(slots=True, eq=False)
class NameServers:
    """DNS, asked for the name as it is: no search domains, no hosts file.

    Attributes:
        servers: `10.0.0.2:53`; none: those of the system.
    """

    servers: tuple[str, ...] = ()
    _channel: _Channel | None = field(default=None, init=False)
    _retired: list[_Channel] = field(default_factory=list, init=False)

    async def ask(self, host: str) -> Answer:
        """Ask for both families at once."""
        await self._close_retired()
        channel = self._channel = self._channel or self._opened()
        channel.under_way += 1
        try:
            return await _both_families(channel.resolver, host)
        finally:
            channel.under_way -= 1
            if channel is not self._channel:
                await self._close_retired()

    def flush(self) -> None:
        """Begin with a new c-ares channel at the next question; those that are open keep theirs."""
        if self._channel is not None:
            self._retired.append(self._channel)
            self._channel = None

    async def close(self) -> None:
        """End every event thread; questions that are open fail."""
        self.flush()
        while self._retired:
            await self._retired.pop().resolver.close()

    def _opened(self) -> _Channel:
        return _Channel(aiodns.DNSResolver(nameservers=self.servers or None, timeout=_FIRST_TRY_S, tries=_TRIES))

    async def _close_retired(self) -> None:
        for channel in [each for each in self._retired if each.under_way == 0]:
            self._retired.remove(channel)
            await channel.resolver.close()


async def _in_thread(name: str) -> Sequence[_Found]:
    """Call getaddrinfo in a daemon thread: one of the loop's own would hold up `asyncio.run` while DNS is dead."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[_Found]] = loop.create_future()

    def deliver(found: Sequence[_Found], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def ask() -> None:
        found: Sequence[_Found] = []
        error: Exception | None = None
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        except (OSError, UnicodeError) as exc:
            error = exc
        with contextlib.suppress(RuntimeError):  # The loop was closed meanwhile: nobody asks any more.
            loop.call_soon_threadsafe(deliver, found, error)

    threading.Thread(target=ask, name=f"aioaurora getaddrinfo {name}", daemon=True).start()
    return await answer


@dataclass(slots=True, eq=False)
class SystemResolver:
    """The system's `getaddrinfo`, which knows the hosts file and search domains.

    A name with dots is asked for as `name.` first: with ndots:5, as in Kubernetes, one question is ten otherwise.
    Names under RDS are asked for in no other way.

    Attributes:
        lookup: What asks for one name: `getaddrinfo` in a thread of its own.
    """

    lookup: Callable[[str], Awaitable[Sequence[_Found]]] = _in_thread
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SYSTEM_THREADS), init=False)
    _running: set[asyncio.Task[Answer]] = field(default_factory=set, init=False)

    async def ask(self, host: str) -> Answer:
        """Ask in a thread, when one of a few is free; giving up frees the caller, not the thread."""
        await self._free.acquire()  # `_ended` releases it.
        task = asyncio.create_task(_asked_system(self.lookup, host), name=f"aioaurora getaddrinfo {host}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def flush(self) -> None:
        """Do nothing: nothing is kept here, and the system's caches are its own."""

    async def close(self) -> None:
        """Stop waiting for the threads."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Answer]) -> None:
        self._running.discard(task)
        if not task.cancelled():  # Only `close` does that, and then nobody's turn comes any more.
            self._free.release()
            task.exception()  # Heard, even when nobody waits any more.


async def _both_families(resolver: aiodns.DNSResolver, host: str) -> Answer:
    first, second = resolver.query_dns(host, "A"), resolver.query_dns(host, "AAAA")
    try:
        await asyncio.wait({first})
        await asyncio.wait({second}, timeout=None if first.exception() else _SECOND_FAMILY_S)
        return _answer(host, first, second)
    finally:
        for question in (first, second):
            question.cancel()
            with contextlib.suppress(asyncio.CancelledError, asyncio.InvalidStateError):
                question.exception()  # Heard.


def _answer(host: str, *questions: asyncio.Future[pycares.DNSResult]) -> Answer:
    """Put together what both families said; a failure counts only if no address came."""
    done = [each for each in questions if each.done()]
    failures = [failure for each in done if (failure := each.exception()) is not None]
    replies = [each.result().answer for each in done if each.exception() is None]
    useful = [records for records in replies if _addresses(records)]
    if useful:
        return Answer(
            addresses=tuple(dict.fromkeys(address for records in useful for address in _addresses(records))),
            ttl_s=float(min(record.ttl for records in useful for record in records)),
            chain=_chain(host, useful[0]),
        )
    for failure in failures:
        if not isinstance(failure, DNSError):
            raise failure
        if failure.args[0] not in _NOBODY:
            raise ResolveError(host, str(failure.args[1])) from failure
    raise UnknownHost(host, "DNS has no address for it") from (failures[0] if failures else None)


def _addresses(records: list[pycares.DNSRecord]) -> list[str]:
    addresses = (record.data for record in records)
    return [data.addr for data in addresses if isinstance(data, pycares.ARecordData | pycares.AAAARecordData)]


def _chain(host: str, records: list[pycares.DNSRecord]) -> tuple[str, ...]:
    targets = {
        _plain(record.name): _plain(record.data.cname)
        for record in records
        if isinstance(record.data, pycares.CNAMERecordData)
    }
    chain: list[str] = []
    name = _plain(host)
    while name in targets and targets[name] not in chain:
        name = targets[name]
        chain.append(name)
    return tuple(chain)


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


async def _asked_system(lookup: Callable[[str], Awaitable[Sequence[_Found]]], host: str) -> Answer:
    failures: list[socket.gaierror] = []
    for name in _spellings(host):
        try:
            found = await lookup(name)
        except socket.gaierror as exc:
            failures.append(exc)
            continue
        except UnicodeError as exc:
            raise UnknownHost(host, "it cannot be a name") from exc
        # By family, IPv4 first; a scope follows the address of a link-local one.
        ordered = sorted(found, key=lambda one: one[0] != socket.AF_INET)
        canonical = _plain(next((one[3] for one in found if one[3]), host))
        return Answer(
            addresses=tuple(dict.fromkeys(str(one[4][0]) for one in ordered)),
            chain=() if canonical == host else (canonical,),
        )
    if all(failure.errno in _UNKNOWN_TO_SYSTEM for failure in failures):
        raise UnknownHost(host, "neither DNS nor the system knows it") from failures[-1]
    raise ResolveError(host, f"the system's resolver failed: {failures[-1]}") from failures[-1]


def _spellings(host: str) -> list[str]:
    if "." not in host:
        return [host]
    return [f"{host}."] if is_rds_name(host) else [f"{host}.", host]
