"""What instances put into statements, and what they leave alone."""

from __future__ import annotations

import dataclasses
import time

import pytest

from aioaurora.simulator.facts import Asker, Facts
from aioaurora.simulator.glance import is_change, is_concerned, may_write
from aioaurora.simulator.rewrite import executed, prepared, rewritten


def facts(*, reader=False, frozen=False, fenced=False, mariadb=True):
    """What db-1 says of itself."""
    return Facts(
        server_id="db-1",
        schema="aurora_db-1",
        number=1,
        port=3306,
        version="8.0.39",
        aurora_version="3.08.0",
        innodb_read_only=reader,
        read_only=reader or frozen,
        keeps_read_only=reader or frozen or fenced,
        is_mariadb=mariadb,
    )


ASKER = Asker(connection_id=7, user="app", sessions={7: 1007, 8: 1008})


def on_writer(sql, **how):
    """What the engine gets from a writer."""
    return rewritten(sql, facts(**how), ASKER).text


def on_reader(sql):
    """What the engine gets from a reader."""
    return rewritten(sql, facts(reader=True), ASKER).text


@pytest.mark.parametrize(
    ("sql", "engine_gets"),
    [
        ("select @@innodb_read_only", "select 0 AS `@@innodb_read_only` "),
        ("SELECT @@session.aurora_version", "SELECT '3.08.0' AS `@@session.aurora_version` "),
        ("SELECT @@innodb_read_only AS r", "SELECT 0 AS r"),
        ("SELECT @@innodb_read_only r FROM t", "SELECT 0 r FROM t"),
        ("SELECT @@innodb_read_only IS NULL", "SELECT 0 IS NULL AS `@@innodb_read_only IS NULL` "),
        ("SELECT @@port DIV 2", "SELECT 3306 DIV 2 AS `@@port DIV 2` "),
        ("SELECT 1, @@port, 'a'", "SELECT 1, 3306 AS `@@port` , 'a'"),
        ("SELECT IF(@@read_only, 1, 2)", "SELECT IF(0, 1, 2) AS `IF(@@read_only, 1, 2)` "),
        ("SELECT 1 ORDER BY 1, @@port LIMIT 1", "SELECT 1 ORDER BY 1, 3306 LIMIT 1"),
        ("SELECT CONNECTION_ID()", "SELECT 7 AS `CONNECTION_ID()` "),
        ("SELECT CURRENT_USER", "SELECT 'app@%' AS `CURRENT_USER` "),
        ("SELECT t.version FROM t", "SELECT t.version FROM t"),
        ("SELECT '@@port', \"@@port\", `@@port`", "SELECT '@@port', \"@@port\", `@@port`"),
        ("SELECT 1 /* @@port */", "SELECT 1 /* @@port */"),
        ("SELECT @port", "SELECT @port"),
        ("SELECT @@sql_mode", "SELECT @@sql_mode"),
    ],
)
def test_a_rewritten_item_keeps_the_name_that_the_client_gave_it(sql, engine_gets):
    """A cursor's description must not tell that a literal was put in."""
    assert on_writer(sql) == engine_gets


def test_the_table_of_instances_becomes_the_instance_s_own():
    """The article's second role query, from its first letter to its last."""
    sql = (
        'select concat("You are connected to \'",server_id,"\'") as CONNECTION_STATUS '
        "from information_schema.replica_host_status where SERVER_ID in (select @@aurora_server_id)"
    )

    found = on_writer(sql)

    assert "from `aurora_db-1`.replica_host_status where" in found
    assert "in (select 'db-1' AS `@@aurora_server_id` )" in found


def test_all_statements_of_a_packet_are_rewritten():
    """The role check rides in the packet that declares the session."""
    found = on_writer("SET AUTOCOMMIT = 0;SELECT @@innodb_read_only, @@read_only, @@aurora_server_id")

    assert found.startswith("SET AUTOCOMMIT = 0;SELECT 0 AS `@@innodb_read_only` , 0 AS `@@read_only` , 'db-1'")


@pytest.mark.parametrize("end", [";", " ; ", ";\n-- done"])
def test_a_semicolon_ends_the_last_column(end):
    """It is no part of the column's name."""
    assert on_writer(f"select @@innodb_read_only{end}").count("AS `@@innodb_read_only` ") == 1


