"""What a simulated cluster is made of: instances before one engine, their names, and tasks that end with it."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from aioaurora.errors import Role
from aioaurora.simulator.conditions import State
from aioaurora.simulator.control import Control
from aioaurora.simulator.dns import DnsServer
from aioaurora.simulator.server import Server
from aioaurora.simulator.tasks import Tasks
from aioaurora.simulator.timeline import Entry, Timeline
from aioaurora.simulator.views import Views

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aioaurora.simulator.addresses import Addresses
    from aioaurora.simulator.back import Back
    from aioaurora.simulator.engine import Engine
    from aioaurora.simulator.login import Account, Plugin
    from aioaurora.simulator.names import Names
    from aioaurora.simulator.relay import Ending, Front
    from aioaurora.simulator.tls import Authority

_FRESH_EVERY_S = 1.0


class ClusterCore:
    """The parts, and what keeps them going.

    Attributes:
        accounts: Who may log in, by user.
        custom: Labels of the members of custom endpoints, by the endpoint's name.
        encrypted_only: Whether log-ins in the clear are refused for good.
        instances: By id.
        mark: In the name of all that is made in the engine: others may use it too.
        wrong_roles: The statements of writers that reached an instance that was not the writer.
    """

    accounts: dict[str, Account]
    addresses: Addresses
    control: Control
    dns: DnsServer
    encrypted_only: bool
    mark: str
    tasks: Tasks
    timeline: Timeline
    views: Views
    engine: Engine
    names: Names

    def __init__(
        self,
        engine: Engine,
        names: Names,
        accounts: dict[str, Account],
        default_plugin: Plugin,
        *,
        version: str,
        encrypted_only: bool,
    ) -> None:
        self.engine, self.names, self.accounts, self.encrypted_only = engine, names, accounts, encrypted_only
        self.mark = secrets.token_hex(4)
        self.instances: dict[str, Server] = {}
        self.custom: dict[str, tuple[str, ...]] = {}
        self.timeline = Timeline()
        self.wrong_roles: list[Entry] = []
        self.tasks = Tasks()
        self.dns = DnsServer(timeline=self.timeline)
        self.control = Control(engine)
        self.views = Views(self.control)
        self.authority: Authority | None = None
        self._default_plugin: Plugin = default_plugin
        self._version = version
        self._number = 0

    # --- who is who -------------------------------------------------------------------------------------------------

    @property
    def writer(self) -> Server:
        """The instance that is the writer, or was the last one while there is none."""
        writers = self.writers
        if not writers:
            raise LookupError("this cluster has no writer")
        return writers[0]

    @property
    def writers(self) -> list[Server]:
        """Those that are the writer, the true one before one that is fenced."""
        found = [each for each in self.instances.values() if each.role is Role.WRITER]
        return sorted(found, key=lambda each: each.state.conditions.is_fenced)

    @property
    def readers(self) -> list[Server]:
        """The instances that are readers, up or not."""
        return [each for each in self.instances.values() if each.role is Role.READER]

    def instance(self, which: str | None) -> Server:
        """Return an instance by id; None is the writer."""
        if which is None:
            return self.writer
        if which not in self.instances:
            raise LookupError(f"no instance {which!r}: there are {', '.join(self.instances)}")
        return self.instances[which]

    def some(self, which: str | None) -> list[Server]:
        """Return one instance by id; None is all of them."""
        return list(self.instances.values()) if which is None else [self.instance(which)]

    def has(self, instance: Server) -> bool:
        """Say whether it is still one of them."""
        return self.instances.get(instance.id) is instance

    # --- making -----------------------------------------------------------------------------------------------------

    def made(self, server_id: str, role: Role, *, label: str | None = None) -> Server:
        """Make one more instance, not yet in the books; `label`: its name's, if that is not the id."""
        address, port = self.addresses.next()
        self._number += 1
        state = State(
            id=server_id,
            label=label or server_id,
            number=self._number,
            schema=f"aurora_{self.mark}_{self._number}",
            address=address,
            port=port,
            version=self._version,
            role=role,
        )
        made = Server(
            state,
            host=self.names.instance(state.label),
            engine=self.engine,
            accounts=self.accounts,
            default_plugin=self._default_plugin,
            storage=self,
            encrypted_only=self.encrypted_only,
        )
        if self.authority is not None:
            made.tls = self.authority.context_for([made.host, *self.names.shared])
        return made

    def add(self, instance: Server) -> None:
        """Put an instance into the books, and its name into DNS."""
        self.instances[instance.id] = instance
        self.dns.set_address(instance.host, instance.address)

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
        """Let the cluster endpoint name the writer, the others those of their instances that are up."""
        writers = self.writers
        readers = [each for each in self.readers if each.is_up]
        if writers:
            self.dns.set_alias(self.names.cluster, writers[0].host)
        elif self.instances:  # A global database's secondary: its cluster endpoint leads nowhere.
            self.dns.remove(self.names.cluster)
        # Without readers the reader endpoint leads to the writer.
        self.dns.set_alias(self.names.reader, [each.host for each in readers or writers])
        for name, labels in self.custom.items():
            members = [each for each in self.instances.values() if each.state.label in labels]
            self.dns.set_alias(self.names.custom(name), [each.host for each in members if each.is_up])
        if writers:
            self.timeline.add("dns_moved", writers[0].id, readers=tuple(each.id for each in readers))

    def report(self, kind: str, instance: str | None = None, **detail: object) -> None:
        """Note what happened; a wrong role is counted too."""
        entry = self.timeline.add(kind, instance, **detail)
        if kind == "wrong_role":
            self.wrong_roles.append(entry)

    # --- the engine -------------------------------------------------------------------------------------------------

    async def undo(self, backs: list[Back], instance: str, *, due: asyncio.Event | None = None) -> None:
        """Kill sessions in the engine and wait until their transactions are undone.

        Closing a socket alone would let a statement that is under way commit afterwards.
        With `due` statements are killed at once, and the transactions with their locks when it is set.
        """
        ids = [back.engine_id for back in backs]
        if due is not None:
            self.tasks.fault(self._undo_later(backs, instance, due), healed=due)
            await self.control.kill_queries(ids)
            return
        await self.control.kill(ids)
        for back in backs:
            back.abandon()
        self.timeline.add("sessions_killed", instance, count=len(ids))

    def end_when_done(self, front: Front, ending: Ending) -> None:
        """Let what was sent be executed to its end, and end the connection without a word of it."""
        self.tasks.own(self._end(front, ending, is_killed=False))

    def end_undone(self, front: Front, ending: Ending) -> None:
        """Undo the session's transaction, and end the connection without a word of it."""
        self.tasks.own(self._end(front, ending, is_killed=True))

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
