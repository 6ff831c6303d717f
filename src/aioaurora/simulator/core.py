"""What a simulated cluster is made of: instances before one engine, their names, and tasks that end with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aioaurora.errors import Role
from aioaurora.simulator.conditions import State
from aioaurora.simulator.control import Control
from aioaurora.simulator.instance import SimulatedInstance
from aioaurora.simulator.timeline import Entry, Timeline

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from aioaurora.simulator.addresses import Addresses
    from aioaurora.simulator.back import Back
    from aioaurora.simulator.dns import DnsServer
    from aioaurora.simulator.engine import Engine
    from aioaurora.simulator.login import Account, Plugin
    from aioaurora.simulator.names import Names
    from aioaurora.simulator.relay import Ending, Front
    from aioaurora.simulator.tls import Authority
    from aioaurora.simulator.views import Views

_FRESH_EVERY_S = 1.0


class ClusterCore:
    """The parts, and what keeps them going.

    Attributes:
        instances: By id; add and remove with `add_instance` and `remove_instance`.
        accounts: Who may log in, by user.
        dns: The name server.
        timeline: What happened.
        wrong_roles: The statements of writers that reached an instance that was not the writer.
    """

    accounts: dict[str, Account]
    control: Control
    engine: Engine
    names: Names
    timeline: Timeline

    dns: DnsServer
    addresses: Addresses
    views: Views

    def __init__(self, engine: Engine, names: Names, accounts: dict[str, Account], default_plugin: Plugin) -> None:
        self.engine, self.names, self.accounts = engine, names, accounts
        self.instances: dict[str, SimulatedInstance] = {}
        self.timeline = Timeline()
        self.wrong_roles: list[Entry] = []
        self.control = Control(engine)
        self.authority: Authority | None = None
        self._default_plugin: Plugin = default_plugin
        self._number = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    # --- who is who -------------------------------------------------------------------------------------------------

    @property
    def writer(self) -> SimulatedInstance:
        """The instance that is the writer, or was the last one while there is none."""
        writers = self._writers()
        if not writers:
            raise LookupError("this cluster has no writer")
        return writers[0]

    def _writers(self) -> list[SimulatedInstance]:
        """Those that are the writer, the true one before one that is fenced."""
        found = [each for each in self.instances.values() if each.role is Role.WRITER]
        return sorted(found, key=lambda each: each.state.conditions.is_fenced)

    @property
    def readers(self) -> list[SimulatedInstance]:
        """The instances that are readers, up or not."""
        return [each for each in self.instances.values() if each.role is Role.READER]

    def instance(self, which: str | SimulatedInstance | None) -> SimulatedInstance:
        """Return an instance by id; None is the writer."""
        if which is None:
            return self.writer
        if isinstance(which, SimulatedInstance):
            return which
        if which not in self.instances:
            raise LookupError(f"no instance {which!r}: there are {', '.join(self.instances)}")
        return self.instances[which]

    def some(self, which: str | SimulatedInstance | None) -> list[SimulatedInstance]:
        """Return one instance by id; None is all of them."""
        return list(self.instances.values()) if which is None else [self.instance(which)]

    # --- making and ending ------------------------------------------------------------------------------------------

    def make_instance(self, server_id: str, role: Role) -> SimulatedInstance:
        """Put one more instance into the books, not yet started."""
        self._number += 1
        address, port = self.addresses.next()
        state = State(id=server_id, label=server_id, number=self._number, address=address, port=port, role=role)
        made = SimulatedInstance(
            state,
            host=self.names.instance(server_id),
            engine=self.engine,
            accounts=self.accounts,
            default_plugin=self._default_plugin,
            storage=self,
        )
        if self.authority is not None:
            made.tls = self.authority.context_for([made.host, self.names.cluster, self.names.reader])
        self.instances[server_id] = made
        self.dns.set_address(made.host, address)
        return made

    def own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the background; it ends with the cluster at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a task of the simulated cluster failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    async def end_tasks(self) -> None:
        """Cancel what runs in the background, and wait for it."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what goes on by itself -------------------------------------------------------------------------------------

    async def keep_rows_fresh(self) -> None:
        """Write the rows once a second, as instances report."""
        while True:
            await asyncio.sleep(_FRESH_EVERY_S)
            await self.publish()

    async def publish(self, *, writer: str | None = None, also_up: Iterable[str] = ()) -> None:
        """Write what every instance shows of the cluster as of now."""
        await self.views.publish(self.instances.values(), writer=writer, also_up=frozenset(also_up))

    def point_names(self) -> None:
        """Let the cluster endpoint name the writer, and the reader endpoint the readers that are up."""
        writers = self._writers()
        readers = [each for each in self.readers if each.is_up]
        if writers:
            self.dns.set_alias(self.names.cluster, writers[0].host)
        elif self.instances:  # A global database's secondary: its cluster endpoint leads nowhere.
            self.dns.remove(self.names.cluster)
        # Without readers the reader endpoint leads to the writer.
        self.dns.set_alias(self.names.reader, [each.host for each in readers or writers])
        if writers:
            self.timeline.add("dns_moved", writers[0].id, readers=tuple(each.id for each in readers))

    def report(self, kind: str, instance: str | None = None, **detail: object) -> None:
        """Note what happened; a wrong role is counted too."""
        entry = self.timeline.add(kind, instance, **detail)
        if kind == "wrong_role":
            self.wrong_roles.append(entry)

    # --- the engine -------------------------------------------------------------------------------------------------

    async def undo(self, backs: list[Back], instance: str, *, undo_takes: asyncio.Event | None = None) -> None:
        """Kill sessions in the engine and wait until their transactions are undone.

        Closing a socket alone would let a statement that is under way commit afterwards.
        With `undo_takes` statements are killed at once, and the transactions with their locks when it is set.
        """
        ids = [back.engine_id for back in backs]
        if undo_takes is not None:
            await self.control.kill_queries(ids)
            self.own(self._undo_later(backs, instance, undo_takes))
            return
        await self.control.kill(ids)
        for back in backs:
            back.abandon()
        self.timeline.add("sessions_killed", instance, count=len(ids))

    def end_when_done(self, front: Front, ending: Ending) -> None:
        """Let what was sent be executed to its end, and end the connection without a word of it."""
        self.own(self._end(front, ending, is_killed=False))

    def end_undone(self, front: Front, ending: Ending) -> None:
        """Undo the session's transaction, and end the connection without a word of it."""
        self.own(self._end(front, ending, is_killed=True))

    async def _end(self, front: Front, ending: Ending, *, is_killed: bool) -> None:
        back = front.detach()
        if back is None:
            return
        try:
            if is_killed:
                await self.control.kill([back.engine_id])
            else:
                await self.control.idle([back.engine_id])
        finally:
            back.abandon()
            front.end(ending)

    async def _undo_later(self, backs: list[Back], instance: str, due: asyncio.Event) -> None:
        try:
            await due.wait()
            await self.undo(backs, instance)
        finally:
            for back in backs:
                back.abandon()
