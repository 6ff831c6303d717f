"""A local Aurora cluster: instances on loopback addresses, one engine behind them, names, faults and a timeline."""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from aioaurora.errors import Role
from aioaurora.simulator.addresses import Addresses
from aioaurora.simulator.dns import DnsServer
from aioaurora.simulator.dsn import DsnEngine
from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.faults import Faults
from aioaurora.simulator.login import Account, Plugin
from aioaurora.simulator.mariadb import MariadbEngine, mariadbd_path
from aioaurora.simulator.names import PLAIN_SUFFIX, TLS_SUFFIX, Names
from aioaurora.simulator.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.simulator.control import Value
    from aioaurora.simulator.engine import Engine
    from aioaurora.simulator.tls import Authority

EngineName: TypeAlias = Literal["auto", "mariadb", "memory", "dsn"]


class SimulatedCluster(Faults):
    """An Aurora cluster for tests and demonstrations; an async context manager.

    Example:
        ```python
        from aioaurora.simulator import SimulatedCluster

        async with SimulatedCluster(instances=3) as sim, aioaurora.connect(**sim.connect_options()) as connection:
            await sim.failover(mode="crash", promote_after=0.5)
        ```

    Args:
        instances: How many, or their ids. The first one is the writer.
        engine: "mariadb" starts a private `mariadbd`, "memory" needs nothing, "dsn" uses a server that runs already;
            "auto" is mariadb where there is one, else memory.
        dsn: For the engine "dsn": `mysql://user:password@host:port`.
        name: The cluster's id.
        tls: Offer TLS, under names as RDS gives them, with certificates of an authority of its own (`ca_file`).
            "required": refuse log-ins in the clear too.
        auth: How `user` proves the password.
        user: Who may log in; more with `add_user`.
        password: Of `user`.
        database: A schema that is made.
        port: Of all instances; None: any that is free.
        reader_only: Have no writer, as a global database's secondary cluster.
        seed: Kept for those who draw faults by chance.
    """

    addresses: Addresses
    authority: Authority | None
    database: str
    dns: DnsServer
    password: str
    seed: int | None
    user: str
    views: Views

    def __init__(
        self,
        instances: int | list[str] = 3,
        *,
        engine: EngineName = "auto",
        dsn: str | None = None,
        name: str = "orders",
        tls: bool | Literal["required"] = False,
        auth: Plugin = "mysql_native_password",
        user: str = "app",
        password: str = "secret",  # noqa: S107 - of a cluster on loopback
        database: str = "shop",
        port: int | None = None,
        reader_only: bool = False,
        seed: int | None = None,
    ) -> None:
        names = Names(name, TLS_SUFFIX if tls else PLAIN_SUFFIX)
        super().__init__(_made_engine(engine, dsn), names, {user: Account(password, auth)}, auth)
        self.user, self.password, self.database, self.seed = user, password, database, seed
        self._ids = [f"db-{number}" for number in range(1, instances + 1)] if isinstance(instances, int) else instances
        self._tls, self._wanted_port, self._reader_only = tls, port, reader_only
        self._exit = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        shown = ", ".join(f"{each.id} {each.role}{'' if each.is_up else ' (down)'}" for each in self.instances.values())
        return f"<SimulatedCluster {self.names.name} on {self.engine.name} | {shown or 'not started'}>"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        stack = self._exit
        self.addresses = Addresses(port=self._wanted_port)
        stack.callback(self.addresses.release)
        self.dns = DnsServer()
        await self.dns.start()
        stack.push_async_callback(self.dns.stop)
        stack.push_async_callback(self.engine.stop)
        await self.engine.start()
        stack.callback(self.control.close)
        self.views = Views(self.control)
        if self._tls:
            from aioaurora.simulator.tls import Authority  # noqa: PLC0415 - needs an extra

            self.authority = Authority()
            stack.callback(self.authority.close)
        await self.control.execute(f"CREATE DATABASE IF NOT EXISTS `{self.database}`")
        self.control.use(self.database)
        if self.engine.name == "dsn":
            stack.push_async_callback(self.views.forget)
        await self._start_instances()

    async def _start_instances(self) -> None:
        for number, server_id in enumerate(self._ids):
            is_writer = number == 0 and not self._reader_only
            self.make_instance(server_id, Role.WRITER if is_writer else Role.READER)
        await self.publish()
        self._exit.push_async_callback(self._close_instances)
        for each in self.instances.values():
            each.state.conditions.requires_tls = self._tls == "required"
            each.rise(each.role)
        self.point_names()
        self.own(self.keep_rows_fresh())
        self.timeline.add("started", engine=self.engine.name, instances=tuple(self.instances))

    async def _close_instances(self) -> None:
        await self.end_tasks()
        for each in self.instances.values():
            await each.close()

    # --- where it is ------------------------------------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """The cluster endpoint's name."""
        return self.names.cluster

    @property
    def reader_endpoint(self) -> str:
        """The reader endpoint's name."""
        return self.names.reader

    @property
    def instance_pattern(self) -> str:
        """The instance endpoints' names, with `{id}` for the id."""
        return self.names.pattern

    def instance_endpoint(self, server_id: str) -> str:
        """The endpoint's name of one instance."""
        return self.instance(server_id).host

    @property
    def port(self) -> int:
        """The port of all instances; where the system has one loopback address only, the first one's."""
        return next(iter(self.instances.values())).port if self.addresses.is_shared else self.addresses.port

    @property
    def nameservers(self) -> tuple[str, ...]:
        """Who knows these names, as `nameservers=` wants it."""
        return (f"{self.dns.address}:{self.dns.port}",)

    @property
    def ca_file(self) -> str | None:
        """The certificate of the authority that signed the instances' certificates; None without TLS."""
        return self.authority.ca_file if self.authority is not None else None

    @property
    def url(self) -> str:
        """The cluster endpoint as a URL, password included."""
        user, password = (urllib.parse.quote(text, safe="") for text in (self.user, self.password))
        return f"mysql://{user}:{password}@{self.endpoint}:{self.port}/{self.database}"

    def connect_options(self) -> dict[str, Any]:
        """Return the keywords with which `aioaurora.connect` and `Cluster` reach the cluster endpoint."""
        options = {
            "host": self.endpoint,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "db": self.database,
            "nameservers": self.nameservers,
            "instance_pattern": self.instance_pattern,
        }
        return options | ({"ssl": self.ca_file} if self.ca_file is not None else {})

    def resolving(self) -> contextlib.AbstractContextManager[None]:
        """Let `socket.getaddrinfo` know the simulator's names, as long as the context lasts."""
        from aioaurora.simulator.resolving import resolving  # noqa: PLC0415 - patches `socket`

        return resolving(self.dns)

    # --- who may log in ---------------------------------------------------------------------------------------------

    def add_user(
        self, user: str, password: str | Callable[[str], bool], plugin: Plugin = "mysql_native_password"
    ) -> None:
        """Let `user` log in; a function says whether a token is good, which is asked for over TLS only."""
        self.accounts[user] = Account(password, plugin if isinstance(password, str) else "mysql_clear_password")

    # --- the truth --------------------------------------------------------------------------------------------------

    async def execute(self, sql: str, *args: Value) -> int:
        """Run a statement in the engine, past all instances and faults; return how many rows it changed."""
        return await self.control.execute(sql, *args)

    async def rows(self, sql: str, *args: Value) -> list[tuple[Value, ...]]:
        """Ask the engine, past all instances and faults."""
        return await self.control.rows(sql, *args)


def _made_engine(name: EngineName, dsn: str | None) -> Engine:
    if name == "auto":
        name = "dsn" if dsn else "mariadb" if mariadbd_path() else "memory"
    match name:
        case "mariadb":
            return MariadbEngine()
        case "memory":
            from aioaurora.simulator.memory import MemoryEngine  # noqa: PLC0415 - large, and often not needed

            return MemoryEngine()
        case "dsn" if dsn:
            return DsnEngine(dsn)
        case "dsn":
            raise SimulatorError("the engine 'dsn' needs dsn='mysql://user:password@host:port'")