def test_what_mariadb_spells_otherwise_is_translated():
    """Clients that are told 8.0 use both."""
    assert on_writer("SELECT @@transaction_isolation") == "SELECT @@tx_isolation AS `@@transaction_isolation` "
    assert on_writer("SET SESSION transaction_isolation = 'SERIALIZABLE'").startswith("SET SESSION tx_isolation")
    assert "utf8mb4_uca1400_ai_ci" in on_writer("SELECT 'a' COLLATE utf8mb4_0900_ai_ci, @@port")
    assert on_writer("SELECT @@transaction_isolation", mariadb=False) == "SELECT @@transaction_isolation"


@pytest.mark.parametrize(
    ("sql", "engine_gets"),
    [
        ("SHOW VARIABLES LIKE 'aurora_version'", "SELECT 'aurora_version' AS Variable_name, '3.08.0' AS Value"),
        ("show variables like 'innodb_read_only'", "SELECT 'innodb_read_only' AS Variable_name, 'OFF' AS Value"),
        ("SHOW VARIABLES LIKE 'sql_mode'", "SHOW VARIABLES LIKE 'sql_mode'"),
    ],
)
def test_show_variables_tells_what_the_instance_says(sql, engine_gets):
    """One of ours is answered with a literal, one of the engine's by the engine."""
    assert on_writer(sql) == engine_gets


def test_show_variables_with_a_wildcard_mixes_both():
    """`LIKE 'aurora%'` has to find what the engine has never heard of."""
    found = on_writer("SHOW VARIABLES LIKE 'aurora%'")

    assert "SELECT 'aurora_version', '3.08.0'" in found
    assert "WHERE Variable_name LIKE  'aurora%'" in found


@pytest.mark.parametrize(
    ("sql", "engine_gets"),
    [("KILL 8", "KILL 1008"), ("kill query 8", "KILL QUERY 1008"), ("KILL CONNECTION_ID()", "KILL 1007")],
)
def test_kill_means_the_instance_s_session(sql, engine_gets):
    """Ids begin at 1 on every instance, so the engine's are others."""
    assert on_writer(sql) == engine_gets


def test_kill_of_an_unknown_id_is_refused():
    """It might be another instance's session in the engine."""
    wanted = rewritten("KILL 1008", facts(), ASKER)

    assert (wanted.text, wanted.refusal.errno) == ("DO 0", 1094)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        " /* a */ update t set a = 1",
        "-- a\nDELETE FROM t",
        "CREATE TABLE t (id int)",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "START TRANSACTION READ WRITE",
        "START TRANSACTION READ WRITE;",
        "START TRANSACTION READ /**/ WRITE, WITH CONSISTENT SNAPSHOT",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE",
        "WITH a AS (SELECT 1) DELETE FROM t",
        "LOCK TABLES t WRITE",
        "LOCK TABLES u READ, t WRITE;",
    ],
)
def test_a_reader_refuses(sql):
    """1290, in MySQL's words; case 10."""
    wanted = rewritten(sql, facts(reader=True), ASKER)

    assert is_concerned(sql.encode(), read_only=True)
    assert (wanted.text, wanted.refusal.errno) == ("DO 0", 1290)
    assert "--read-only option" in wanted.refusal.sentence


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'insert'",
        "START TRANSACTION READ ONLY",
        "CREATE TEMPORARY TABLE t (id int)",
        "WITH a AS (SELECT 1) SELECT 1",
    ],
)
def test_a_reader_lets_reading_through(sql):
    """What changes nothing passes as it is."""
    assert on_reader(sql) == sql


def test_a_later_write_fails_in_its_place():
    """The statements before it have their answers first, those after it are not run; case 61."""
    wanted = rewritten("SELECT 1; INSERT INTO t VALUES (1); SELECT 2", facts(reader=True), ASKER)

    assert (wanted.text, wanted.refusal.errno) == ("SELECT 1;DO 0", 1290)


def test_a_reader_prepares_writes_and_refuses_their_execution():
    """As a server does, which looks at its own state only when it executes."""
    sql = "INSERT INTO t VALUES (?)"

    assert prepared(sql, facts(reader=True), ASKER).text == sql
    assert executed(sql, facts(reader=True)).refusal.errno == 1290
    assert executed(sql, facts()).refusal is None


@pytest.mark.parametrize(
    ("sql", "engine_gets"),
    [
        ("SET SESSION TRANSACTION READ WRITE", "SET SESSION TRANSACTION READ ONLY"),
        ("SET SESSION TRANSACTION READ /**/ WRITE;", "SET SESSION TRANSACTION READ /**/ ONLY;"),
        ("SET SESSION transaction_read_only = 0", "SET SESSION tx_read_only = 1"),
        ("SET @@transaction_read_only:=1-1, @a = 0", "SET @@tx_read_only:=1, @a = 0"),
    ],
)
def test_a_reader_s_session_cannot_make_itself_writable(sql, engine_gets):
    """It is no error on a reader, and gives nothing; nor on a fenced writer."""
    assert on_reader(sql) == engine_gets
    assert on_writer(sql, fenced=True) == engine_gets


