"""How a session begins, what it never shows to a server, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import os
import socket
import ssl
import struct
import sys
import time

import pytest
import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pymysql import err

from aioaurora import errors
from aioaurora._io.session import Session
from tests.io.scripted_server import AUTOCOMMIT, IN_TRANS, MORE, SALT, ScriptedServer, hang_up, ok, rows, silence
from tests.io.scripted_server import err as refusal

SECRET = "IAM-TOKEN-p\u00e4ss"
NAME = "orders.cluster-abc.local.test"


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority):
    """What the server encrypts with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority):
    """What we verify with."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def session_to(server, **keywords):
    """Give a session that is not open yet."""
    defaults = {"host": NAME, "address": "127.0.0.1", "port": server.port, "user": "app", "password": SECRET}
    return Session(**defaults | {"autocommit": None} | keywords)


@contextlib.asynccontextmanager
async def opened(server, **keywords):
    """Give an open session."""
    session = session_to(server, **keywords)
    await session.open()
    try:
        yield session
    finally:
        session.close()


def sent(server):
    """All bytes that the server has seen."""
    return bytes(server.raw)


# --- opening --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names of Linux")
async def test_the_socket_is_set_for_dead_hosts():
    """Keep-alive for idle connections, TCP_USER_TIMEOUT for those that wait."""
    async with ScriptedServer() as server, opened(server) as session:
        sock = session._writer.get_extra_info("socket")

        names = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        options = [getattr(socket, name) for name in names]
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [1, 60, 10, 3, 30000]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


@pytest.mark.parametrize("errno", [1040, 1129, 1130, 1203])
@pytest.mark.parametrize("sequence", [0, 1])
async def test_an_error_before_the_greeting_is_raised_as_it_is(errno, sequence):
    """Whatever number its packet has: the real error must not be hidden."""
    payload = b"\xff" + struct.pack("<H", errno) + b"Too many connections"
    greets = len(payload).to_bytes(3, "little") + bytes([sequence]) + payload
    async with ScriptedServer(greets=greets) as server:
        with pytest.raises(err.OperationalError, match="Too many connections") as caught:
            await session_to(server).open()

    assert caught.value.args[0] == errno


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"\x03\0\0\0\x0a8.", b"\x05\0\0\0\x09abc\0"])
async def test_what_is_not_mysql_is_named_so(greeting):
    """A port of something else must not end in a riddle."""
    async with ScriptedServer(greets=greeting) as server:
        with pytest.raises((err.InternalError, err.OperationalError)):
            async with asyncio.timeout(3):
                await session_to(server).open()


async def test_every_wait_of_a_connect_says_what_it_waits_for():
    """The dialer tells its caller (one deadline over all)."""

    async def phase_when_stuck(server, **keywords):
        session = session_to(server, **keywords)

        async def connect():
            async with asyncio.timeout(1):
                await session.open()
                await session.declare("SELECT @@innodb_read_only")

        with pytest.raises(TimeoutError):
            await connect()
        return session.phase, session.closed

    async with ScriptedServer(greets=False) as server:
        assert await phase_when_stuck(server) == ("greeting", True)
    async with ScriptedServer(claims_tls=True, login=silence) as server:
        assert await phase_when_stuck(server, tls=ssl.create_default_context()) == ("tls", True)
    async with ScriptedServer(login=silence) as server:
        assert await phase_when_stuck(server) == ("login", True)
    async with ScriptedServer({"SELECT": silence}) as server:
        assert await phase_when_stuck(server) == ("role check", True)


async def test_connect_timeout_covers_everything():
    """The one of aiomysql covers TCP only: it waits for a greeting for ever."""
    async with ScriptedServer(greets=False) as server:
        session = session_to(server, connect_timeout=2.0)

        with pytest.raises(errors.ConnectTimeout, match="greeting") as caught:
            await session._connect()

    assert (caught.value.phase, caught.value.waited_s) == ("greeting", 2.0)


async def test_one_packet_declares_a_session_and_asks_for_the_role():
    """One round trip more than a plain log-in, whatever is to be set."""
    answers = {"SET sql_mode": [*[ok(AUTOCOMMIT | MORE)] * 4, *rows(("0", "1", "db-1"))]}
    keywords = {"sql_mode": "'ANSI'", "init_command": "SET @x = 1;", "autocommit": False}
    async with ScriptedServer(answers) as server, opened(server, **keywords) as session:
        row = await session.declare("SELECT @@innodb_read_only, @@read_only, @@aurora_server_id")

        assert row == ("0", "1", "db-1")
        (said,) = server.statements
        assert [part.strip() for part in said.split(";")] == [
            "SET sql_mode='ANSI'", "SET @x = 1", "COMMIT", "SET AUTOCOMMIT = 0",
            "SELECT @@innodb_read_only, @@read_only, @@aurora_server_id",
        ]  # fmt: skip
        assert session.phase == "ready"


async def test_nothing_is_sent_where_nothing_is_to_be_said():
    """The server is in the wanted mode already."""
    async with ScriptedServer() as server, opened(server, autocommit=True) as session:
        assert await session.declare(None) is None

        assert server.statements == []


async def test_an_unknown_variable_leaves_the_session_open_and_declared():
    """A server without `aurora_server_id` is asked otherwise; nothing is said twice."""

    async def answer(guest):
        guest.send(ok(MORE), refusal(1193, "Unknown system variable"))

    answers = {"SET AUTOCOMMIT": answer, "SELECT": rows(("0", "0", None))}
    async with ScriptedServer(answers) as server, opened(server, autocommit=False) as session:
        with pytest.raises(err.OperationalError) as caught:
            await session.declare("SELECT @@aurora_server_id")
        assert caught.value.args[0] == 1193

        assert await session.declare("SELECT @@innodb_read_only, @@read_only, NULL") == ("0", "0", None)
        assert server.statements[1] == "SELECT @@innodb_read_only, @@read_only, NULL"


# --- TLS and passwords ----------------------------------------------------------------------------------------------


async def test_tls_verifies_the_name_though_an_address_is_dialled(server_tls, client_tls):
    """The endpoint's name stands in the certificate; the address does not."""
    async with ScriptedServer(tls=server_tls) as server, opened(server, tls=client_tls) as session:
        assert session._writer.get_extra_info("ssl_object") is not None
        assert await session.query("SELECT 1") == 0


