"""Questions that reach the simulator's DNS server, as bytes and as values, and the bytes that answer them."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum

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
        """Seconds that the whole answer may be kept, by the shortest TTL of its records."""
        return min((record.ttl for record in self.records), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A parsed query; `section` is its question as it came, so that a client's odd casing is given back."""

    id: int
    flags: int
    name: str
    kind: str
    section: bytes
    has_edns: bool

    @classmethod
    def parse(cls, datagram: bytes) -> Question:
        """Read a question; raises ValueError, IndexError or struct.error for what is none."""
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
            name=lower(".".join(labels)),
            kind=_TYPES.get(code, f"TYPE{code}"),
            section=datagram[12 : at + 5],
            has_edns=additional > 0,
        )

    def reply(self, answer: Answer, negative_ttl: int) -> bytes:
        """Write the answer to it; a refusal may be kept for `negative_ttl` seconds."""
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


def lower(name: str) -> str:
    """Return a name as it is compared: letter case and a last dot do not matter."""
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
