"""Every way to die, on MariaDB: what a unit of work reports is what the engine holds, and UNKNOWN only if it must be.

Each way is tried `AIOAURORA_OUTCOMES` times (2), with autocommit off and on: the first attempt dies so, and the unit is
run again if that is safe.
`AIOAURORA_OUTCOMES=200 pytest -s tests/system/test_unit_outcomes.py` prints the outcomes of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pymysql import err

import aioaurora
from aioaurora import errors
from aioaurora.errors import Outcome
from aioaurora.simulator import SimulatedCluster
from aioaurora.simulator.relay import Ending
from aioaurora.simulator.wire import EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Happening = Callable[..., Awaitable[object]]

TIMES = int(os.environ.get("AIOAURORA_OUTCOMES", "1"))
pytestmark = [pytest.mark.needs("mariadbd"), pytest.mark.timeout(60 + 10 * TIMES)]

NOTHING, REFUSED, BACK, UNKNOWN = Outcome
BIG = "x" * 12_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to die.

    Attributes:
        at: When it happens: before the unit is run, or in its first attempt.
        happens: What does.
        outcomes: What may be said of that attempt; "done": it was committed.
        text: The last statement of the attempt.
        times: How often it is tried at most.
        latency_s: Of every answer, so that any moment is hit.
    """

    at: str
    happens: Callable[[SimulatedCluster, Any], Awaitable[object]]
    outcomes: frozenset[str] = frozenset({BACK})
    text: str = "INSERT INTO t VALUES ({trial}, {attempt}, 2, '')"
    times: int = TIMES
    latency_s: float = 0.0


SLOW = "INSERT INTO t SELECT {trial}, {attempt}, 2, SLEEP(0.1)"
SLOWER = SLOW.replace("0.1", "0.4")


def later(moment: Happening, happens: Happening) -> Happening:
    """Let it happen while the next statement is under way, when its moment has come; gives its task."""

    async def wait(sim, connection):
        async def work():
            await moment(sim)
            await happens(sim, connection)

        return asyncio.create_task(work())

    return wait


def after(delay_s: float) -> Happening:
    """Always the same delay."""
    return lambda _: asyncio.sleep(delay_s)


def within(most_s: float) -> Happening:
    """At any moment."""
    return lambda _: asyncio.sleep(random.random() * most_s)


async def executing(sim):
    """When the engine works at it, however busy this machine is."""
    async with asyncio.timeout(10):
        while not await sim.rows("SELECT 1 FROM information_schema.processlist WHERE LEFT(info, 6) = 'INSERT'"):
            await asyncio.sleep(0.005)


async def crashes(sim, _):
    """The writer's process is gone (RST) and comes back."""
    await sim.restart(mode="crash", down_for=0.05)


async def shuts_down(sim, _):
    """It ends in an orderly way (FIN)."""
    await sim.restart(mode="graceful", down_for=0.05)


async def is_killed(sim, connection):
    """A DBA's KILL, which takes no time."""
    front = sim.writer.desk.fronts.get(connection.thread_id())
    with contextlib.suppress(EngineError):  # 1094: it is gone already.
        if front is not None:
            await sim.execute(f"KILL {front.engine_id}")


async def was_killed(sim, connection):
    """The same; its end has arrived here."""
    await is_killed(sim, connection)
    await asyncio.sleep(0.05)


async def is_patched(sim, _):
    """ZDP: the session lives."""
    await sim.patch(silent_for=0.05)


async def is_patched_at_length(sim, _):
    """ZDP, which lets what is under way finish."""
    await sim.patch(silent_for=0.4)


async def freezes(sim, _):
    """`read_only` of a switchover, for a while."""
    await sim.freeze()
    asyncio.get_running_loop().call_later(0.2, lambda: asyncio.ensure_future(sim.heal()))


async def hangs_and_crashes(sim, _):
    """It reads no more, and then is gone."""
    await sim.hang()
    await asyncio.sleep(0.1)
    await crashes(sim, None)
    await sim.heal()


def fails_over(mode):
    """Another one is promoted; the old one ends like this."""

    async def happens(sim, _):
        target = next(each for each in ("db-1", "db-2") if each != sim.writer.id)
        await sim.failover(mode, target, promote_after=0.3, target_down_for=0.05, returns_after=0.1, dns_lag=0)

    return happens


def loses(pattern, *, executed, ending=Ending.RST):
    """The answer never comes."""
    return lambda sim, _: sim.lose_answer(pattern, executed=executed, ending=ending)


