"""What errors and texts tell: a table, and what holds for every text."""

from __future__ import annotations

import dataclasses
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql import err

from aioaurora._core.failover import Phase, ReaderOnly, Searching, Steady, Unreached
from aioaurora._core.statement import Kind, ends_transaction, has_many_answers, kinds_in
from aioaurora._core.verdict import (
    Doubt,
    Scope,
    Work,
    doubt_of,
    ends_session,
    errno_of,
    is_final,
    outcome_of,
    refusal_of,
    scope_of,
)
from aioaurora.errors import ConnectTimeout, NoReader, NoWriter, Outcome

IDLE = Work(statement=None, in_transaction=False, autocommit=True)
UNKNOWN, BACK, NOTHING, REFUSED = Outcome.UNKNOWN, Outcome.ROLLED_BACK, Outcome.NOTHING_SENT, Outcome.REFUSED

KINDS = {
    "SELECT 1": "read",
    "select count(*), max(a) from t where b in (1, 2) and c = concat('f(', d)": "read",
    "SELECT f(1)": "write",
    "SELECT shop.f(1)": "write",
    "SELECT `f`(1)": "write",
    "SELECT NEXTVAL(s)": "write",
    "SELECT NEXT VALUE FOR s": "write",
    "SELECT 1 INTO OUTFILE '/tmp/x'": "write",
    "SELECT a INTO @x FROM t FOR UPDATE": "read",
    "SELECT ST_Distance(a, b) FROM t": "read",
    "SELECT CAST(a AS DECIMAL(10,2)) FROM t FORCE INDEX (i)": "read",
    "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t": "read",
    "(SELECT 1) UNION (SELECT 2)": "read",
    "WITH a (x) AS (SELECT 1), b AS (SELECT 2) SELECT * FROM a": "read",
    "WITH RECURSIVE a AS (SELECT 1) DELETE FROM t": "write",
    "TABLE t": "read",
    "VALUES ROW(1, 2)": "read",
    "DO SLEEP(1)": "read",
    "DO f()": "write",
    "SHOW TABLES": "read",
    "EXPLAIN DELETE FROM t": "read",
    "EXPLAIN ANALYZE SELECT 1": "read",
    "ANALYZE UPDATE t SET a = 1": "write",
    "ANALYZE TABLE t": "commit",
    "USE x": "read",
    "INSERT INTO t VALUES (1)": "write",
    "  /* why */ update t set a = 1": "write",
    "-- why\nDELETE FROM t": "write",
    "LOAD DATA LOCAL INFILE 'x' INTO TABLE t": "write",
    "COMMIT": "commit",
    "commit and chain": "commit",
    "ROLLBACK": "rollback",
    "ROLLBACK TO SAVEPOINT s": "read",
    "SAVEPOINT s": "read",
    "RELEASE SAVEPOINT s": "read",
    "BEGIN": "begin",
    "BEGIN WORK": "begin",
    "BEGIN NOT ATOMIC SELECT 1": "any",
    "START TRANSACTION READ ONLY": "begin",
    "START REPLICA": "any",
    "SET NAMES utf8mb4": "read",
    "SET @x = 1, @autocommit = 1": "read",
    "SET @x = f()": "write",
    "SET autocommit=1": "autocommit on",
    "SET sql_mode = '', @@session.autocommit := ON": "autocommit on",
    "SET AUTOCOMMIT = 0": "autocommit off",
    "SET autocommit = @x": "autocommit on",
    "SET GLOBAL max_connections = 1": "any",
    "SET PERSIST x = 1": "any",
    "SET PASSWORD = 'x'": "any",
    "SET STATEMENT max_statement_time=1 FOR INSERT INTO t VALUES (1)": "write",
    "CREATE TABLE t (a INT)": "any",
    "CREATE TEMPORARY TABLE t (a INT)": "read",
    "DROP TEMPORARY TABLE t": "read",
    "DROP TABLE t": "any",
    "CREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1); COMMIT; END": "any",
    "CALL p()": "any",
    "EXECUTE s": "any",
    "LOCK TABLES t WRITE": "commit",
    "XA START 'x'": "read",
    "XA COMMIT 'x'": "any",
    "FROBNICATE": "any",
    "INSERT INTO t VALUES ('a;COMMIT', 'it''s; \\'x'); COMMIT": "write, commit",
    "/*!50000 COMMIT */": "commit",
    "/*M!100100 COMMIT */": "commit",
    "SELECT 1; # COMMIT;\n": "read",
    "SELECT ';'; SELECT \";\"; SELECT `;` FROM t": "read, read, read",
    "": "",
    " ; ; ": "",
}


