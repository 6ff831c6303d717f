"""How the tests run.

- A test is a plain `def` or `async def`; a fixture too, with or without `yield`. No plugin and no marker is needed.
- An async test and its async fixtures (function scope) share one event loop and one task: a task group that is opened
  in a fixture lives through the test.
- The loop's time is virtual, so `asyncio.sleep(3600)` takes no time and every run is the same: servers must share the
  test's loop. `tests/system` and tests marked `real_time` run on real time, as whatever talks to other processes must.
- `@pytest.mark.loops` runs a real-time test twice, on asyncio and on uvloop.
- `@pytest.mark.needs("mariadbd", "netns")` names what a test cannot do without. Where it is missing the test is
  skipped, saying why; under AIOAURORA_REQUIRE_ALL=1, as in CI, it fails.
- Afterwards no task, no socket and no unheard exception may be left, and nothing outside the machine was spoken to.
- A test takes 20 s at most, in `tests/system` 60 s: real time is longer on a busy machine. `@pytest.mark.timeout(90)`
  says otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import os
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from aioaurora._io import kernel
from tests import installed, running

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

SYSTEM = pathlib.Path(__file__).parent / "system"
RUNNER = pytest.StashKey[running.Runner]()
SOCKETS = pytest.StashKey[frozenset[str]]()

# Virtual time and shared machines make a wall-clock bound on an example meaningless.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.register_profile(
    "unshrunk", deadline=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
)
hypothesis.settings.register_profile("brief", deadline=None, max_examples=20)
hypothesis.settings.load_profile(os.environ.get("AIOAURORA_HYPOTHESIS", "house"))
sys.addaudithook(running.refuse_outside)


@pytest.fixture(autouse=True)
def no_byte_for_long(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel say, on virtual time, that no connection has received anything for ages: its clock is real.

    So nothing but the heartbeat's own connection tells that an instance lives.
    """
    if _loop_kind(request.node) != "virtual":
        return
    signs_of = kernel.signs_of

    def aged(transport: asyncio.BaseTransport) -> kernel.Signs | None:
        signs = signs_of(transport)
        return signs and dataclasses.replace(signs, last_received_s=math.inf)

    monkeypatch.setattr(kernel, "signs_of", aged)


@pytest.fixture
def loop_kind(request: pytest.FixtureRequest) -> str:
    """The event loop under a test that is marked `loops`."""
    return str(request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `loops` on each event loop."""
    if metafunc.definition.get_closest_marker("loops"):
        metafunc.fixturenames.append("loop_kind")
        metafunc.parametrize("loop_kind", ["asyncio", "uvloop"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what runs on real time longer."""
    for item in items:
        if SYSTEM in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(60))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test whose needs are not met."""
    item.stash[SOCKETS] = running.open_sockets()
    needs = [need for marker in item.iter_markers("needs") for need in marker.args]
    running.allow_outside("netns" in needs)
    for need in needs:
        missing = running.MISSING[need]()
        if missing and os.environ.get("AIOAURORA_REQUIRE_ALL") == "1":
            pytest.fail(f"{missing}, and AIOAURORA_REQUIRE_ALL is set", pytrace=False)
        if missing:
            pytest.skip(missing)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[None]:
    """Run an async fixture in the task of its test."""
    func = fixturedef.func
    if not (inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func)):
        return (yield)
    if fixturedef.scope != "function":
        pytest.fail(f"async fixture {fixturedef.argname!r}: its loop lives for one test, so must it", pytrace=False)
    fixturedef.func = running.as_plain(func, _runner_of(request.node))
    try:
        return (yield)
    finally:
        fixturedef.func = func


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test on its loop."""
    test = pyfuncitem.obj
    inner = getattr(getattr(test, "hypothesis", None), "inner_test", None)
    if inspect.iscoroutinefunction(inner):
        test.hypothesis.inner_test = functools.wraps(inner)(running.as_plain(inner, _runner_of(pyfuncitem)))
        return None
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    _runner_of(pyfuncitem).run(test(**arguments))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Close the loop after the last fixture, and see that nothing is left."""
    try:
        return (yield)
    finally:
        runner = item.stash.get(RUNNER, None)
        left = runner.close() if runner else []
        left += running.sockets_left(since=item.stash.get(SOCKETS, frozenset()))
        if left:
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)


def _runner_of(item: pytest.Item) -> running.Runner:
    if RUNNER not in item.stash:
        item.stash[RUNNER] = running.Runner(_loop_kind(item))
    return item.stash[RUNNER]


def _loop_kind(item: pytest.Item) -> str:
    if isinstance(item, pytest.Function) and hasattr(item, "callspec") and "loop_kind" in item.callspec.params:
        return str(item.callspec.params["loop_kind"])
    real = SYSTEM in item.path.parents or item.get_closest_marker("real_time")
    return "asyncio" if real else "virtual"


@pytest.fixture(scope="session")
def short_tmp() -> Iterator[pathlib.Path]:
    """A directory whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="aa-") as path:
        yield pathlib.Path(path)


@pytest.fixture(scope="session")
def data_directory() -> Iterator[pathlib.Path]:
    """Where one is kept to be copied; in memory, where there is one."""
    memory = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="aa-", dir=memory if memory.is_dir() else None) as path:
        yield pathlib.Path(path) / "data"


@pytest.fixture
def installed_once(monkeypatch: pytest.MonkeyPatch, data_directory: pathlib.Path) -> None:
    """Start each MariaDB of the simulator from a copy of a data directory."""
    installed.install_once(monkeypatch, data_directory)
