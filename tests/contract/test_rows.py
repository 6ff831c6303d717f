"""`information_schema.replica_host_status`: what each instance shows of all."""

from __future__ import annotations

import asyncio

from tests.contract.claims import holds
from tests.simulator.plain_client import ask, connected, dialled

TABLE = "information_schema.replica_host_status"
AGES = f"SELECT SERVER_ID, TIMESTAMPDIFF(MICROSECOND, LAST_UPDATE_TIMESTAMP, NOW(6)) / 1000000 FROM {TABLE}"


async def ages(sim):
    """How old each instance's row is, in seconds, as a living reader shows it."""
    return {name: float(age) for name, age in await ask(await dialled(sim, sim.instances["db-3"]), AGES)}


@holds("row-columns")
async def test_it_has_the_documented_columns(sim):
    """By their names, with types that a client reads as text, numbers and a time."""
    async with connected(sim, sim.writer) as connection, connection.cursor() as cursor:
        await cursor.execute(f"SELECT * FROM {TABLE}")
        names = {column[0] for column in cursor.description}
        row = dict(zip([column[0] for column in cursor.description], await cursor.fetchone(), strict=True))

    assert names >= {
        "SERVER_ID",
        "SESSION_ID",
        "LAST_UPDATE_TIMESTAMP",
        "REPLICA_LAG_IN_MILLISECONDS",
        "CPU",
        "IS_CURRENT",
    }
    assert isinstance(row["SERVER_ID"], str)
    assert isinstance(row["REPLICA_LAG_IN_MILLISECONDS"], float)
    assert row["LAST_UPDATE_TIMESTAMP"].year > 2000


@holds("master-row", "every-view")
async def test_every_instance_shows_all_and_marks_the_writer(sim):
    """Before a failover and after it."""
    for writer in ("db-1", "db-2"):
        for each in (each for each in sim.instances.values() if each.is_up):
            rows = dict(await ask(await dialled(sim, each), f"SELECT SERVER_ID, SESSION_ID FROM {TABLE}"))
            assert set(rows) == {"db-1", "db-2", "db-3"}
            assert [name for name, session in rows.items() if session == "MASTER_SESSION_ID"] == [writer]
        if writer == "db-1":
            await sim.failover("crash", promote_after=0.2)


@holds("rows-fresh")
async def test_rows_of_the_living_are_fresh(sim):
    """The driver takes ages against the newest row of the same view."""
    await asyncio.sleep(2.5)

    assert all(age < 1.5 for age in (await ages(sim)).values())


@holds("rows-age")
async def test_the_row_of_who_is_down_grows_old(sim):
    """It does not vanish: ages are what tells."""
    await sim.crash("db-2")
    await asyncio.sleep(2.5)
    found = await ages(sim)

    assert found["db-2"] > 2
    assert max(found["db-1"], found["db-3"]) < 1.5


@holds("lag")
async def test_only_readers_lag(sim):
    """Milliseconds."""
    rows = await ask(await dialled(sim, sim.writer), f"SELECT SERVER_ID, REPLICA_LAG_IN_MILLISECONDS FROM {TABLE}")

    lags = dict(rows)
    assert lags["db-1"] == 0
    assert 0 < lags["db-2"] < 1000


@holds("rows-outside-snapshots")
async def test_an_open_snapshot_does_not_hold_the_rows_back(sim):
    """A monitor that asks inside a transaction would else see the past."""
    connection = await dialled(sim, sim.instances["db-3"])
    await ask(connection, "BEGIN")
    await ask(connection, "SELECT * FROM t")
    before = await ask(connection, f"SELECT SERVER_ID FROM {TABLE} WHERE SESSION_ID = 'MASTER_SESSION_ID'")
    await sim.failover("crash", to="db-2", promote_after=0.2)
    after = await ask(connection, f"SELECT SERVER_ID FROM {TABLE} WHERE SESSION_ID = 'MASTER_SESSION_ID'")

    assert (before, after) == ([("db-1",)], [("db-2",)])