@pytest.mark.parametrize(("text", "kinds"), KINDS.items())
def test_a_text_tells_what_it_can_do(text, kinds):
    """The table of what may commit, write or only read."""
    assert ", ".join(kinds_in(text)) == kinds


def test_backslashes_are_no_escapes_under_a_sql_mode():
    """NO_BACKSLASH_ESCAPES ends a text that would go on otherwise."""
    text = r"INSERT INTO t VALUES ('\'); COMMIT; -- ')"

    assert kinds_in(text, backslash_escapes=False) == (Kind.WRITE, Kind.COMMIT)
    assert kinds_in(text) == (Kind.WRITE,)


def test_long_texts_are_judged_as_short_ones():
    """A bulk INSERT is not taken apart; a COMMIT at its end is seen all the same."""
    bulk = "INSERT INTO t VALUES " + ",".join(["(1, 'x')"] * 10_000)

    assert kinds_in(bulk) == (Kind.WRITE,)
    assert kinds_in(bulk + "; COMMIT") == (Kind.WRITE, Kind.COMMIT)
    assert kinds_in("SELECT f(1), " + "1, " * 5_000 + "1") == (Kind.WRITE,)


# text, in a transaction, autocommit, outcome when it was sent whole and not answered
OUTCOMES = [
    ("SELECT 1", False, True, BACK),
    ("SELECT f(1)", False, True, UNKNOWN),
    ("SELECT f(1)", True, True, BACK),
    ("INSERT INTO t VALUES (1)", False, True, UNKNOWN),
    ("INSERT INTO t VALUES (1)", True, True, BACK),
    ("INSERT INTO t VALUES (1)", False, False, BACK),
    ("INSERT INTO t VALUES (1)", True, False, BACK),
    ("COMMIT", True, False, UNKNOWN),
    ("COMMIT", False, False, BACK),
    ("ROLLBACK", True, False, BACK),
    ("BEGIN", True, False, UNKNOWN),
    ("BEGIN", False, True, BACK),
    ("SET autocommit=1", True, False, UNKNOWN),
    ("SET autocommit=1", False, False, BACK),
    ("SET autocommit=0", True, True, BACK),
    ("CREATE TABLE t (a INT)", False, False, UNKNOWN),
    ("CALL p()", False, False, UNKNOWN),
    ("LOCK TABLES t READ", True, False, UNKNOWN),
    ("LOCK TABLES t READ", False, True, BACK),
    ("SAVEPOINT s", True, False, BACK),
    ("RELEASE SAVEPOINT s; COMMIT", True, False, UNKNOWN),
    ("START TRANSACTION; SAVEPOINT s", False, False, BACK),
    ("SELECT 1; COMMIT", False, False, BACK),
    ("INSERT INTO t VALUES (1); COMMIT", False, False, UNKNOWN),
    ("INSERT INTO t VALUES (1); ROLLBACK; COMMIT", False, False, BACK),
    ("BEGIN; INSERT INTO t VALUES (1)", False, True, BACK),
    ("BEGIN; INSERT INTO t VALUES (1); COMMIT", False, True, UNKNOWN),
    ("ROLLBACK; INSERT INTO t VALUES (1)", True, True, UNKNOWN),
    ("SET autocommit=0; INSERT INTO t VALUES (1)", False, True, BACK),
    ("SET autocommit=1; INSERT INTO t VALUES (1)", False, False, UNKNOWN),
]


