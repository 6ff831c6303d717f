"""What a connect says that fails: who, where, and what was being waited for."""

from __future__ import annotations

import asyncio
import contextlib
import math

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors
from aioaurora._core.failover import InstanceLost, Late
from aioaurora._core.topology import Instance
from aioaurora._io.dial import Dial, Dismissed, Place, closed
from aioaurora._io.dialer import Dialer
from aioaurora.config import from_kwargs
from aioaurora.credentials import NO_PASSWORD, CredentialCache
from aioaurora.errors import ConnectTimeout
from tests.io.scripted_server import err as refusal

PLACE, INSTANCE = Place("db-1.test", 3306), Instance(id="db-1", host="db-1.test", port=3306)


@contextlib.asynccontextmanager
async def peer(says=b"", *, then_waits=False):
    """Listen, say that much, and hang up or be silent."""
    held = []

    async def met(reader, writer):
        writer.write(says)
        if then_waits:
            held.append(writer)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()
        await server.wait_closed()


async def failure_at(port, **options):
    """What connecting there raises."""
    with pytest.raises((err.MySQLError, OSError)) as caught:
        await aioaurora.connect(host="127.0.0.1", port=port, user="app", connect_timeout=1.0, **options)
    return caught.value


@pytest.mark.parametrize("follow", ["on", "off"])
async def test_who_never_greets_is_named_with_what_was_waited_for(follow):
    """Within `connect_timeout`."""
    began_at = asyncio.get_running_loop().time()
    async with peer(then_waits=True) as port:
        error = await failure_at(port, follow=follow)

    assert isinstance(error, errors.ConnectTimeout)
    assert error.phase == "greeting"
    assert asyncio.get_running_loop().time() - began_at == pytest.approx(1.0, abs=0.05)


async def test_a_shorter_time_out_is_kept():
    """The caller's own."""
    async with peer(then_waits=True) as port:
        cluster = aioaurora.Cluster(host="127.0.0.1", port=port, user="app", connect_timeout=3.0)
        began_at = asyncio.get_running_loop().time()
        with pytest.raises(errors.ConnectTimeout, match=r"within 0\.5 s"):
            await cluster.connect(timeout=0.5)
        assert asyncio.get_running_loop().time() - began_at == pytest.approx(0.5, abs=0.01)
        await cluster.close()


async def test_who_hangs_up_is_named():
    """Not "during query": nothing was asked."""
    async with peer() as port:
        error = await failure_at(port)

    assert isinstance(error, err.OperationalError)
    assert str(error.args[1]) == f"127.0.0.1:{port} hung up while we waited for greeting"


