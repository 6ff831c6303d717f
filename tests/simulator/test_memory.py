"""The memory engine: what it answers, what it refuses, and that its transactions are honest."""

from __future__ import annotations

import asyncio
import decimal
from typing import TYPE_CHECKING

import aiomysql
import pytest

from aioaurora.simulator.memory import MemoryEngine
from aioaurora.simulator.memory.locks import Row, Transaction
from tests.simulator.memory_client import AUTOCOMMIT, Client, Refused, clients, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROBE = "SELECT 0, 0, 'db-1', t.* FROM (SELECT 1) o LEFT JOIN view_1.replica_host_status t ON TRUE"
CONNECTION_STATUS = """select concat("You are connected to '",server_id,"', which is a ",
    if(SESSION_ID='MASTER_SESSION_ID',"Writer","Reader")) as CONNECTION_STATUS
    from view_1.replica_host_status where SERVER_ID in (select 'db-1');"""


class Nowhere:
    """A table that keeps no index."""

    def index(self, row: Row) -> None:
        """Nothing is looked for."""

    def prune(self, row: Row) -> None:
        """As above."""


@pytest.fixture
def engine() -> MemoryEngine:
    """An empty memory engine."""
    return MemoryEngine()


@pytest.fixture
async def three(engine: MemoryEngine) -> AsyncIterator[list[Client]]:
    """Three clients beside a table of three rows: t(id, name, n)."""
    async with clients(engine, 3) as found:
        await found[0].run("CREATE DATABASE shop")
        for client in found:
            await client.run("USE shop")
        await found[0].run(
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) NOT NULL UNIQUE, n BIGINT DEFAULT 0)"
        )
        await found[0].run("INSERT INTO t (name, n) VALUES ('a', 1), ('b', 2), ('c', 3)")
        yield found


async def refused(client: Client, sql: str) -> int:
    """The number of the error that a statement meets."""
    with pytest.raises(Refused) as caught:
        await client.run(sql)
    return caught.value.errno


def now() -> float:
    """The loop's time."""
    return asyncio.get_running_loop().time()


# --- what it answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT 1", "1"),
        ("SELECT 'it''s' AS `a b`", "it's"),
        ("SELECT 1 + 2 * 3 - -1", "8"),
        ("SELECT 1/4", "0.2500"),
        ("SELECT 7 % 4", "3"),
        ("SELECT NULL IS NULL AND NOT 0", "1"),
        ("SELECT NULL = NULL", None),
        ("SELECT 'A' = 'a'", "1"),
        ("SELECT 2 BETWEEN 1 AND 3", "1"),
        ("SELECT 'abc' LIKE 'A%'", "1"),
        ("SELECT IF(1 > 2, 'yes', 'no')", "no"),
        ("SELECT CASE WHEN 0 THEN 'a' ELSE 'b' END", "b"),
        ("SELECT COALESCE(NULL, 5)", "5"),
        ("SELECT CAST('12' AS SIGNED) + 1", "13"),
        ("SELECT @@autocommit", "1"),
        ("SELECT @@session.transaction_isolation", "REPEATABLE-READ"),
        ("SELECT DATABASE()", "shop"),
        ("SELECT VERSION()", "8.0.39"),
        ("SELECT USER()", "root@localhost"),
        ("SELECT TIMESTAMPDIFF(SECOND, NOW(6) - INTERVAL 2 MINUTE, NOW(6))", "120"),
        ("SELECT COUNT(*) FROM t", "3"),
        ("SELECT SUM(n) FROM t WHERE id IN (1, 3)", "4"),
        ("SELECT MAX(name) FROM t WHERE n < 3 AND n > 0", "b"),
        ("SELECT MIN(n) FROM t WHERE id > 99", None),
        ("SELECT x.name FROM t AS x WHERE x.id = 2", "b"),
        ("SELECT name FROM t ORDER BY n DESC LIMIT 1", "c"),
        ("SELECT name FROM t ORDER BY 1 LIMIT 1 OFFSET 1", "b"),
        ("SELECT COUNT(*) FROM t GROUP BY n > 1 ORDER BY 1 DESC", "2"),
        ("SELECT (SELECT MAX(id) FROM t)", "3"),
        ("SELECT COUNT(*) FROM t a JOIN t b ON a.id = b.n", "3"),
        ("select /* hint */ 1 -- end", "1"),
    ],
)
async def test_question_gets_its_answer(three, sql, value):
    """The statements that the drill and the tests ask."""
    assert await three[0].value(sql) == value


