"""What `conftest.py` runs async tests with: a loop for each, one task in it, and a look at what is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import inspect
import ipaddress
import os
import pathlib
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import looptime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

PASSES = 50  # Turns of the loop that a closed transport may take to be gone.
CLOSING_TAKES_S = 2.0  # pycares closes a channel's sockets in a thread, a second late.

_outside_allowed = False


def allow_outside(allowed: bool) -> None:
    """Let this test connect to addresses that are not loopback: those of its own namespaces."""
    global _outside_allowed  # noqa: PLW0603 - an audit hook can be given nothing and never be removed.
    _outside_allowed = allowed


def refuse_outside(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: no test speaks to another machine."""
    if event != "socket.connect" or _outside_allowed or not isinstance(arguments[1], tuple):
        return
    host = str(arguments[1][0])
    if not _is_here(host):
        raise RuntimeError(f"a test must not speak to {host!r}: only to loopback addresses")


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in {"", "localhost"}
    return address.is_loopback or address.is_unspecified


class Runner:
    """One event loop, and one task in it that runs a test and its fixtures in turn."""

    def __init__(self, kind: str) -> None:
        self._loop = _new_loop(kind)
        self._ending = False
        self._unheard: list[str] = []
        self._loop.set_exception_handler(lambda _, context: self._unheard.append(_told(context)))
        self._jobs: asyncio.Queue[tuple[Awaitable[Any], asyncio.Future[Any]]] = asyncio.Queue()
        self._task = self._loop.create_task(self._serve(), name="test")

    def run(self, work: Awaitable[Any]) -> Any:
        """Run `work` in the task and give its result."""
        done = self._loop.create_future()
        self._jobs.put_nowait((work, done))
        try:
            return self._loop.run_until_complete(done)
        finally:
            if not done.done():  # Timed out or interrupted: the task is still in it.
                self._end({self._task})
                self._task = self._loop.create_task(self._serve(), name="test")

    def close(self) -> list[str]:
        """End the loop; say what was left on it."""
        if self._loop.is_closed():
            return []
        self._loop.run_until_complete(_settled(besides=self._task))
        left = {task for task in asyncio.all_tasks(self._loop) if task is not self._task}
        told = sorted(f"task {task.get_name()!r} in {task.get_coro()!r}" for task in left)
        self._end(left | {self._task})
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        return told + self._unheard

    async def _serve(self) -> None:
        while True:
            work, done = await self._jobs.get()
            try:
                done.set_result(await work)
            except asyncio.CancelledError:
                if self._ending:
                    raise
                self._task.uncancel()
                done.set_exception(AssertionError("the test was cancelled, by itself or by what it called"))
            except BaseException as error:  # noqa: BLE001 - skips and failures are no Exceptions; `run` raises it.
                done.set_exception(error)

    def _end(self, tasks: set[asyncio.Task[Any]]) -> None:
        self._ending = True
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        self._ending = False


def as_plain(func: Callable[..., Any], runner: Runner) -> Callable[..., Any]:
    """Make an async function, or an async generator that yields once, look like a plain one."""
    if inspect.isasyncgenfunction(func):

        def generator(**arguments: Any) -> Iterator[Any]:
            steps = func(**arguments)
            yield runner.run(anext(steps))
            if runner.run(anext(steps, None)) is not None:
                raise RuntimeError(f"{func.__name__} yields more than once")

        return generator

    def plain(*positional: Any, **arguments: Any) -> Any:
        return runner.run(func(*positional, **arguments))

    return plain


async def _settled(*, besides: asyncio.Task[Any]) -> None:
    """Let what was told to end come to its end."""
    me = asyncio.current_task()
    for _ in range(PASSES):
        await asyncio.sleep(0)
        if asyncio.all_tasks() <= {besides, me}:
            break
    for _ in range(3):  # A transport closes its socket in a call of its own, after its task has ended.
        await asyncio.sleep(0)


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "virtual":
        return looptime.new_event_loop()
    if kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def _told(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"


def open_sockets() -> frozenset[str]:
    """The sockets of this process, by the kernel's name for them; nothing where there is no /proc."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in pathlib.Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # Closed meanwhile: iterdir's own, for one.
                found.add(str(entry.readlink()))
    return frozenset(name for name in found if name.startswith("socket:"))


def sockets_left(*, since: frozenset[str]) -> list[str]:
    """Say how many sockets are open that were not, after what is slow to close had its time."""
    until = time.monotonic() + CLOSING_TAKES_S
    while left := open_sockets() - since:
        gc.collect()
        if time.monotonic() > until:
            return [f"{len(left)} open sockets"]
        time.sleep(0.02)
    return []


def _mariadbd_missing() -> str:
    found = shutil.which("mariadbd") or pathlib.Path("/usr/sbin/mariadbd").exists()
    return "" if found else "no mariadbd on PATH (Debian: apt-get install mariadb-server)"


def _netns_missing() -> str:
    ip = shutil.which("ip") or "/usr/sbin/ip"
    name = f"aa-probe-{os.getpid()}"
    try:
        subprocess.run([ip, "netns", "add", name], check=True, capture_output=True, timeout=5)
        subprocess.run([ip, "netns", "delete", name], check=True, capture_output=True, timeout=5)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces can be made here ({error}; Debian: apt-get install iproute2, and be root)"
    return ""


def _tun_missing() -> str:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"no TUN devices can be made here ({error}; be root, on a kernel that has them)"
    return ""


def _pytest_asyncio_missing() -> str:
    found = importlib.util.find_spec("pytest_asyncio")
    return "" if found else "no pytest-asyncio, with which others run their tests (pip install pytest-asyncio)"


MISSING: dict[str, Callable[[], str]] = {
    "mariadbd": _mariadbd_missing,
    "netns": _netns_missing,
    "pytest_asyncio": _pytest_asyncio_missing,
    "tun": _tun_missing,
}
"""What a test may need, and how to tell, in a sentence, that it is not there."""