BEGIN = r"(SET AUTOCOMMIT = 0\s*;\s*)?START TRANSACTION"
COMMIT = r"RELEASE SAVEPOINT \S+\s*;\s*COMMIT"
UNSURE = frozenset({UNKNOWN})
WAYS = {
    "begin lost": Way(at="before", happens=loses(BEGIN, executed=True)),
    "begin never executed": Way(at="before", happens=loses(BEGIN, executed=False)),
    "crashed before a statement was sent": Way(at="begun", happens=crashes),
    "shut down before a statement was sent": Way(at="begun", happens=shuts_down),
    "crashed between statements": Way(at="between", happens=crashes),
    "shut down between statements": Way(at="between", happens=shuts_down),
    "killed between statements": Way(at="between", happens=was_killed),
    "patched between statements": Way(at="between", happens=is_patched),
    "half-sent": Way(
        at="between",
        happens=later(after(0.0), hangs_and_crashes),
        text=f"INSERT INTO t VALUES ({{trial}}, {{attempt}}, 2, '{BIG}')",
        times=min(TIMES, 20),
    ),
    "crashed while executing": Way(at="between", happens=later(executing, crashes), text=SLOWER),
    "shut down while executing": Way(at="between", happens=later(executing, shuts_down), text=SLOWER),
    "killed while executing": Way(at="between", happens=later(after(0.0), is_killed), text=SLOW),
    "patched while executing": Way(at="between", happens=later(after(0.03), is_patched_at_length), text=SLOW),
    "executed, answer lost": Way(at="between", happens=loses("INSERT", executed=True)),
    "never executed": Way(at="between", happens=loses("INSERT", executed=False)),
    "frozen between statements": Way(at="between", happens=freezes, outcomes=frozenset({BACK, REFUSED, "done"})),
    "crashed before COMMIT": Way(at="last", happens=crashes),
    "shut down before COMMIT": Way(at="last", happens=shuts_down),
    "killed before COMMIT": Way(at="last", happens=was_killed),
    "patched before COMMIT": Way(at="last", happens=is_patched),
    "frozen before COMMIT": Way(at="last", happens=freezes, outcomes=frozenset({BACK, "done"})),
    "COMMIT done, answer lost (RST)": Way(at="last", happens=loses(COMMIT, executed=True), outcomes=UNSURE),
    "COMMIT done, answer lost (FIN)": Way(
        at="last", happens=loses(COMMIT, executed=True, ending=Ending.FIN), outcomes=UNSURE
    ),
    "COMMIT never executed": Way(at="last", happens=loses(COMMIT, executed=False), outcomes=UNSURE),
    "failover between statements": Way(at="between", happens=fails_over("crash")),
    "black hole between statements": Way(
        at="between", happens=later(after(0.0), fails_over("blackhole")), times=min(TIMES, 20), text=SLOW
    ),
    "crash at any moment": Way(
        at="begun",
        happens=later(within(0.025), crashes),
        outcomes=frozenset({NOTHING, BACK, UNKNOWN, "done"}),
        times=3 * TIMES,
        latency_s=0.004,
    ),
    "kill at any moment": Way(
        at="begun",
        happens=later(within(0.025), is_killed),
        outcomes=frozenset({NOTHING, BACK, UNKNOWN, "done"}),
        times=3 * TIMES,
        latency_s=0.004,
    ),
    "patching at any moment": Way(
        at="begun",
        happens=later(within(0.025), is_patched),
        outcomes=frozenset({BACK, "done"}),
        times=3 * TIMES,
        latency_s=0.004,
    ),
}


@pytest.fixture
async def sim(installed_once):
    """Two instances on MariaDB, and a table."""
    async with SimulatedCluster(2, engine="mariadb") as started:
        await started.execute("SET GLOBAL max_allowed_packet = 67108864")
        columns = "trial INT, attempt INT, part INT, filling LONGTEXT, PRIMARY KEY (trial, attempt, part)"
        await started.execute(f"CREATE TABLE t ({columns}) ENGINE=InnoDB")
        yield started


