"""What a statement's text leaves in its session: a table, and what holds for every text."""

from __future__ import annotations

import re
import tracemalloc

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core import traces
from aioaurora._core.traces import (
    ENDED,
    EVERYTHING,
    MAY_HAVE_COMMITTED,
    NO_BACKSLASH_ESCAPES,
    READ,
    TOUCHED,
    WROTE,
    traces_of,
)

LEAVES = {
    # What is surely without a trace.
    "SELECT 1": READ,
    "select * from t where a = 'joe@example.com; LOCK it'": READ,
    "SELECT\n1": READ,
    "SELECT 5-3, 6/2, 'it''s', 'it\\'s @v', \"a@b\", `a@b` FROM t": READ,
    "SELECT 5--3": READ,
    "SELECT 1 /* @v := 1; LOCK */ FROM t # @v\n WHERE a = 1 -- @v\n": READ,
    "/* who: joe@example.com */ SELECT 1": READ,
    "SELECT @@session.sql_mode, @@global.read_only, @@autocommit": READ,
    "SELECT /*!40001 SQL_NO_CACHE */ * FROM t": READ,
    "SELECT a FROM t FOR UPDATE": READ,
    "INSERT INTO t VALUES (1)": WROTE,
    "insert ignore into t select 'b;lock' ": WROTE,
    "UPDATE t SET a = 'x@y'": WROTE,
    "DELETE FROM t": WROTE,
    "REPLACE INTO t VALUES ('@')": WROTE,
    "SELECT f(1) FROM t WHERE m = 'a@b' # x": WROTE,
    "SHOW WARNINGS": READ,
    "SHOW TABLES LIKE '%lock%'": READ,
    "EXPLAIN SELECT * FROM t": READ,
    "DESCRIBE t": READ,
    "SAVEPOINT a": READ,
    "RELEASE SAVEPOINT a": READ,
    "ROLLBACK TO a": READ,
    "COMMIT": MAY_HAVE_COMMITTED | ENDED,
    "BEGIN": MAY_HAVE_COMMITTED | ENDED,
    "START TRANSACTION READ ONLY": MAY_HAVE_COMMITTED | ENDED,
    "ROLLBACK": ENDED,
    "INSERT INTO t VALUES (1); COMMIT": WROTE | MAY_HAVE_COMMITTED | ENDED,
    "SELECT 1; SELECT 2": READ,
    # What a reset must undo.
    "SELECT @v := 1": TOUCHED,
    "SELECT a INTO @v FROM t": TOUCHED,
    "SELECT @`v` := 1": TOUCHED,
    "SELECT @'v' := 1": TOUCHED,
    "SELECT @@a, @v := 1": TOUCHED,
    "SELECT GET_LOCK('a', 1)": TOUCHED,
    "select get_lock('a', 1)": TOUCHED,
    "SELECT `GET_LOCK`('a', 1)": TOUCHED,
    "SELECT * FROM t LOCK IN SHARE MODE": TOUCHED,
    "UPDATE t SET a = @v := a + 1": WROTE | TOUCHED,
    "SELECT 1; SET @v = 1": TOUCHED,
    "SET NAMES latin1": TOUCHED,
    "SET SESSION sql_mode = 'ANSI'": TOUCHED,
    "SET autocommit = 0": TOUCHED,
    "USE other": TOUCHED,
    "CREATE TEMPORARY TABLE a (b INT)": TOUCHED,
    "PREPARE p FROM 'SELECT 1'": TOUCHED,
    "HANDLER t OPEN": TOUCHED,
    "WITH a AS (SELECT 1) SELECT * FROM a": TOUCHED,
    "(SELECT 1)": TOUCHED,
    "TABLE t": TOUCHED,
    "DO GET_LOCK('a', 1)": TOUCHED,
    "SHOW VARIABLES WHERE GET_LOCK('a', 1)": TOUCHED,
    "SHOW TABLES WHERE @v := 1": TOUCHED,
    "EXPLAIN ANALYZE SELECT GET_LOCK('a', 1)": TOUCHED,
    "EXPLAIN FORMAT=JSON INTO @v SELECT 1": TOUCHED,
    "SET autocommit = 1": TOUCHED | MAY_HAVE_COMMITTED | ENDED,
    "LOCK TABLES t WRITE": TOUCHED | MAY_HAVE_COMMITTED | ENDED,
    "COMMIT AND CHAIN": TOUCHED | MAY_HAVE_COMMITTED | ENDED,
    "CREATE TABLE t (a INT)": EVERYTHING,
    "CALL p()": EVERYTHING,
    "EXECUTE p": EVERYTHING,
    "nonsense": EVERYTHING,
    # What stands in these is executed, or not: the version tells, and so it does what a quote in them hides.
    "SELECT 1 /*! , @v := 1 */": WROTE | TOUCHED,
    "SELECT 1 /*M! , GET_LOCK('a', 1) */": WROTE | TOUCHED,
    "SELECT 1 /*!99999 '*/ , @v := 1 /*!99999 '*/": WROTE | TOUCHED,
    "SELECT 1 /*!99999 '*/ ; COMMIT; SELECT 1 /*!99999 '*/": EVERYTHING,
    "/*! SET @v = 1 */": WROTE | TOUCHED,
}


