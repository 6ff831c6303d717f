"""The simulated cluster before a real MariaDB: other clients, transactions, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import time

import aiomysql
import pymysql
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from aioaurora.simulator import SimulatedCluster
from aioaurora.simulator.wire import native_scramble
from tests.simulator.plain_client import ask, close_all, connected, dialled, errno, role

pytestmark = pytest.mark.needs("mariadbd")

ROLE_QUERY = (
    'select concat("You are connected to \'",server_id,"\', which is a ",'
    'if(SESSION_ID=\'MASTER_SESSION_ID\',"Writer","Reader")) as CONNECTION_STATUS '
    "from information_schema.replica_host_status where SERVER_ID in (select @@aurora_server_id);"
)
INSERT = "INSERT INTO t (n) VALUES (1)"


@pytest.fixture
async def sim(installed_once):
    """Three instances before a private MariaDB."""
    async with SimulatedCluster(3, engine="mariadb") as started:
        await started.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)")
        yield started
        close_all()


async def count(sim):
    """How many rows there truly are."""
    return (await sim.rows("SELECT COUNT(*) FROM t"))[0][0]


# --- other clients --------------------------------------------------------------------------------------------------


async def test_the_command_line_client_shows_what_the_article_shows(sim):
    """Both role queries, text and header."""
    shown = {}
    for each in (sim.writer, sim.readers[0]):
        process = await asyncio.create_subprocess_exec(
            shutil.which("mariadb"), "-h", each.address, "-P", str(each.port), "-uapp", "-psecret", "--skip-ssl",
            "-e", "select @@innodb_read_only;" + ROLE_QUERY, stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 10)
        shown[each.id] = out.decode().splitlines()

    header = ["@@innodb_read_only", "CONNECTION_STATUS"]
    assert shown["db-1"] == [header[0], "0", header[1], "You are connected to 'db-1', which is a Writer"]
    assert shown["db-2"] == [header[0], "1", header[1], "You are connected to 'db-2', which is a Reader"]


async def test_pymysql_works(sim):
    """In a thread, as its users do."""

    def use():
        address = {"host": sim.readers[0].address, "port": sim.readers[0].port}
        connecting = pymysql.connect(**address, user="app", password="secret", database="shop")
        with connecting as connection, connection.cursor() as cursor:
            cursor.execute(ROLE_QUERY)
            return cursor.description[0][0], cursor.fetchone()[0], connection.get_server_info()

    found = await asyncio.to_thread(use)

    assert found == ("CONNECTION_STATUS", "You are connected to 'db-2', which is a Reader", "8.0.39")


async def test_sqlalchemy_works(sim):
    """It asks for versions, modes and isolation levels before anything else."""
    url = f"mysql+aiomysql://app:secret@{sim.writer.address}:{sim.writer.port}/shop?charset=utf8mb4"
    engine = create_async_engine(url, isolation_level="READ COMMITTED")

    async with engine.begin() as connection:
        await connection.execute(sqlalchemy.text(INSERT))
        found = (await connection.execute(sqlalchemy.text("SELECT COUNT(*), @@transaction_isolation FROM t"))).one()
        names = await connection.run_sync(lambda sync: sqlalchemy.inspect(sync).get_table_names())
    await engine.dispose()

    assert (tuple(found), names) == ((1, "READ-COMMITTED"), ["t"])


async def test_names_of_mysql_8_are_understood(sim):
    """Variables and collations that MariaDB spells otherwise."""
    async with connected(sim, sim.writer) as connection:
        assert await ask(connection, "SHOW VARIABLES LIKE 'aurora%'") == [
            ("aurora_server_id", "db-1"),
            ("aurora_version", "3.08.0"),
        ]
        assert await ask(connection, "SELECT 'a' COLLATE utf8mb4_0900_ai_ci = 'A'") == [(1,)]
        await ask(connection, "SET SESSION transaction_isolation = 'SERIALIZABLE'")
        assert await ask(connection, "SELECT @@transaction_isolation") == [("SERIALIZABLE",)]


async def test_rows_join_and_alias_like_any_table(sim):
    """It is one, for every observer."""
    sql = (
        "SELECT a.SERVER_ID FROM information_schema.replica_host_status AS a "
        "JOIN information_schema.replica_host_status b USING (SERVER_ID) "
        "WHERE b.SESSION_ID = 'MASTER_SESSION_ID' AND information_schema.a.CPU IS NOT NULL"
    ).replace("information_schema.a.", "a.")
    async with connected(sim, sim.readers[1]) as connection:
        assert await ask(connection, sql) == [("db-1",)]


# --- readers --------------------------------------------------------------------------------------------------------


async def test_readers_stay_readers(sim):
    """Through procedures, resets, and sessions that call themselves writable."""
    await sim.execute(f"CREATE PROCEDURE add_one() BEGIN {INSERT}; END")
    async with connected(sim, sim.readers[0]) as connection:
        assert await errno(ask(connection, "CALL add_one()")) == 1290

        await ask(connection, "SET SESSION TRANSACTION READ WRITE")
        assert await errno(ask(connection, "CALL add_one()")) == 1290
        await connection._execute_command(0x1F, b"")
        await connection._read_ok_packet()
        assert await errno(ask(connection, "CALL add_one()")) == 1290
        await ask(connection, "SET SESSION TRANSACTION READ /**/ WRITE")
        await ask(connection, "SET @@session.transaction_read_only = 1 - 1")
        assert await errno(ask(connection, "DO 0; CALL add_one()")) == 1290
        for begin in ("START TRANSACTION READ WRITE;", "START TRANSACTION READ WRITE, WITH CONSISTENT SNAPSHOT"):
            assert await errno(ask(connection, begin)) == 1290
            assert await errno(ask(connection, "CALL add_one()")) == 1290
            await ask(connection, "COMMIT")
        assert await errno(ask(connection, "SELECT 1; " + INSERT)) == 1290
        assert await errno(ask(connection, "START TRANSACTION READ WRITE")) == 1290
        assert await ask(connection, "SELECT COUNT(*) FROM t") == [(0,)]
    assert await count(sim) == 0


async def test_healing_leaves_a_reader_that_was_frozen_a_reader(sim):
    """Sessions of a writer are made writable again, not those of what was the writer when it was frozen."""
    await sim.execute(f"CREATE PROCEDURE add_one() BEGIN {INSERT}; END")
    await sim.freeze()
    await sim.failover("graceful", promote_after=0.2, returns_after=0.1)
    await sim.timeline.wait_for("returned", since=0)
    async with connected(sim, sim.instances["db-1"]) as connection:
        await sim.heal()

        assert await errno(ask(connection, "CALL add_one()")) == 1290
    assert await count(sim) == 0


async def test_prepared_statements_are_rewritten_and_refused(sim):
    """The binary protocol's COM_STMT_PREPARE and COM_STMT_EXECUTE."""
    async with connected(sim, sim.readers[0]) as connection:
        assert await execute_prepared(connection, "SELECT @@aurora_server_id") == b"\x04db-2"
        with pytest.raises(aiomysql.MySQLError) as told:
            await execute_prepared(connection, INSERT)
    assert told.value.args[0] == 1290


