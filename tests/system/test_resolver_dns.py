"""The resolver with the real aiodns, against DNS servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import threading
import time

import pytest

from aioaurora._io.dns import NameServers, SystemResolver
from aioaurora._io.resolver import ResolveError, Resolver, UnknownHost
from aioaurora.events import DnsStale
from aioaurora.simulator.dns import DnsServer
from tests.ticker import undisturbed_s

CLUSTER = "orders.cluster-abc123.aurora.test"
READERS = "orders.cluster-ro-abc123.aurora.test"
WRITER, OTHER = "db-1.abc123.aurora.test", "db-2.abc123.aurora.test"


@pytest.fixture
async def dns():
    """An authority for one cluster."""
    server = DnsServer()
    await server.start()
    server.set_address(WRITER, "127.0.0.1")
    server.set_address(OTHER, "127.0.0.2")
    server.set_alias(CLUSTER, WRITER)
    yield server
    await server.stop()


@pytest.fixture
def heard():
    """Events, as they come."""
    return []


@pytest.fixture
async def resolver(dns, heard):
    """A resolver that asks it."""
    made = Resolver(nameservers=(at(dns),), emit=heard.append, max_ttl=0.0)
    yield made
    await made.close()


def at(server):
    """As `nameservers` takes it."""
    return f"127.0.0.1:{server.port}"


async def ask(resolver, host=CLUSTER, *, within=3.0):
    """Addresses and seconds."""
    start = undisturbed_s()
    addresses = await resolver.resolve(host, 3306, deadline=asyncio.get_running_loop().time() + within)
    return addresses, undisturbed_s() - start


def threads():
    """Threads of this process, c-ares' own included."""
    return len(list(pathlib.Path("/proc/self/task").iterdir()))


@pytest.mark.loops
async def test_alias_is_followed(resolver, dns):
    """The address of the writer, the name of the writer, and one question for each family."""
    deadline = asyncio.get_running_loop().time() + 3.0

    assert (await ask(resolver))[0] == ("127.0.0.1",)
    assert await resolver.canonical(CLUSTER, deadline=deadline) == WRITER
    assert await resolver.canonical(WRITER, deadline=deadline) is None
    assert sorted(query.kind for query in dns.queries if query.name == CLUSTER)[:2] == sorted(
        {query.kind for query in dns.queries}
    )


async def test_answer_says_how_long_it_lives():
    """The shortest TTL of the chain."""
    server = DnsServer()
    await server.start()
    server.set_alias(CLUSTER, WRITER, ttl=5)
    server.set_address(WRITER, "127.0.0.1", ttl=60)
    source = NameServers((at(server),))
    try:
        answer = await source.ask(CLUSTER)
    finally:
        await source.close()
        await server.stop()

    assert (answer.addresses, answer.ttl_s, answer.chain) == (("127.0.0.1",), 5.0, (WRITER,))


async def test_flush_goes_past_the_cache_of_c_ares(resolver, dns):
    """Which keeps an answer for its TTL and cannot be told not to."""
    await ask(resolver)
    dns.set_alias(CLUSTER, OTHER)

    kept = (await ask(resolver))[0]
    resolver.flush()

    assert kept == ("127.0.0.1",)
    assert (await ask(resolver))[0] == ("127.0.0.2",)


async def test_flush_leaves_open_questions_alone(resolver, dns):
    """Who waits gets the answer, and the old channel is ended afterwards."""
    dns.delay(0.2)
    waiting = asyncio.create_task(ask(resolver))
    await asyncio.sleep(0.05)

    resolver.flush()
    answers = await asyncio.gather(waiting, ask(resolver, WRITER))

    assert [addresses for addresses, _ in answers] == [("127.0.0.1",), ("127.0.0.1",)]


async def test_unknown_name_is_told_from_a_failure(resolver, dns):
    """NXDOMAIN is an answer; SERVFAIL and REFUSED are none."""
    dns.servfail(WRITER)
    dns.refused(OTHER)

    with pytest.raises(UnknownHost):
        await ask(resolver, "nobody.aurora.test")
    for host in (WRITER, OTHER):
        with pytest.raises(ResolveError) as failed:
            await ask(resolver, host)
        assert not isinstance(failed.value, UnknownHost)


async def test_alias_of_nothing_is_unknown(resolver, dns):
    """The name exists, and leads nowhere: an instance that was removed."""
    dns.remove(WRITER)

    with pytest.raises(UnknownHost):
        await ask(resolver, CLUSTER)


