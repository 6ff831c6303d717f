"""What a connection to an instance does with commands, whatever their size, kind and number."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora.simulator import SimulatedCluster
from aioaurora.simulator.wire import packet, parsed_error
from tests.simulator.plain_client import ask, close_all, dialled, errno

INSERT = "INSERT INTO t (n) VALUES (1)"


async def count(sim):
    """How many rows there truly are."""
    return (await sim.rows("SELECT COUNT(*) FROM t"))[0][0]


async def told(connection, number=1):
    """The payloads of the next packets."""
    found = []
    async with asyncio.timeout(3):
        for _ in range(number):
            head = await connection._reader.readexactly(4)
            found.append(await connection._reader.readexactly(int.from_bytes(head[:3], "little")))
    return found


def query(sql):
    """COM_QUERY, framed."""
    return packet(0, b"\3" + sql.encode())


# --- size -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["skills", "plain"])
@pytest.mark.parametrize("size", [60_000, 70_000, 300_000])
async def test_a_large_statement_is_stored_as_it_was_written(sim, word, size):
    """In however many pieces it comes, and whatever words are in it."""
    await sim.execute("CREATE TABLE texts (s LONGTEXT)")
    text = (word + " ") * (size // 6)
    for instance in (sim.writer, sim.writer):
        connection = await dialled(sim, instance)
        await ask(connection, f"INSERT INTO texts VALUES ('{text}')")
        assert await ask(connection, "SELECT 7") == [(7,)]

    assert await sim.rows("SELECT DISTINCT s FROM texts") == [(text,)]


async def test_a_large_statement_is_rewritten_whole(sim):
    """The value that it asks for stands behind the large one."""
    connection = await dialled(sim, sim.readers[0])
    text = "x" * 300_000

    assert await ask(connection, f"SELECT LENGTH('{text}'), @@aurora_server_id") == [(300_000, "db-2")]


# --- order ----------------------------------------------------------------------------------------------------------


async def test_commands_are_answered_in_their_order(sim):
    """A refusal does not overtake the answer before it."""
    connection = await dialled(sim, sim.readers[0])

    connection._writer.write(query("DO SLEEP(0.3)") + query(INSERT) + packet(0, b"\x0c\x63\0\0\0") + query("DO 0"))
    first, second, third, fourth = await told(connection, 4)

    assert (first[0], fourth[0]) == (0, 0)
    assert [parsed_error(each)[0] for each in (second, third)] == [1290, 1094]


async def test_a_reset_waits_for_the_answer_before_it(sim):
    """Its answer is its own."""
    connection = await dialled(sim, sim.writer)

    connection._writer.write(query("DO SLEEP(0.3)") + packet(0, b"\x1f") + query("SELECT 7"))
    answers = await told(connection, 3)

    assert answers == [answers[0], answers[1], b"\1"]
    assert (answers[0][0], answers[1][0]) == (0, 0)


async def test_a_silent_instance_takes_up_nothing(sim):
    """Not even what it has been sent before."""
    connection = await dialled(sim, sim.writer)
    connection._writer.write(query("DO SLEEP(1)") + query(INSERT))
    await asyncio.sleep(0.5)
    await sim.hang()
    await asyncio.sleep(5)
    assert await count(sim) == 0

    await sim.heal()

    assert [answer[0] for answer in await told(connection, 2)] == [0, 0]
    assert await count(sim) == 1


# --- faults ---------------------------------------------------------------------------------------------------------


async def test_only_the_answer_that_is_to_be_lost_is_lost(sim):
    """And all of it."""
    connection = await dialled(sim, sim.writer)
    await sim.lose_answer("SELECT 'b'")

    connection._writer.write(query("DO SLEEP(0.1)") + query("SELECT 'b', @@aurora_server_id"))

    assert (await told(connection))[0][0] == 0
    with pytest.raises(ConnectionResetError):
        await told(connection)


@pytest.mark.parametrize("commit", ["COMMIT", "RELEASE SAVEPOINT a; COMMIT", "BEGIN", "SET autocommit = 1"])
async def test_a_frozen_writer_commits_nothing(sim, commit):
    """By whatever name, and in whatever company; case 57."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, "START TRANSACTION; SAVEPOINT a")
    await ask(connection, INSERT)
    await sim.freeze()

    assert await errno(ask(connection, commit)) == 1290
    assert await errno(ask(connection, "COMMIT")) is None
    assert await count(sim) == 0


