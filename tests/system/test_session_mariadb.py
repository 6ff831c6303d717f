"""Connections against a real MariaDB, in real time, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import ssl
import tempfile
import time

import aiomysql
import pytest
import trustme
from pymysql import err

from aioaurora import errors
from aioaurora.connection import Connection
from aioaurora.errors import Outcome, Role
from tests.mariadb import private_mariadb
from tests.ticker import undisturbed_s

pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.loops]


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def server(tmp_path_factory, short_tmp, authority):
    """A private MariaDB with TLS, under a certificate for `db-1.test`."""
    place = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("db-1.test")
    certificate.private_key_pem.write_to_path(str(place / "key"))
    certificate.cert_chain_pems[0].write_to_path(str(place / "cert"))
    options = [f"--ssl-cert={place / 'cert'}", f"--ssl-key={place / 'key'}", "--max-allowed-packet=64M"]
    with private_mariadb(pathlib.Path(tempfile.mkdtemp(dir=short_tmp)), options) as running:
        yield running


@pytest.fixture(params=["plain", "tls"])
def options(request, server, authority):
    """How to connect."""
    tls = None
    if request.param == "tls":
        tls = ssl.create_default_context()
        authority.configure_trust(tls)
    address = {"host": "db-1.test", "address": "127.0.0.1", "port": server.port}
    return address | {"user": "root", "db": "mysql", "tls": tls}


@contextlib.asynccontextmanager
async def connected(options, **keywords):
    """Give a connection to the writer."""
    connection = Connection(**options | {"autocommit": True} | keywords)
    await connection.open()
    await connection.declare("SELECT @@innodb_read_only, @@read_only, NULL")
    connection.bind(instance="db-1", role=Role.WRITER, epoch=1, generation=0)
    try:
        yield connection
    finally:
        await connection.ensure_closed() if not connection._busy else connection.close()


async def fetched(connection, text, *args):
    """Run a statement and fetch its rows."""
    async with connection.cursor() as cursor:
        await cursor.execute(text, *args)
        return await cursor.fetchall()


async def killed(connection, *, by):
    """Wait until the kernel has told us of the end of a session that a DBA killed."""
    ended = asyncio.Event()
    connection.when_ended(ended.set)
    await by.kill(connection.thread_id())
    async with asyncio.timeout(5):
        await ended.wait()


async def until(condition, timeout=5.0):
    """Wait for what is bound to happen."""
    end = time.monotonic() + timeout
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_a_statement_goes_there_and_back(options):
    """Rows, parameters, bytes, megabytes."""
    async with connected(options) as connection:
        assert await fetched(connection, "SELECT %s, %s, %s", (1, "it's", b"\x00\xff")) == ((1, "it's", b"\x00\xff"),)
        assert len(await fetched(connection, "SELECT seq, CONCAT('x', seq) FROM seq_1_to_50000")) == 50_000
        ((size,),) = await fetched(connection, "SELECT LENGTH(%s)", ("x" * 20_000_000,))
        assert size == 20_000_000
        ((text,),) = await fetched(connection, "SELECT REPEAT('x', 20000000)")
        assert len(text) == 20_000_000


async def test_the_transaction_flag_is_the_servers(options):
    """After a SELECT under autocommit=0, too (case 38); off after a deadlock."""
    async with connected(options, autocommit=False) as connection:
        assert not connection.get_transaction_status()
        await fetched(connection, "SELECT * FROM mysql.global_priv FOR UPDATE")
        await connection.rollback()
        await fetched(connection, "CREATE TEMPORARY TABLE own (a INT) ENGINE=InnoDB")
        await fetched(connection, "SELECT * FROM own FOR UPDATE")
        assert connection.get_transaction_status()
        await connection.rollback()
        assert not connection.get_transaction_status()


async def test_ddl_that_fails_has_committed_what_was_open(options):
    """Its ERR packet has no flag: the next word is asked for, and a loss is told by that."""
    async with connected(options) as other, connected(options) as connection:
        await fetched(other, "CREATE OR REPLACE DATABASE shop")
        await fetched(other, "CREATE TABLE shop.t (a INT) ENGINE=InnoDB")
        await connection.begin()
        await fetched(connection, "INSERT INTO shop.t VALUES (1)")

        with pytest.raises(err.OperationalError, match="already exists"):
            await fetched(connection, "CREATE TABLE shop.t (a INT)")

        assert not connection.get_transaction_status()
        assert await fetched(other, "SELECT * FROM shop.t") == ((1,),)
        await fetched(connection, "SELECT 1")


async def test_a_forked_child_ends_nothing(options):
    """Neither under TLS nor on another loop: no goodbye, no close_notify, no descriptor of the selector's (case 66)."""
    async with connected(options) as connection:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                connection.close()
                os._exit(0 if connection.closed else 1)
            os._exit(2)

        assert os.waitpid(child, 0)[1] == 0
        async with asyncio.timeout(5):
            assert await fetched(connection, "SELECT 1") == ((1,),)


async def test_an_idle_session_that_is_killed_is_not_written_to(options):
    """A DBA's KILL: nothing was sent, it is safe to do it again."""
    async with connected(options) as killer, connected(options) as connection:
        await killed(connection, by=killer)

        with pytest.raises(errors.ConnectionLost) as caught:
            await fetched(connection, "INSERT INTO t VALUES (1)")

    assert caught.value.outcome is Outcome.NOTHING_SENT