async def test_another_name_is_refused(server_tls, client_tls):
    """Nothing but the request for TLS has left."""
    async with ScriptedServer(tls=server_tls) as server:
        with pytest.raises(err.OperationalError, match="certificate") as caught:
            await session_to(server, host="other.test", tls=client_tls).open()

    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    assert b"app" not in sent(server)


async def test_a_server_that_hides_tls_gets_nothing(client_tls):
    """Neither the user's name nor a proof of the password (2026)."""
    async with ScriptedServer() as server:
        with pytest.raises(err.OperationalError, match="does not offer TLS") as caught:
            await session_to(server, tls=client_tls).open()
        await asyncio.sleep(0.1)

        assert caught.value.args[0] == 2026
        assert sent(server) == b""


async def test_tls_may_be_optional(client_tls):
    """Only where it was said so."""
    async with ScriptedServer() as server, opened(server, tls=client_tls, require_tls=False) as session:
        assert session._writer.get_extra_info("ssl_object") is None


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"mysql_old_password", b""])
async def test_a_server_that_asks_for_the_password_in_clear_gets_nothing(plugin):
    """A man in the middle needs no more than to ask."""

    async def ask(guest):
        guest.send(b"\xfe" + (plugin + b"\0" + SALT + b"\0" if plugin else b""))
        guest.server.received.append(await guest.read())

    async with ScriptedServer(login=ask) as server:
        with pytest.raises(err.OperationalError, match="refused without TLS") as caught:
            await session_to(server, password="IAM-TOKEN").open()
        await asyncio.sleep(0.1)

        assert caught.value.args[0] == 2061
        assert b"IAM-TOKEN" not in sent(server)
        assert len(server.received) == 1