@pytest.mark.parametrize(("text", "left"), LEAVES.items(), ids=LEAVES)
def test_a_text_leaves(text, left):
    """Never less than it does; exactly that where text can tell."""
    assert traces_of(text.encode()) == left


@pytest.mark.parametrize(
    ("text", "with_escapes", "without"),
    [
        (r"SELECT '\', @v := 1, '", READ, TOUCHED),
        (r"SELECT '\'; COMMIT; SELECT '", READ, MAY_HAVE_COMMITTED | ENDED),
        (r"SELECT '\'@v := 1", TOUCHED, TOUCHED),
        (r"SELECT 'a\', 'b@c'", TOUCHED, READ),
        (r"INSERT INTO t VALUES ('C:\')", WROTE, WROTE),
        (r"SELECT 'joe@example.com'", READ, READ),
    ],
)
def test_where_a_text_ends_is_the_sessions_affair(text, with_escapes, without):
    """Under NO_BACKSLASH_ESCAPES a backslash hides no quote, and so neither a variable nor a COMMIT."""
    assert traces_of(text.encode()) == with_escapes
    assert traces_of(text.encode(), NO_BACKSLASH_ESCAPES) == without


PADDING = "x" * (1 << 18)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("INSERT INTO t VALUES ('{}')", WROTE),
        ("SELECT '{}'", READ),
        ("INSERT INTO t VALUES ('{} a@b')", WROTE | TOUCHED),
        ("INSERT INTO t VALUES ('{} b; c')", EVERYTHING),
        ("SET @v = '{}'", EVERYTHING),
        ("SELECT '{}', GET_LOCK('a', 1)", WROTE | TOUCHED),
    ],
)
def test_megabytes_are_not_taken_apart(text, left):
    """A round trip more is nothing beside them, and the event loop must not stand still."""
    statement = text.format(PADDING).encode()
    tracemalloc.start()

    assert traces_of(statement) == left

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * len(statement)


@pytest.mark.parametrize("size", [5000, 100_000])
@pytest.mark.parametrize(("text", "left"), [("INSERT INTO t VALUES ('{} &amp; a@b')", WROTE), ("COMMIT # {}", 12)])
def test_kilobytes_are(size, text, left):
    """An article with an entity and an address in it is what applications write; the unit may be run again."""
    assert traces_of(text.format("x" * size).encode()) == left


# --- every text -----------------------------------------------------------------------------------------------------

PLAIN_VERBS = [
    "SELECT ",
    "INSERT INTO t SELECT ",
    "update t set a = ",
    "DELETE FROM t WHERE ",
    "REPLACE INTO t SELECT ",
]
inside = st.text(alphabet="ab @;#-/*\\LOCK\n", max_size=12)
escaped = inside.map(lambda text: text.replace("\\", "\\\\"))
quoted = st.sampled_from("'\"").flatmap(lambda quote: escaped.map(lambda text: quote + text + quote))
identifier = st.text(alphabet="ab @;#-/*\\LOC\n", max_size=12).map(lambda text: f"`{text}`")  # `GET_LOCK`(1) is a call.
comment = st.one_of(
    inside.map(lambda text: "/*+" + text.replace("*/", "").replace("*", "") + "*/"),
    inside.map(lambda text: "# " + text.replace("\n", "") + "\n"),
    inside.map(lambda text: "-- " + text.replace("\n", "") + "\n"),
)
innocent = st.one_of(
    quoted, identifier, comment, st.sampled_from(["a", "1", "+", "- ", "/ ", "@@sql_mode", "(b)", ", "])
)
telling = st.sampled_from(["@v", "@`v`", "@'v'", "GET_LOCK('a', 1)", "get_lock(1)", "Lock"])