@pytest.mark.parametrize(
    ("begin", "statement", "outcome"),
    [
        (False, "SELECT SLEEP(9)", Outcome.ROLLED_BACK),
        (False, "DELETE FROM shop.t WHERE SLEEP(9)", Outcome.UNKNOWN),
        (True, "DELETE FROM shop.t WHERE SLEEP(9)", Outcome.ROLLED_BACK),
    ],
)
async def test_a_statement_that_is_killed_tells_its_outcome(options, begin, statement, outcome):
    """By what it could have done."""
    async with connected(options) as killer, connected(options) as connection:
        await fetched(killer, "CREATE OR REPLACE DATABASE shop")
        await fetched(killer, "CREATE OR REPLACE TABLE shop.t (a INT) ENGINE=InnoDB")
        await fetched(killer, "INSERT INTO shop.t VALUES (1)")
        if begin:
            await connection.begin()
        task = asyncio.create_task(fetched(connection, statement))
        await until(lambda: is_running(killer, connection.thread_id()))

        await killer.kill(connection.thread_id())

        with pytest.raises(errors.ConnectionLost) as caught:
            await task
    assert caught.value.outcome is outcome


async def is_running(connection, thread_id):
    """Whether the other one's SLEEP has begun."""
    text = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = %s AND state = 'User sleep'"
    ((count,),) = await fetched(connection, text, (thread_id,))
    return bool(count)


async def test_a_killed_query_leaves_its_connection_alive(options):
    """KILL QUERY is an error of the statement (1317)."""
    async with connected(options) as killer, connected(options) as connection:
        task = asyncio.create_task(fetched(connection, "DELETE FROM mysql.help_topic WHERE SLEEP(9)"))
        await until(lambda: is_running(killer, connection.thread_id()))

        await fetched(killer, f"KILL QUERY {connection.thread_id()}")

        with pytest.raises(err.OperationalError) as caught:
            await task
        assert caught.value.args[0] == 1317
        assert await fetched(connection, "SELECT 1") == ((1,),)


async def test_a_hung_server_is_left_within_a_millisecond_or_so(options, server):
    """Also with megabytes unsent, also under TLS (case 32)."""
    async with connected(options) as waiting, connected(options) as sending:
        server.process.send_signal(signal.SIGSTOP)
        try:
            tasks = [
                asyncio.create_task(waiting.commit()),
                asyncio.create_task(sending.query("INSERT INTO t VALUES ('" + "x" * 14_000_000 + "')")),
            ]
            await asyncio.sleep(0.2)
            begun = undisturbed_s()

            waiting.lose("no sign of life for 3.0 s")
            sending.lose("no sign of life for 3.0 s")
            told = await asyncio.gather(*tasks, return_exceptions=True)

            took = undisturbed_s() - begun
        finally:
            server.process.send_signal(signal.SIGCONT)
    assert [type(error) for error in told] == [errors.ConnectionLost] * 2
    assert [error.outcome for error in told] == [Outcome.ROLLED_BACK, Outcome.NOTHING_SENT]
    assert took < 0.05


async def test_a_cancelled_statement_leaves_nothing_behind(options):
    """The socket is gone at once; the server is for `abandon` to tell."""
    abandoned = []
    async with connected(options) as other, connected(options, abandon=abandoned.append) as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await fetched(connection, "SELECT SLEEP(9)")

        assert abandoned == [connection]
        await other.kill(connection.thread_id())
        with pytest.raises(err.InterfaceError, match="Cancelled during execution"):
            await fetched(connection, "SELECT 1")


async def test_two_tasks_never_read_each_others_rows(options):
    """The second one is refused, the first one gets its own."""
    async with connected(options) as connection:
        first = asyncio.create_task(fetched(connection, "SELECT 'first', SLEEP(0.1)"))
        await asyncio.sleep(0.02)

        with pytest.raises(errors.ConnectionBusy):
            await fetched(connection, "SELECT 'second'")

        assert await first == (("first", 0),)
        assert await fetched(connection, "SELECT 'third'") == (("third",),)


async def test_an_unbuffered_result_is_read_to_its_end_or_not_at_all(options):
    """Leaving early reads the rest away; the next statement has its own rows."""
    async with connected(options) as connection:
        async with connection.cursor(aiomysql.SSCursor) as cursor:
            await cursor.execute("SELECT seq FROM seq_1_to_100000")
            assert await cursor.fetchmany(2) == [(1,), (2,)]

        assert await fetched(connection, "SELECT 1") == ((1,),)


async def test_ping_makes_a_killed_connection_whole(options):
    """As aiomysql's, when it is asked to."""
    async with connected(options) as killer, connected(options) as connection:
        before = connection.thread_id()
        await killed(connection, by=killer)

        await connection.ping(reconnect=True)

        assert connection.thread_id() != before
        assert await fetched(connection, "SELECT 1") == ((1,),)


async def test_closing_tells_the_server(options):
    """No "Aborted connection" in its log, no session left."""
    async with connected(options) as watcher:

        async def alone():
            text = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root'"
            ((count,),) = await fetched(watcher, text)
            return count == 1

        await until(alone, timeout=12)  # What other tests have cut is counted as it ends.
        (before,) = await fetched(watcher, "SHOW GLOBAL STATUS LIKE 'Aborted_clients'")
        for polite in (True, False):
            async with connected(options) as connection:
                if not polite:
                    connection.close()

        await until(alone)
        (after,) = await fetched(watcher, "SHOW GLOBAL STATUS LIKE 'Aborted_clients'")
    assert after == before


async def test_a_wrong_name_is_refused(options):
    """The certificate is for another."""
    if options["tls"] is None:
        return
    with pytest.raises(err.OperationalError, match="certificate"):
        await Connection(**options | {"host": "db-2.test"}).open()
