"""The Clusters of one engine, one for each event loop that it is used on, and what a checkout asks of them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import math
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.util.concurrency import await_only

from aioaurora._core.endpoint import EndpointKind
from aioaurora._core.event import Withheld
from aioaurora._core.sight import Sight, sight_of
from aioaurora._io import kernel
from aioaurora.cluster import Cluster
from aioaurora.config import Config, from_kwargs
from aioaurora.errors import ConfigurationError, Role

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from aioaurora._core.failover import State
    from aioaurora.connection import Connection

_LEAST_S = 0.001
_DEFAULT_CHARSET = "utf8mb4"  # aiomysql's.

# Until when, on the loop's clock, a connection may take that is being asked for: a checkout has waited before.
asked_until: contextvars.ContextVar[float | None] = contextvars.ContextVar("aioaurora_asked_until", default=None)


@dataclasses.dataclass(slots=True, eq=False)
class Entry:
    """What a connection of SQLAlchemy's pool has where one of ours has its slot.

    Attributes:
        epoch, generation: Of the cluster and of the instance, when it was opened.
        uses: How often it was checked out: tells one use from the next.
        idle_since: When it came back, on the loop's clock: the longer ago, the closer it is looked at.
        stale: Why it must not be used again; "" while it may.
        is_ending: The function of the unit of work that it is in is done: the next COMMIT ends the unit, and what is
            to be rolled back the unit itself rolls back.
    """

    epoch: int
    generation: int
    uses: int = 0
    idle_since: float = -math.inf
    stale: str = ""
    is_ending: bool = False


class Followed:
    """One Cluster, and what is seen of it at each checkout."""

    def __init__(self, arguments: Mapping[str, Any], *, may_change: bool) -> None:
        """Make it of an engine's arguments; with `may_change` the password may be another one at each connect."""
        self._arguments: dict[str, Any] = _without_password(arguments)
        self.password: Any = arguments.get("password")
        self._may_change = may_change
        config = from_kwargs(**self._said(arguments, may_change=may_change))
        self._config: Config = _with_names(config)
        self.cluster: Cluster = Cluster(self._config)
        self._role: Role | None = None if config.instance else config.role or config.endpoint.default_role
        self._observes: bool = config.follow == "observe"
        self._told: set[str] = set()  # Of whose connections it was told that they are handed out all the same.
        self._seen: State | None = None
        self._sight = Sight()

    def _said(self, arguments: Mapping[str, Any], *, may_change: bool) -> dict[str, Any]:
        said = dict(arguments)
        if said.get("credentials") is not None:
            said.pop("password", None)  # The URL's.
        elif may_change and isinstance(self.password, str):
            said["password"] = lambda: self.password
        return said

    def take_note(self, arguments: Mapping[str, Any]) -> None:
        """Take a new password.

        Raises:
            ConfigurationError: Something else has changed; or the Cluster was made for one that does not.
        """
        if _without_password(arguments) != self._arguments:
            raise ConfigurationError("a do_connect handler may change the password only: an engine has one Cluster")
        password = arguments.get("password")
        if password != self.password and not self._may_change:
            raise ConfigurationError(
                "a do_connect handler brings a password: give it to the engine before its first connection"
            )
        self.password = password

    async def connect(self) -> Connection:
        """Connect to who is right now; raises what `Cluster.connect` does."""
        deadline = asked_until.get()
        asked_until.set(None)  # It was for this one.
        left_s = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), _LEAST_S)
        connection = await self.cluster.connect(timeout=left_s)
        connection.slot = Entry(connection.epoch, connection.generation)
        return connection

    def deadline(self, timeout_s: float | None = None) -> float:
        """Say until when that may take which is asked for now."""
        return asked_until.get() or self.cluster._begun().seeker.deadline(timeout_s)

    def is_sought(self) -> bool:
        """Tell whether only the end of a search can tell if a connection will do."""
        return self.sight.is_sought and self._wanted is Role.WRITER and not self._observes

    async def settled(self, deadline: float) -> None:
        """Wait for the end of the search."""
        await self.cluster._begun().seeker.settled(self._wanted, deadline=deadline)

    def flaw_of(self, connection: Connection) -> str:
        """Say why a pooled connection is not to be handed out; "" if it is, or if the cluster is only observed."""
        entry, sight, instance = connection.slot, self.sight, connection.instance
        if self._observes:
            sight.date(entry, instance)
        why = sight.unfitness(self._wanted, instance, epoch=entry.epoch, generation=entry.generation)
        if not self._observes:
            return why
        self._withhold(instance, why)
        return ""

    def _withhold(self, instance: str, why: str) -> None:
        """Tell once for each instance what is not done as the cluster is only observed."""
        if not why:
            self._told.discard(instance)
        elif instance not in self._told:
            self._told.add(instance)
            cluster = self.cluster.topology.cluster
            self.cluster._events.emit(Withheld(cluster=cluster, what="expire", instance=instance, count=1, why=why))

    @property
    def _wanted(self) -> Role | None:
        """Which role its connections are for; None: any, as of a plain server of which none was asked."""
        return None if self.sight.is_plain and self._config.role is None else self._role

    @property
    def sight(self) -> Sight:
        """The cluster as a pool sees it, taken anew when something has changed."""
        parts = self.cluster._parts
        if parts is not None and parts.monitor.state is not self._seen:
            self._seen = state = parts.monitor.state
            is_custom = self._config.endpoint.kind is EndpointKind.CUSTOM
            self._sight = sight_of(state, is_plain=bool(parts.dialer.is_plain), is_custom=is_custom)
        return self._sight


