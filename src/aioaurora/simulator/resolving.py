"""Let other clients find the simulated names: `socket.getaddrinfo` as a machine's resolver would answer it.

What is asked for a simulated name is kept for its TTL, as caching clients do, so that a client which resolves
the cluster endpoint right after a failover still gets the old writer. All other names go to the real resolver.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from aioaurora.simulator.questions import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aioaurora.simulator.questions import Answer


class Names(Protocol):
    """Who knows the names: the simulator's DNS server."""

    def knows(self, name: str) -> bool:
        """Say whether it is one of its names."""
        ...

    def answer(self, name: str) -> Answer:
        """Resolve a name."""
        ...


class _Cache:
    """One machine's resolver; called from any thread."""

    def __init__(self, names: Names, now: Callable[[], float]) -> None:
        self.names = names
        self._now = now
        self._kept: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a name; raises gaierror as the C library does."""
        with self._lock:
            until, addresses = self._kept.get(host, (0.0, ()))
            if self._now() < until:
                return addresses
            answer = self.names.answer(host)
            if answer.status is Status.NXDOMAIN or (answer.status is Status.NOERROR and not answer.addresses):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            if answer.status is not Status.NOERROR:
                # A real one would have waited some seconds first, which no thread should do on virtual time.
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            self._kept[host] = (self._now() + answer.ttl, answer.addresses)
            return answer.addresses


_active: list[_Cache] = []
_changing = threading.Lock()
_real_getaddrinfo = socket.getaddrinfo


@contextlib.contextmanager
def resolving(names: Names, *, now: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Answer `socket.getaddrinfo` for these names until the block is left.

    Blocks may be nested, and may overlap in any order: the newest that knows a name answers.

    Args:
        names: The simulator's DNS server.
        now: The clock of the TTLs; the loop's, where time is virtual.
    """
    cache = _Cache(names, now)
    _install(cache)
    try:
        yield
    finally:
        _remove(cache)


def _install(cache: _Cache) -> None:
    global _real_getaddrinfo  # noqa: PLW0603 - what is replaced is global itself.
    with _changing:
        if not _active:
            _real_getaddrinfo = socket.getaddrinfo
            socket.getaddrinfo = _getaddrinfo
        _active.append(cache)


def _remove(cache: _Cache) -> None:
    with _changing:
        _active.remove(cache)
        if not _active and socket.getaddrinfo is _getaddrinfo:
            socket.getaddrinfo = _real_getaddrinfo


def _getaddrinfo(  # noqa: PLR0917 - the signature of socket.getaddrinfo.
    host: Any,  # noqa: ANN401 - as there: text, bytes or None.
    port: Any,  # noqa: ANN401 - as there: text, bytes, number or None.
    family: int = 0,
    type: int = 0,  # noqa: A002 - as there.
    proto: int = 0,
    flags: int = 0,
) -> list[Any]:
    name = host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host
    name = name.rstrip(".").lower() if isinstance(name, str) else ""
    cache = next((each for each in reversed(_active) if each.names.knows(name)), None)
    if cache is None:
        return _real_getaddrinfo(host, port, family, type, proto, flags)
    addresses = cache.addresses(name)
    if family not in (socket.AF_UNSPEC, socket.AF_INET):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    found: list[Any] = []
    for address in addresses:
        found += _real_getaddrinfo(address, port, socket.AF_INET, type, proto, flags | socket.AI_NUMERICHOST)
    return found
