"""A small authoritative DNS server on UDP: the simulated cluster's names, with TTLs, and what can go wrong with them.

It answers A for addresses, follows its own CNAMEs, and says NXDOMAIN or "no such record" with an SOA,
as Aurora's zone does: the cluster endpoint is a CNAME with a TTL of five seconds.
Everything may be changed while it runs. Every fault is one call, and `heal()` undoes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aioaurora.simulator.conditions import refuse_bad_seconds
from aioaurora.simulator.questions import Answer, Question, Record, Status, lower

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aioaurora.simulator.timeline import Timeline

TTL_S = 5
EVERYTHING = "*"
_LONGEST_CHAIN = 8
_TURNING = ("A", "CNAME", "ANY")


@dataclass(frozen=True, slots=True)
class Query:
    """A question that arrived: loop time, name in lower case, type ("A", "AAAA", "CNAME", ...)."""

    at: float
    name: str
    kind: str


@dataclass(slots=True)
class _Entry:
    """What a name stands for; every answer moves the first value to the end, so load is spread."""

    kind: str
    values: tuple[str, ...]
    ttl: int
    one: bool
    given: int = 0

    def turn(self, by: int) -> tuple[str, ...]:
        start = self.given % len(self.values)
        self.given += by
        turned = self.values[start:] + self.values[:start]
        return turned[:1] if self.one else turned


@dataclass(slots=True)
class _Faults:
    statuses: dict[str, Status] = field(default_factory=dict)
    lies: dict[str, str] = field(default_factory=dict)
    frozen: dict[str, Answer] = field(default_factory=dict)
    delay_s: float = 0.0


class DnsServer:
    """The authority for the simulator's names.

    Attributes:
        port: UDP port, known after `start`.
        queries: Every question so far, oldest first.
    """

    address: str
    port: int

    def __init__(self, *, negative_ttl: int = 1, timeline: Timeline | None = None) -> None:
        """Make a server without names.

        Args:
            negative_ttl: Seconds for which "no such name" may be cached.
            timeline: Where faults are noted.
        """
        self.address = "127.0.0.1"
        self.port = 0
        self.queries: list[Query] = []
        self._negative_ttl, self._timeline = negative_ttl, timeline
        self._entries: dict[str, _Entry] = {}
        self._ever: set[str] = set()
        self._faults = _Faults()
        self._transport: asyncio.DatagramTransport | None = None
        self._late: set[asyncio.TimerHandle] = set()

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on `address`; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        made, _ = await loop.create_datagram_endpoint(lambda: _Questions(self), local_addr=(address, port))
        self._transport = made
        self.address, self.port = made.get_extra_info("sockname")[:2]

    async def stop(self) -> None:
        """Close the socket; answers that were held back are dropped."""
        for handle in self._late:
            handle.cancel()
        self._late.clear()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)

    # --- names ------------------------------------------------------------------------------------------------------

    def set_address(self, name: str, ip: str, ttl: int = TTL_S) -> None:
        """Let `name` have one address."""
        self.set_addresses(name, [ip], ttl)

    def set_addresses(self, name: str, ips: Sequence[str], ttl: int = TTL_S, *, one: bool = False) -> None:
        """Let `name` have several addresses, turned by one at each answer; `one`: give only the first of them."""
        self._set(name, "A", tuple(str(ipaddress.IPv4Address(ip)) for ip in ips), ttl, one=one)

    def set_alias(self, name: str, target: str | Sequence[str], ttl: int = TTL_S) -> None:
        """Make `name` a CNAME of `target`; with several targets each answer names the next one."""
        targets = (target,) if isinstance(target, str) else tuple(target)
        self._set(name, "CNAME", tuple(lower(each) for each in targets), ttl, one=True)

    def remove(self, name: str) -> None:
        """Forget `name`: NXDOMAIN from now on."""
        self._entries.pop(lower(name), None)

    def knows(self, name: str) -> bool:
        """Say whether `name` is one of ours, or was once."""
        return lower(name) in self._ever

    def _set(self, name: str, kind: str, values: tuple[str, ...], ttl: int, *, one: bool) -> None:
        if not values:
            self.remove(name)
            return
        self._ever.add(lower(name))
        self._entries[lower(name)] = _Entry(kind, values, ttl, one)

    # --- faults -----------------------------------------------------------------------------------------------------

    def drop(self, *names: str) -> None:
        """Answer nothing; without names: to any question."""
        self._fail("dns_drop", names, Status.SILENT)

    def servfail(self, *names: str) -> None:
        """Answer SERVFAIL."""
        self._fail("dns_servfail", names, Status.SERVFAIL)

    def refused(self, *names: str) -> None:
        """Answer REFUSED."""
        self._fail("dns_refused", names, Status.REFUSED)

    def nxdomain(self, *names: str) -> None:
        """Answer NXDOMAIN."""
        self._fail("dns_nxdomain", names, Status.NXDOMAIN)

    def delay(self, seconds: float) -> None:
        """Hold every answer back."""
        refuse_bad_seconds(seconds=seconds)
        self._note("dns_delay", seconds=seconds)
        self._faults.delay_s = seconds

    def lie(self, name: str, ip: str) -> None:
        """Give `ip` as the address of `name`, whatever is true."""
        self._faults.lies[lower(name)] = str(ipaddress.IPv4Address(ip))
        self._note("dns_lie", names=(name,), address=ip)

    def freeze(self, *names: str) -> None:
        """Go on giving today's answer, as a zone whose change has not arrived yet; without names: for all."""
        for name in map(lower, names or tuple(self._entries)):
            self._faults.frozen[name] = self._true_answer(name)
        self._note("dns_freeze", names=names)

    def heal(self, *names: str) -> None:
        """Tell the truth again; without names: about everything, and at once."""
        if self._timeline is not None and self._faults != _Faults():
            self._timeline.add("dns_healed", None, names=names)
        if not names:
            self._faults = _Faults()
            return
        for name in map(lower, names):
            for fault in (self._faults.statuses, self._faults.lies, self._faults.frozen):
                fault.pop(name, None)

    def _fail(self, fault: str, names: tuple[str, ...], status: Status) -> None:
        self._note(fault, names=names)
        for name in names or (EVERYTHING,):
            self._faults.statuses[lower(name)] = status

    def _note(self, fault: str, **detail: object) -> None:
        if self._timeline is not None:
            self._timeline.add("fault", None, fault=fault, **detail)

    # --- answers ----------------------------------------------------------------------------------------------------

    def answer(self, name: str, kind: str = "A") -> Answer:
        """Resolve `name` as a client asking now would see it, faults included.

        Values take turns; a question for a kind that they are not, as AAAA, which clients ask beside A, takes none.
        """
        name, faults = lower(name), self._faults
        status = faults.statuses.get(name, faults.statuses.get(EVERYTHING))
        if status is not None:
            return Answer(status)
        if name in faults.lies:
            return Answer(Status.NOERROR, (Record(name, "A", faults.lies[name], TTL_S),))
        return faults.frozen.get(name) or self._true_answer(name, turn_by=int(kind in _TURNING))

    def _true_answer(self, name: str, turn_by: int = 1) -> Answer:
        if name not in self._entries:
            return Answer(Status.NXDOMAIN)
        records: list[Record] = []
        for _ in range(_LONGEST_CHAIN):
            entry = self._entries.get(name)
            if entry is None:
                break
            turned = entry.turn(turn_by)
            records += [Record(name, entry.kind, value, entry.ttl) for value in turned]
            if entry.kind == "A":
                break
            name = turned[0]
        return Answer(Status.NOERROR, tuple(records))

    def receive(self, datagram: bytes, sender: tuple[str, int]) -> None:
        """Log one question and answer it; what is no question is ignored."""
        with contextlib.suppress(ValueError, IndexError, struct.error):  # Noise on the port is nobody's question.
            question = Question.parse(datagram)
            loop = asyncio.get_running_loop()
            self.queries.append(Query(loop.time(), question.name, question.kind))
            answer = self.answer(question.name, question.kind)
            if answer.status is Status.SILENT:
                return
            self._send(question.reply(answer, self._negative_ttl), sender)

    def _send(self, reply: bytes, receiver: tuple[str, int]) -> None:
        if self._faults.delay_s <= 0:
            self._send_now(reply, receiver)
            return

        def send() -> None:
            self._late.discard(handle)
            self._send_now(reply, receiver)

        handle = asyncio.get_running_loop().call_later(self._faults.delay_s, send)
        self._late.add(handle)

    def _send_now(self, reply: bytes, receiver: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, receiver)


class _Questions(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.receive(data, addr)
