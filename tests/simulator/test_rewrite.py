"""What instances put into statements, and what they leave alone."""

from __future__ import annotations

import pytest

from aioaurora.simulator.rewrite import Asker, Facts, Refused, is_change, is_concerned, rewritten


def facts(*, reader=False, frozen=False, mariadb=True):
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
        is_mariadb=mariadb,
    )


ASKER = Asker(connection_id=7, user="app", sessions={7: 1007, 8: 1008})


def on_writer(sql, **how):
    """What the engine gets from a writer."""
    return rewritten(sql, facts(**how), ASKER)


def on_reader(sql, **how):
    """What the engine gets from a reader."""
    return rewritten(sql, facts(reader=True), ASKER, **how)


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
    with pytest.raises(Refused) as told:
        on_writer("KILL 1008")

    assert told.value.errno == 1094


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
        "WITH a AS (SELECT 1) DELETE FROM t",
        "LOCK TABLES t WRITE",
    ],
)
def test_a_reader_refuses(sql):
    """1290, in MySQL's words; case 10."""
    assert is_concerned(sql.encode(), read_only=True)

    with pytest.raises(Refused) as told:
        on_reader(sql)

    assert told.value.errno == 1290
    assert "--read-only option" in told.value.sentence


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
    """The statements before it have their answers first; case 61."""
    found = on_reader("SELECT 1; INSERT INTO t VALUES (1)")

    assert found.startswith("SELECT 1; SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290")


def test_a_reader_prepares_writes_and_refuses_their_execution():
    """The engine's read-only transaction does, and the relay gives its error MySQL's number."""
    assert on_reader("INSERT INTO t VALUES (?)", is_prepared=True) == "INSERT INTO t VALUES (?)"


def test_a_reader_s_session_cannot_make_itself_writable():
    """SET TRANSACTION READ WRITE is no error on a reader, and gives nothing."""
    assert on_reader("SET SESSION TRANSACTION READ WRITE") == "SET SESSION TRANSACTION READ ONLY"
    assert on_reader("SET SESSION transaction_read_only = 0") == "SET SESSION tx_read_only = 1"


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


def test_a_change_is_known_by_its_first_word():
    """Comments and brackets before it do not hide it."""
    assert is_change(b"/* x */ INSERT INTO t VALUES (1)")
    assert not is_change(b"SELECT 'INSERT'")
    assert not is_change(b"WITH a AS (SELECT 1) SELECT * FROM a")