async def test_the_password_is_not_volunteered_in_clear():
    """`auth_plugin` names what RDS wants for tokens: over TLS only."""
    async with ScriptedServer() as server:
        with pytest.raises(err.OperationalError, match="refused without TLS"):
            await session_to(server, auth_plugin="mysql_clear_password", password="IAM-TOKEN").open()
        await asyncio.sleep(0.1)

        assert sent(server) == b""


async def test_a_token_goes_over_tls(server_tls, client_tls):
    """As RDS' authentication by IAM wants it."""

    async def ask(guest):
        guest.send(b"\xfemysql_clear_password\0")
        guest.server.received.append(await guest.read())
        guest.send(ok())

    async with ScriptedServer(tls=server_tls, login=ask) as server:
        async with opened(server, tls=client_tls, password="IAM-TOKEN"):
            pass

        assert server.received[1] == b"IAM-TOKEN\0"


def caching_sha2(*, switch, full, key=None):
    """Log in as MySQL 8 does, from its cache or in full."""

    async def login(guest):
        salt = SALT
        if switch:
            salt = b"abcdefgh12345678ijkl"
            guest.send(b"\xfecaching_sha2_password\0" + salt + b"\0")
            proof = await guest.read()
        else:
            proof = guest.server.received[0].split(b"app\0", 1)[1][1:33]
        password = SECRET.encode("latin-1")
        stage = hashlib.sha256(hashlib.sha256(password).digest()).digest()
        mask = hashlib.sha256(stage + salt).digest()
        assert bytes(a ^ b for a, b in zip(proof, mask, strict=True)) == hashlib.sha256(password).digest()
        if full:
            guest.send(b"\x01\x04")
            answer = await guest.read()
            if answer == b"\x02":
                pem = key.public_key().public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
                guest.send(b"\x01" + pem)
                oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
                plain = key.decrypt(await guest.read(), oaep)
                answer = bytes(b ^ salt[n % 20] for n, b in enumerate(plain))
            assert answer == password + b"\0"
        else:
            guest.send(b"\x01\x03")
        guest.send(ok(AUTOCOMMIT | IN_TRANS))

    return login


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("switch", [False, True])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_caching_sha2_password_works_in_full_and_from_the_cache(switch, full, encrypted, server_tls, client_tls):
    """After every restart a server's cache is empty: each failover is a full authentication (case 56)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048) if full and not encrypted else None
    login = caching_sha2(switch=switch, full=full, key=key)
    plugin = b"mysql_native_password" if switch else b"caching_sha2_password"
    tls = server_tls if encrypted else None
    async with ScriptedServer(tls=tls, login=login, plugin=plugin) as server:
        async with opened(server, tls=client_tls if encrypted else None) as session:
            assert session.is_in_transaction  # The last packet of the log-in has the status.

        assert encrypted or SECRET.encode("latin-1") not in sent(server)


async def test_a_wrong_password_is_the_servers_own_error():
    """1045 passes as it is."""
    async with ScriptedServer(login=[refusal(1045, "Access denied")]) as server:
        with pytest.raises(err.OperationalError) as caught:
            await session_to(server).open()

    assert caught.value.args == (1045, "Access denied")


async def test_the_password_shows_nowhere():
    """Not in what an error, a repr or a debugger's list of attributes shows."""
    session = Session(host="127.0.0.1", user="app", password="\u20ac-secret")

    assert "secret" not in repr(vars(session)) + repr(session)
    assert session._password.encode("latin-1") == "\u20ac-secret".encode()


# --- its end --------------------------------------------------------------------------------------------------------


async def test_close_says_goodbye_without_waiting():
    """Servers count connections that were cut as aborted."""
    async with ScriptedServer() as server, opened(server) as session:
        session.close()
        await asyncio.sleep(0.1)

        assert server.received[-1] == b"\x01"
        assert session.closed


