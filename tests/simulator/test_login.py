"""Logging in to a simulated instance: who gets in, how, and what the server remembers."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from aioaurora.config import from_kwargs, from_url
from aioaurora.simulator import SimulatedCluster, SimulatorError
from aioaurora.simulator.wire import Greeting, LoginRequest, error_packet, parsed_error
from tests.simulator.plain_client import ask, close_all, dialled, errno

SHA2 = "caching_sha2_password"


@pytest.fixture
async def started():
    """Start clusters with the options given; they end with the test."""
    running = []

    async def start(**options):
        sim = SimulatedCluster(2, engine="memory", **options)
        running.append(sim)
        return await sim.__aenter__()

    yield start
    close_all()
    for sim in running:
        await sim.__aexit__(None, None, None)


def trusting(sim):
    """A context that knows the cluster's authority, and dials addresses."""
    context = ssl.create_default_context(cafile=sim.ca_file)
    context.check_hostname = False
    return context


@pytest.mark.parametrize("auth", ["mysql_native_password", SHA2])
@pytest.mark.parametrize("tls", [False, True])
async def test_the_right_password_gets_in_and_a_wrong_one_does_not(started, auth, tls):
    """1045 in MySQL's words."""
    sim = await started(auth=auth, tls=tls)
    options = {"ssl": trusting(sim)} if tls else {}

    assert await ask(await dialled(sim, sim.writer, **options), "SELECT CURRENT_USER()") == [("app@%",)]
    assert await errno(dialled(sim, sim.writer, password="wrong", **options)) == 1045
    assert await errno(dialled(sim, sim.writer, password="", **options)) == 1045
    assert await errno(dialled(sim, sim.writer, user="nobody", **options)) == 1045


async def test_the_sha2_cache_is_empty_after_every_start(started):
    """So every failover is a full authentication; case 56."""
    sim = await started(auth=SHA2)
    await dialled(sim, sim.writer)
    assert sim.writer.sha2_cache == {"app"}

    await sim.failover("crash", promote_after=0.5)

    assert sim.writer.sha2_cache == set()
    await dialled(sim, sim.writer)
    await dialled(sim, sim.writer)
    assert sim.writer.state.logins == 2


@pytest.mark.parametrize("plugin", ["mysql_native_password", SHA2])
async def test_accounts_have_plugins_of_their_own(started, plugin):
    """The server asks for another one than it greeted with."""
    sim = await started(auth=SHA2)
    sim.add_user("other", "another", plugin)

    await dialled(sim, sim.writer, user="other", password="another")


@pytest.mark.real_time
@pytest.mark.loops
@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_tls_lives_and_dies_on_every_loop(started, mode):
    """Closing, resetting and silencing an encrypted connection, on asyncio and uvloop."""
    sim = await started(tls=True, auth=SHA2)
    connection = await dialled(sim, sim.writer, ssl=trusting(sim))

    await sim.failover(mode, promote_after=0.1, returns_after=0.1)
    await sim.timeline.wait_for("returned", since=0)

    assert await errno(ask(connection, "SELECT 1")) == 2013
    await dialled(sim, sim.writer, ssl=trusting(sim))


async def test_a_token_is_asked_for_over_tls_only(started):
    """As RDS does for IAM; in the clear there is nothing but 1045; case 20."""
    sim = await started(tls=True)
    sim.add_user("iam", lambda token: token == "t0ken")

    await dialled(sim, sim.writer, user="iam", password="t0ken", ssl=trusting(sim))
    assert await errno(dialled(sim, sim.writer, user="iam", password="old", ssl=trusting(sim))) == 1045
    assert await errno(dialled(sim, sim.writer, user="iam", password="t0ken")) == 1045


async def test_tls_may_be_required(started):
    """From the start; names are then RDS's own."""
    sim = await started(tls="required")

    assert sim.endpoint == "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
    assert await errno(dialled(sim, sim.writer)) == 3159
    await dialled(sim, sim.writer, ssl=trusting(sim))