async def test_a_failing_release_saves_a_frozen_writer_s_transaction(sim):
    """The COMMIT behind it is not reached; nothing is stored all the same."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, INSERT)
    await sim.freeze()

    assert await errno(ask(connection, "RELEASE SAVEPOINT nowhere; COMMIT")) == 1305
    assert await errno(ask(connection, "COMMIT")) == 1290
    assert await count(sim) == 0


@pytest.mark.parametrize(
    "earlier", ["DO 0", INSERT, "BEGIN; " + INSERT + "; ROLLBACK", "INSERT INTO nowhere VALUES (1)"]
)
async def test_a_frozen_writer_lets_readers_commit(sim, earlier):
    """What was written before the transaction is nobody's concern any more."""
    connection = await dialled(sim, sim.writer)
    await errno(ask(connection, earlier))
    before = await count(sim)
    await sim.freeze()

    for sql in ("BEGIN", "SELECT n FROM t", "COMMIT"):
        assert await errno(ask(connection, sql)) is None
    assert await count(sim) == before


@pytest.mark.parametrize("sql", ["SELECT 1; " + INSERT, INSERT, "SELECT n FROM t FOR UPDATE", "CREATE TABLE u (n INT)"])
async def test_a_fenced_writer_is_silent_to_writes(sim, sql):
    """Whatever stands before them."""
    await sim.two_writers("db-2")
    connection = await dialled(sim, sim.instances["db-1"])

    with pytest.raises(TimeoutError):
        await ask(connection, sql)
    assert await count(sim) == 0


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION READ WRITE"])
async def test_a_fenced_writer_has_read_only_transactions(sim, begin):
    """And ends them, as there is nothing in them; one that has written hangs."""
    writing = await dialled(sim, sim.writer, autocommit=False)
    await ask(writing, INSERT)
    await sim.two_writers("db-2")
    connection = await dialled(sim, sim.instances["db-1"])

    for sql in (begin, "SELECT n FROM t", "COMMIT"):
        assert await errno(ask(connection, sql)) is None
    with pytest.raises(TimeoutError):
        await ask(writing, "COMMIT")
    assert await count(sim) == 0


# --- odd clients ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b"app", b"app\0", b"app\0\x14short", b"app\0\0"])
async def test_a_change_of_user_that_is_cut_short_is_told(sim, rest):
    """Where MySQL finds no sense in it, it knows no such command."""
    connection = await dialled(sim, sim.writer)
    connection._writer.write(packet(0, b"\x11" + rest))

    assert parsed_error((await told(connection))[0])[0] == 1047
    connection._next_seq_id = 0
    assert await ask(connection, "SELECT 7") == [(7,)]


async def test_names_may_have_quotes():
    """Of users and instances."""
    async with SimulatedCluster(["db-1", "o'reilly"], engine="memory", user="o'brien") as sim:
        connection = await dialled(sim, sim.readers[0])

        assert await ask(connection, "SELECT USER(), @@aurora_server_id") == [("o'brien@127.0.0.1", "o'reilly")]
        close_all()


async def test_an_unknown_command_is_the_engine_s_affair(sim):
    """It is passed on, and so is what it says."""
    connection = await dialled(sim, sim.writer)
    connection._writer.write(packet(0, b"\x63"))

    assert parsed_error((await told(connection))[0])[0] == 1047
