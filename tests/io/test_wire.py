"""Reading packets and rows: the fast way and the slow one give the same."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import aiomysql
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysql import err
from pymysql.converters import conversions

from aioaurora._io import wire
from aioaurora._io.session import Session
from tests.io.scripted_server import AUTOCOMMIT, MORE, ScriptedServer, column, eof, ok, rows
from tests.io.scripted_server import err as refusal


@contextlib.asynccontextmanager
async def opened(server, **keywords):
    """Give an open session."""
    session = Session(host="127.0.0.1", port=server.port, user="app", autocommit=None, **keywords)
    await session.open()
    try:
        yield session
    finally:
        session.close()


async def fetched(session, text="SELECT a FROM t", kind=aiomysql.Cursor):
    """Run a statement and fetch its rows."""
    async with session.cursor(kind) as cursor:
        await cursor.execute(text)
        return list(await cursor.fetchall())


def in_pieces(payloads, sizes):
    """Send packets cut at any byte."""

    async def answer(guest):
        data = b""
        for payload in payloads:
            data += len(payload).to_bytes(3, "little") + bytes([guest.sequence]) + payload
            guest.sequence = (guest.sequence + 1) & 0xFF
        while data:
            for size in sizes:
                guest.writer.write(data[:size])
                data = data[size:]
                await asyncio.sleep(0.001)

    return answer


VALUES = st.lists(
    st.tuples(st.none() | st.text(max_size=300), st.none() | st.text(max_size=5)), min_size=1, max_size=20
)


@given(values=VALUES, sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5), kind=st.sampled_from(["", "SS"]))
async def test_rows_survive_being_cut_anywhere(values, sizes, kind):
    """A packet may end in the middle of a segment, or a header at its end."""
    cursor = aiomysql.SSCursor if kind else aiomysql.Cursor
    async with ScriptedServer({"SELECT": in_pieces(rows(*values), sizes)}) as server, opened(server) as session:
        assert await fetched(session, kind=cursor) == values


async def test_without_asyncios_buffer_packets_are_awaited(monkeypatch):
    """It is asyncio's private attribute: it may go."""
    monkeypatch.setattr(wire, "has_buffer", lambda _: False)
    values = [(str(number), None) for number in range(1000)]
    async with ScriptedServer({"SELECT": rows(*values)}) as server, opened(server) as session:
        assert not session.is_peeking

        assert await fetched(session) == values
        assert await fetched(session, kind=aiomysql.SSCursor) == values


async def test_numbers_wrap_around():
    """Packets are numbered by one byte."""
    values = [(str(number),) for number in range(3000)]
    async with ScriptedServer({"SELECT": rows(*values)}) as server, opened(server) as session:
        assert await fetched(session) == values
        assert await fetched(session, kind=aiomysql.SSCursor) == values
        assert await fetched(session, kind=aiomysql.DictCursor) == [{"c0": value} for (value,) in values]


@pytest.mark.parametrize("size", [0xFFFFFF - 4, 0xFFFFFF, 0xFFFFFF + 1000])
async def test_values_of_many_megabytes_are_put_together(size):
    """A payload of 16 MB has a sequel, if only an empty one."""
    head = b"\xfd" + struct.pack("<I", size)[:3] if size < 0xFFFFFF else b"\xfe" + struct.pack("<Q", size)
    payload = head + b"x" * size

    async def answer(guest):
        guest.send(b"\x01", column("a"), eof())
        data = payload
        while True:
            guest.send(data[:0xFFFFFF])
            if len(data) < 0xFFFFFF:
                break
            data = data[0xFFFFFF:]
        guest.send(eof())

    async with ScriptedServer({"SELECT": answer}) as server, opened(server) as session:
        ((value,),) = await fetched(session)

        assert len(value) == size


@pytest.mark.parametrize("size", [0xFFFFFF - 1, 0xFFFFFF, 2 * 0xFFFFFF - 1])
async def test_statements_of_many_megabytes_are_taken_apart(size):
    """The last packet is shorter than 16 MB, if only empty."""
    text = "SELECT '" + "x" * (size - 10) + "'"
    async with ScriptedServer() as server, opened(server) as session:
        await session.query(text)

        assert server.statements == [text]