async def test_a_certificate_names_one_instance_and_the_endpoints(started):
    """As on RDS; case 55."""
    sim = await started(tls=True)
    connection = await dialled(sim, sim.writer, ssl=trusting(sim))
    certificate = connection._writer.get_extra_info("peercert")

    names = [value for _, value in certificate["subjectAltName"]]
    custom = "*.cluster-custom-abc123.us-east-1.rds.amazonaws.com"
    assert names == [sim.instance_endpoint("db-1"), sim.endpoint, sim.reader_endpoint, custom]


async def test_connection_ids_begin_at_one_on_each_instance(started):
    """KILL means the instance's session, whatever the engine calls it."""
    sim = await started()
    first, second = await dialled(sim, sim.writer), await dialled(sim, sim.writer)
    elsewhere = await dialled(sim, sim.readers[0])
    assert [each.thread_id() for each in (first, second, elsewhere)] == [1, 2, 1]
    assert await ask(second, "SELECT CONNECTION_ID()") == [(2,)]

    await ask(second, "KILL 1")

    assert await errno(ask(first, "SELECT 1")) in (2013, 1927, 1317)
    assert await ask(elsewhere, "SELECT 1") == [(1,)]


async def test_a_schema_that_is_unknown_is_refused(started):
    """The engine's own error comes through."""
    sim = await started()

    assert await errno(dialled(sim, sim.writer, db="nowhere")) == 1049


async def test_a_knock_tells_who_knocked(started):
    """Whether they got in or not; only who left before saying so is nobody."""
    sim = await started()
    await sim.deny_logins(5.0)
    for user in ("app", "nobody"):
        assert await errno(dialled(sim, sim.writer, user=user)) == 1045
    _, writer = await asyncio.open_connection(sim.writer.address, sim.writer.port)
    writer.close()
    await asyncio.sleep(0.1)

    assert [knock.user for knock in sim.writer.state.knocks] == ["app", "nobody", ""]


async def test_what_the_options_say_connects(started):
    """`connect_options` and `url` name the same place."""
    sim = await started()

    assert sim.url.startswith(f"mysql://app:secret@{sim.endpoint}:{sim.port}/shop?")
    assert from_url(sim.url) == from_kwargs(**sim.connect_options())
    assert sim.instance_pattern == "{id}.abc123.us-east-1.aurora.test"


async def test_an_engine_that_is_missing_says_what_to_do(monkeypatch):
    """Not a traceback from deep inside."""
    monkeypatch.setattr("aioaurora.simulator.mariadb.mariadbd_path", lambda: None)

    with pytest.raises(SimulatorError, match="apt-get install mariadb-server"):
        await SimulatedCluster(engine="mariadb").__aenter__()
    with pytest.raises(SimulatorError, match="dsn='mysql://"):
        SimulatedCluster(engine="dsn")


def test_a_greeting_survives_writing_and_reading():
    """Nonce and flags in the places that clients expect."""
    greeting = Greeting(
        version="8.0.39", thread_id=7, nonce=b"12345678abcdefghijkl", capabilities=0x01_81_FF_FF,
        collation=255, status=2, plugin=SHA2,
    )  # fmt: skip

    assert Greeting.parse(greeting.packed()[4:]) == greeting


def test_a_log_in_request_is_read():
    """User, schema, plugin and what the client says of itself."""
    attributes = b"\x0cprogram_name\x05drill"
    payload = (
        (0x0038_8209 | 8).to_bytes(4, "little") + bytes(4) + b"\x2d" + bytes(23)
        + b"app\0" + b"\x02ab" + b"shop\0" + b"mysql_native_password\0" + bytes([len(attributes)]) + attributes
    )  # fmt: skip

    request = LoginRequest.parse(payload)

    assert (request.user, request.auth, request.database) == ("app", b"ab", "shop")
    assert request.attributes == {"program_name": "drill"}


def test_an_error_packet_is_read_as_it_was_written():
    """Number, state, sentence."""
    assert parsed_error(error_packet(1, 1290, "no", "HY000")[4:]) == (1290, "HY000", "no")
