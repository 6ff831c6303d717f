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
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TTL_S = 5
EVERYTHING = "*"
_LONGEST_CHAIN = 8
_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 255: "ANY"}
_CODES = {name: code for code, name in _TYPES.items()}


class Status(IntEnum):
    """What a DNS answer says of itself, in DNS's own numbers; SILENT is no answer at all."""

    SILENT = -1
    NOERROR = 0
    SERVFAIL = 2
    NXDOMAIN = 3
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Record:
    """One line of an answer: `kind` is "A" or "CNAME", `value` an address or a name."""

    name: str
    kind: str
    value: str
    ttl: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name resolves to now."""

    status: Status
    records: tuple[Record, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses at the end of the chain, in the order of the answer."""
        return tuple(record.value for record in self.records if record.kind == "A")

    @property
    def ttl(self) -> int:
        """Seconds that the whole answer may be kept: the shortest TTL of its records."""
        return min((record.ttl for record in self.records), default=0)


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

    def turn(self) -> tuple[str, ...]:
        start = self.given % len(self.values)
        self.given += 1
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

    def __init__(self, *, negative_ttl: int = 1) -> None:
        """Make a server without names; `negative_ttl` is how many seconds "no such name" may be cached."""
        self.address = "127.0.0.1"
        self.port = 0
        self.queries: list[Query] = []
        self._negative_ttl = negative_ttl
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
        self._set(name, "CNAME", tuple(_lower(each) for each in targets), ttl, one=True)

    def remove(self, name: str) -> None:
        """Forget `name`: NXDOMAIN from now on."""
        self._entries.pop(_lower(name), None)

    def knows(self, name: str) -> bool:
        """Say whether `name` is one of ours, or was once."""
        return _lower(name) in self._ever

    def _set(self, name: str, kind: str, values: tuple[str, ...], ttl: int, *, one: bool) -> None:
        if not values:
            self.remove(name)
            return
        self._ever.add(_lower(name))
        self._entries[_lower(name)] = _Entry(kind, values, ttl, one)

    # --- faults -----------------------------------------------------------------------------------------------------

    def drop(self, *names: str) -> None:
        """Answer nothing; without names: to any question."""
        self._fail(names, Status.SILENT)

    def servfail(self, *names: str) -> None:
        """Answer SERVFAIL."""
        self._fail(names, Status.SERVFAIL)

    def refused(self, *names: str) -> None:
        """Answer REFUSED."""
        self._fail(names, Status.REFUSED)

    def nxdomain(self, *names: str) -> None:
        """Answer NXDOMAIN."""
        self._fail(names, Status.NXDOMAIN)

    def delay(self, seconds: float) -> None:
        """Hold every answer back."""
        self._faults.delay_s = seconds

    def lie(self, name: str, ip: str) -> None:
        """Give `ip` as the address of `name`, whatever is true."""
        self._faults.lies[_lower(name)] = str(ipaddress.IPv4Address(ip))

    def freeze(self, *names: str) -> None:
        """Go on giving today's answer, as a zone whose change has not arrived yet; without names: for all."""
        for name in map(_lower, names or tuple(self._entries)):
            self._faults.frozen[name] = self._true_answer(name)

    def heal(self, *names: str) -> None:
        """Tell the truth again; without names: about everything, and at once."""
        if not names:
            self._faults = _Faults()
            return
        for name in map(_lower, names):
            for fault in (self._faults.statuses, self._faults.lies, self._faults.frozen):
                fault.pop(name, None)

    def _fail(self, names: tuple[str, ...], status: Status) -> None:
        for name in names or (EVERYTHING,):
            self._faults.statuses[_lower(name)] = status

    # --- answers ----------------------------------------------------------------------------------------------------

    def answer(self, name: str) -> Answer:
        """Resolve `name` as a client asking now would see it, faults included."""
        name, faults = _lower(name), self._faults
        status = faults.statuses.get(name, faults.statuses.get(EVERYTHING))
        if status is not None:
            return Answer(status)
        if name in faults.lies:
            return Answer(Status.NOERROR, (Record(name, "A", faults.lies[name], TTL_S),))
        return faults.frozen.get(name) or self._true_answer(name)

    def _true_answer(self, name: str) -> Answer:
        if name not in self._entries:
            return Answer(Status.NXDOMAIN)
        records: list[Record] = []
        for _ in range(_LONGEST_CHAIN):
            entry = self._entries.get(name)
            if entry is None:
                break
            turned = entry.turn()
            records += [Record(name, entry.kind, value, entry.ttl) for value in turned]
            if entry.kind == "A":
                break
            name = turned[0]
        return Answer(Status.NOERROR, tuple(records))

    def receive(self, datagram: bytes, sender: tuple[str, int]) -> None:
        """Log one question and answer it; what is no question is ignored."""
        with contextlib.suppress(ValueError, IndexError, struct.error):  # Noise on the port is nobody's question.
            question = _Question.parse(datagram)
            loop = asyncio.get_running_loop()
            self.queries.append(Query(loop.time(), question.name, question.kind))
            answer = self.answer(question.name)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """A parsed query; `section` is its question as it came, so that a client's odd casing is given back."""

    id: int
    flags: int
    name: str
    kind: str
    section: bytes
    has_edns: bool

    @classmethod
    def parse(cls, datagram: bytes) -> _Question:
        number, flags, questions, _, _, additional = struct.unpack_from(">6H", datagram)
        if flags & 0x8000 or questions != 1:
            raise ValueError(flags)  # An answer, or several questions: nobody sends that.
        at, labels = 12, []
        while length := datagram[at]:
            labels.append(datagram[at + 1 : at + 1 + length].decode("ascii"))
            at += 1 + length
        (code,) = struct.unpack_from(">H", datagram, at + 1)
        return cls(
            id=number,
            flags=flags,
            name=_lower(".".join(labels)),
            kind=_TYPES.get(code, f"TYPE{code}"),
            section=datagram[12 : at + 5],
            has_edns=additional > 0,
        )

    def reply(self, answer: Answer, negative_ttl: int) -> bytes:
        records = [record for record in answer.records if self._wants(record)]
        negative = not any(record.kind == self.kind for record in records) and self.kind != "ANY"
        is_known = answer.status in (Status.NOERROR, Status.NXDOMAIN)
        authority = [_soa(self.name, negative_ttl)] if negative and is_known else []
        flags = 0x8400 | self.flags & 0x0100 | max(answer.status, 0)
        counts = (1, len(records), len(authority), int(self.has_edns))
        edns = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if self.has_edns else b""
        head = struct.pack(">6H", self.id, flags, *counts)
        return b"".join([head, self.section, *map(_packed, records), *authority, edns])

    def _wants(self, record: Record) -> bool:
        if self.kind == "CNAME":
            return record.kind == "CNAME" and record.name == self.name
        return record.kind == "CNAME" or self.kind in ("A", "ANY")


def _lower(name: str) -> str:
    return name.rstrip(".").lower()


def _name(name: str) -> bytes:
    labels = (label.encode("ascii") for label in name.split(".") if label)
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _packed(record: Record) -> bytes:
    value = ipaddress.IPv4Address(record.value).packed if record.kind == "A" else _name(record.value)
    return _name(record.name) + struct.pack(">HHIH", _CODES[record.kind], 1, record.ttl, len(value)) + value


def _soa(name: str, negative_ttl: int) -> bytes:
    zone = ".".join(name.split(".")[-2:])
    times = struct.pack(">5I", 1, 7200, 900, 1209600, negative_ttl)
    value = _name(f"ns.{zone}") + _name(f"hostmaster.{zone}") + times
    return _name(zone) + struct.pack(">HHIH", _CODES["SOA"], 1, negative_ttl, len(value)) + value