class Trial:
    """A unit of work of two statements, whose first attempt dies."""

    def __init__(self, sim, way, number):
        self.sim, self.way, self.number = sim, way, number
        self.attempts, self.has_returned, self.first = 0, False, None
        self.under_way = []

    async def __call__(self, connection):
        """Do it; gives the number of the attempt."""
        self.attempts += 1
        self.has_returned = False
        await self.moment("begun", connection)
        await self.say(connection, "INSERT INTO t VALUES ({trial}, {attempt}, 1, '')")
        await self.moment("between", connection)
        await self.say(connection, self.way.text)
        await self.moment("last", connection)
        self.has_returned = True
        return self.attempts

    async def say(self, connection, text):
        """Run a statement."""
        async with connection.cursor() as cursor:
            await cursor.execute(text.format(trial=self.number, attempt=self.attempts))

    async def moment(self, name, connection=None):
        """Let happen what is to happen now."""
        if self.way.at == name and self.attempts <= 1:
            happening = await self.way.happens(self.sim, connection)
            if isinstance(happening, asyncio.Task):
                self.under_way.append(happening)

    def note(self, error):
        """See what is said of the first attempt; UNKNOWN must be a COMMIT's."""
        if self.first is None:
            self.first = error
            if getattr(error, "outcome", None) is UNKNOWN:
                assert isinstance(error, errors.CommitOutcomeUnknown)
                assert self.has_returned

    async def run(self, pool):
        """Run it; gives what was said of the first attempt, which is true."""
        await self.sim.slow(self.way.latency_s)
        await self.moment("before")
        result = raised = None
        try:
            result = await pool.run(self, timeout=20, before_sleep=lambda state: self.note(state.outcome.exception()))
        except err.MySQLError as error:
            self.note(error)
            raised = error
        await asyncio.gather(*self.under_way)
        await self.sim.slow(0)
        text = "SELECT attempt, COUNT(*) FROM t WHERE trial = %s GROUP BY attempt"
        held = dict(await self.sim.rows(text, self.number))
        said = "done" if self.first is None else self.first.outcome
        if raised is None:
            assert held == {result: 2}
        elif raised.outcome is UNKNOWN:
            assert held in ({}, {self.attempts: 2})
        else:
            assert held == {}
        assert said in self.way.outcomes, self.first
        if said is not UNKNOWN:
            assert raised is None  # Nothing was done, so it was done again.
        return said, bool(held)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_what_a_unit_reports_is_what_the_engine_holds(sim, way, request):
    """True and exact (DECISIONS 13); done once, unless nobody can know (cases 46, 47)."""
    for autocommit in (False, True):
        seen = Counter()
        options = sim.connect_options() | {"connect_timeout": 5, "autocommit": autocommit}
        async with aioaurora.create_pool(**options, maxsize=2) as pool:
            for number in range(way.times):
                said, is_held = await Trial(sim, way, 2 * number + autocommit).run(pool)
                seen[f"{said}, {'held' if is_held else 'not held'}"] += 1
                with contextlib.suppress(err.MySQLError):
                    await pool.execute("DO 0", timeout=10)
        print(f"\n{request.node.callspec.id}, autocommit {'on' if autocommit else 'off'}: {dict(seen)}", end="")


# --- one statement under autocommit ---------------------------------------------------------------------------------

LOST = {
    "executed, answer lost": (loses("INSERT", executed=True), 1, "INSERT INTO t VALUES (%s, 1, 1, '')"),
    "never executed": (loses("INSERT", executed=False), 0, "INSERT INTO t VALUES (%s, 1, 1, '')"),
    "crashed while executing": (later(executing, crashes), 0, "INSERT INTO t SELECT %s, 1, 1, SLEEP(2)"),
}


@pytest.mark.parametrize("way", LOST.values(), ids=LOST)
async def test_a_lost_write_of_one_statement_is_unknown(sim, way):
    """Not repeated, and not said to be undone."""
    happens, held, text = way
    async with aioaurora.create_pool(**sim.connect_options(), autocommit=True) as pool:
        for number in range(TIMES):
            await pool.execute("DO 0", idempotent=True)
            happening = await happens(sim, None)
            with pytest.raises(errors.OutcomeUnknown):
                await pool.execute(text, (number,))
            if happening is not None:
                await happening
            assert await sim.rows("SELECT COUNT(*) FROM t WHERE trial = %s", number) == [(held,)]


async def test_a_write_of_one_statement_that_was_never_whole_is_done_once(sim):
    """Half of it is nothing: it is sent again."""
    async with aioaurora.create_pool(**sim.connect_options(), autocommit=True) as pool:
        for number in range(min(TIMES, 20)):
            await pool.execute("DO 0", idempotent=True)
            happening = await later(after(0.0), hangs_and_crashes)(sim, None)
            await asyncio.sleep(0.01)
            assert await pool.execute("INSERT INTO t VALUES (%s, 1, 1, %s)", (number, BIG)) == 1
            await happening
            assert await sim.rows("SELECT COUNT(*) FROM t WHERE trial = %s", number) == [(1,)]
