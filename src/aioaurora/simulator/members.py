"""Who belongs to a simulated cluster: its instances and custom endpoints, which come and go while it runs."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING

from aioaurora.errors import Role
from aioaurora.simulator.failover import Failovers
from aioaurora.simulator.relay import Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from aioaurora.simulator.core import ClusterCore
    from aioaurora.simulator.dns import DnsServer
    from aioaurora.simulator.instance import SimulatedInstance
    from aioaurora.simulator.timeline import Entry, Timeline


class Members:
    """The members of a cluster."""

    def __init__(self, core: ClusterCore) -> None:
        self._core = core
        self._failovers = Failovers(core)

    @property
    def instances(self) -> Mapping[str, SimulatedInstance]:
        """The instances by id; `add_instance` and `remove_instance` change them."""
        return MappingProxyType(self._core.instances)

    @property
    def writer(self) -> SimulatedInstance:
        """The instance that is the writer, or was the last one while there is none.

        Raises:
            LookupError: There never was one.
        """
        return self._core.writer

    @property
    def readers(self) -> Sequence[SimulatedInstance]:
        """The instances that are readers, up or not."""
        return self._core.readers

    @property
    def dns(self) -> DnsServer:
        """The name server, which can be broken too."""
        return self._core.dns

    @property
    def timeline(self) -> Timeline:
        """Everything that happened."""
        return self._core.timeline

    @property
    def wrong_roles(self) -> Sequence[Entry]:
        """Writes, and statements marked `/* writer */`, that reached an instance that was not the writer."""
        return self._core.wrong_roles

    async def add_instance(self, server_id: str) -> SimulatedInstance:
        """Add a reader; raises SimulatorError where there is no loopback address for it."""
        core = self._core
        if server_id in core.instances:
            raise ValueError(f"there is an instance {server_id!r} already")
        added = core.made(server_id, Role.READER)
        core.add(added)
        await core.publish(also_up=(server_id,))
        added.rise(Role.READER)
        core.timeline.add("added", server_id)
        core.point_names()
        return added

    async def remove_instance(self, server_id: str) -> None:
        """Delete a reader: its connections end, its name goes, and rows of it are gone at once.

        The writer cannot be deleted, nor who is becoming the writer: fail over first, and wait for it.
        (At Aurora, deleting the writer fails over first.)
        """
        core = self._core
        removed = core.instance(server_id)
        if removed.role is Role.WRITER:
            raise ValueError(f"{server_id!r} is the writer: fail over first")
        if removed is self._failovers.coming:
            raise ValueError(f"{server_id!r} is being promoted: wait for that, and fail over")
        backs = removed.fall(Ending.FIN)
        del core.instances[server_id]
        core.dns.remove(removed.host)
        core.timeline.add("removed", server_id)
        core.point_names()
        await core.undo(backs, server_id)
        await removed.close()
        await core.publish()

    async def switch_to_green(self, mark: str = "abc123", *, down_for: float = 1.0) -> None:
        """Switch over from blue to green: the names now lead to instances that call themselves `db-1-green-abc123`.

        Those ids stay for good, and no name is made of them.
        """
        core = self._core
        if self._failovers.coming is not None:
            raise ValueError(f"{self._failovers.coming.id!r} is being promoted: wait for that")
        blue = [*core.instances.values()]
        green = [core.made(f"{each.state.label}-green-{mark}", each.role, label=each.state.label) for each in blue]
        core.timeline.add("fault", None, fault="switch_to_green", mark=mark)
        fallen = [(each.id, each.fall(Ending.FIN)) for each in blue]
        core.instances.clear()
        for server_id, backs in fallen:
            await core.undo(backs, server_id)
        await asyncio.sleep(down_for)
        for each in blue:
            await each.close()
        for each in green:
            core.add(each)
        await core.publish(also_up=tuple(core.instances))
        for each in green:
            each.rise(each.role)
        core.point_names()
        core.timeline.add("switched_over", None, instances=tuple(core.instances))

    def add_custom_endpoint(self, name: str, members: Collection[str]) -> str:
        """Add a custom endpoint, or change its members; return its host name.

        Like the reader endpoint it is a CNAME that leads to its members in turn, of any role, as far as they are up.
        A member keeps its place through a switch to green. Certificates hold for the name, too.
        """
        core = self._core
        core.custom[name] = tuple(core.instance(each).state.label for each in members)
        core.timeline.add("custom_endpoint", None, name=name, members=tuple(members))
        core.point_names()
        return core.names.custom(name)
