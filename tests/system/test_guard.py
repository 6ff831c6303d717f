"""Processes that end with ours: by the kernel's help, and without."""

from __future__ import annotations

import asyncio
import os
import pathlib
import sys

import pytest

from aioaurora.simulator import guard

PIPE, DEVNULL = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL


@pytest.fixture(
    params=[
        pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel helps")),
        False,
    ],
    ids=["kernel", "companion"],
    autouse=True,
)
def kernel_helps(request, monkeypatch):
    """Each way."""
    monkeypatch.setattr(guard, "_HAS_KERNEL_HELP", request.param)
    return request.param


async def test_it_is_the_program_that_was_started():
    """Its number, arguments, output and status; its input is empty."""
    code = "import os, sys; print(os.getpid(), *sys.argv[1:], repr(sys.stdin.read())); sys.exit(3)"
    process = await guard.guarded(sys.executable, "-c", code, "a b", "$x", output=PIPE)

    async with asyncio.timeout(5):
        said = await process.stdout.read()
    status = await process.wait()
    await guard.ended(process)

    assert (said.decode().split(" ", 1), status) == ([str(process.pid), "a b $x ''\n"], 3)


async def test_ending_it_ends_its_companion():
    """Nothing is left of either."""
    process = await guard.guarded("/bin/sleep", "60", output=DEVNULL)
    await asyncio.sleep(0.2)
    children = children_of(process.pid)

    await guard.ended(process)

    assert process.returncode == -9
    assert await all_gone([process.pid, *children])


async def test_a_companion_kills_nobody_else(kernel_helps):
    """The number of a program that has ended by itself may be another's."""
    if kernel_helps:
        return
    process = await guard.guarded("/bin/sleep", "0.3", output=DEVNULL)
    await asyncio.sleep(0.1)
    [companion] = children_of(process.pid)

    assert await process.wait() == 0
    assert is_running(companion)
    await guard.ended(process)

    assert await all_gone([companion])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel helps")
def test_who_starts_after_our_end_ends_at_once():
    """Its parent was gone before it could ask the kernel."""
    child = os.fork()
    if child == 0:
        guard._dies_with(1 << 30)()
        os._exit(0)

    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 1


def children_of(pid):
    """The processes that a process has started (Linux)."""
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def all_gone(pids):
    """Wait until these processes have ended."""
    async with asyncio.timeout(5):
        while any(map(is_running, pids)):
            await asyncio.sleep(0.01)
    return True


def is_running(pid):
    """A zombie does not run."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