@hypothesis.given(st.sampled_from(PLAIN_VERBS), st.lists(innocent, max_size=8), telling, st.lists(innocent, max_size=8))
def test_a_mark_is_never_overlooked(verb, before, mark, after):
    """Whatever stands around it: quotes with quotes, comments and escapes in them."""
    text = verb + " ".join([*before, mark, *after])

    assert traces_of(text.encode()) & TOUCHED


@hypothesis.given(st.sampled_from(PLAIN_VERBS), st.lists(innocent, max_size=8), st.lists(innocent, max_size=8))
def test_a_second_statement_is_never_overlooked(verb, before, after):
    """Nor that it commits."""
    text = verb + " ".join([*before, "; COMMIT;", *after])

    assert traces_of(text.encode()) & MAY_HAVE_COMMITTED
    assert traces_of(text.encode()) & ENDED


@hypothesis.given(st.sampled_from(PLAIN_VERBS), st.lists(innocent, max_size=8))
def test_a_plain_statement_touches_nothing(verb, parts):
    """A reset after each would cost two round trips."""
    text = verb + " ".join(parts)

    assert not traces_of(text.encode()) & (TOUCHED | MAY_HAVE_COMMITTED | ENDED)


def literally(text: str) -> int:
    """What DECISIONS 19 says to the letter, quoted texts and all."""
    is_plain = re.match(r"(SELECT|INSERT|UPDATE|DELETE|REPLACE)\b", text, re.IGNORECASE)
    return READ if is_plain and not re.search("@|LOCK|;", text, re.IGNORECASE) else TOUCHED


@hypothesis.given(st.text(alphabet="SELECT '\"`@;#-/*\\\n!LOCKab", max_size=60).map(lambda text: "SELECT " + text))
def test_what_is_read_to_the_letter_is_read_at_once(text):
    """The quick way is taken, no regular expression; and what is not plain to the letter has a reason to be."""
    if literally(text) == READ:
        assert traces_of(text.encode()) == READ
    elif traces_of(text.encode()) == READ:
        rest = re.sub(
            r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|/\*.*?(?:\*/|\Z)|#[^\n]*|--(?:\s[^\n]*|\Z)|@@""",
            " ",
            text,
            flags=re.DOTALL,
        )
        assert not re.search("@|LOCK", rest, re.IGNORECASE)


@hypothesis.given(st.binary(max_size=80), st.booleans())
def test_any_bytes_have_an_answer(text, escapes):
    """Also those of no character set."""
    assert 0 <= traces_of(text, NO_BACKSLASH_ESCAPES if escapes else 0) <= EVERYTHING


# --- the quick way --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT * FROM users WHERE email = 'joe@example.com' AND a = 5 - 3",
        "INSERT INTO t VALUES ('it\\'s; a \\\\', \"b@c\", `d;e`)",
        "UPDATE t SET a = b / 2, c = 'x;y' WHERE id = 1",
        "DELETE FROM t WHERE id IN (1, 2)",
        "REPLACE INTO t VALUES ('@')",
    ],
)
def test_the_usual_is_not_taken_apart(text, monkeypatch):
    """No statement of an application that has nothing to hide reaches the slow way."""

    def refuse(*_):
        raise AssertionError("taken apart")

    monkeypatch.setattr(traces, "_remembered", refuse)
    monkeypatch.setattr(traces, "_traces", refuse)

    assert traces_of(text.encode()) <= WROTE


def test_what_is_taken_apart_is_remembered():
    """SHOW WARNINGS, COMMIT and their like come again and again."""
    traces._remembered.cache_clear()

    for _ in range(3):
        traces_of(b"SHOW WARNINGS")

    assert traces._remembered.cache_info().hits == 2
