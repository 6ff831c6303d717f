"""The simulator's DNS server, asked with raw packets and through aiodns."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from aioaurora.simulator.dns import DnsServer
from aioaurora.simulator.questions import Status
from aioaurora.simulator.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLUSTER = "orders.cluster-abc123.aurora.test"
WRITER = "db-1.abc123.aurora.test"
A, CNAME, AAAA = 1, 5, 28


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[DnsServer]:
    """A server that knows a cluster and its writer."""
    server = DnsServer()
    await server.start()
    server.set_address(WRITER, "127.0.0.1")
    server.set_alias(CLUSTER, WRITER)
    try:
        yield server
    finally:
        await server.stop()


async def asked(server: DnsServer, name: str, kind: int, *, timeout_s: float = 2.0, edns: bool = False) -> bytes:
    """One question over UDP, and its answer."""
    loop = asyncio.get_running_loop()
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    packet = struct.pack(">6H", 7, 0x0100, 1, 0, 0, int(edns)) + labels + b"\0" + struct.pack(">HH", kind, 1)
    packet += b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
        question.setblocking(False)
        question.connect(("127.0.0.1", server.port))
        await loop.sock_sendall(question, packet)
        async with asyncio.timeout(timeout_s):
            return await loop.sock_recv(question, 4096)


def status(reply: bytes) -> int:
    """The reply's RCODE."""
    return reply[3] & 0x0F


def counts(reply: bytes) -> tuple[int, ...]:
    """How many answers, authorities and additional records a reply has."""
    return struct.unpack_from(">6H", reply)[3:]


def addresses(server: DnsServer, name: str) -> tuple[str, ...]:
    """What a client asking now would connect to."""
    return server.answer(name).addresses


async def test_cluster_name_is_alias_of_writer_with_short_ttl() -> None:
    """A question for the cluster gives the chain, alias and address."""
    async with serving() as server:
        reply = await asked(server, CLUSTER, A)

        assert (status(reply), counts(reply)) == (0, (2, 0, 0))
        assert server.answer(CLUSTER).ttl == 5
        assert reply.endswith(struct.pack(">IH", 5, 4) + b"\x7f\0\0\x01")


async def test_letter_case_does_not_matter_and_is_given_back() -> None:
    """Resolvers vary the case against spoofing and compare it."""
    async with serving() as server:
        reply = await asked(server, CLUSTER.upper(), A)

        assert counts(reply)[0] == 2
        assert b"CLUSTER-ABC123" in reply


async def test_question_for_alias_gives_only_the_alias() -> None:
    """A client learns the writer's endpoint so."""
    async with serving() as server:
        assert counts(await asked(server, CLUSTER, CNAME)) == (1, 0, 0)


async def test_unknown_name_and_missing_type_come_with_soa() -> None:
    """Without an SOA nobody may cache the refusal."""
    async with serving() as server:
        unknown, no_ipv6 = await asked(server, "nobody.aurora.test", A), await asked(server, WRITER, AAAA)

        assert (status(unknown), counts(unknown)) == (3, (0, 1, 0))
        assert (status(no_ipv6), counts(no_ipv6)) == (0, (0, 1, 0))


async def test_edns_is_tolerated() -> None:
    """c-ares asks with EDNS by default."""
    async with serving() as server:
        assert counts(await asked(server, CLUSTER, A, edns=True)) == (2, 0, 1)


async def test_several_addresses_take_turns() -> None:
    """The reader endpoint gives another instance at each question."""
    async with serving() as server:
        server.set_addresses("ro.aurora.test", ["127.0.0.2", "127.0.0.3"])
        server.set_alias("one.aurora.test", ["a.aurora.test", WRITER])

        assert addresses(server, "ro.aurora.test") == ("127.0.0.2", "127.0.0.3")
        assert addresses(server, "ro.aurora.test") == ("127.0.0.3", "127.0.0.2")
        assert [addresses(server, "one.aurora.test") for _ in range(3)] == [(), ("127.0.0.1",), ()]