async def test_driver_reads_types_and_columns(engine, monkeypatch):
    """Column types are such that a client makes numbers of numbers and times of times."""

    async def opened(_path, **_):
        reader = aiomysql.connection._StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(lambda: protocol, sock=await engine.open())
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    monkeypatch.setattr(aiomysql.connection, "_open_unix_connection", opened)
    connection = await aiomysql.connect(unix_socket="memory", user="root", password="blank", autocommit=True)
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT 1 AS a, 1.5, 2e0, %s, NULL, NOW(6) > '2020-01-01', NOW()", ["x"])
        row = await cursor.fetchone()
        names = [column[0] for column in cursor.description]
    await connection.ensure_closed()
    await engine.stop()

    assert row[:6] == (1, decimal.Decimal("1.5"), 2.0, "x", None, 1)
    assert row[6].year >= 2020
    assert names == ["a", "1.5", "2e0", "x", "NULL", "NOW(6) > '2020-01-01'", "NOW()"]


async def test_role_queries_work_on_a_view(three):
    """The probe and the article's CONNECTION_STATUS query, as an instance rewrites them."""
    client = three[0]
    await client.run("CREATE DATABASE view_1")
    await client.run(
        "CREATE TABLE view_1.replica_host_status (SERVER_ID varchar(100) PRIMARY KEY, SESSION_ID varchar(100),"
        " REPLICA_LAG_IN_MILLISECONDS double, LAST_UPDATE_TIMESTAMP timestamp(6) NULL) ENGINE=MEMORY"
    )
    without_rows = await client.rows(PROBE)
    await client.run("INSERT INTO view_1.replica_host_status VALUES ('db-1', 'MASTER_SESSION_ID', 0, NOW(6))")

    assert without_rows == [("0", "0", "db-1", None, None, None, None)]
    assert (await client.rows(PROBE))[0][:6] == ("0", "0", "db-1", "db-1", "MASTER_SESSION_ID", "0")
    assert await client.value(CONNECTION_STATUS) == "You are connected to 'db-1', which is a Writer"


async def test_writes_count_rows_as_mysql_does(three):
    """Changed rows, two for an upsert that changed one, and the first number that AUTO_INCREMENT gave."""
    client = three[0]
    upsert = "INSERT INTO t (name, n) VALUES ('a', 5) ON DUPLICATE KEY UPDATE n = n + VALUES(n)"
    written = await client.run("INSERT INTO t (name) VALUES ('d'), ('e')")

    assert (written.affected, written.insert_id) == (2, 4)
    assert (await client.run(upsert)).affected == 2
    assert await client.value("SELECT n FROM t WHERE id = 1") == "6"
    assert (await client.run("UPDATE t SET n = 2 WHERE id = 2")).affected == 0
    assert (await client.run("REPLACE INTO t (id, name) VALUES (9, 'b')")).affected == 2
    assert (await client.run("DELETE FROM t WHERE n IS NOT NULL LIMIT 2")).affected == 2


async def test_found_rows_are_counted_for_who_asked(engine, three):
    """CLIENT_FOUND_ROWS: rows that an UPDATE found, changed or not."""
    other = await connected(engine, database="shop", flags=0x2)
    counted = await other.run("UPDATE t SET n = 2 WHERE id IN (1, 2)")
    await other.close()

    assert counted.affected == 2


async def test_insert_from_a_query(three):
    """INSERT ... SELECT and INSERT ... SET."""
    await three[0].run("INSERT INTO t (name, n) SELECT CONCAT(name, name), n * 10 FROM t WHERE id < 3")
    await three[0].run("INSERT INTO t SET name = 'z', n = 0")

    rows = await three[0].rows("SELECT name, n FROM t WHERE id > 3 ORDER BY name")
    assert rows == [("aa", "10"), ("bb", "20"), ("z", "0")]


async def test_several_statements_stop_at_the_first_error(three):
    """The second statement is looked at only after the first has run."""
    first, second = await three[0].run_all("INSERT INTO t (name) VALUES ('d'); SELECT COUNT(*) FROM t;")
    assert (first.affected, second.rows) == (1, [("4",)])

    three[0].send(3, b"DELETE FROM t WHERE id = 1; NONSENSE; DELETE FROM t")
    assert (await three[0].result()).affected == 1
    with pytest.raises(Refused) as caught:
        await three[0].result()
    assert caught.value.errno == 1064
    assert await three[0].value("SELECT COUNT(*) FROM t") == "3"