@pytest.mark.parametrize("number", [3, 200])
async def test_a_wrong_number_ends_the_session(number):
    """Packets out of step belong to something else."""

    async def answer(guest):
        guest.sequence = number
        guest.send(ok())

    async with ScriptedServer({"SELECT": answer}) as server, opened(server) as session:
        with pytest.raises(wire.OutOfStep, match=f"got {number} expected 1"):
            await session.query("SELECT 1")

        assert session.closed


async def test_a_wrong_number_in_mid_rows_ends_the_session():
    """The rows that were read so far are not given out."""

    async def answer(guest):
        guest.send(*rows(("1",), ("2",))[:-1])
        guest.sequence += 1
        guest.send(eof())

    async with ScriptedServer({"SELECT": answer}) as server, opened(server) as session:
        with pytest.raises(wire.OutOfStep):
            await session.query("SELECT a FROM t")

        assert session.closed


async def test_an_error_in_mid_rows_is_the_servers_answer():
    """A statement may run out of time while its rows are read (3024); the session lives."""
    answer = [*rows(("1",), ("2",))[:-1], refusal(3024, "too long")]
    async with ScriptedServer({"SELECT": answer}) as server, opened(server) as session:
        with pytest.raises(err.OperationalError, match="too long"):
            await session.query("SELECT a FROM t")

        await session.query("UPDATE t SET a = 1")


async def test_missing_columns_are_tolerated_as_aiomysql_does():
    """Some servers leave out the last columns of a row."""
    answer = [b"\x02", column("a"), column("b"), eof(), b"\x011", eof()]
    async with ScriptedServer({"SELECT": answer}) as server, opened(server) as session:
        assert await fetched(session) == [("1",)]


async def test_an_unfinished_result_is_read_before_the_next_statement():
    """As aiomysql does, with its warning."""
    answers = {"SELECT": rows(("1",), ("2",)), "MANY": [*rows(("1",), status=AUTOCOMMIT | MORE), *rows(("2",))]}
    async with ScriptedServer(answers) as server, opened(server) as session:
        await session.query("SELECT a FROM t", unbuffered=True)
        with pytest.warns(UserWarning, match="left incomplete"):
            assert await fetched(session, "MANY") == [("1",)]

        assert await fetched(session) == [("1",), ("2",)]


async def test_several_results_are_read_in_turn():
    """`nextset`, as ever."""
    answers = {"SELECT": [*rows(("1",), status=AUTOCOMMIT | MORE), *rows(("2",), status=AUTOCOMMIT | MORE), ok()]}
    async with ScriptedServer(answers) as server, opened(server) as session, session.cursor() as cursor:
        await cursor.execute("SELECT 1; SELECT 2; DO 1")

        assert await cursor.fetchall() == (("1",),)
        assert await cursor.nextset()
        assert await cursor.fetchall() == (("2",),)
        assert await cursor.nextset()
        assert not await cursor.nextset()


@pytest.mark.parametrize("after", [b"", b"\x01", ok()])
async def test_columns_without_their_end_are_no_result(after):
    """What follows is no row of it."""
    async with ScriptedServer({"SELECT": [b"\x01", column("a"), after]}) as server, opened(server) as session:
        with pytest.raises(wire.OutOfStep, match="columns"):
            await session.query("SELECT a FROM t")

        assert session.closed


@pytest.mark.parametrize("charset", ["latin1", "utf8mb4"])
@pytest.mark.parametrize("use_unicode", [True, False])
@pytest.mark.parametrize("conv", [conversions, {}], ids=["all", "none"])
async def test_columns_are_what_aiomysql_makes_of_them(charset, use_unicode, conv):
    """Names, types and converters, of every type there is, also of columns that were seen in another session."""
    types = [*range(17), *range(245, 256)]
    columns = [column(f"c{kind}", kind=kind, charset=number) for kind in types for number in (45, 63)]
    values = b"\xfb" * len(columns)
    answer = [bytes([len(columns)]), *columns, eof(), values, eof()]
    options = {"charset": charset, "use_unicode": use_unicode, "conv": conv}
    async with ScriptedServer({"SELECT": answer}) as server, opened(server, **options) as session:
        raw = await aiomysql.connect(host="127.0.0.1", port=server.port, user="app", autocommit=None, **options)
        with contextlib.closing(raw):
            for _ in range(2):
                await raw.query("SELECT a FROM t")
                await session.query("SELECT a FROM t")

                assert session._result.description == raw._result.description
                assert session._result.converters == raw._result.converters
                assert session._result.rows == raw._result.rows
                assert [vars(each) for each in session._result.fields] == [vars(each) for each in raw._result.fields]
