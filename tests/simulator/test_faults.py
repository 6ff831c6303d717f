"""Each fault of the simulated cluster, and that `heal()` undoes it."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora.simulator import HostRow, SimulatedCluster
from tests.simulator.plain_client import ask, close_all, dialled, errno, now, role

INSERT = "INSERT INTO t (n) VALUES (1)"


async def count(sim):
    """How many rows there truly are."""
    return (await sim.rows("SELECT COUNT(*) FROM t"))[0][0]


async def view(connection):
    """Who is the writer, as one instance shows it: ids and session ids."""
    return dict(await ask(connection, "SELECT SERVER_ID, SESSION_ID FROM information_schema.replica_host_status"))


# --- connections ----------------------------------------------------------------------------------------------------


async def test_a_hanging_instance_goes_on_where_it_was(sim):
    """A stalled process: late, not lost."""
    connection = await dialled(sim, sim.writer)
    await sim.hang()
    asking = asyncio.create_task(ask(connection, "SELECT 7", within=60))
    with pytest.raises(TimeoutError):
        await dialled(sim, sim.writer)
    assert not asking.done()

    await sim.heal()

    assert await asking == [(7,)]


async def test_a_refusing_instance_keeps_its_connections(sim):
    """Only new ones are refused."""
    connection = await dialled(sim, sim.writer)
    await sim.refuse()

    assert await errno(dialled(sim, sim.writer)) == 2003
    assert await ask(connection, "SELECT 7") == [(7,)]
    await sim.heal()
    await dialled(sim, sim.writer)


async def test_a_slow_instance_answers_late_and_in_order(sim):
    """Every answer by the same time."""
    connection = await dialled(sim, sim.writer)
    await sim.slow(0.7, "db-1")

    start = now()
    assert await ask(connection, "SELECT 7") == [(7,)]
    assert now() - start == pytest.approx(0.7, abs=0.05)

    await sim.heal()
    start = now()
    await ask(connection, "SELECT 7")
    assert now() - start < 0.05


async def test_half_open_connections_are_dead_without_a_word(sim):
    """Those that exist; new ones are fine."""
    connection = await dialled(sim, sim.writer)
    await sim.half_open()

    asking = asyncio.create_task(errno(ask(connection, "SELECT 1", within=60)))
    await asyncio.sleep(30)
    assert not asking.done()
    await ask(await dialled(sim, sim.writer), "SELECT 1")

    await sim.heal()
    assert await asking == 2013


async def test_a_restarted_writer_stays_the_writer(sim):
    """Its sessions are dead all the same; case 12."""
    connection = await dialled(sim, sim.writer)

    await sim.restart(down_for=1.5)

    assert await errno(ask(connection, "SELECT 1")) == 2013
    again = await dialled(sim, sim.writer)
    assert (await role(again), again.thread_id()) == ((0, 0, "db-1"), 1)


@pytest.mark.parametrize("mode", ["crash", "blackhole"])
async def test_a_crash_without_promotion_leaves_the_cluster_without_writer(sim, mode):
    """Until it is healed."""
    await sim.crash(mode=mode)
    await asyncio.sleep(60)
    assert not sim.writer.is_up
    if mode == "crash":
        assert await errno(dialled(sim, sim.writer)) == 2003

    await sim.heal()

    assert await role(await dialled(sim, sim.writer)) == (0, 0, "db-1")


async def test_too_many_connections(sim):
    """1040 in the place of a greeting; case 25."""
    await sim.limit_connections(2, "db-1")
    first, _ = await dialled(sim, sim.writer), await dialled(sim, sim.writer)
    assert await errno(dialled(sim, sim.writer)) == 1040

    await first.ensure_closed()
    await asyncio.sleep(0.1)
    await dialled(sim, sim.writer)

    await sim.heal()
    await dialled(sim, sim.writer)


# --- log-ins --------------------------------------------------------------------------------------------------------


async def test_an_auth_blip_passes(sim):
    """1045 for some seconds; case 25."""
    await sim.deny_logins(2.0)
    assert await errno(dialled(sim, sim.writer)) == 1045

    await asyncio.sleep(2.1)
    await dialled(sim, sim.writer)

    await sim.deny_logins(100.0)
    await sim.heal()
    await dialled(sim, sim.writer)


async def test_log_ins_take_time(sim):
    """The latency of a busy instance's authentication."""
    await sim.slow_logins(0.8)

    start = now()
    await dialled(sim, sim.writer)

    assert now() - start == pytest.approx(0.8, abs=0.05)


async def test_log_ins_are_paced(sim):
    """Beyond the rate they wait for their turn, and are counted while they do."""
    await sim.pace_logins(10)

    start = now()
    await asyncio.gather(*(dialled(sim, sim.writer) for _ in range(11)))

    assert now() - start == pytest.approx(1.0, abs=0.15)
    assert sim.writer.peak_handshakes >= 10