async def test_bytes_and_quotes_survive(three):
    """What a driver escapes comes back as it was."""
    await three[0].run("CREATE TABLE raw (id INT PRIMARY KEY, data BLOB, said TEXT)")
    await three[0].run(r"INSERT INTO raw VALUES (1, x'00ff27', 'a\'b\\c\nd''e\"')")

    assert await three[0].rows("SELECT HEX(data), said FROM raw") == [("00FF27", "a'b\\c\nd'e\"")]


async def test_text_is_in_the_client_s_character_set(engine, three):
    """What one writes in latin1 another reads in UTF-8, and bytes stay bytes."""
    latin = await connected(engine, database="shop", collation=8)
    latin.send(3, "INSERT INTO t (name) VALUES ('Zoë')".encode("latin1"))
    await latin.result()
    latin.send(3, b"SELECT HEX(_binary'\xeb\x81\xff'), @@character_set_client")
    shown = (await latin.result()).rows
    latin.send(3, b"SELECT name FROM t WHERE id = 4")
    for _ in range(3):
        await latin.packet()
    cell = await latin.packet()
    await latin.close()

    assert shown == [("EB81FF", "latin1")]
    assert cell == b"\x03Zo\xeb"
    assert await three[0].value("SELECT name FROM t WHERE id = 4") == "Zoë"


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "errno"),
    [
        ("GRANT ALL ON *.* TO x", 1064),
        ("SELECT 1 UNION SELECT 2", 1064),
        ("SELECT 1 FROM t WHERE", 1064),
        ("SELECT 'open", 1064),
        ("ALTER TABLE t ADD x INT", 1064),
        (";", 1065),
        ("SELECT @@aurora_server_id", 1193),
        ("SET no_such = 1", 1193),
        ("SET innodb_read_only = 0", 1238),
        ("SELECT no_such(1)", 1305),
        ("SELECT * FROM nope", 1146),
        ("SELECT nope FROM t WHERE id > 99", 1054),
        ("UPDATE t SET nope = 1", 1054),
        ("SELECT id FROM t a JOIN t b", 1052),
        ("CREATE TABLE t (id INT)", 1050),
        ("CREATE DATABASE shop", 1007),
        ("DROP TABLE nope", 1051),
        ("USE nope", 1049),
        ("INSERT INTO t (name) VALUES ('A')", 1062),
        ("INSERT INTO t (id, name) VALUES ('1', 'z')", 1062),
        ("UPDATE t SET id = 2 WHERE id = 1", 1062),
        ("INSERT INTO t (name) VALUES (NULL)", 1048),
        ("INSERT INTO t (n) VALUES (1)", 1364),
        ("INSERT INTO t (name) VALUES (1, 2)", 1136),
        ("INSERT INTO t (name) VALUES (REPEAT('x', 21))", 1406),
        ("INSERT INTO t (name, n) VALUES ('y', 'many')", 1366),
        ("UPDATE t SET id = 3000000000 WHERE id = 1", 1264),
        ("RELEASE SAVEPOINT s", 1305),
        ("KILL 999", 1094),
        ("SELECT (SELECT id FROM t)", 1242),
    ],
)
async def test_refusal_has_mysql_s_number_and_changes_nothing(three, sql, errno):
    """No guess is made: what it does not know is 1064."""
    before = await three[1].rows("SELECT * FROM t")

    assert await refused(three[0], sql) == errno
    assert await three[1].rows("SELECT * FROM t") == before


async def test_refusal_says_who_refuses(three):
    """Nobody shall take it for a server's bug."""
    with pytest.raises(Refused, match=r"the memory engine knows only .*near 'GRANT"):
        await three[0].run("GRANT ALL ON *.* TO x")


async def test_other_users_and_schemas_are_refused(engine):
    """1045 and 1049, as at log-in."""
    for options, errno in (({"user": "stranger"}, 1045), ({"database": "nope"}, 1049)):
        with pytest.raises(Refused) as caught:
            await connected(engine, **options)
        assert caught.value.errno == errno
    await engine.stop()


async def test_prepared_statements_are_refused(three):
    """1047: it speaks the text protocol only, and the connection goes on."""
    three[0].send(0x16, b"SELECT 1")
    with pytest.raises(Refused) as caught:
        await three[0].packet()

    assert caught.value.errno == 1047
    assert (await three[0].command(0x0E)).rows == []


# --- transactions ---------------------------------------------------------------------------------------------------