@pytest.mark.parametrize(("text", "in_transaction", "autocommit", "outcome"), OUTCOMES)
def test_an_outcome_is_exact(text, in_transaction, autocommit, outcome):
    """Unknown only where something may have been committed (cases 37, 60; DECISIONS 13)."""
    work = Work(statement=text.encode(), in_transaction=in_transaction, autocommit=autocommit)

    assert outcome_of(work) is outcome
    assert outcome_of(dataclasses.replace(work, left_whole=False)) is (BACK if in_transaction else NOTHING)
    assert outcome_of(dataclasses.replace(work, statement=None)) is (BACK if in_transaction else NOTHING)


def test_answered_statements_of_a_packet_are_done():
    """What was answered needs no outcome; of a CALL's answers nobody knows the number."""
    work = Work(statement=b"INSERT INTO t VALUES (1); SELECT 1", in_transaction=False, autocommit=True)

    assert outcome_of(work) is UNKNOWN
    assert outcome_of(dataclasses.replace(work, answered=1)) is BACK
    call = dataclasses.replace(work, statement=b"CALL p(); SELECT 1", answered=1)
    assert outcome_of(call) is UNKNOWN


@pytest.mark.parametrize(("in_transaction", "outcome"), [(False, NOTHING), (True, BACK)])
def test_a_packet_that_was_answered_in_full_is_not_undone(in_transaction, outcome):
    """An acknowledged COMMIT, INSERT or both: nothing was under way any more."""
    for text, answered in [(b"COMMIT", 1), (b"INSERT INTO t VALUES (1)", 1), (b"INSERT INTO t VALUES (1); COMMIT", 2)]:
        work = Work(statement=text, answered=answered, in_transaction=in_transaction, autocommit=True)

        assert outcome_of(work) is outcome


# text, in a transaction, answered, outcome when the next statement was answered with 1053 or 1927
FAILURES = [
    ("SELECT 1", False, 0, BACK),
    ("INSERT INTO t VALUES (1)", False, 0, BACK),
    ("INSERT INTO t VALUES (1)", True, 0, BACK),
    ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", False, 0, BACK),
    ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", False, 1, BACK),
    ("INSERT INTO t VALUES (1); COMMIT", True, 0, BACK),
    ("INSERT INTO t VALUES (1); COMMIT", True, 1, UNKNOWN),
    ("COMMIT", True, 0, UNKNOWN),
    ("COMMIT", False, 0, BACK),
    ("BEGIN", True, 0, UNKNOWN),
    ("ROLLBACK", True, 0, BACK),
    ("DROP TABLE t", False, 0, UNKNOWN),
    ("CALL p()", False, 0, UNKNOWN),
]


@pytest.mark.parametrize(("text", "in_transaction", "answered", "outcome"), FAILURES)
def test_an_error_for_an_answer_undid_what_does_not_commit(text, in_transaction, answered, outcome):
    """A server that shuts down answers before a write's commit, and after a COMMIT's (cases 43, 61)."""
    work = Work(
        statement=text.encode(), in_transaction=in_transaction, autocommit=True, answered=answered, has_failed=True
    )

    assert outcome_of(work) is outcome


def test_a_doubt_says_what_may_have_been_committed():
    """A transaction, or a write by itself."""
    assert doubt_of(dataclasses.replace(IDLE, statement=b"DELETE FROM t")) is Doubt.WRITE
    assert doubt_of(dataclasses.replace(IDLE, statement=b"DROP TABLE t", in_transaction=True)) is Doubt.COMMIT
    assert doubt_of(dataclasses.replace(IDLE, statement=b"DELETE FROM t; BEGIN; DELETE FROM t; COMMIT")) is Doubt.COMMIT


