"""Reading what a server answers: garbage is read as nothing, never raised."""

from __future__ import annotations

import datetime
import decimal

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.observation import Mode, Observation, Row, View, mode_of, view_of

COLUMNS = ("SERVER_ID", "SESSION_ID", "LAST_UPDATE_TIMESTAMP", "REPLICA_LAG_IN_MILLISECONDS")
NOON = datetime.datetime(2026, 3, 29, 12, 0, 0)  # noqa: DTZ001 - the server's time, which has no zone here
MASTER = "MASTER_SESSION_ID"

garbage = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
    st.sampled_from(["db-1", b"db-1", MASTER, b"MASTER_SESSION_ID", 18446744949882880, 10**400, "NaN", "1e999"]),
)
columns = st.lists(st.sampled_from([*COLUMNS, "cpu", ""]), max_size=6)
tables = st.lists(st.lists(garbage, max_size=6), max_size=4)


def ago(seconds):
    """The server's time that long before noon."""
    return NOON - datetime.timedelta(seconds=seconds)


@hypothesis.given(columns, tables, st.text(max_size=5) | st.just("db-1"))
def test_no_table_raises(names, table, observer):
    """NULLs, missing columns, rows too short or too long, numbers as text, bytes (cases 4, 7)."""
    view = view_of(names, table, observer)

    assert view is None or isinstance(view, View)


@hypothesis.given(st.lists(st.tuples(st.sampled_from(["db-1", "db-2", "x.y"]), garbage, st.datetimes(), garbage)))
def test_view_is_sane_whatever_is_in_the_rows(table):
    """Ages from 0 to 300 s, lags from 0 to a day, names that are names, the observer among them (cases 2, 3, 4)."""
    view = view_of(COLUMNS, table, "db-1")

    if view is not None:
        assert "db-1" in {row.server_id for row in view.rows}
        assert all(0 <= row.age_s <= 300 for row in view.rows)
        assert all(row.lag_s is None or 0 <= row.lag_s <= 86_400 for row in view.rows)
        assert all(row.server_id != "x.y" for row in view.rows)
        assert set(view.ignored) <= {"x.y"}


@hypothesis.given(garbage, garbage)
def test_what_cannot_be_read_is_not_writable(innodb_read_only, read_only):
    """Only two clear noes make a writer (promise 1)."""
    noes = {"0", "OFF", "FALSE", "off", "false", "Off", "False"}

    if mode_of(innodb_read_only, read_only) is Mode.WRITABLE:
        for value in (innodb_read_only, read_only):
            assert (value.decode() if isinstance(value, bytes) else str(value)) in noes


@pytest.mark.parametrize(
    ("innodb_read_only", "read_only", "mode"),
    [
        (0, 0, Mode.WRITABLE),
        ("OFF", "OFF", Mode.WRITABLE),
        (b"0", b"0", Mode.WRITABLE),
        (False, False, Mode.WRITABLE),
        (1, 1, Mode.READ_ONLY),
        ("ON", "ON", Mode.READ_ONLY),
        (1, 0, Mode.READ_ONLY),
        (0, 1, Mode.FROZEN),
        (0, None, Mode.FROZEN),
        (None, 0, Mode.READ_ONLY),
        (0, "SUPER", Mode.FROZEN),
    ],
)
def test_mode_is_what_the_server_says_of_itself(innodb_read_only, read_only, mode):
    """`read_only` on a writable InnoDB is a switchover that holds writes back (case 57)."""
    assert mode_of(innodb_read_only, read_only) is mode


@pytest.mark.parametrize(
    ("milliseconds", "lag_s"),
    [
        (18.5, 0.0185),
        (decimal.Decimal("20.000"), 0.02),
        ("12.5", 0.0125),
        (b"12.5", 0.0125),
        (-3.0, 0.0),
        (None, None),
        ("", None),
        (18446744949882880, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_lag_is_clamped_or_unknown(milliseconds, lag_s):
    """Aurora has shown all of these (case 4)."""
    view = view_of(COLUMNS, [("db-2", "5f8b", NOON, milliseconds)], "db-2")

    assert view.rows == (Row(server_id="db-2", is_writer=False, age_s=0.0, lag_s=lag_s),)


def test_rows_are_read():
    """Column names in either case, text as bytes too; the writer has no lag."""
    table = [
        (b"db-1", b"MASTER_SESSION_ID", ago(0.5), 300.0),
        ("db-2", "5f8b2c1e", ago(0), 25.0),
        ("bad.name", "5f8b2c1f", ago(1), 25.0),
        ("db-3", "5f8b2c20", ago(300.5), 25.0),
    ]

    view = view_of([name.lower() for name in COLUMNS], table, "db-2")

    assert view.rows == (
        Row(server_id="db-1", is_writer=True, age_s=0.5, lag_s=0.0),
        Row(server_id="db-2", is_writer=False, age_s=0.0, lag_s=0.025),
    )
    assert view.ignored == ("bad.name",)


def test_stamps_order_views():
    """The newest row's time; a zone that comes with it does not matter (case 6)."""
    earlier = view_of(COLUMNS, [("db-1", MASTER, ago(5), 0)], "db-1")
    later = view_of(
        COLUMNS, [("db-1", MASTER, NOON.replace(tzinfo=datetime.UTC), 0), ("db-2", "5f", ago(9), 0)], "db-1"
    )

    assert later.stamp - earlier.stamp == 5.0


@pytest.mark.parametrize(
    "table",
    [
        [],
        [(None, None, None, None)],
        [("db-2", "5f8b", NOON, 0)],
        [("db-1", MASTER, None, 0)],
        [("db-1", MASTER, "0000-00-00 00:00:00", 0)],
        [("db-1", MASTER, ago(400), 0), ("db-2", "5f8b", NOON, 0)],
        [("db-1",)],
    ],
)
def test_table_without_the_observer_tells_nothing(table):
    """None at all, the outer join's NULLs, another cluster's, stampless, or as old as those of the source (2, 7)."""
    assert view_of(COLUMNS, table, "db-1") is None


def test_missing_columns_tell_nothing_or_less():
    """Without ids or times there is no view; without lags there is one (case 7)."""
    assert view_of(COLUMNS[:2], [("db-1", MASTER)], "db-1") is None
    assert view_of(COLUMNS[1:], [(MASTER, NOON, 0)], "db-1") is None
    assert view_of(COLUMNS[:3], [("db-1", "5f8b", NOON)], "db-1").rows[0].lag_s is None


def test_server_without_an_id_is_called_by_its_host():
    """A plain MySQL or MariaDB."""
    plain = Observation(host="db.example.com", port=3306, server_id=None, mode=Mode.WRITABLE)

    assert plain.instance_id == "db.example.com"