async def test_questions_for_other_kinds_take_no_turn() -> None:
    """Clients ask for A and AAAA at once: of two readers they would see one for ever."""
    async with serving() as server:
        server.set_alias("one.aurora.test", ["a.aurora.test", "b.aurora.test"])
        server.set_address("a.aurora.test", "127.0.0.2")
        server.set_address("b.aurora.test", "127.0.0.3")
        replies = []
        for _ in range(4):
            replies.append(await asked(server, "one.aurora.test", A))
            await asked(server, "one.aurora.test", AAAA)

        assert [reply[-1] for reply in replies] == [2, 3, 2, 3]


async def test_every_fault_shows_and_heals() -> None:
    """Faults are one call each, and heal undoes all of them."""
    async with serving() as server:
        for fault, expected in (
            (server.servfail, Status.SERVFAIL),
            (server.refused, Status.REFUSED),
            (server.nxdomain, Status.NXDOMAIN),
        ):
            fault(CLUSTER)
            assert status(await asked(server, CLUSTER, A)) == expected
            assert status(await asked(server, WRITER, A)) == 0
            server.heal()
        server.lie(CLUSTER, "127.0.0.9")
        assert addresses(server, CLUSTER) == ("127.0.0.9",)
        server.heal(CLUSTER)

        assert addresses(server, CLUSTER) == ("127.0.0.1",)


async def test_frozen_name_keeps_its_old_answer() -> None:
    """The zone's change arrives late, which is what sends clients to the old writer."""
    async with serving() as server:
        server.set_address("db-2.abc123.aurora.test", "127.0.0.2")
        server.freeze(CLUSTER)
        server.set_alias(CLUSTER, "db-2.abc123.aurora.test")
        before = addresses(server, CLUSTER)
        server.heal()

        assert (before, addresses(server, CLUSTER)) == (("127.0.0.1",), ("127.0.0.2",))


async def test_dropped_question_is_logged_and_not_answered() -> None:
    """Silence is the fault that costs a client its whole timeout."""
    async with serving() as server:
        server.drop()
        with pytest.raises(TimeoutError):
            await asked(server, CLUSTER, A, timeout_s=0.1)

        assert [(query.name, query.kind) for query in server.queries] == [(CLUSTER, "A")]


async def test_delayed_answer_comes_after_its_delay() -> None:
    """The delay is the loop's time."""
    async with serving() as server:
        loop = asyncio.get_running_loop()
        server.delay(0.05)
        started = loop.time()
        await asked(server, CLUSTER, A)

        assert loop.time() - started >= 0.05


async def test_noise_is_ignored() -> None:
    """A stray datagram neither answers nor stops the server."""
    async with serving() as server:
        for noise in (b"", b"\0" * 5, b"\xff" * 40, b"\0" * 12):
            server.receive(noise, ("127.0.0.1", 9))

        assert server.queries == []
        assert status(await asked(server, CLUSTER, A)) == 0


async def test_faults_of_names_are_in_the_timeline() -> None:
    """Everything that happened is."""
    timeline = Timeline()
    server = DnsServer(timeline=timeline)
    server.set_address(WRITER, "127.0.0.1")

    server.heal()
    server.drop()
    server.servfail(WRITER)
    server.refused()
    server.nxdomain()
    server.delay(0.5)
    server.lie(WRITER, "127.0.0.9")
    server.freeze(WRITER)
    server.heal()

    assert [(entry.kind, *entry.detail.values()) for entry in timeline] == [
        ("fault", "dns_drop", ()),
        ("fault", "dns_servfail", (WRITER,)),
        ("fault", "dns_refused", ()),
        ("fault", "dns_nxdomain", ()),
        ("fault", "dns_delay", 0.5),
        ("fault", "dns_lie", (WRITER,), "127.0.0.9"),
        ("fault", "dns_freeze", (WRITER,)),
        ("dns_healed", ()),
    ]
