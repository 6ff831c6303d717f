"""The tests' own ground: virtual time, one task, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from tests import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def runner() -> Iterator[running.Runner]:
    """A runner beside the one that runs the tests."""
    made = running.Runner("virtual")
    yield made
    made.close()


@pytest.fixture
async def task_of_fixture() -> AsyncIterator[asyncio.Task]:
    """The task that an async fixture runs in, inside a task group."""
    async with asyncio.TaskGroup():
        yield asyncio.current_task()


async def test_fixture_and_test_share_a_task(task_of_fixture):
    """A task group that is opened in a fixture can be closed there."""
    assert asyncio.current_task() is task_of_fixture


async def test_an_hour_takes_no_time():
    """Time is the loop's, and the loop has nothing else to do."""
    began = asyncio.get_running_loop().time()

    await asyncio.sleep(3600)

    assert asyncio.get_running_loop().time() - began == pytest.approx(3600, abs=1e-3)


async def test_traffic_in_the_loop_takes_no_virtual_time():
    """Two ends in one loop never time out falsely."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        for _ in range(100):
            async with asyncio.timeout(0.05):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"ping")
                assert await reader.read() == b"ping"
                writer.close()
                await writer.wait_closed()


def test_forgotten_task_is_told(runner):
    """It would go on in the next test, or be destroyed while pending."""
    forgotten = runner.run(_started("forgotten"))

    (told,) = runner.close()

    assert "'forgotten'" in told
    assert forgotten.cancelled()


def test_exception_that_nobody_heard_is_told(runner):
    """The event loop would only log it."""
    runner.run(_left_to_fail())

    (told,) = runner.close()

    assert "ZeroDivisionError" in told


def test_test_that_is_cancelled_fails(runner):
    """Whatever cancelled it, it did not come to its end."""
    with pytest.raises(AssertionError, match="cancelled"):
        runner.run(_cancelled())

    assert runner.run(_one()) == 1


def test_open_socket_is_told(monkeypatch):
    """A leak of one in each connect is 10,000 in a day."""
    monkeypatch.setattr(running, "CLOSING_TAKES_S", 0.0)
    before = running.open_sockets()

    with socket.create_server(("127.0.0.1", 0)):
        assert running.sockets_left(since=before) == ["1 open sockets"]

    assert running.sockets_left(since=before) == []


def test_other_machines_are_not_spoken_to():
    """A test that needs the network fails elsewhere, or worse, does something there."""
    with socket.socket() as made, pytest.raises(RuntimeError, match="must not speak"):
        made.connect(("192.0.2.1", 3306))


@pytest.mark.loops
async def test_marked_tests_run_on_both_loops(loop_kind):
    """What holds on asyncio must hold on uvloop."""
    assert ("uvloop" in type(asyncio.get_running_loop()).__module__) == (loop_kind == "uvloop")


async def _started(name: str) -> asyncio.Task:
    return asyncio.create_task(asyncio.sleep(1), name=name)


async def _left_to_fail() -> None:
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(1)


async def _cancelled() -> None:
    asyncio.current_task().cancel()
    with contextlib.suppress(TimeoutError):
        await asyncio.sleep(1)


async def _one() -> int:
    return 1