async def test_cut_handshakes_block_the_host(sim):
    """1129 hits everyone behind the same address, until the server forgets."""
    await sim.block_hosts(3)
    for _ in range(3):
        reader, writer = await asyncio.open_connection(sim.writer.address, sim.writer.port)
        await reader.read(10)
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.1)

    assert await errno(dialled(sim, sim.writer)) == 1129
    await sim.heal()
    await dialled(sim, sim.writer)


async def test_tls_is_required(sim):
    """3159 to whoever comes in the clear; case 60."""
    await sim.require_tls()
    assert await errno(dialled(sim, sim.writer)) == 3159

    await sim.heal()
    await dialled(sim, sim.writer)


# --- statements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("executed", "rows"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("commit", ["COMMIT", "RELEASE SAVEPOINT s; COMMIT"])
async def test_the_answer_to_a_commit_is_lost(sim, executed, rows, commit):
    """Nobody can tell from the connection what became of it; cases 37 and 47."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, "SAVEPOINT s")
    await ask(connection, INSERT)
    await sim.lose_commit_answer(executed=executed)

    assert await errno(ask(connection, commit)) == 2013
    assert await count(sim) == rows


@pytest.mark.parametrize(("executed", "rows"), [(True, 1), (False, 0)])
async def test_the_answer_to_any_statement_is_lost(sim, executed, rows):
    """As often as was asked for."""
    await sim.lose_answer(r"insert into t\b", executed=executed)

    assert await errno(ask(await dialled(sim, sim.writer), INSERT)) == 2013
    assert await count(sim) == rows
    await ask(await dialled(sim, sim.writer), INSERT)


async def test_a_statement_hangs(sim):
    """It never reaches the engine; healed, its client sees the connection end."""
    connection = await dialled(sim, sim.writer)
    await sim.hang_statement("insert")
    asking = asyncio.create_task(errno(ask(connection, INSERT, within=60)))
    await asyncio.sleep(10)
    assert not asking.done()

    await sim.heal()

    assert await asking == 2013
    assert await count(sim) == 0


async def test_patching_keeps_sessions_and_undoes_transactions(sim):
    """The connection is the same, its work is gone: cases 39 and 53."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, "SET @kept = 5")
    await ask(connection, INSERT)
    start = now()
    patching = asyncio.create_task(sim.patch(silent_for=4.0))
    await asyncio.sleep(0.1)

    assert await ask(connection, "SELECT @kept", within=60) == [(5,)]

    assert now() - start == pytest.approx(4.0, abs=0.1)
    await patching
    await ask(connection, "COMMIT")
    assert await count(sim) == 0


async def test_a_frozen_writer_refuses_writes_and_rolls_back(sim):
    """A switchover: `read_only` is 1 while `innodb_read_only` is 0; case 57."""
    connection = await dialled(sim, sim.writer, autocommit=False)
    await ask(connection, INSERT)
    await sim.freeze()

    assert await role(connection) == (0, 1, "db-1")
    assert await errno(ask(connection, INSERT)) == 1290
    assert await errno(ask(connection, "COMMIT")) == 1290
    assert await count(sim) == 0

    await sim.heal()
    await ask(connection, INSERT)
    await ask(connection, "COMMIT")
    assert await count(sim) == 1


async def test_a_fenced_writer_still_says_writable(sim):
    """It answers reads and hangs on writes, while another one is the writer; case 16."""
    connection = await dialled(sim, sim.writer)
    await sim.two_writers(to="db-3")

    assert await role(connection) == (0, 0, "db-1")
    assert await role(await dialled(sim, sim.instances["db-3"])) == (0, 0, "db-3")
    assert sim.writer.id == "db-3"
    with pytest.raises(TimeoutError):
        await ask(connection, INSERT)
    assert [entry.instance for entry in sim.wrong_roles] == ["db-1"]

    await sim.heal()
    assert await role(await dialled(sim, sim.instances["db-1"])) == (1, 1, "db-1")
    assert await count(sim) == 0


# --- rows -----------------------------------------------------------------------------------------------------------


async def test_rows_may_lie(sim):
    """Two MASTER rows, none, missing rows, rows of another cluster, no rows; cases 1, 2, 5, 7."""
    connection = await dialled(sim, sim.readers[0])
    truth = await view(connection)

    await sim.distort_view("db-2", masters=["db-1", "db-3"])
    assert [key for key, value in (await view(connection)).items() if value == "MASTER_SESSION_ID"] == ["db-1", "db-3"]
    await sim.distort_view("db-2", without=["db-1"])
    assert sorted(await view(connection)) == ["db-2", "db-3"]
    await sim.distort_view("db-2", extra=[HostRow(server_id="foreign", session_id="MASTER_SESSION_ID", age_s=900)])
    assert "foreign" in await view(connection)
    await sim.distort_view("db-2", empty=True)
    assert await view(connection) == {}

    await sim.heal()
    assert await view(connection) == truth