async def test_writes_are_invisible_until_commit(three):
    """Others see what is committed; the writer sees its own."""
    one, other, _ = three
    await one.run("BEGIN")
    await one.run("INSERT INTO t (name) VALUES ('d')")
    await one.run("DELETE FROM t WHERE id = 1")
    await one.run("UPDATE t SET n = 20 WHERE id = 2")

    assert await one.rows("SELECT name, n FROM t") == [("b", "20"), ("c", "3"), ("d", "0")]
    assert await other.rows("SELECT name, n FROM t") == [("a", "1"), ("b", "2"), ("c", "3")]
    await one.run("COMMIT")
    assert await other.rows("SELECT name, n FROM t") == [("b", "20"), ("c", "3"), ("d", "0")]


@pytest.mark.parametrize("end", ["ROLLBACK", "close", "reset", "kill"])
async def test_what_is_not_committed_is_undone(three, end):
    """By ROLLBACK, by the session's end, by COM_RESET_CONNECTION, by KILL."""
    one, other, _ = three
    await one.run("SET autocommit = 0")
    await one.run("UPDATE t SET n = 99")
    match end:
        case "close":
            await one.close()
        case "reset":
            await one.command(0x1F)
        case "kill":
            await other.run(f"KILL {one.id}")
        case _:
            await one.run(end)
    await other.run("UPDATE t SET n = n + 1 WHERE id = 1")

    assert await other.rows("SELECT n FROM t") == [("2",), ("2",), ("3",)]


async def test_savepoints_undo_a_part(three):
    """And the savepoint guard's statements answer as InnoDB does (case 52)."""
    client = three[0]
    await client.run_all("START TRANSACTION; SAVEPOINT a")
    await client.run("UPDATE t SET n = 10 WHERE id = 1")
    await client.run("SAVEPOINT b")
    await client.run("UPDATE t SET n = 20 WHERE id = 1")
    await client.run("ROLLBACK TO SAVEPOINT b")

    assert await client.value("SELECT n FROM t WHERE id = 1") == "10"
    released = await client.run_all("RELEASE SAVEPOINT a; COMMIT")
    assert [result.in_transaction for result in released] == [True, False]
    assert await refused(client, "RELEASE SAVEPOINT a") == 1305


async def test_ddl_commits_and_loses_the_savepoints(three):
    """So that a lost guard shows as 1305."""
    client = three[0]
    await client.run_all("START TRANSACTION; SAVEPOINT a; UPDATE t SET n = 9 WHERE id = 1")
    await client.run("CREATE TABLE other (id INT)")

    assert await three[1].value("SELECT n FROM t WHERE id = 1") == "9"
    assert await refused(client, "RELEASE SAVEPOINT a") == 1305


async def test_failed_statement_undoes_itself_only(three):
    """The second row is a duplicate, so the first is not there either; the transaction goes on."""
    client = three[0]
    await client.run("BEGIN")
    await client.run("UPDATE t SET n = 7 WHERE id = 3")
    assert await refused(client, "INSERT INTO t (name) VALUES ('d'), ('a')") == 1062
    assert (await client.run("COMMIT")).in_transaction is False

    assert await client.rows("SELECT name, n FROM t") == [("a", "1"), ("b", "2"), ("c", "7")]


async def test_read_only_transaction_refuses_writes(three):
    """1792, in START TRANSACTION READ ONLY and under SET TRANSACTION."""
    await three[0].run("START TRANSACTION READ ONLY")
    await three[1].run("SET SESSION TRANSACTION READ ONLY")

    assert await refused(three[0], "DELETE FROM t") == 1792
    assert await refused(three[1], "INSERT INTO t (name) VALUES ('d')") == 1792


@pytest.mark.parametrize(
    ("sql", "is_open"),
    [
        ("SELECT 1", False),
        ("SELECT id FROM t", True),
        ("SELECT id FROM t WHERE id = 1 FOR UPDATE", True),
        ("INSERT INTO t (name) VALUES ('d')", True),
        ("SELECT * FROM information_schema.processlist", False),
        ("BEGIN", True),
        ("COMMIT", False),
    ],
)
async def test_status_flags_tell_the_transaction(three, sql, is_open):
    """In OK and EOF packets alike; a question that touches no table begins nothing (case 38)."""
    autocommitting = await three[1].run("SELECT id FROM t")
    await three[0].run("SET autocommit = 0")
    result = await three[0].run(sql)

    assert (result.status & AUTOCOMMIT, result.in_transaction) == (0, is_open)
    assert (autocommitting.status & AUTOCOMMIT, autocommitting.in_transaction) == (AUTOCOMMIT, False)