async def test_readers_touch_nothing_that_is_everybody_s(sim):
    """Tables are locked for nobody else, and nothing is set for all."""
    async with connected(sim, sim.readers[0]) as reader, connected(sim, sim.writer) as writer:
        for sql in ("LOCK TABLES t READ", "FLUSH TABLES WITH READ LOCK", "FLUSH TABLES t FOR EXPORT"):
            assert await errno(ask(reader, sql)) is None
            await ask(writer, INSERT, within=1)
            await ask(reader, "UNLOCK TABLES")
        before = await sim.rows("SELECT @@max_connections")
        assert await errno(ask(reader, "SET GLOBAL max_connections = 50")) == 1227
        assert await errno(ask(writer, "SET GLOBAL max_connections = 50")) == 1227
        assert await sim.rows("SELECT @@max_connections") == before


async def test_data_is_stored_as_it_was_written(sim):
    """Whatever words of Aurora's are in it."""
    texts = "collation utf8mb4_0900_ai_ci", "transaction_isolation", "read write", "@@port user()"
    async with connected(sim, sim.writer) as writer, connected(sim, sim.readers[0]) as reader:
        for connection in (writer, reader):
            for text in texts:
                await ask(connection, f"SET @a = '{text}'")
                assert await ask(connection, f"SELECT @a, '{text}', @@port") == [(text, text, sim.port)]
        await ask(writer, "CREATE TABLE user (id INT PRIMARY KEY AUTO_INCREMENT)")
        await ask(writer, "INSERT INTO user () VALUES ()")
        assert await ask(reader, "SELECT id FROM user") == [(1,)]


# --- fenced and frozen ----------------------------------------------------------------------------------------------


