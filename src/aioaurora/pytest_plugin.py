"""A simulated Aurora cluster for the tests of applications, under whatever event loop they run.

It lives in a thread and an event loop of its own, so that fixtures may live as long as the session while each test has
a loop of its own, or none: what is asked of it is handed over, and can be awaited from any loop of asyncio's.

    test's loop    await aurora.failover()  ---hands over--->  cluster's loop, in its thread
                                            <----is done----

pytest finds the fixtures by itself (`aurora`, `aurora_cluster`, `aurora_options`); `Aurora` is what they give, for
annotations.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from aioaurora._io.later import Later
from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["Aurora", "Doing", "serving"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_STARTS_WITHIN_S = 60.0  # A MariaDB whose data directory is made first.
_ENDS_WITHIN_S = 30.0
_HEALTHY_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.01


class Doing(Later[_T]):
    """Something that the cluster does: `await` it, from any event loop of asyncio's, or `wait()` where none runs.

    It has begun already. Cancelling the `await` does to it what cancelling the simulator's own call does: as a rule,
    the waiting ends, and what was begun goes on.
    """

    __slots__ = ("_future",)

    def __init__(self, future: concurrent.futures.Future[_T]) -> None:
        self._future, self._started = future, None

    async def _start(self) -> _T:
        return await asyncio.wrap_future(self._future)

    def wait(self, timeout: float = 60.0) -> _T:
        """Wait for its end, in a test that is no coroutine.

        Args:
            timeout: Seconds, > 0.

        Raises:
            TimeoutError: It was not done by then; it goes on.
        """
        return self._future.result(timeout)


class _Call(Generic[_P, _T]):
    """A coroutine method of SimulatedCluster, called on the cluster's own loop."""

    def __init__(self, method: Callable[Concatenate[SimulatedCluster, _P], Coroutine[Any, Any, _T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, aurora: _Calls | None, owner: type[_Calls]) -> Callable[_P, Doing[_T]]:
        method = self._method
        if aurora is None:
            return method  # type: ignore[return-value]  # For those who read it: its signature and its docstring.

        @functools.wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> Doing[_T]:
            return aurora.do(method(aurora.simulated, *args, **kwargs))

        return call


class _Calls:
    """What is a coroutine in `SimulatedCluster`: its faults and events."""

    simulated: SimulatedCluster

    add_instance: Final = _Call(SimulatedCluster.add_instance)
    block_hosts: Final = _Call(SimulatedCluster.block_hosts)
    crash: Final = _Call(SimulatedCluster.crash)
    deny_logins: Final = _Call(SimulatedCluster.deny_logins)
    distort_view: Final = _Call(SimulatedCluster.distort_view)
    execute: Final = _Call(SimulatedCluster.execute)
    failover: Final = _Call(SimulatedCluster.failover)
    freeze: Final = _Call(SimulatedCluster.freeze)
    half_open: Final = _Call(SimulatedCluster.half_open)
    hang: Final = _Call(SimulatedCluster.hang)
    hang_statement: Final = _Call(SimulatedCluster.hang_statement)
    heal: Final = _Call(SimulatedCluster.heal)
    limit_connections: Final = _Call(SimulatedCluster.limit_connections)
    lose_answer: Final = _Call(SimulatedCluster.lose_answer)
    lose_commit_answer: Final = _Call(SimulatedCluster.lose_commit_answer)
    pace_logins: Final = _Call(SimulatedCluster.pace_logins)
    patch: Final = _Call(SimulatedCluster.patch)
    refuse: Final = _Call(SimulatedCluster.refuse)
    remove_instance: Final = _Call(SimulatedCluster.remove_instance)
    report_lag: Final = _Call(SimulatedCluster.report_lag)
    require_tls: Final = _Call(SimulatedCluster.require_tls)
    restart: Final = _Call(SimulatedCluster.restart)
    rows: Final = _Call(SimulatedCluster.rows)
    slow: Final = _Call(SimulatedCluster.slow)
    slow_logins: Final = _Call(SimulatedCluster.slow_logins)
    switch_to_green: Final = _Call(SimulatedCluster.switch_to_green)
    two_writers: Final = _Call(SimulatedCluster.two_writers)

    def do(self, work: Coroutine[Any, Any, _T]) -> Doing[_T]:
        """Begin something on the cluster's own loop."""
        raise NotImplementedError


class Aurora(_Calls):
    """A simulated Aurora cluster, as the fixtures `aurora` and `aurora_cluster` give it.

    It has all that `SimulatedCluster` has. What is a coroutine there begins at the call here: `await` it in a test that
    is a coroutine, or `wait()` for it in one that is not.

    Example:
        ```python
        async def test_orders_survive(aurora, pool):
            await aurora.failover(mode="crash", promote_after=0.5)
            await pool.run(place_order, "tea")
        ```

    Attributes:
        simulated: The cluster itself; it belongs to the thread that it lives in.
    """

    def __init__(self, simulated: SimulatedCluster, loop: asyncio.AbstractEventLoop) -> None:
        self.simulated: SimulatedCluster = simulated
        self._loop = loop

    def __repr__(self) -> str:
        return f"<Aurora {self.simulated!r}>"

    @property
    def url(self) -> str:
        """The cluster endpoint as a URL, with the password and all that is needed to find the simulated names."""
        return self.simulated.url

    def connect_options(self) -> dict[str, Any]:
        """Return the keywords with which `connect`, `create_pool` and `Cluster` reach the cluster endpoint."""
        return self.simulated.connect_options()

    @property
    def writer(self) -> str:
        """Id of the instance that is the writer, or was the last one while there is none."""
        return self.simulated.writer.id

    @property
    def readers(self) -> tuple[str, ...]:
        """Ids of the instances that are readers, up or not."""
        return tuple(each.id for each in self.simulated.readers)

    def do(self, work: Coroutine[Any, Any, _T]) -> Doing[_T]:
        """Begin something in the cluster's own thread and on its loop.

        Args:
            work: A coroutine that deals with `simulated`; it must not block.
        """
        return Doing(asyncio.run_coroutine_threadsafe(work, self._loop))

    def healthy(self) -> Doing[None]:
        """Undo every fault, and wait until all instances are up and one is the writer: for 30 s at most.

        A failover that is under way goes on to its end. Who is the writer then stays it, and data stay as they are.
        Clients need a moment more to find out: a pool that was told 503 just now may be so once again.
        """
        return self.do(_healthy(self.simulated))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever SimulatedCluster has.
        if name.startswith("_") or name == "simulated":
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        found = getattr(self.simulated, name)
        if not inspect.ismethod(found):
            return found

        @functools.wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as above.
            async def called() -> Any:  # noqa: ANN401 - as above.
                return found(*args, **kwargs)

            return self.do(called()).wait()

        return call


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[Aurora]:  # noqa: ANN401 - keywords of SimulatedCluster.
    """Keep a simulated cluster in a thread of its own, as long as the context lasts.

    Args:
        options: Keywords of `SimulatedCluster`.

    Raises:
        SimulatorError: It cannot be started; says why.
    """
    started: concurrent.futures.Future[tuple[Aurora, Callable[[], object]]] = concurrent.futures.Future()
    ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    def serve() -> None:
        try:
            asyncio.run(_served(options, started))
        except BaseException as error:  # noqa: BLE001 - the outermost edge of the thread: whoever waits is told.
            told = ended if started.done() else started
            told.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=serve, name="aioaurora simulated cluster", daemon=True).start()
    aurora, stop = started.result(_STARTS_WITHIN_S)
    try:
        yield aurora
    finally:
        with contextlib.suppress(RuntimeError):  # It has ended by itself; what it says of that is raised below.
            stop()
        ended.result(_ENDS_WITHIN_S)


async def _served(
    options: dict[str, Any], started: concurrent.futures.Future[tuple[Aurora, Callable[[], object]]]
) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    async with SimulatedCluster(**options) as simulated:
        stop = functools.partial(loop.call_soon_threadsafe, stopping.set)
        started.set_result((Aurora(simulated, loop), stop))
        await stopping.wait()


async def _healthy(simulated: SimulatedCluster) -> None:
    await simulated.heal()
    try:
        async with asyncio.timeout(_HEALTHY_WITHIN_S):
            while not all(each.is_up for each in simulated.instances.values()):
                await asyncio.sleep(_LOOK_EVERY_S)
                await simulated.heal()
    except TimeoutError as error:
        raise TimeoutError(f"not healthy within {_HEALTHY_WITHIN_S:.0f} s: {simulated!r}") from error
