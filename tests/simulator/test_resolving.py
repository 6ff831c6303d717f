"""Other clients find the simulated names through socket.getaddrinfo."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from aioaurora.simulator.dns import DnsServer
from aioaurora.simulator.resolving import resolving

CLUSTER, WRITER, READER = "orders.cluster-abc.aurora.test", "db-1.abc.aurora.test", "db-2.abc.aurora.test"


def names() -> DnsServer:
    """A cluster of two whose server need not listen."""
    server = DnsServer()
    server.set_address(WRITER, "127.0.0.1")
    server.set_address(READER, "127.0.0.2")
    server.set_alias(CLUSTER, WRITER)
    return server


def found(name: str, **options: int) -> list[str]:
    """The addresses that a client would try."""
    return [entry[4][0] for entry in socket.getaddrinfo(name, 3306, type=socket.SOCK_STREAM, **options)]


def test_simulated_names_resolve_and_others_pass_through():
    """A client that knows nothing of the simulator connects by name."""
    before = socket.getaddrinfo
    with resolving(names()):
        assert found(CLUSTER) == ["127.0.0.1"]
        assert found(CLUSTER.upper() + ".") == ["127.0.0.1"]
        assert found("127.0.0.7") == ["127.0.0.7"]

    assert socket.getaddrinfo is before


def test_answer_is_kept_for_its_ttl():
    """After a failover the old writer's address is used until the TTL is over: the article's fault."""
    clock = [100.0]
    server = names()
    with resolving(server, now=lambda: clock[0]):
        assert found(CLUSTER) == ["127.0.0.1"]
        server.set_alias(CLUSTER, READER)
        clock[0] += 4.9
        assert found(CLUSTER) == ["127.0.0.1"]
        clock[0] += 0.2
        assert found(CLUSTER) == ["127.0.0.2"]


@pytest.mark.parametrize(
    ("fault", "code"), [("nxdomain", socket.EAI_NONAME), ("servfail", socket.EAI_AGAIN), ("drop", socket.EAI_AGAIN)]
)
def test_faults_are_the_library_s_errors(fault, code):
    """NXDOMAIN is final, anything else temporary, as in the C library."""
    server = names()
    getattr(server, fault)(CLUSTER)
    with resolving(server), pytest.raises(socket.gaierror) as caught:
        found(CLUSTER)

    assert caught.value.errno == code


def test_removed_name_and_other_families_are_not_found():
    """Nothing of the simulator's is asked of the real resolver, not even what is gone."""
    server = names()
    server.remove(READER)
    with resolving(server):
        for name, options in ((READER, {}), (WRITER, {"family": socket.AF_INET6})):
            with pytest.raises(socket.gaierror):
                found(name, **options)


def test_blocks_may_overlap():
    """Two clusters in one program may end in either order."""
    before = socket.getaddrinfo
    other = DnsServer()
    other.set_address("other.aurora.test", "127.0.0.9")
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    first.enter_context(resolving(names()))
    second.enter_context(resolving(other))
    first.close()

    assert found("other.aurora.test") == ["127.0.0.9"]
    second.close()
    assert socket.getaddrinfo is before


@pytest.mark.real_time
async def test_event_loop_s_threads_see_it_too():
    """loop.getaddrinfo, and with it create_connection, asks in a thread."""
    with resolving(names()):
        entries = await asyncio.get_running_loop().getaddrinfo(CLUSTER, 3306, type=socket.SOCK_STREAM)

    assert [entry[4] for entry in entries] == [("127.0.0.1", 3306)]
