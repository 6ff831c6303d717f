"""What a reader refuses, and in which words."""

from __future__ import annotations

import aiomysql
import pytest

from tests.contract.claims import holds
from tests.simulator.plain_client import ask, dialled, errno

CHANGES = [
    "INSERT INTO t (n) VALUES (1)",
    "UPDATE t SET n = 2 WHERE id = 1",
    "DELETE FROM t WHERE id = 1",
    "REPLACE INTO t (id, n) VALUES (1, 5)",
    "CREATE TABLE u (id INT)",
    "DROP TABLE t",
    "TRUNCATE TABLE t",
    "ALTER TABLE t ADD m INT",
    "GRANT SELECT ON *.* TO 'x'@'%'",
    "  /* hint */ insert into t (n) values (1)",
]


@holds("read-only-error")
async def test_readers_refuse_changes_in_mysql_s_words(sim):
    """DML, DDL and DCL, by the number and by the sentence that clients match; nothing is changed."""
    connection = await dialled(sim, sim.readers[0])
    for sql in CHANGES:
        with pytest.raises(aiomysql.OperationalError) as caught:
            await ask(connection, sql)
        assert caught.value.args == (
            1290,
            "The MySQL server is running with the --read-only option so it cannot execute this statement",
        )

    assert await sim.rows("SELECT n FROM t") == [(1,)]


@holds("locking-reads")
async def test_readers_refuse_locking_reads(sim):
    """A lock is a change too."""
    connection = await dialled(sim, sim.readers[0])
    for sql in ("SELECT n FROM t FOR UPDATE", "SELECT n FROM t LOCK IN SHARE MODE"):
        with pytest.raises(aiomysql.OperationalError, match="read-only"):
            await ask(connection, sql)


@holds("reader-locks")
async def test_a_reader_s_table_locks_are_its_own(sim):
    """The storage is shared, the locks are not."""
    reader, writer = await dialled(sim, sim.readers[0]), await dialled(sim, sim.writer)

    assert await errno(ask(reader, "LOCK TABLES t READ")) is None
    await ask(writer, "UPDATE t SET n = 2 WHERE id = 1", within=1)
    assert await ask(reader, "SELECT n FROM t") == [(2,)]


@holds("no-super")
async def test_nothing_is_set_for_all(sim):
    """On the writer neither."""
    for instance in (sim.writer, sim.readers[0]):
        assert await errno(ask(await dialled(sim, instance), "SET GLOBAL wait_timeout = 60")) == 1227


@holds("readers-read")
async def test_readers_read(sim):
    """Also in a transaction, read-only or not, and inside COMMIT and ROLLBACK."""
    connection = await dialled(sim, sim.readers[0])
    for begin in ("BEGIN", "START TRANSACTION READ ONLY"):
        await ask(connection, begin)
        assert await ask(connection, "SELECT n FROM t") == [(1,)]
        await ask(connection, "COMMIT")