@pytest.mark.parametrize("encrypted", [False, True])
async def test_closing_never_waits_for_a_dead_peer(encrypted, server_tls, client_tls):
    """The one of aiomysql waits 30 s under TLS, and for ever with bytes unsent (case 32)."""
    tls = server_tls if encrypted else None
    async with ScriptedServer({"INSERT": silence}, tls=tls) as server:
        for end in ("close", "ensure_closed"):
            session = session_to(server, tls=client_tls if encrypted else None)
            await session.open()
            server.guests[-1].writer.transport.pause_reading()
            session._writer.write(b"x" * 14_000_000)
            transport = session._pipe._socket_transport
            begun = asyncio.get_running_loop().time()

            await session.ensure_closed() if end == "ensure_closed" else session.close()

            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - begun <= 1.1
            assert transport.get_extra_info("socket").fileno() == -1


async def test_ensure_closed_waits_for_a_silent_server_for_a_second_at_most():
    """And then hangs up."""

    async def deaf(guest):
        guest.send(ok())
        await guest.silence()

    async with ScriptedServer({"SELECT": deaf}) as server, opened(server) as session:
        await session.query("SELECT 1")
        begun = asyncio.get_running_loop().time()

        await session.ensure_closed()

        assert asyncio.get_running_loop().time() - begun <= 1.1
        assert session.closed


@pytest.mark.parametrize("encrypted", [False, True])
async def test_abort_ends_a_waiting_query_at_once(encrypted, server_tls, client_tls):
    """Also under TLS, and the waiting task gets the error it is given."""
    tls = server_tls if encrypted else None
    async with ScriptedServer({"SELECT": silence}, tls=tls) as server:
        session = session_to(server, tls=client_tls if encrypted else None)
        await session.open()
        task = asyncio.create_task(session.query("SELECT SLEEP(9)"))
        await asyncio.sleep(0.1)
        told = errors.ConnectionLost("db-1", epoch=1, outcome=errors.Outcome.ROLLED_BACK)
        begun = time.perf_counter()

        session.abort(told)

        with pytest.raises(errors.ConnectionLost) as caught:
            await task
        assert caught.value is told
        assert time.perf_counter() - begun < 0.05


@pytest.mark.parametrize("encrypted", [False, True])
async def test_unsent_bytes_are_remembered_beyond_the_transports_end(encrypted, server_tls, client_tls):
    """A transport clears its buffer when it breaks a transport; TLS has a second one below."""
    tls = server_tls if encrypted else None
    async with ScriptedServer(tls=tls) as server:
        session = session_to(server, tls=client_tls if encrypted else None)
        await session.open()
        assert session.work().left_whole
        server.guests[0].writer.transport.pause_reading()
        task = asyncio.create_task(session.query("INSERT INTO t VALUES ('" + "x" * 14_000_000 + "')"))
        await asyncio.sleep(0.1)

        server.guests[0].writer.transport.abort()

        with pytest.raises(err.OperationalError):
            await task
        assert not session.work().left_whole