async def test_a_fenced_writer_executes_nothing(sim):
    """Neither what was prepared nor what hides in a procedure, a text, or a packet of several; case 16."""
    await sim.execute(f"CREATE PROCEDURE add_one() BEGIN {INSERT}; END")
    texts = ("CALL add_one()", "EXECUTE s", "SELECT 1; " + INSERT, "SELECT 1; EXECUTE s", "DO 0; CALL add_one()")
    connections = [await dialled(sim, sim.writer) for _ in texts]
    for connection in connections:
        await ask(connection, f"PREPARE s FROM '{INSERT}'")
    binary = await dialled(sim, sim.writer)
    statement, _ = await prepare(binary, INSERT)

    await sim.two_writers("db-2")

    for text, connection in zip(texts, connections, strict=True):
        await ask(connection, "SET SESSION TRANSACTION READ WRITE")
        assert (await role(connection))[0] == 0
        with pytest.raises(TimeoutError):
            await ask(connection, text, within=0.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await execute(binary, statement)
    assert [entry.detail["statement"] for entry in sim.wrong_roles] == [INSERT]
    assert await count(sim) == 0


@pytest.mark.parametrize("commit", ["RELEASE SAVEPOINT a; COMMIT", "BEGIN", "prepared"])
async def test_a_frozen_writer_stores_nothing(sim, commit):
    """What a transaction wrote by whatever means is undone; case 57."""
    await sim.execute(f"CREATE PROCEDURE add_one() BEGIN {INSERT}; END")
    async with connected(sim, sim.writer, autocommit=False) as connection:
        statement, _ = await prepare(connection, "COMMIT")
        await ask(connection, "START TRANSACTION; SAVEPOINT a")
        await ask(connection, "CALL add_one()")
        await sim.freeze()

        ending = execute(connection, statement) if commit == "prepared" else ask(connection, commit)
        assert await errno(ending) == 1290
        assert await errno(ask(connection, "BEGIN")) is None
        assert await errno(ask(connection, "CALL add_one()")) == 1290
    assert await count(sim) == 0


@pytest.mark.parametrize(("executed", "rows"), [(True, 1), (False, 0)])
async def test_the_answer_to_a_prepared_statement_is_lost(sim, executed, rows):
    """When it is executed, not when it is prepared."""
    async with connected(sim, sim.writer) as connection:
        await sim.lose_answer("INSERT", executed=executed)
        statement, _ = await prepare(connection, INSERT)

        assert await errno(execute(connection, statement)) == 2013
    assert await count(sim) == rows


async def execute_prepared(connection, sql):
    """Prepare and execute one statement without parameters; return its one row's values."""
    return await execute(connection, *await prepare(connection, sql))


async def prepare(connection, sql):
    """Prepare one statement without parameters; return its number and how many columns it has."""
    await connection._execute_command(0x16, sql)
    prepared = await connection._read_packet()
    statement, columns = struct.unpack_from("<IH", prepared._data, 1)
    for _ in range(columns + bool(columns)):
        await connection._read_packet()
    return statement, columns


async def execute(connection, statement, columns=0):
    """Execute a prepared statement; return its one row's values."""
    await connection._execute_command(0x17, struct.pack("<IBI", statement, 0, 1))
    first = await connection._read_packet()
    if first.is_ok_packet():
        return b""
    for _ in range(columns + 1):
        await connection._read_packet()
    row = (await connection._read_packet())._data
    await connection._read_packet()
    return row[2:]


async def test_a_reset_falls_back_to_the_global_character_set(sim):
    """As MySQL does, and MariaDB does not: case 54."""
    await sim.execute("SET GLOBAL character_set_client = latin1")
    async with connected(sim, sim.writer, charset="utf8mb4") as connection:
        assert await ask(connection, "SELECT @@character_set_client") == [("utf8mb4",)]
        await connection._execute_command(0x1F, b"")
        await connection._read_ok_packet()

        assert await ask(connection, "SELECT @@character_set_client") == [("latin1",)]


async def test_the_process_list_is_the_instance_s_own(sim):
    """Under the ids that KILL takes."""
    async with connected(sim, sim.writer) as first, connected(sim, sim.writer) as second:
        await dialled(sim, sim.readers[0])
        found = await ask(second, "SHOW FULL PROCESSLIST")
        assert [(row[0], row[1], row[4]) for row in found] == [(1, "app", "Sleep"), (2, "app", "Query")]

        await ask(second, "KILL 1")
        assert await errno(ask(first, "SELECT 1")) in (1927, 2013)
        assert await ask(second, "SELECT 1") == [(1,)]


async def test_another_user_takes_the_session_over(sim):
    """COM_CHANGE_USER: a clean session, the other's name, and readers stay readers."""
    sim.add_user("other", "pass")
    async with connected(sim, sim.readers[0]) as connection:
        await ask(connection, "SET @mine = 1")
        await change_user(connection, "other", "pass", "information_schema")

        assert await ask(connection, "SELECT CURRENT_USER(), @mine, DATABASE()") == [
            ("other@%", None, "information_schema")
        ]
        assert await errno(ask(connection, "DELETE FROM shop.t")) == 1290
        assert await errno(change_user(connection, "other", "wrong", "")) == 1045


async def change_user(connection, user, password, schema):
    """Send COM_CHANGE_USER with the scramble of the log-in's nonce."""
    auth = native_scramble(password, connection.salt)
    names = user.encode() + b"\0" + bytes([len(auth)]) + auth + schema.encode() + b"\0"
    await connection._execute_command(0x11, names + b"\x2d\0mysql_native_password\0")
    await connection._read_ok_packet()


# --- bytes ----------------------------------------------------------------------------------------------------------


async def test_large_packets_pass_both_ways(sim):
    """Statements and rows of several packets."""
    text = "x" * (17 << 20)
    async with connected(sim, sim.writer) as connection:
        found = await ask(connection, f"SELECT LENGTH('{text}'), REPEAT('y', {17 << 20})", within=15)

        assert found[0][0] == 17 << 20
        assert len(found[0][1]) == 17 << 20
        assert await ask(connection, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("word", ["skills ", "plain "])
async def test_large_statements_are_stored_whole(sim, word):
    """Of several packets, and whatever is in them; the loop goes on meanwhile."""
    await sim.execute("CREATE TABLE texts (s LONGTEXT)")
    text = word * ((17 << 20) // len(word))
    async with connected(sim, sim.writer) as writer, connected(sim, sim.readers[0]) as reader:
        await ask(writer, f"INSERT INTO texts VALUES ('{text}')", within=15)
        assert await ask(reader, "SELECT s FROM texts", within=15) == [(text,)]
        assert await ask(reader, f"SELECT LENGTH('{text}'), @@aurora_server_id", within=15) == [(len(text), "db-2")]


async def test_a_local_file_is_loaded(sim, tmp_path):
    """Its packets' numbers pass through all values, zero too, and none is taken for a command."""
    lines = tmp_path / "lines"
    lines.write_text("".join(f"{number}\n" for number in range(1, 400_001)))
    await sim.execute("SET GLOBAL local_infile = 1")
    async with connected(sim, sim.writer, local_infile=True) as connection:
        await ask(connection, f"LOAD DATA LOCAL INFILE '{lines}' INTO TABLE t (n)", within=15)

        assert await ask(connection, "SELECT 1") == [(1,)]
    assert await count(sim) == 400_000


# --- failovers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holding", ["SELECT 1", "SELECT SLEEP(5)"])
@pytest.mark.parametrize("mode", ["graceful", "crash", "blackhole"])
async def test_a_write_that_waits_for_a_lock_never_lands_after_the_fault(sim, mode, holding):
    """Closing a socket alone would let it commit: it is killed in the engine, before the holder of the lock is."""
    await sim.execute("INSERT INTO t (id, n) VALUES (1, 0)")
    holder = await dialled(sim, sim.writer, autocommit=False)
    await ask(holder, "SELECT * FROM t WHERE id = 1 FOR UPDATE")
    tasks = [asyncio.create_task(errno(ask(holder, holding, within=8)))]
    for _ in range(10):
        waiter = await dialled(sim, sim.writer)
        tasks.append(asyncio.create_task(errno(ask(waiter, "UPDATE t SET n = n + 1 WHERE id = 1", within=8))))
    await asyncio.sleep(0.1)

    await sim.failover(mode, promote_after=0.3, returns_after=0.2)

    async with connected(sim, sim.writer) as connection:
        await ask(connection, "UPDATE t SET n = n + 10 WHERE id = 1")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await sim.rows("SELECT n FROM t") == [(10,)]


@pytest.mark.loops
async def test_clients_write_on_after_every_failover(sim):
    """Three in a row, on asyncio and on uvloop."""
    for mode in ("graceful", "crash", "blackhole"):
        await sim.failover(mode, promote_after=0.2, returns_after=0.1, dns_lag=0.1)
        async with connected(sim, sim.writer) as connection:
            assert (await role(connection))[:2] == (0, 0)
            await ask(connection, INSERT)
        await sim.timeline.wait_for("returned", since=sim.timeline.of("promoted")[-1].at)
    assert await count(sim) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="a full queue of a listening socket is Linux's silence")
async def test_a_dead_host_does_not_even_accept(sim):
    """The connection attempt itself hangs; case 14."""
    old = sim.writer
    await sim.failover("blackhole", promote_after=0.2, returns_after=1.2, accepts=False)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.open_connection(old.address, old.port)

    await sim.timeline.wait_for("returned", since=0)

    assert (await role(await dialled(sim, old)))[0] == 1


async def test_patching_keeps_sessions(sim):
    """With a statement under way, whose answer comes late; case 53."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, INSERT)
    asking = asyncio.create_task(ask(connection, "SELECT SLEEP(0.2), @@innodb_read_only", within=5))
    await asyncio.sleep(0.05)

    await sim.patch(silent_for=1.0)

    assert await asking == [(0, 0)]
    await ask(connection, "COMMIT")
    assert await count(sim) == 0


async def test_a_cluster_starts_quickly_and_two_live_side_by_side():
    """Two seconds at most, and no collisions."""
    start = time.monotonic()
    async with SimulatedCluster(3, engine="mariadb") as first:
        assert time.monotonic() - start < 2 or os.getloadavg()[0] > os.cpu_count()
        async with SimulatedCluster(3, engine="mariadb", name="carts") as second:
            await asyncio.gather(
                first.failover("crash", promote_after=0.1), second.failover("crash", promote_after=0.1)
            )
            assert first.writer.address != second.writer.address


async def test_the_engine_dsn_uses_a_server_that_runs():
    """It leaves it as it was."""
    async with SimulatedCluster(1, engine="mariadb") as first:
        first.add_user("root", "secret")
        dsn = f"mysql://root:secret@{first.writer.address}:{first.writer.port}"
        async with SimulatedCluster(2, engine="dsn", dsn=dsn, database="elsewhere") as second:
            async with connected(second, second.readers[0]) as connection:
                assert await role(connection) == (1, 1, "db-2")
            await second.failover("crash", promote_after=0.1)
        schemas = {name for (name,) in await first.rows("SHOW DATABASES")}
        assert "aurora_db-2" not in schemas


# --- what is left ---------------------------------------------------------------------------------------------------

_PROGRAM = """
import asyncio, signal, sys
from aioaurora.simulator import SimulatedCluster, guard
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # The tests may run under nohup.
guard._HAS_KERNEL_HELP = sys.argv[1] == "kernel"
async def main():
    async with SimulatedCluster(2, engine="mariadb") as sim:
        print(sim._core.engine.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
GUARDS = [
    pytest.param("kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children")),
    "companion",
]


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
async def test_killing_the_process_leaves_no_server_behind(guard, how):
    """Not even kill -9."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, guard, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
    )
    server = int(await asyncio.wait_for(process.stdout.readline(), 10))
    assert is_running(server)

    os.kill(process.pid, how)
    await asyncio.wait_for(process.wait(), 10)

    assert await is_gone(server)


async def is_gone(pid, within=2.0):
    """Wait for the end of a process."""
    async with asyncio.timeout(within):
        while is_running(pid):
            await asyncio.sleep(0.01)
    return True


async def test_the_next_one_clears_up_after_a_killed_one(monkeypatch, short_tmp):
    """Data of a minute ago, that no server answers for."""
    base = short_tmp / "base"  # Others put theirs beside it.
    monkeypatch.setattr("aioaurora.simulator.mariadb._base", lambda: str(base))
    left, young = base / "aioaurora-mariadb-left", base / "aioaurora-mariadb-young"
    for folder in (left, young):
        (folder / "data").mkdir(parents=True)
    os.utime(left, (0, 0))

    async with SimulatedCluster(1, engine="mariadb") as sim:
        os.utime(pathlib.Path(sim._core.engine.socket_path).parent, (0, 0))
        async with SimulatedCluster(1, engine="mariadb"):
            assert await sim.rows("SELECT 1") == [(1,)]

    assert [folder.name for folder in base.iterdir()] == [young.name]


def is_running(pid):
    """Whether a process does anything; one that waits to be buried does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