async def test_a_stale_view_stays_what_it_was(sim):
    """The first connection after a failover may see the old rows; case 5."""
    await sim.distort_view("db-3", stale=True)
    await sim.failover("crash", promote_after=1.0)

    connection = await dialled(sim, sim.instances["db-3"])
    assert (await view(connection))["db-1"] == "MASTER_SESSION_ID"

    await sim.heal()
    assert (await view(connection))["db-2"] == "MASTER_SESSION_ID"


async def test_a_lag_is_reported(sim):
    """Garbage too; case 4."""
    await sim.report_lag(18446744949882880.0, "db-3")
    sql = "SELECT REPLICA_LAG_IN_MILLISECONDS FROM information_schema.replica_host_status WHERE SERVER_ID = 'db-3'"

    assert await ask(await dialled(sim, sim.writer), sql) == [(18446744949882880.0,)]
    await sim.heal()
    assert await ask(await dialled(sim, sim.writer), sql) == [(15.0,)]


# --- members --------------------------------------------------------------------------------------------------------


async def test_instances_come_and_go(sim):
    """Rows, names and connections follow; cases 3 and 8."""
    added = await sim.add_instance("db-9")
    connection = await dialled(sim, added)
    assert await role(connection) == (1, 1, "db-9")
    assert "db-9" in await view(connection)
    assert sim.dns.answer(added.host).addresses == (added.address,)

    await sim.remove_instance("db-9")

    assert await errno(ask(connection, "SELECT 1")) == 2013
    assert "db-9" not in await view(await dialled(sim, sim.writer))
    assert sim.dns.answer(added.host).addresses == ()


async def test_green_instances_keep_ids_that_are_no_names(sim):
    """After a blue/green switchover; case 51."""
    blue = {name: each.address for name, each in sim.instances.items()}

    await sim.switch_to_green("xyz789")

    green = sim.instances["db-1-green-xyz789"]
    assert await role(await dialled(sim, green)) == (0, 0, "db-1-green-xyz789")
    assert sim.dns.answer("db-1.abc123.us-east-1.aurora.test").addresses == (green.address,)
    assert sim.dns.answer("db-1-green-xyz789.abc123.us-east-1.aurora.test").addresses == ()
    assert green.address not in blue.values()


async def test_a_secondary_cluster_has_readers_only():
    """A global database's; case 58."""
    async with SimulatedCluster(2, engine="memory", reader_only=True) as sim:
        connection = await dialled(sim, sim.readers[0])

        assert await role(connection) == (1, 1, "db-1")
        assert "MASTER_SESSION_ID" not in (await view(connection)).values()
        with pytest.raises(LookupError, match="no writer"):
            _ = sim.writer
        close_all()


async def test_names_lag_and_lie_and_are_healed(sim):
    """The DNS server's own faults end with the others."""
    sim.dns.lie(sim.endpoint, "127.0.0.9")
    assert sim.dns.answer(sim.endpoint).addresses == ("127.0.0.9",)

    await sim.heal()

    assert sim.dns.answer(sim.endpoint).addresses == (sim.writer.address,)


async def test_healing_leaves_a_failover_alone(sim):
    """The fallen writer does not come back as the writer."""
    failing = asyncio.create_task(sim.failover("crash", promote_after=3.0))
    await asyncio.sleep(1)

    await sim.heal()
    assert await errno(dialled(sim, sim.instances["db-1"])) == 2003
    await failing

    assert [each.id for each in sim.instances.values() if each.role == "writer"] == ["db-2"]
    await sim.heal()
    assert await role(await dialled(sim, sim.instances["db-1"])) == (1, 1, "db-1")


# --- what is no fault ------------------------------------------------------------------------------------------------


async def test_tls_that_is_required_stays_required():
    """After healing, on an instance that is added, and on green ones."""
    async with SimulatedCluster(2, engine="memory", tls="required") as sim:
        await sim.heal()
        added = await sim.add_instance("db-9")
        await sim.switch_to_green()

        assert await errno(dialled(sim, sim.writer)) == 3159
        assert added.id not in sim.instances
        assert await errno(dialled(sim, sim.instances["db-9-green-abc123"])) == 3159


async def test_an_added_instance_requires_tls_as_the_others():
    """As above, before any switch."""
    async with SimulatedCluster(2, engine="memory", tls="required") as sim:
        assert await errno(dialled(sim, await sim.add_instance("db-9"))) == 3159


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("failover", "promote_after"),
        ("failover", "undo_takes"),
        ("two_writers", "promote_after"),
        ("restart", "down_for"),
        ("patch", "silent_for"),
        ("slow", "latency"),
        ("slow_logins", "latency"),
        ("deny_logins", "lasting"),
        ("pace_logins", "per_second"),
    ],
)
async def test_what_is_no_duration_is_refused(sim, fault, name, seconds):
    """Before anything is done: an instance that is down for `inf` seconds would be down for good."""
    if (name, seconds) == ("per_second", float("inf")):
        return  # As fast as they come.

    with pytest.raises(ValueError, match=f"{name} {seconds!r}: write "):
        await getattr(sim, fault)(**{name: seconds})

    assert sim.timeline.of("fault") == []
    assert sim.writer.is_up
