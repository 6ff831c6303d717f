"""Log-ins and sessions."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.contract.claims import holds
from tests.simulator.plain_client import ask, dialled, errno


@holds("certificates")
async def test_a_certificate_is_for_its_instance_and_the_cluster(start):
    """A client that dials an address verifies a name."""
    sim = await start(2, tls=True)
    writer, reader = sim.instances.values()
    context = ssl.create_default_context(cafile=sim.ca_file)

    for name in (writer.host, sim.endpoint, sim.reader_endpoint):
        assert await is_trusted(writer, context, name)
    assert not await is_trusted(writer, context, reader.host)
    assert not await is_trusted(writer, context, writer.address)


async def is_trusted(instance, context, name):
    """Ask an instance for TLS and verify its certificate against a name."""
    reader, writer = await asyncio.open_connection(instance.address, instance.port)
    try:
        head = await reader.readexactly(4)
        await reader.readexactly(int.from_bytes(head[:3], "little"))
        # Protocol 4.1, secure connection, TLS; nothing more is said before it is encrypted.
        request = (
            (0x0200 | 0x8000 | 0x0800).to_bytes(4, "little") + (1 << 24).to_bytes(4, "little") + b"\x2d" + b"\0" * 23
        )
        writer.write(len(request).to_bytes(3, "little") + b"\1" + request)
        await writer.start_tls(context, server_hostname=name)
    except ssl.SSLCertVerificationError:
        return False
    else:
        return True
    finally:
        writer.transport.abort()


@holds("sha2-cache")
async def test_the_cache_of_sha2_passwords_is_empty_after_a_start(start):
    """Every log-in right after a failover is a full one."""
    sim = await start(2, auth="caching_sha2_password")
    await dialled(sim, sim.writer)
    known_before = sim.user in sim.writer.sha2_cache
    await sim.failover("crash", promote_after=0.2)

    assert known_before
    assert sim.user not in sim.writer.sha2_cache
    assert await errno(dialled(sim, sim.writer)) is None
    assert sim.user in sim.writer.sha2_cache


@holds("too-many")
async def test_one_connection_too_many_is_told(sim):
    """In the place of a greeting."""
    await sim.limit_connections(2, "db-1")
    kept = [await dialled(sim, sim.writer) for _ in range(2)]

    assert await errno(dialled(sim, sim.writer)) == 1040
    assert await ask(kept[0], "SELECT 1") == [(1,)]
    await sim.heal()
    assert await errno(dialled(sim, sim.writer)) is None


@holds("reset-characters")
@pytest.mark.parametrize("variable", ["character_set_client", "character_set_results"])
async def test_a_reset_forgets_the_character_set(sim, variable):
    """Whoever resets a session has to say it again."""
    connection = await dialled(sim, sim.writer, charset="latin1")
    before = await ask(connection, f"SELECT @@{variable}")
    connection._next_seq_id = 1
    connection._writer.write(b"\x01\0\0\0\x1f")
    await connection._read_packet()

    assert before == [("latin1",)]
    assert await ask(connection, f"SELECT @@{variable}") == await sim.rows(f"SELECT @@global.{variable}")