class Clusters:
    """The Clusters of one engine. Each thread puts that of its loop among them, and finds the others there."""

    def __init__(self) -> None:
        self._made: dict[asyncio.AbstractEventLoop, tuple[int, Followed]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def here(self) -> Followed | None:
        """Give the one of this loop, if there is one."""
        loop = _running()
        pid, followed = (0, None) if loop is None else self._made.get(loop, (0, None))
        return followed if pid == kernel.process.id else None

    def made_here(self, arguments: Mapping[str, Any], *, may_change: bool) -> Followed:
        """Give the one of this loop; makes it."""
        followed = self.here()
        if followed is None:
            for loop in [each for each in [*self._made] if each.is_closed()]:
                self._made.pop(loop, None)
            followed = Followed(arguments, may_change=may_change)
            self._made[asyncio.get_running_loop()] = kernel.process.id, followed
        elif may_change:
            followed.take_note(arguments)
        return followed

    def close(self) -> None:
        """Forget them all; waits for the end of this loop's, while each other ends on its own loop."""
        here = _running()
        # This loop's last: who waits for its end may be cancelled.
        made = [(loop, self._made.pop(loop, (0, None))) for loop in sorted(self._made, key=lambda loop: loop is here)]
        for loop, (pid, followed) in made:
            if followed is None or pid != kernel.process.id:
                continue  # It is the parent's.
            if loop is here:
                try:
                    await_only(followed.cluster.close())
                except MissingGreenlet:
                    self._close_later(followed.cluster)
            else:
                with contextlib.suppress(RuntimeError):  # The loop is closed, and all that was on it is gone.
                    loop.call_soon_threadsafe(self._close_later, followed.cluster)

    def begun(self, closing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Close something in a task of its own, which goes on though nobody waits for it."""
        task = asyncio.get_running_loop().create_task(closing, name="aioaurora closes for SQLAlchemy")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    def _close_later(self, cluster: Cluster) -> None:
        self.begun(cluster.close())


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def flaw_of(connection: Connection) -> str:
    """Say what is wrong with a connection itself, as far as this machine knows; "" if nothing is."""
    loop, entry = connection._loop, connection.slot
    if connection._process != kernel.process.id or loop is not _running():
        return "it belongs to another process or event loop"
    return entry.stale or ("" if connection.is_fit(loop.time() - entry.idle_since) else "its server hung up")


def _without_password(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name != "password"}


def _with_names(config: Config) -> Config:
    """Say the character set within the connect's own packet, where SQLAlchemy takes a round trip for it."""
    said = config.session
    names = f"SET NAMES {said.get('charset') or _DEFAULT_CHARSET}"
    commands = [names, said["init_command"]] if said.get("init_command") else [names]
    return dataclasses.replace(config, session={**said, "init_command": ";\n".join(commands)})
