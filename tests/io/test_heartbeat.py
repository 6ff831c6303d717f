"""One instance's heartbeat, with its server, its dials and its monitor played by hand."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from pymysql import err

from aioaurora._core.backoff import Pace
from aioaurora._core.failover import Late, Observed, SessionLost, Silenced
from aioaurora._core.observation import Mode, Observation
from aioaurora._core.silence import Patience
from aioaurora._core.topology import Instance
from aioaurora._io.dial import Dial, Dialled
from aioaurora._io.heartbeat import Heartbeat

HERE = Observation(host="db-1.test", port=3306, server_id="db-1", mode=Mode.WRITABLE)


class Line:
    """A session of the monitor's: open until it is closed, and answered when the test says so."""

    phase = "ready"

    def __init__(self):
        self.closed = False
        self.answered = asyncio.Event()
        self.breaks = False

    async def answer(self):
        """Wait for what the server says."""
        await self.answered.wait()
        if self.breaks:
            raise err.OperationalError(2013, "it hung up")
        return HERE

    def signs(self):
        """The kernel cannot tell."""

    def when_ended(self, call):
        """Nobody ends it unasked."""

    def close(self):
        """End it."""
        self.closed = True

    abort = close


class Dials:
    """A dialer whose dials open when `opens` says so, each to a line of its own."""

    is_plain = False
    bare = None

    def __init__(self, opens):
        self.opens, self.lines, self.tasks = iter(opens), [], []

    def start(self, place, _build, **_how):
        """Begin to dial."""
        dial = Dial(place, 1e9, is_hurried=False)

        async def opened(wait):
            await wait
            dial.session = line = Line()
            self.lines.append(line)
            return Dialled(line, HERE)

        dial.task = asyncio.get_running_loop().create_task(opened(next(self.opens)))
        self.tasks.append(dial.task)
        return dial


class Around:
    """A monitor that notes what it is told, and when."""

    def __init__(self):
        self.told = []

    def tell(self, news):
        """Note it."""
        self.told.append((type(news), asyncio.get_running_loop().time()))

    def pace(self):
        """Say how often to ask in quiet times."""
        return Pace(role_every=1.0, view_every=30.0, redial_every=1.0, dials=1)

    def last_sign_of(self, _instance_id):
        """No application has a connection."""
        return 0.0

    def killed(self, instance_id, thread_id):
        """Nothing was cancelled."""

    def times_of(self, kind):
        """When it was told of such a thing."""
        return [at for each, at in self.told if each is kind]


@pytest.fixture
def around(monkeypatch):
    """A monitor; a probe waits for what its line answers."""

    async def probe(line, *, plain, with_view):
        return await line.answer()

    monkeypatch.setattr("aioaurora._io.heartbeat.probe", probe)
    return Around()


@contextlib.asynccontextmanager
async def beating(around, opens, *, adopted=None, **patience):
    """Let an instance be asked until the end of the block."""
    dials = Dials(opens)
    heartbeat = Heartbeat(
        Instance(id="db-1", host="db-1.test", port=3306),
        dialer=dials,
        surroundings=around,
        patience=Patience(**patience),
    )
    if adopted is not None:
        heartbeat.adopt(adopted)
    running = asyncio.create_task(heartbeat.run())
    yield heartbeat, dials
    heartbeat.stop()
    await running
    await asyncio.sleep(0.01)
    for task in dials.tasks:
        task.cancel()


async def turns(count):
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- a dial beside a late answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(8))
async def test_a_dial_beside_that_opens_as_the_answer_comes_is_used_or_closed(around, count):
    """However close together: else it stays open at the server until it is collected."""
    first, opened = Line(), asyncio.Event()
    async with beating(around, [opened.wait()], adopted=first) as (_, dials):
        await asyncio.sleep(0.5)

        opened.set()
        await turns(count)
        first.answered.set()
        await asyncio.sleep(0.5)

    assert around.times_of(Late)
    assert all(line.closed for line in (first, *dials.lines))


@pytest.mark.parametrize("count", range(8))
async def test_a_dial_beside_that_opens_as_asking_is_stopped_is_closed(around, count):
    """As above."""
    first, opened = Line(), asyncio.Event()
    async with beating(around, [opened.wait()], adopted=first) as (heartbeat, dials):
        await asyncio.sleep(0.5)

        opened.set()
        await turns(count)
        heartbeat.stop()
        await asyncio.sleep(0.5)

    assert all(line.closed for line in (first, *dials.lines))


# --- a connection that breaks while it is young ---------------------------------------------------------------------


async def broke_young(dials):
    """Let the first connection break in the middle of its first question."""
    await asyncio.sleep(0.1)
    dials.lines[0].breaks = True
    dials.lines[0].answered.set()


async def test_the_pause_after_a_young_connection_broke_is_not_the_instances_silence(around):
    """Nobody asked it anything meanwhile: a search was started, and called off as soon as it could answer."""
    async with beating(around, [asyncio.sleep(0), asyncio.sleep(0.3)], suspect_after=0.5) as (_, dials):
        await broke_young(dials)
        await asyncio.sleep(1.5)

    assert len(around.times_of(SessionLost)) == 1
    assert len(around.times_of(Observed)) == 2
    assert around.times_of(Late) == []


async def test_a_silence_after_a_young_connection_broke_is_judged_from_the_last_answer_on(around):
    """What waits for the instance is ended in time: the pause does not begin the silence anew."""
    began_at = asyncio.get_running_loop().time()
    async with beating(around, [asyncio.sleep(0), asyncio.sleep(99)], stalled_after=3.0) as (_, dials):
        await broke_young(dials)
        await asyncio.sleep(5)

    answered_at = around.times_of(Observed)[0] - began_at
    (late_at,) = around.times_of(Late)
    (silenced_at,) = around.times_of(Silenced)
    assert 1.3 < late_at - began_at < 1.7
    assert 3.0 <= silenced_at - began_at - answered_at < 3.5
