"""Ask a simulated cluster's name server from another process, where `socket.getaddrinfo` is to know its names.

What is told first of a name is as old as what a shared resolver keeps: some of its TTL is over, by chance how much.
Else all caches would begin at a fault, and whether they end before or after the record has moved would be no chance.
"""

from __future__ import annotations

import dataclasses
import random
import socket
import struct

from aioaurora.simulator.questions import Answer, Record, Status

_A, _CNAME = 1, 5
_WAIT_S, _LARGEST = 2.0, 4096


class Asked:
    """The names of one cluster, for `aioaurora.simulator.resolving.resolving`; blocks while it asks."""

    def __init__(self, nameserver: str, names: str) -> None:
        """Take the server's address and port, and the domain that it knows all names of."""
        host, _, port = nameserver.rpartition(":")
        self._server = host, int(port)
        self._domain = names
        self._told: set[str] = set()

    def knows(self, name: str) -> bool:
        """Say whether it is one of the cluster's names."""
        return name.endswith(self._domain)

    def answer(self, name: str) -> Answer:
        """Resolve a name to its addresses."""
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            asking.settimeout(_WAIT_S)
            asking.connect(self._server)
            asking.send(question(name))
            try:
                told = answer(asking.recv(_LARGEST))
            except OSError:
                return Answer(Status.SILENT)
        if name in self._told:
            return told
        self._told.add(name)
        left = random.random()
        return Answer(told.status, tuple(dataclasses.replace(each, ttl=left * each.ttl) for each in told.records))


def question(name: str) -> bytes:
    """Ask for the addresses of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", _A, 1)


def answer(datagram: bytes) -> Answer:
    """Read what the simulator's name server answered: it writes names out in full."""
    _, flags, _, count, _, _ = struct.unpack_from(">6H", datagram)
    _, at = _name(datagram, 12)
    at += 4
    records = []
    for _ in range(count):
        name, at = _name(datagram, at)
        kind, _, ttl, size = struct.unpack_from(">HHIH", datagram, at)
        at += 10
        if kind == _A:
            records.append(Record(name, "A", socket.inet_ntoa(datagram[at : at + size]), ttl))
        elif kind == _CNAME:
            records.append(Record(name, "CNAME", _name(datagram, at)[0], ttl))
        at += size
    return Answer(Status(flags & 15), tuple(records))


def _name(datagram: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := datagram[at]:
        labels.append(datagram[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels), at + 1