def test_a_fenced_writer_s_transactions_are_not_writable():
    """It still says that they are."""
    assert on_writer("START TRANSACTION READ WRITE", fenced=True) == "START TRANSACTION READ ONLY"


@pytest.mark.parametrize("sql", ["LOCK TABLES t READ", "FLUSH TABLES WITH READ LOCK", "FLUSH TABLES t FOR EXPORT"])
def test_a_reader_s_lock_holds_nobody_up(sql):
    """The storage is shared, its locks are not; what else the statement does is to end a transaction."""
    assert on_reader(sql + ";") == "COMMIT;"
    assert is_concerned(sql.encode(), read_only=True)
    assert on_writer(sql) == sql


@pytest.mark.parametrize(
    "sql",
    [
        "SET GLOBAL max_connections = 50",
        "SET @a = 1, GLOBAL wait_timeout = 5",
        "set @@global.max_connections=50",
        "SET PERSIST max_connections = 50;",
    ],
)
@pytest.mark.parametrize("reader", [True, False])
def test_nobody_sets_anything_for_all(sql, reader):
    """On Aurora no user may: that is what parameter groups are for."""
    wanted = rewritten(sql, facts(reader=reader), ASKER)

    assert is_concerned(sql.encode(), read_only=reader)
    assert (wanted.text, wanted.refusal.errno, wanted.refusal.state) == ("DO 0", 1227, "42000")


@pytest.mark.parametrize("sql", ["SET @global = 1", "SET @a = @@global.wait_timeout", "SHOW GLOBAL STATUS"])
def test_what_is_for_all_may_be_read(sql):
    """Only setting is refused."""
    assert on_writer(sql) == sql


@pytest.mark.parametrize(
    ("sql", "engine_gets"),
    [
        ("RELEASE SAVEPOINT a; COMMIT", "RELEASE SAVEPOINT a;ROLLBACK"),
        ("/* a */ COMMIT; SELECT 1", "ROLLBACK"),
        ("BEGIN", "ROLLBACK"),
        ("SET autocommit = 1", "ROLLBACK"),
        ("START TRANSACTION READ ONLY", "ROLLBACK"),
        ("LOCK TABLES t READ", "ROLLBACK"),
    ],
)
def test_a_frozen_writer_commits_nothing(sql, engine_gets):
    """By whatever name: the transaction is undone where it would end."""
    wanted = rewritten(sql, facts(frozen=True), ASKER, has_written=True)

    assert (wanted.text, wanted.refusal.errno) == (engine_gets, 1290)
    assert executed(sql, facts(frozen=True), has_written=True).refusal.errno == 1290


@pytest.mark.parametrize("sql", ["ROLLBACK; BEGIN", "SET autocommit=0", "SELECT 1", "ROLLBACK TO SAVEPOINT a"])
def test_a_frozen_writer_lets_a_transaction_end_in_peace(sql):
    """What commits nothing is no write."""
    assert rewritten(sql, facts(frozen=True), ASKER, has_written=True).refusal is None


def test_a_frozen_writer_ends_reading_transactions():
    """There is nothing to be refused."""
    assert on_writer("COMMIT", frozen=True) == "COMMIT"


def test_a_frozen_writer_says_both():
    """`read_only` 1 and `innodb_read_only` 0 is a switchover; case 57."""
    found = on_writer("SELECT @@innodb_read_only, @@read_only", frozen=True)

    assert found == "SELECT 0 AS `@@innodb_read_only` , 1 AS `@@read_only` "


def test_a_routine_s_body_is_left_alone():
    """Its semicolons and variables are its own."""
    body = "CREATE PROCEDURE p() BEGIN SELECT @@port; SELECT 1; END"

    assert on_writer(body) == body


@pytest.mark.parametrize("sql", ["SELECT 1", "COMMIT", "SELECT a FROM t WHERE b = 3", "INSERT INTO users VALUES (1)"])
def test_most_statements_are_not_looked_into(sql):
    """The relay's speed rests on it."""
    assert not is_concerned(sql.encode(), read_only=False)