# --- row locks ------------------------------------------------------------------------------------------------------


async def test_writers_of_one_row_take_turns(three):
    """First come, first served, each on what the one before has committed."""
    one, *others = three
    await one.run("BEGIN")
    await one.run("SELECT n FROM t WHERE id = 1 FOR UPDATE")
    waiting = [
        asyncio.create_task(each.run(f"UPDATE t SET n = n * 10 + {k} WHERE id = 1")) for k, each in enumerate(others)
    ]
    await asyncio.sleep(1)
    assert not any(task.done() for task in waiting)

    await one.run("UPDATE t SET n = 5 WHERE id = 1")
    await one.run("COMMIT")
    await asyncio.gather(*waiting)
    assert await one.value("SELECT n FROM t WHERE id = 1") == "501"


async def test_other_rows_are_free(three):
    """Locks are of rows: a neighbour is written at once, and reads wait for nobody."""
    await three[0].run("BEGIN")
    await three[0].run("UPDATE t SET n = 0 WHERE id = 1")
    start = now()

    await three[1].run("UPDATE t SET n = 0 WHERE id = 2")
    await three[1].run("SELECT * FROM t")
    assert now() - start < 1


async def test_same_new_key_waits_for_the_first_one_s_fate(three):
    """A duplicate if that commits, a row if it does not."""
    one, two, three_ = three
    for end, errno in (("COMMIT", 1062), ("ROLLBACK", None)):
        await one.run("BEGIN")
        await one.run(f"INSERT INTO t (name) VALUES ('{end}')")
        waiting = asyncio.create_task(two.run(f"INSERT INTO t (name) VALUES ('{end}')"))
        await asyncio.sleep(1)
        assert not waiting.done()
        await one.run(end)
        result = await asyncio.gather(waiting, return_exceptions=True)
        assert getattr(result[0], "errno", None) == errno
        assert await three_.value(f"SELECT COUNT(*) FROM t WHERE name = '{end}'") == "1"


async def test_lock_wait_ends_after_innodb_lock_wait_timeout(three):
    """1205 after 50 s; the transaction and its other locks live on."""
    one, two, _ = three
    await one.run("BEGIN")
    await one.run("UPDATE t SET n = 0 WHERE id = 1")
    await two.run("BEGIN")
    await two.run("UPDATE t SET n = 7 WHERE id = 2")
    start = now()

    assert await refused(two, "UPDATE t SET n = 8 WHERE id = 1") == 1205
    assert now() - start == pytest.approx(50, abs=0.1)
    await two.run("COMMIT")
    assert await one.value("SELECT n FROM t WHERE id = 2") == "7"


async def test_deadlock_undoes_one_transaction(three):
    """1213 for the one that would close the circle, at once; the other goes on."""
    one, two, _ = three
    for client, row in ((one, 1), (two, 2)):
        await client.run("BEGIN")
        await client.run(f"UPDATE t SET n = n + 100 WHERE id = {row}")
    waiting = asyncio.create_task(one.run("UPDATE t SET n = n + 100 WHERE id = 2"))
    await asyncio.sleep(0.1)

    assert await refused(two, "UPDATE t SET n = n + 100 WHERE id = 1") == 1213
    await waiting
    assert (await two.run("SELECT 1")).in_transaction is False
    await one.run("COMMIT")
    assert await two.rows("SELECT n FROM t") == [("101",), ("102",), ("3",)]


def test_a_lock_that_was_handed_on_just_now_is_waited_for():
    """Whoever has it has not noticed yet, and still seems to wait for it: no circle."""
    row, (first, second, third) = Row(Nowhere(), 1), (Transaction(), Transaction(), Transaction())
    first.take(row)
    second.waits_for = row
    first.commit()
    second.take(row)

    assert not third._would_wait_for_itself(row)


async def test_lock_goes_past_who_no_longer_waits(three):
    """A killed waiter does not get the lock that it waited for."""
    one, two, three_ = three
    await one.run("BEGIN")
    await one.run("UPDATE t SET n = 0 WHERE id = 1")
    killed = asyncio.create_task(refused(two, "UPDATE t SET n = 100 WHERE id = 1"))
    waiting = asyncio.create_task(three_.run("UPDATE t SET n = n + 5 WHERE id = 1"))
    await asyncio.sleep(0.1)
    await one.run(f"KILL {two.id}")
    await one.run("COMMIT")

    assert await killed == 1317
    await waiting
    assert await one.value("SELECT n FROM t WHERE id = 1") == "5"