async def test_name_that_cannot_be_one_is_unknown(resolver):
    """A label of 64."""
    with pytest.raises(UnknownHost):
        await ask(resolver, f"{'a' * 64}.test")


async def test_dead_server_costs_less_than_a_second_before_the_next_is_asked(dns):
    """Once; then the one that answers is asked first."""
    with dead_server() as dead:
        resolver = Resolver(nameservers=(dead, at(dns)), emit=print, max_ttl=0.0)
        try:
            first = await ask(resolver)
            resolver_again = await ask(resolver, WRITER)
        finally:
            await resolver.close()

    assert first[0] == resolver_again[0] == ("127.0.0.1",)
    assert first[1] < 0.9
    assert resolver_again[1] < 0.9


async def test_silent_server_ends_at_the_deadline(resolver, dns):
    """Not after the eight seconds that c-ares takes by default."""
    dns.drop()

    start = time.monotonic()
    with pytest.raises(ResolveError, match="no answer"):
        await ask(resolver, within=0.5)
    assert time.monotonic() - start < 0.8


async def test_silent_server_gives_up_within_three_seconds(resolver, dns):
    """So that what comes next has its turn before a caller's patience ends."""
    dns.drop()

    start = time.monotonic()
    with pytest.raises(ResolveError):
        await ask(resolver, within=10.0)
    assert time.monotonic() - start < 3.5


async def test_older_answer_is_used_when_servers_are_silent(resolver, dns, heard):
    """After half a second."""
    await ask(resolver)
    dns.drop()
    resolver.flush()

    addresses, took_s = await ask(resolver)

    assert addresses == ("127.0.0.1",)
    assert took_s < 0.8
    assert [type(event) for event in heard] == [DnsStale]


async def test_address_and_alias_are_of_one_answer(resolver, dns):
    """The reader endpoint names another instance in each answer, and the two families have one each."""
    dns.set_alias(READERS, [WRITER, OTHER, "db-3.abc123.aurora.test"], ttl=0)
    dns.set_address("db-3.abc123.aurora.test", "127.0.0.3")
    source = NameServers((at(dns),))
    try:
        answers = [await source.ask(READERS) for _ in range(8)]
    finally:
        await source.close()

    assert {answer.chain[0][3]: answer.addresses for answer in answers} == {
        number: (f"127.0.0.{number}",) for number in "123"
    }


@pytest.mark.loops
async def test_a_thousand_searches_leave_nothing_behind(dns):
    """Each flush ends a thread of c-ares, and its sockets."""
    before = threads()
    resolver = Resolver(nameservers=(at(dns),), emit=print, max_ttl=0.0)

    for number in range(1000):
        resolver.flush(force=True)
        if number % 10 == 0:
            await ask(resolver)
    open_ = threads()
    await resolver.close()
    async with asyncio.timeout(5):
        while threads() > before + 1:  # pycares keeps one thread for what it destroys.
            await asyncio.sleep(0.05)

    assert open_ <= before + 50  # pycares ends them in a thread of its own, a moment later.


async def test_closing_with_questions_open(dns):
    """Nothing calls into a loop that is closed."""
    dns.drop()
    resolver = Resolver(nameservers=(at(dns),), emit=print)
    waiting = asyncio.create_task(ask(resolver))
    await asyncio.sleep(0.05)

    await resolver.close()

    with pytest.raises(ResolveError, match="closed"):
        await waiting


@pytest.mark.loops
async def test_system_knows_this_machine():
    """The hosts file, through getaddrinfo."""
    answer = await SystemResolver().ask("localhost")

    assert "127.0.0.1" in answer.addresses


async def test_label_that_is_too_long_is_unknown_to_the_system_too():
    """Python refuses to encode it."""
    with pytest.raises(UnknownHost):
        await SystemResolver().ask("a" * 64)


def test_program_ends_at_once_though_the_system_is_still_looking(monkeypatch):
    """A loop's own threads are waited for at its end; a dead DNS server would hold up the whole program."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10) and [])

    async def main():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await SystemResolver().ask("db")

    start = time.monotonic()
    asyncio.run(main())
    took_s = time.monotonic() - start
    release.set()

    assert took_s < 2.0


@contextlib.contextmanager
def dead_server():
    """An address where nobody answers, and nobody refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{silent.getsockname()[1]}"