@pytest.mark.parametrize("reader", [True, False])
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES ('collation utf8mb4_0900_ai_ci', '@@port')",
        "SET @x = 'transaction_isolation', @y = 'read write', @z = 'transaction_read_only = 0'",
        "SELECT `user`() FROM `utf8mb4_0900_bin`",
        "INSERT INTO user () VALUES ()",
        "INSERT user() VALUES (), (1)",
        "CREATE TABLE t (a VARCHAR(9) DEFAULT 'utf8mb4_0900_ai_ci')",
        "SHOW TABLES LIKE 'transaction_isolation'",
    ],
)
def test_what_is_the_client_s_own_stays_as_it_is(sql, reader):
    """Between quotes stand data and names, whatever they look like."""
    kept = prepared(sql, facts(reader=reader), ASKER)

    assert (kept.text, kept.refusal) == (sql, None)


@pytest.mark.parametrize(
    ("sql", "engine_gets"),
    [
        ("SET NAMES utf8mb4 COLLATE 'utf8mb4_0900_ai_ci'", "SET NAMES utf8mb4 COLLATE 'utf8mb4_uca1400_ai_ci'"),
        ("SET collation_connection = 'utf8mb4_0900_as_cs'", "SET collation_connection = 'utf8mb4_uca1400_as_cs'"),
        (
            "CREATE TABLE t (a INT) COLLATE = utf8mb4_0900_ai_ci COMMENT 'utf8mb4_0900_ai_ci'",
            "CREATE TABLE t (a INT) COLLATE = utf8mb4_uca1400_ai_ci COMMENT 'utf8mb4_0900_ai_ci'",
        ),
    ],
)
def test_a_collation_is_translated_where_one_stands(sql, engine_gets):
    """In quotes too, as MySQL's own connectors write it."""
    assert on_writer(sql) == engine_gets


def test_comments_hide_no_show():
    """Tools put their name before everything."""
    found = on_writer("/* app */ SHOW /* all */ VARIABLES LIKE 'aurora_version';")

    assert found == "SELECT 'aurora_version' AS Variable_name, '3.08.0' AS Value;"


def test_names_with_quotes_are_quoted():
    """The user O'Brien exists."""
    asker = Asker(connection_id=7, user="o'brien", sessions={7: 1007})
    irish = dataclasses.replace(facts(), server_id="o'reilly")

    assert rewritten("SELECT USER() AS u", irish, asker).text == "SELECT 'o''brien@127.0.0.1' AS u"
    assert rewritten("SELECT @@aurora_server_id AS i", irish, asker).text == "SELECT 'o''reilly' AS i"
    assert "'o''brien' AS User" in rewritten("SHOW PROCESSLIST", irish, asker).text


LARGE = {
    "numbers": "SELECT 1 IN (" + ",".join(map(str, range(200_000))) + "), @@port AS p",
    "rows": "INSERT INTO t VALUES " + ",".join(f"({n}, 'skills')" for n in range(100_000)),
    "text": "INSERT INTO t VALUES ('" + "skills " * 1_000_000 + "')",
    "conditions": "SELECT 1 FROM t WHERE " + " OR ".join(f"n = {n}" for n in range(100_000)),
}


@pytest.mark.real_time
@pytest.mark.parametrize("sql", LARGE.values(), ids=LARGE)
def test_a_large_text_is_looked_at_in_no_time(sql):
    """All instances and clients share the loop that it is looked at in; what a busy machine adds does not count."""
    took = []
    for _ in range(3):
        before = time.process_time()
        found = on_reader(sql) if sql.startswith("SELECT") else on_writer(sql)
        took.append(time.process_time() - before)
        assert found == sql.replace("@@port", "3306")

    assert min(took) < 0.5


def test_a_change_is_known_by_its_first_word():
    """Comments and brackets before it do not hide it."""
    assert is_change(b"/* x */ INSERT INTO t VALUES (1)")
    assert not is_change(b"SELECT 'INSERT'")
    assert not is_change(b"WITH a AS (SELECT 1) SELECT * FROM a")


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        (b"CALL p()", True),
        (b"EXECUTE s", True),
        (b"SELECT 1; INSERT INTO t VALUES (1)", True),
        (b"WITH a AS (SELECT 1) DELETE FROM t", True),
        (b"START TRANSACTION; SAVEPOINT a", False),
        (b"/* a */ SELECT 1;", False),
        (b"", False),
    ],
)
def test_what_may_write_is_known_at_a_glance(text, writes):
    """Whatever is not plainly a read."""
    assert may_write(text) is writes
