"""The simulator's certificates: verified by name, one per instance, no key left behind."""

from __future__ import annotations

import asyncio
import pathlib
import ssl
import stat
import sys

import pytest

from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.tls import Authority

WRITER, READER, CLUSTER = "db-1.abc.aurora.test", "db-2.abc.aurora.test", "orders.cluster-abc.aurora.test"


async def shake_hands(authority: Authority, *, names: list[str], expected: str) -> str:
    """A handshake over loopback with a server of `names` by a client that expects one; the protocol's version."""
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.context_for(names))
    async with server:
        port = server.sockets[0].getsockname()[1]
        context = ssl.create_default_context(cafile=authority.ca_file)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=expected)
        version = writer.get_extra_info("ssl_object").version()
        writer.close()
        await served.wait()
        await writer.wait_closed()
    return str(version)


@pytest.mark.real_time
@pytest.mark.parametrize("expected", [WRITER, CLUSTER])
async def test_certificate_is_for_every_name_of_its_instance(expected):
    """As on RDS an instance's certificate names the cluster endpoint too (case 55)."""
    with Authority() as authority:
        assert await shake_hands(authority, names=[WRITER, CLUSTER], expected=expected) == "TLSv1.3"


@pytest.mark.real_time
async def test_certificate_of_another_instance_is_refused():
    """What names db-1 does not speak for db-2 (case 20)."""
    with Authority() as authority, pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        await shake_hands(authority, names=[WRITER, CLUSTER], expected=READER)


def test_no_key_is_left_and_nobody_else_may_look():
    """The directory is ours alone, holds the authority's certificate only, and goes with the authority."""
    authority = Authority()
    authority.context_for([WRITER])
    directory = pathlib.Path(authority.ca_file).parent

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in directory.iterdir()] == ["ca.pem"]
    assert b"PRIVATE" not in pathlib.Path(authority.ca_file).read_bytes()
    authority.close()
    assert not directory.exists()


def test_missing_cryptography_says_what_to_install(monkeypatch):
    """The extra is named, not a module of somebody else's."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "aioaurora.simulator.certificates", raising=False)

    with pytest.raises(SimulatorError, match=r"aioaurora\[simulator\]"):
        Authority()