REFUSALS = [
    ("INSERT INTO t VALUES (1)", False, 0, REFUSED, REFUSED),
    ("CREATE TABLE t (a INT)", False, 0, REFUSED, REFUSED),
    ("COMMIT", False, 0, REFUSED, REFUSED),
    ("INSERT INTO t VALUES (1)", True, 0, BACK, BACK),
    ("ROLLBACK", True, 0, BACK, BACK),
    ("COMMIT", True, 0, BACK, UNKNOWN),
    ("BEGIN", True, 0, BACK, UNKNOWN),
    ("CREATE TABLE t (a INT)", True, 0, BACK, UNKNOWN),
    ("INSERT INTO t VALUES (1); COMMIT", True, 0, BACK, BACK),
    ("INSERT INTO t VALUES (1); COMMIT", True, 1, BACK, UNKNOWN),
    ("CALL p()", False, 0, UNKNOWN, UNKNOWN),
    ("CALL p()", True, 0, UNKNOWN, UNKNOWN),
    ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", False, 0, UNKNOWN, UNKNOWN),
    ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", False, 1, UNKNOWN, UNKNOWN),
]


@pytest.mark.parametrize(("text", "in_transaction", "answered", "outcome", "otherwise"), REFUSALS)
def test_a_refusal_means_not_run_for_one_plain_statement_only(text, in_transaction, answered, outcome, otherwise):
    """1290 of a later result says nothing about the earlier ones; only 1290 means that no COMMIT was done (case 61)."""
    work = Work(statement=text.encode(), in_transaction=in_transaction, autocommit=True, answered=answered)

    assert refusal_of(work, 1290) is outcome
    assert [refusal_of(work, errno) for errno in (1792, 1836, 1874, 3161)] == [otherwise] * 4


SCOPES = {
    Scope.STATEMENT: (1205, 1213, 1317, 1969, 3024, 1062, 1064, 1153, 31337),
    Scope.SESSION: (4031, 1927, 2006, 2013, 2014, 2055),
    Scope.INSTANCE: (1053, 2003),
    Scope.ROLE: (1290, 1836, 1874, 3161, 1792),
    Scope.ADMISSION: (1040, 1129, 1203, 1226),
    Scope.LOGIN: (1044, 1045, 1130, 1251, 2059, 3118, 3159, 1820, 1862),
}


@pytest.mark.parametrize(("scope", "errno"), [(scope, errno) for scope, errnos in SCOPES.items() for errno in errnos])
def test_errors_have_a_scope(scope, errno):
    """How far an error reaches decides who is asked and what is closed (case 60)."""
    assert scope_of(errno) is scope
    assert ends_session(errno) is (scope in (Scope.SESSION, Scope.INSTANCE))


def test_only_a_number_is_an_error_number():
    """PyMySQL's own errors may carry a sentence alone."""
    assert errno_of(err.OperationalError(1290, "x")) == 1290
    assert errno_of(err.InternalError("Packet sequence number wrong")) is None
    assert errno_of(None) is None


def test_large_statements_are_not_kept():
    """A cache of bulk statements would hold hundreds of megabytes."""
    tracemalloc.start()

    for number in range(10):
        ends_transaction(b"INSERT INTO t VALUES ('%d%s'); COMMIT" % (number, b"x" * 1_000_000), at=1)

    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000


PIECES = st.sampled_from(
    ["SELECT 1", "INSERT INTO t VALUES ('a;''b\\'')", "COMMIT", "BEGIN", "ROLLBACK", "CALL p()", "DROP TABLE t",
     "SET autocommit=0", "SET autocommit=1", "/* ; */", "'", "x", "`;", "SELECT f('", "-- "]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("; ".join))
