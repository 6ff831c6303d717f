"""A cluster: one brain for all its connections, and the connections themselves."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, Self

from pymysql import err

from aioaurora._core import event as kinds
from aioaurora._core.failover import Demoted, InstanceLost, SessionLost
from aioaurora._core.observation import Mode, Observation
from aioaurora._core.options import seconds
from aioaurora._core.topology import Topology
from aioaurora._core.verdict import Scope
from aioaurora._io.parts import Parts
from aioaurora.config import Config, from_arguments
from aioaurora.connecting import Connecting
from aioaurora.connection import Connection
from aioaurora.errors import ConfigurationError, Role, WriterDemoted, WrongLoop, WrongProcess
from aioaurora.events import Events, EventStream

if TYPE_CHECKING:
    from types import TracebackType

    from aioaurora._io.dial import Dialled, Place
    from aioaurora.credentials import Credentials


_KINDS_KEPT = 50
_ROLES = {Mode.WRITABLE: Role.WRITER, Mode.READ_ONLY: Role.READER, Mode.FROZEN: None}


class Cluster:
    """An Aurora cluster: knows who is who, and connects to the instance that holds a role.

    Takes a URL, or aiomysql's keywords, and the options of `Config`; or a Config. Entering it with `async with`, or the
    first `connect`, reaches the cluster. N connections to the writer cost N + 1 server connections, and one more for
    each reader in use. With `follow="off"` each `connect` dials the endpoint and checks there that a writer can write,
    no more; with "observe" it does so, too, and the cluster is watched.

    Example:
        ```python
        async with aioaurora.Cluster("mysql://app@orders.cluster-abc123.us-east-1.rds.amazonaws.com/shop") as cluster:
            async with cluster.connect() as connection, connection.cursor() as cursor:
                await cursor.execute("SELECT 1")
        ```
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        is_made = len(args) == 1 and isinstance(args[0], Config) and not kwargs
        self._config: Config = args[0] if is_made else from_arguments(*args, **kwargs)
        self._events = Events(self._config.listeners)
        self._pid = os.getpid()
        self._parts: Parts | None = None
        self._is_closed = False
        self._kind: type[Connection] = Connection  # `otel` puts one in its place that times what it does.
        self._told_by: dict[tuple[asyncio.AbstractEventLoop, Role | None, str | None], dict[str, Any]] = {}

    @property
    def topology(self) -> Topology:
        """What is believed of the cluster now; an immutable value."""
        return self._parts.monitor.topology if self._parts else Topology(endpoint=self._config.endpoint)

    def events(self) -> EventStream:
        """Give what happens from now on, as an async iterator; it keeps the last 1,000 that were not taken."""
        return self._events.stream()

    def connect(
        self, role: Role | str | None = None, *, instance: str | None = None, timeout: float | None = None
    ) -> Connecting:
        """Connect to an instance that holds `role` now and says so on that very connection.

        Waits through a failover. Cancelling it leaves nothing behind.

        Args:
            role: "writer" or "reader"; None: as the endpoint or the configuration says.
            instance: Id of the only instance that will do.
            timeout: Seconds for everything, > 0. None: `acquire_timeout` once the cluster has been reached,
                `connect_timeout` before.

        Raises:
            NoWriter: Nobody proved to be the writer in time, or the cluster has none.
            WriterUnavailable: The search has lasted for longer than `give_up_waiting_after`.
            NoReader: No reader and no writer could be reached in time.
            ConnectTimeout: The cluster was not reached; or the last try was still on its way when the time was up.
            ConfigurationError: The role or the time-out is none.
        """
        wanted = _role_of(role) or self._config.role
        limit_s = None if timeout is None else seconds("timeout", timeout)
        return Connecting(lambda: self._connect(wanted, instance or self._config.instance, limit_s))

    async def start(self) -> None:
        """Reach the cluster; raises what `connect` would."""
        parts = self._begun()
        if self._config.follow == "on":
            await parts.seeker.reach(parts.loop.time() + self._config.connect_timeout)
        elif self._config.follow == "observe":
            parts.seeker.reach_meanwhile()

    async def close(self) -> None:
        """Stop following the cluster; connections that are open stay open, unfollowed.

        Pools that share it hand out nothing any more, and who waits for one of theirs is told so, by PoolClosed.
        """
        self._refuse_elsewhere()
        self._is_closed = True
        try:
            if self._parts is not None:
                await self._parts.close()
        finally:
            self._events.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        topology = self.topology
        state = "closed" if self._is_closed else "open" if self._parts else "not started"
        writer = topology.writer.id if topology.writer else "none"
        readers = ", ".join(reader.id for reader in topology.readers) or "none"
        return f"<Cluster {topology.cluster} {state} | writer {writer}, epoch {topology.epoch}, readers {readers}>"

    # --- inside ------------------------------------------------------------------------------------------------

    def _begun(self) -> Parts:
        """Give the parts; makes them on the loop of the first call."""
        if self._is_closed:
            raise err.InterfaceError(0, f"cluster {self.topology.cluster!r} is closed: make a new one")
        self._refuse_elsewhere()
        if self._parts is None:
            self._parts = Parts(self._config, self._events, self.topology.cluster)
            self._say_what_is_not_done()
        try:
            self._parts.monitor.check()
        except err.InternalError:
            self._parts.monitor.begin_anew()  # Said once.
            raise
        return self._parts

    def _refuse_elsewhere(self) -> None:
        if os.getpid() != self._pid:
            raise WrongProcess("the Cluster", made_in=self._pid, used_in=os.getpid())
        if self._parts is not None and self._parts.loop is not asyncio.get_running_loop():
            raise WrongLoop("the Cluster")

    def _say_what_is_not_done(self) -> None:
        config, cluster = self._config, self.topology.cluster
        if config.tls.is_assumed:
            self._events.emit(kinds.TlsUnverified(cluster=cluster, host=config.endpoint.host))
        if config.follow == "off":
            why = f"follow is off for this {config.endpoint.kind} endpoint"
            self._events.emit(kinds.NotFollowed(cluster=cluster, host=config.endpoint.host, why=why))

    async def _connect(
        self, role: Role | None, instance: str | None, timeout_s: float | None, *, is_modest: bool = False
    ) -> Connection:
        dialled = await self._dialled(role, instance, timeout_s, is_modest=is_modest)
        self._bind(dialled.session, dialled.observation, why="connect")
        return dialled.session

    async def _dialled(
        self,
        role: Role | None,
        instance: str | None,
        timeout_s: float | None,
        *,
        like: Connection | None = None,
        is_modest: bool = False,
    ) -> Dialled[Connection]:
        parts = self._begun()

        def built(*, place: Place, address: str, credentials: Credentials) -> Connection:
            connection = self._built(
                **parts.dialer.keywords(place, address, credentials),
                **self._config.session,
                **self._hooks(parts.loop, role, instance),
            )
            if like is not None:
                connection.imitate(like)
            return connection

        deadline = parts.seeker.deadline(timeout_s)
        return await parts.seeker.seek(role, instance, built, deadline=deadline, is_modest=is_modest)

    def _hooks(self, loop: asyncio.AbstractEventLoop, role: Role | None, instance: str | None) -> dict[str, Any]:
        """Give what connections that were asked for alike tell their Cluster by: there may be thousands."""
        asked = (loop, role, instance)
        if asked not in self._told_by:
            if len(self._told_by) >= _KINDS_KEPT:
                self._told_by.clear()  # Autoscaling names each reader anew.
            self._told_by[asked] = {
                "report": self._told,
                "redial": functools.partial(self._redial, role=role, instance=instance),
                "abandon": self._abandoned,
                "ended": functools.partial(self._ended, loop),
            }
        return self._told_by[asked]

    def _built(self, **keywords: Any) -> Connection:
        return self._kind(**keywords)

    def _bind(self, connection: Connection, observation: Observation, *, why: str) -> None:
        topology = self.topology
        known = topology.get(observation.instance_id)
        role = _ROLES[observation.mode]
        connection.bind(
            instance=observation.instance_id,
            role=role,
            epoch=topology.epoch,
            generation=known.generation if known else 0,
        )
        self._hold(connection, observation.dialled_at)
        self._events.emit(
            kinds.ConnectionOpened(cluster=topology.cluster, instance=observation.instance_id, role=role, why=why)
        )

    def _hold(self, connection: Connection, begun_at: float | None) -> None:
        if self._parts is not None and self._config.follow != "off":
            self._parts.monitor.hold(connection.instance, connection, begun_at)

    async def _redial(self, connection: Connection, *, role: Role | None, instance: str | None) -> None:
        """Make this object connected again, to whom it was asked for: the holder of a role, or one instance."""
        dialled = await self._dialled(role, instance, None, like=connection)
        connection.take_over(dialled.session)
        self._bind(connection, dialled.observation, why="ping")
        if connection.slot is not None:  # Its pool knows another: this one goes when it comes back.
            connection.slot.stale = "it was connected again"

    def _told(self, connection: Connection, scope: Scope, error: BaseException) -> None:
        """Hear from a connection what broke."""
        if self._parts is None or self._is_closed or self._config.follow == "off":
            return
        monitor, instance, generation = self._parts.monitor, connection.instance, connection.generation
        match scope:
            case Scope.SESSION:
                monitor.tell(SessionLost(instance, generation))
            case Scope.INSTANCE:
                monitor.tell(InstanceLost(instance, generation, str(error)))
            case Scope.ROLE:
                is_frozen = isinstance(error, WriterDemoted) and error.is_frozen
                monitor.tell(Demoted(instance, Mode.FROZEN if is_frozen else Mode.READ_ONLY))
            case _:
                pass

    def _abandoned(self, connection: Connection) -> None:
        """Have the server stop what a cancelled statement left running."""
        if self._parts is not None and not self._is_closed and self._config.follow == "on":
            self._parts.monitor.kill(connection.instance, connection.thread_id())

    def _ended(self, loop: asyncio.AbstractEventLoop, connection: Connection, why: str) -> None:
        """Tell of the end of a connection: on its loop, as it may be collected in any thread."""
        if os.getpid() != self._pid:
            return  # It is the parent's.
        closed = kinds.ConnectionClosed(
            cluster=self.topology.cluster, instance=connection.instance, role=connection.role, why=why
        )
        is_here = asyncio._get_running_loop() is loop  # noqa: SLF001 - documented; the other one raises.
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody listens any more.
            (loop.call_soon if is_here else loop.call_soon_threadsafe)(self._events.emit, closed)


def _role_of(role: Role | str | None) -> Role | None:
    if role is None or isinstance(role, Role):
        return role
    try:
        return Role(role)
    except ValueError:
        message = f'role={role!r}: write "writer" or "reader"'
        raise ConfigurationError(message) from None
