"""What one Cluster knows, and the tasks that keep it true.

News come in through `tell`: from heartbeats, dials and broken connections. The core decides; what it answers is
carried out here at once. One root task owns every heartbeat, so that `close` may come from any task.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, assert_never

import anyio
import anyio.abc
from pymysql import err

from aioaurora._core.backoff import ROWS_WHILE_SEARCHING_EVERY_S, Pace, jittered, redial_pause, role_pause
from aioaurora._core.failover import (
    Abort,
    Ask,
    Command,
    Event,
    Observed,
    ReaderOnly,
    SearchEnded,
    Searching,
    SearchStarted,
    State,
    step,
    watched,
)
from aioaurora._core.restart import Opening, Outlived
from aioaurora._core.silence import ENDING_TAKES, Patience
from aioaurora._core.topology import Instance, Topology, changed
from aioaurora._io.callbacks import as_in_a_task
from aioaurora._io.dial import Place, closed
from aioaurora._io.heartbeat import Heartbeat
from aioaurora._io.held import Holdings
from aioaurora._io.lookout import Lookout
from aioaurora._io.reports import Reports
from aioaurora._io.slices import Slices
from aioaurora.errors import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora._core import frozen
    from aioaurora._io.dialer import Dialer
    from aioaurora._io.held import Held
    from aioaurora._io.resolver import Resolver
    from aioaurora._io.session import Session
    from aioaurora.config import Config

_READER_ONLY_PAUSE_S = 30.0
# A promotion can be followed by refused log-ins for a moment (case 25).
UNSETTLED_FOR_S = 10.0


class Monitor:
    """Keeps the topology of one Cluster true."""

    def __init__(
        self,
        config: Config,
        *,
        dialer: Dialer,
        resolver: Resolver,
        emit: Callable[[frozen.Event], None],
        chance: Callable[[], float],
    ) -> None:
        self.state = State(topology=Topology(endpoint=config.endpoint))
        self.failure: BaseException | None = None
        self.followers: set[Callable[[], None]] = set()  # Called when what is believed has changed.
        self.answers: Counter[str] = Counter()  # How often each instance has said what it is.
        self._config = config
        self._dialer = dialer
        self._resolver = resolver
        self._reports = Reports(emit, self.topology)
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._heartbeats: dict[str, Heartbeat] = {}
        self._held, self._slices = Holdings(), Slices()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._group: anyio.abc.TaskGroup | None = None
        self._searched_at = -UNSETTLED_FOR_S
        self._lookout = Lookout(dialer, resolver, self, every_s=config.refresh_interval, chance=chance)
        self._root = self._begun()

    # --- what others ask and tell ------------------------------------------------------------------------------

    @property
    def topology(self) -> Topology:
        """What is believed now."""
        return self.state.topology

    @property
    def is_unsettled(self) -> bool:
        """Whether the writer is sought, or was found only just now."""
        return self.is_searching or self._loop.time() - self._searched_at < UNSETTLED_FOR_S

    @property
    def is_searching(self) -> bool:
        """Whether the writer is sought."""
        return isinstance(self.state.phase, Searching)

    @property
    def is_alone(self) -> bool:
        """Whether nobody but the writer is asked: its word stands uncontradicted."""
        return not self.is_searching and self._heartbeats.keys() == {self.topology.writer_id}

    @property
    def searching_for_s(self) -> float:
        """How long the writer has been sought; 0 when it is not."""
        phase = self.state.phase
        return self._loop.time() - phase.since if isinstance(phase, Searching) else 0.0

    def tell(self, event: Event) -> None:
        """Take news in, and do what follows from them."""
        before = self.state
        self.state, commands = step(before, event, self._loop.time())
        if isinstance(event, Observed):
            self.answers[event.observation.instance_id] += 1
        self._reports.news(event, before, self.state, connections=lambda instance: len(self._held.open_to(instance)))
        if not commands and self.state == before:
            return  # As nearly always: each new connection brings an answer that is no news.
        with as_in_a_task():
            for command in commands:
                self._carry_out(command)
            self._follow(before)

    def begin(self, observed: Observed, session: Session) -> None:
        """Take the first answer in, and go on asking on the connection that brought it."""
        self.tell(observed)
        heartbeat = self._heartbeats.get(observed.observation.instance_id)
        if heartbeat is None:
            session.close()
        else:
            heartbeat.adopt(session)

    def hold(self, instance_id: str, connection: Held, begun_at: float | None = None) -> None:
        """Watch an instance for as long as this connection to it is open; it was another's if it was made anew."""
        now = self._loop.time()
        opening = Opening(connection.thread_id(), now if begun_at is None else begun_at, now)
        self._held.add(instance_id, connection, opening)
        if instance_id not in self._heartbeats:
            self._watch()

    def kill(self, instance_id: str, thread_id: int) -> None:
        """Have an instance end a session whose statement was cancelled."""
        if instance_id in self._heartbeats:
            self._heartbeats[instance_id].kill(thread_id)

    def late_after(self, instance_id: str) -> float:
        """Give the seconds after which an instance's answer to a ping is late; those of a connect, if none is usual."""
        heartbeat = self._heartbeats.get(instance_id)
        longest_s = self._config.connect_timeout
        return longest_s if heartbeat is None else min(longest_s, heartbeat.patience.suspect_after)

    def begin_anew(self) -> None:
        """Go on after a failure, with what is believed and held: a fault of ours is no news of the cluster."""
        self.failure = None
        self._heartbeats.clear()
        self._root = self._begun()

    async def changed(self) -> None:
        """Wait until what is believed changes.

        Raises:
            InternalError: Following the cluster failed.
            InterfaceError: The Cluster was closed.
        """
        self.check()
        await self._changed.wait()
        self.check()

    async def close(self) -> None:
        """Stop all asking; closes the connections that it asked on."""
        self._closing.set()
        self._root.cancel()
        self._wake()
        await asyncio.wait({self._root})

    # --- for heartbeats ----------------------------------------------------------------------------------------

    def pace(self) -> Pace:
        """Say how often to ask an instance now."""
        config = self._config
        match self.state.phase:
            case Searching(since, _):
                sought_s = self._loop.time() - since
                chance = self._chance()
                return Pace(
                    role_every=jittered(role_pause(sought_s, config.search_interval), chance),
                    view_every=ROWS_WHILE_SEARCHING_EVERY_S,
                    redial_every=jittered(redial_pause(sought_s, config.search_interval), chance),
                    dials=config.max_connecting,
                    chance=chance,
                )
            case ReaderOnly():
                every = _READER_ONLY_PAUSE_S
                return Pace(role_every=config.heartbeat_interval, view_every=every, redial_every=every, dials=1)
            case _:
                return Pace(
                    role_every=config.heartbeat_interval,
                    view_every=config.refresh_interval,
                    redial_every=config.heartbeat_interval,
                    dials=1,
                )

    def last_sign_of(self, instance_id: str) -> float:
        """Give the loop time at which the last byte of an instance arrived on any connection to it."""
        heartbeat = self._heartbeats.get(instance_id)
        heard_at = -math.inf if heartbeat is None else heartbeat.heard_at
        return max(heard_at, self._loop.time() - self._held.silent_for_s(instance_id))

    def killed(self, instance_id: str, thread_id: int) -> None:
        """Report that a statement was killed."""
        self._reports.killed(instance_id, thread_id)

    # --- carrying out ------------------------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        match command:
            case Ask(instance_id):
                self._ask(instance_id)
            case Abort(instance_id, cause, writers_only):
                held = self._held.open_to(instance_id)
                self._abort(instance_id, cause, [each for each in held if each.role is Role.WRITER or not writers_only])
            case Outlived(instance_id, cause):
                self._abort(instance_id, cause, command.among(self._held.openings(instance_id)))
            case SearchStarted():
                self._resolver.flush()
                for heartbeat in self._heartbeats.values():
                    heartbeat.nudge()  # Its pause was made for quiet times.
                self._reports.search_started(command, self.topology)
            case SearchEnded(old, new, _):
                self._searched_at = self._loop.time()
                writer = self.topology.get(new)
                if old != new and writer is not None:
                    self._dialer.turns.restrain(Place(writer.host, writer.port))
                self._reports.search_ended(command, self.topology)
            case _:
                assert_never(command)

    def _ask(self, instance_id: str) -> None:
        heartbeat = self._heartbeats.get(instance_id)
        if heartbeat is not None:
            heartbeat.nudge()
            return
        instance = self.topology.get(instance_id)
        if instance is not None and self._group is not None:
            self._group.start_soon(self._heartbeat(instance).ask_once)

    def _abort(self, instance_id: str, cause: str, lost: list[Held]) -> None:
        if self._config.follow != "on":
            self._reports.withheld(instance_id, len(lost), cause)
            return
        self._slices.add(self._held.endings(instance_id, lost, cause))
        self._reports.aborted(instance_id, len(lost), cause)

    # --- who is watched ----------------------------------------------------------------------------------------

    def _follow(self, before: State) -> None:
        """Follow a change: watch whom it names, wake who waits, say what is new."""
        if self.state == before:  # Only asked something.
            return
        self._watch()
        if not isinstance(before.phase, Searching):
            self._look_out()
        if self._config.follow == "on":
            for instance in changed(before.topology, self.topology):
                self._dialer.turns.disperse(Place(instance.host, instance.port))
        endpoint = self.topology.endpoint
        self._dialer.turns.keep(
            {Place(endpoint.host, endpoint.port)} | {Place(each.host, each.port) for each in self.topology.instances}
        )
        self._wake()
        self._reports.tell_roles(self.state)
        for follow in tuple(self.followers):
            follow()

    def _look_out(self) -> None:
        if self.is_searching and self._group is not None:
            self._group.start_soon(self._lookout.look)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def check(self) -> None:
        """Raise what `changed` would."""
        if self.failure is not None:
            raise err.InternalError(0, f"following the cluster failed: {self.failure!r}") from self.failure
        if self._closing.is_set():
            raise closed(self._config.endpoint.host)

    def _watch(self) -> None:
        wanted = watched(self.state, self._held.in_use())
        for instance_id in self._heartbeats.keys() - wanted:
            self._heartbeats.pop(instance_id).stop()
        for instance in self.topology.instances:
            if instance.id in self._heartbeats:
                self._heartbeats[instance.id].instance = instance
            elif instance.id in wanted and self._group is not None:
                self._heartbeats[instance.id] = heartbeat = self._heartbeat(instance)
                self._group.start_soon(heartbeat.run)

    def _heartbeat(self, instance: Instance) -> Heartbeat:
        config = self._config
        return Heartbeat(
            instance,
            dialer=self._dialer,
            surroundings=self,
            patience=Patience(
                suspect_after=config.suspect_after,
                dead_after=(1 - ENDING_TAKES) * (config.heartbeat_interval + config.heartbeat_timeout),
                stalled_after=config.stall_timeout,
            ),
        )

    def _begun(self) -> asyncio.Task[None]:
        return self._loop.create_task(self._run(), name=f"aioaurora {self._config.endpoint}")

    async def _run(self) -> None:
        """Own every heartbeat; a bug in one is told here and at the next request, not to some caller's task."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                self._watch()
                self._look_out()
                group.start_soon(self._lookout.mind)
                await self._closing.wait()
        except Exception as error:  # noqa: BLE001 - the outermost edge of our tasks
            self.failure = error
            self._reports.failed(error)
            self._wake()
        finally:
            self._group = None