async def test_a_child_process_lets_go_without_a_byte():
    """Goodbye in a forked child would end its parent's session (case 66)."""
    async with ScriptedServer() as server, opened(server) as session:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                session.discard_in_child()
                os._exit(0 if session.closed and session.signs() is None else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        await asyncio.sleep(0.1)

        assert len(server.received) == 1
        await session.query("SELECT 1")


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO")
async def test_the_kernel_knows_of_the_peer():
    """Acknowledged or not, when data last came, and what we have not read."""
    async with ScriptedServer() as server, opened(server) as session:
        await session.query("SELECT 1")

        signs = session.signs()

        assert signs.unacked == 0
        assert signs.last_received_s < 5
        assert signs.unread == 0
        session.close()
        assert session.signs() is None


# --- moving house ---------------------------------------------------------------------------------------------------


async def test_a_session_moves_from_one_object_to_another(server_tls, client_tls):
    """`ping` dials a fresh object and moves what it got: a dial that is cancelled leaves the user's alone."""
    async with (
        ScriptedServer() as old_server,
        ScriptedServer(tls=server_tls) as server,
        opened(old_server) as session,
        opened(server, tls=client_tls, user="bob", charset="latin1") as fresh,
    ):
        await fresh.declare("SELECT 1")
        own = {name: value for name, value in vars(fresh).items() if name not in CONFIGURATION}

        session.take_over(fresh)

        assert {name: vars(session)[name] for name in own} == own | LEFT_BEHIND
        assert (session.port, session.user, session.charset) == (server.port, "bob", "latin1")
        assert await session.query("SELECT 2") == 0
        assert server.statements == ["SELECT 1", "SELECT 2"]
        await asyncio.sleep(0.1)
        assert old_server.guests[0].reader.at_eof()


# What is not a session's own, but was said by who made the object; and what is empty after a move.
CONFIGURATION = {"_tls", "_ssl_context", "_keep_alive", "_last_usage", "encoders", "decoders"}
LEFT_BEHIND = {"_statement": b"", "_answered": 0, "_was_sent": False, "_result": None, "_affected_rows": 0}


async def test_what_a_session_was_taken_from_is_empty():
    """Collected, closed or used, it does nothing to the session."""
    async with ScriptedServer() as server, opened(server) as fresh:
        session = session_to(server)
        session.take_over(fresh)

        await fresh.ensure_closed()
        fresh.__del__()
        fresh.abort()

        assert fresh.closed
        assert not fresh.is_established
        with pytest.raises(err.InterfaceError, match="Not connected"):
            await fresh.query("SELECT 1")
        assert await session.query("SELECT 1") == 0
        session.close()
        await asyncio.sleep(0.1)
        assert server.received[-1] == b"\x01"


async def test_a_fresh_session_is_opened_as_the_old_one_would_be():
    """With the autocommit and the character set that its user has asked for since."""
    async with ScriptedServer() as server, opened(server, autocommit=True) as session:
        session.autocommit_mode = False
        await session.set_charset("latin1")
        fresh = session_to(server, autocommit=True)

        fresh.imitate(session)

        await fresh.open()
        await fresh.declare(None)
        assert server.statements[-1] == "SET AUTOCOMMIT = 0"
        assert (fresh.charset, fresh.encoding) == ("latin1", "cp1252")
        fresh.close()


# --- literals -------------------------------------------------------------------------------------------------------


async def test_values_become_literals():
    """As aiomysql's, whatever PyMySQL has taken away (bytes, tuples, sets)."""
    session = Session(host="127.0.0.1", user="app")

    assert session.escape(b"\x00'") == "_binary X'0027'"
    assert session.escape(bytearray(b"ab")) == "_binary X'6162'"
    assert session.escape((1, "it's", b"x", None)) == "(1,'it\\'s',_binary X'78',NULL)"
    assert session.escape([1, [2]]) == "(1,(2))"
    assert session.escape({1}) == "1"
    assert session.escape(datetime.date(2026, 1, 2)) == "'2026-01-02'"
    assert session.escape(time.struct_time((2026, 1, 2, 3, 4, 5, 0, 0, 0))) == "'2026-01-02 03:04:05'"


async def test_what_cannot_be_encoded_ends_no_session():
    """Nothing was sent: the transaction is still there."""
    async with ScriptedServer() as server, opened(server, charset="latin1") as session:
        with pytest.raises(UnicodeEncodeError):
            await session.select_db("\u20ac\u4e16")

        await session.query("SELECT 1")


async def test_nothing_is_written_to_a_server_that_has_hung_up():
    """What it said in parting is the cause."""

    async def part(guest):
        guest.send(ok())
        guest.sequence = 0
        guest.send(refusal(4031, "inactive"))
        await hang_up(guest)

    async with ScriptedServer({"SELECT 1": part}) as server, opened(server) as session:
        await session.query("SELECT 1")
        await asyncio.sleep(0.1)

        with pytest.raises(err.OperationalError, match="hung up") as caught:
            await session.query("SELECT 2")

        assert caught.value.__cause__.args[0] == 4031
        assert server.statements == ["SELECT 1"]