WHOLE = PIECES.filter(lambda piece: piece.count("'") % 2 == 0 and piece not in ("`;", "-- ", "/* ; */"))
FACTS = {"in_transaction": st.booleans(), "autocommit": st.booleans()}


@given(text=TEXTS, answered=st.integers(0, 4), errno=st.sampled_from([1290, 1792]), **FACTS)
def test_every_text_has_an_outcome(text, answered, errno, in_transaction, autocommit):
    """No text breaks it, and what never left is never unknown."""
    work = Work(statement=text.encode(), in_transaction=in_transaction, autocommit=autocommit, answered=answered)

    assert outcome_of(work) in (UNKNOWN, BACK, NOTHING)
    assert (outcome_of(work) is UNKNOWN) == (doubt_of(work) is not None)
    assert outcome_of(dataclasses.replace(work, left_whole=False)) is not UNKNOWN
    assert refusal_of(work, errno) in Outcome


@given(parts=st.lists(WHOLE), **FACTS)
def test_more_statements_never_mean_less_doubt_about_what_went_before(parts, in_transaction, autocommit):
    """A packet's tail cannot take back what its head may have committed."""
    head = Work(statement="; ".join(parts).encode(), in_transaction=in_transaction, autocommit=autocommit)
    whole = dataclasses.replace(head, statement="; ".join([*parts, "SELECT 1"]).encode())

    assert (doubt_of(head) is None) == (doubt_of(whole) is None)


def test_some_statements_end_transactions_by_themselves():
    """A flag that falls after those is no loss."""
    assert [ends_transaction(text) for text in (b"COMMIT", b"DROP TABLE t", b"CALL p()")] == [True] * 3
    assert [ends_transaction(text) for text in (b"SELECT 1", b"UPDATE t SET a = 1", b"ROLLBACK TO s")] == [False] * 3
    packet = b"UPDATE t SET a = 1; COMMIT; SELECT 1"
    assert [ends_transaction(packet, at=number) for number in range(4)] == [False, True, False, True]
    assert [ends_transaction(b"SELECT 1; CALL p()", at=number) for number in range(3)] == [False, True, True]
    assert not ends_transaction(b"")
    assert has_many_answers(["CALL p()"])
    assert not has_many_answers(["SET NAMES utf8mb4", "COMMIT"])


SOUGHT = Searching(0.0, "it was lost")


@pytest.mark.parametrize(
    ("error", "final_in"),
    [
        (ConnectTimeout("db", phase="tcp", waited_s=3.0), {Unreached()}),
        (NoWriter("none", waited_s=3.0), {ReaderOnly()}),
        (NoReader("none", waited_s=3.0), set()),
        (err.OperationalError(1040, "Too many connections"), set()),
        (err.OperationalError(1045, "Access denied"), {Unreached(), Steady(), SOUGHT, ReaderOnly()}),
        (KeyError("of the user's own on_connect"), {Unreached(), Steady(), SOUGHT, ReaderOnly()}),
    ],
)
def test_connect_fails_for_good_where_the_next_one_will_find_the_same(error, final_in):
    """While an instance may come back, or have room again, who waits goes on waiting."""
    phases: set[Phase] = {Unreached(), Steady(), SOUGHT, ReaderOnly()}

    assert {phase for phase in phases if is_final(error, phase, is_stranger=False, is_followed=True)} == final_in


@pytest.mark.parametrize("error", [NoWriter("none", waited_s=0.0), NoReader("none", waited_s=0.0)])
def test_connect_to_an_instance_that_is_not_there_fails_for_good(error):
    """Nobody will ever answer to that name."""
    assert is_final(error, Steady(), is_stranger=True, is_followed=True)


def test_connect_that_takes_too_long_is_tried_again_where_nothing_is_followed():
    """Behind a proxy nobody knows what was reached before."""
    error = ConnectTimeout("db", phase="tcp", waited_s=3.0)

    assert not is_final(error, Unreached(), is_stranger=False, is_followed=False)