# --- interruptions --------------------------------------------------------------------------------------------------


async def test_sleep_takes_its_time(three):
    """Of the loop's clock."""
    start = now()

    assert await three[0].value("SELECT SLEEP(30)") == "0"
    assert now() - start == pytest.approx(30, abs=0.1)


async def test_killed_write_never_lands(three):
    """KILL ends a statement under way with 1317 and the session after it."""
    writing = asyncio.create_task(refused(three[0], "INSERT INTO t (name, n) SELECT 'd', SLEEP(5)"))
    await asyncio.sleep(1)
    await three[1].run(f"KILL {three[0].id}")

    assert await writing == 1317
    assert await three[0].gone()
    await asyncio.sleep(10)
    assert await three[1].value("SELECT COUNT(*) FROM t") == "3"


async def test_killed_query_leaves_the_transaction(three):
    """KILL QUERY ends the statement only."""
    one, other, _ = three
    await one.run("BEGIN")
    await one.run("UPDATE t SET n = 0 WHERE id = 1")
    sleeping = asyncio.create_task(refused(one, "SELECT SLEEP(60)"))
    await asyncio.sleep(1)
    await other.run(f"KILL QUERY {one.id}")

    assert await sleeping == 1317
    assert (await one.run("COMMIT")).in_transaction is False
    assert await other.value("SELECT n FROM t WHERE id = 1") == "0"


async def test_idle_session_hears_of_its_end(three):
    """And is gone from the list at once."""
    await three[1].command(0x0C, three[0].id.to_bytes(4, "little"))

    assert await three[0].gone()
    assert await three[1].value("SELECT COUNT(*) FROM information_schema.processlist") == "2"


async def test_statement_outlives_its_client(three):
    """As on a real server: a closed socket alone stops no write, which is why a failover kills sessions."""
    three[0].send(3, b"INSERT INTO t (name, n) SELECT 'd', SLEEP(5)")
    await asyncio.sleep(1)
    await three[0].close()
    await asyncio.sleep(10)

    assert await three[1].value("SELECT COUNT(*) FROM t") == "4"


async def test_process_list_shows_who_does_what(three):
    """Sleep or Query, as those who kill want to know."""
    task = asyncio.create_task(three[0].run("SELECT SLEEP(9)"))
    await asyncio.sleep(3)
    listed = await three[1].rows("SELECT ID, COMMAND, TIME, INFO FROM information_schema.PROCESSLIST ORDER BY ID")
    await task

    assert listed[0] == (str(three[0].id), "Query", "3", "SELECT SLEEP(9)")
    assert [row[1] for row in listed] == ["Query", "Query", "Sleep"]


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_reset_forgets_the_session_but_not_its_schema(three):
    """Variables, character set and user variables are as at log-in, as MySQL does it (case 54)."""
    client = three[0]
    await client.run("SET NAMES latin1")
    await client.run("SET @x = 5, sql_mode = '', autocommit = 0")
    reset = await client.command(0x1F)

    assert await client.rows("SELECT @x, @@character_set_client, @@autocommit, DATABASE()") == [
        (None, "utf8mb4", "1", "shop")
    ]
    assert reset.status & AUTOCOMMIT


async def test_global_variables_are_for_later_sessions(engine, three):
    """As SET GLOBAL says."""
    await three[0].run("SET GLOBAL wait_timeout = 60")
    other = await connected(engine)

    assert await other.value("SELECT @@wait_timeout") == "60"
    assert await three[0].rows("SELECT @@wait_timeout, @@global.wait_timeout") == [("28800", "60")]
    await other.close()


async def test_long_answers_cross_packet_borders(three):
    """More than 16 MiB in one value."""
    value = await three[0].value("SELECT REPEAT('x', 17000000)")

    assert value == "x" * 17_000_000


async def test_stop_ends_everybody(engine, three):
    """A stopped engine leaves no session and no task."""
    task = asyncio.create_task(three[0].run("SELECT SLEEP(60)"))
    await asyncio.sleep(1)
    await engine.stop()

    assert await three[1].gone()
    with pytest.raises(asyncio.IncompleteReadError):
        await task


@pytest.mark.loops
async def test_it_serves_on_every_loop(engine):
    """On real time, by asyncio and by uvloop."""
    async with clients(engine, 2) as (one, other):
        assert await one.value("SELECT CONNECTION_ID()") == str(one.id)
        await other.run(f"KILL {one.id}")
        assert await one.gone()