@pytest.mark.parametrize("says", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_who_speaks_another_protocol_is_named(says):
    """Somebody has the wrong port."""
    async with peer(says) as port:
        error = await failure_at(port)

    assert isinstance(error, err.InternalError | err.OperationalError)
    assert f"127.0.0.1:{port}" in str(error)


async def test_an_empty_packet_is_an_error_of_the_database():
    """IndexError would pass by whoever catches those."""
    async with peer(b"\x00\x00\x00\x00", then_waits=True) as port:
        error = await failure_at(port)

    assert isinstance(error, err.MySQLError)


async def test_what_the_server_says_itself_is_kept():
    """With a note of where that was."""
    told = refusal(1040, "Too many connections")
    async with peer(len(told).to_bytes(3, "little") + b"\0" + told) as port:
        error = await failure_at(port)

    assert error.args[0] == 1040
    assert any(f"127.0.0.1:{port}" in note for note in error.__notes__)


async def test_a_socket_that_is_not_there_is_named(tmp_path):
    """By its path."""
    path = str(tmp_path / "no.sock")
    with pytest.raises(err.OperationalError, match=r"no\.sock.*socket"):
        await aioaurora.connect(unix_socket=path, user="app")


# --- turns ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dialer(resolver, dns):
    """A dialer that lets one connect at a time, which looks its address up for ever."""
    dns.hang()
    config = from_kwargs(host="orders.test", max_connecting=1)
    return Dialer(config, resolver, CredentialCache(NO_PASSWORD))


async def begun(dialer, place):
    """A connect that has its turn."""
    return await dialer.in_turn(place, dialer.bare, deadline=math.inf)


async def test_a_place_is_forgotten_once_nobody_connects_there(dialer):
    """Its instance is no longer part of the cluster."""
    place = Place("db-1.test", 3306)
    dial = await begun(dialer, place)
    dialer.turns.keep(set())
    were_kept = set(dialer.turns._limiters)

    dial.leave()
    await asyncio.sleep(0.1)
    dialer.turns.keep(set())

    assert were_kept == {place}
    assert (dialer.turns._limiters, dialer.turns._ramps, dialer.turns._aims) == ({}, {}, {})


async def test_who_waits_is_sent_away_when_the_instance_is_no_longer_what_it_was(dialer):
    """Who has the turn, and who waits for it; the turn is free for who comes then."""
    place, other = Place("db-1.test", 3306), Place("db-2.test", 3306)

    async def connected(to):
        return await (await begun(dialer, to)).wait()

    waiting = [asyncio.create_task(connected(to)) for to in (place, place, other)]
    await asyncio.sleep(0.1)
    dialer.turns.disperse(place)
    await asyncio.sleep(0.1)
    third = await asyncio.wait_for(begun(dialer, place), 1)

    assert [task.done() and type(task.exception()) for task in waiting] == [Dismissed, Dismissed, False]
    assert third.task in dialer._tasks
    await dialer.close()
    await asyncio.wait(waiting[2:])
    assert (dialer.turns._aims, str(waiting[2].exception())) == ({}, str(closed(other.host)))


async def test_who_waits_for_a_turn_keeps_the_limit(dialer):
    """Were it forgotten under them, those who come later would not wait for them."""
    place = Place("db-1.test", 3306)
    first = await begun(dialer, place)
    second = asyncio.create_task(begun(dialer, place))
    await asyncio.sleep(0.1)

    dialer.turns.keep(set())
    first.leave()
    await asyncio.sleep(0.1)
    dialer.turns.keep(set())
    third = asyncio.create_task(begun(dialer, place))
    await asyncio.sleep(0.1)

    assert [second.done(), third.done()] == [True, False]
    third.cancel()
    await dialer.close()


async def test_a_place_to_keep_stays_restrained():
    """What was learned of an instance is true for as long as it is there."""
    place = Place("db-1.test", 3306)
    dialer = Dialer(from_kwargs(host="orders.test", max_connecting=4), None, CredentialCache(NO_PASSWORD))
    dialer.turns.restrain(place)

    dialer.turns.keep({place})

    assert dialer.turns._limiters[place].total_tokens == 1


# --- what a failure tells -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "heard_after_s", "news"),
    [
        ("tcp", None, InstanceLost),  # Nobody acknowledges.
        ("greeting", None, Late),  # Somebody does, and may be stalled (case 53).
        ("tls", None, None),  # It lets in one after the other (case 26).
        ("login", None, None),
        ("role check", None, Late),
        ("greeting", -0.1, Late),
        ("tcp", 1.0, None),  # It says something meanwhile: it is slow.
        ("role check", 1.0, None),
        ("dns", None, None),
    ],
)
async def test_a_time_out_tells_of_the_instance_what_it_proves(phase, heard_after_s, news):
    """A swamped one must not lose what it has; one that is gone must be written off."""
    dial = Dial(PLACE, 1e9, is_hurried=False)
    dial.own_phase = phase
    heard_at = -math.inf if heard_after_s is None else dial.started_at + heard_after_s
    await asyncio.sleep(3)

    told = dial.news(ConnectTimeout("db-1", phase=phase, waited_s=3.0), INSTANCE, heard_at=heard_at)

    assert type(told) is (news or type(None))


async def test_a_refusal_tells_that_the_instance_is_lost_whatever_was_heard():
    """It has just begun to refuse."""
    dial = Dial(PLACE, 1e9, is_hurried=False)

    told = dial.news(err.OperationalError(2003, "refused"), INSTANCE, heard_at=dial.started_at + 1)

    assert told == InstanceLost("db-1", 0, "refused")
