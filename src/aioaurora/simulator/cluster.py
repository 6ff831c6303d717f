"""A local Aurora cluster: instances on loopback addresses, one engine behind them, names, faults and a timeline."""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from aioaurora.errors import Role
from aioaurora.simulator.addresses import Addresses
from aioaurora.simulator.core import ClusterCore
from aioaurora.simulator.dsn import DsnEngine
from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.faults import Faults
from aioaurora.simulator.login import Account, Plugin
from aioaurora.simulator.mariadb import MariadbEngine, mariadbd_path
from aioaurora.simulator.names import PLAIN_SUFFIX, TLS_SUFFIX, Names
from aioaurora.simulator.relay import Ending
from aioaurora.simulator.wire import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioaurora.simulator.control import Value
    from aioaurora.simulator.engine import Engine

EngineName: TypeAlias = Literal["auto", "mariadb", "memory", "dsn"]
_EXISTS = 1007


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
        database: A schema that is made if it is missing; None: `shop`, and for the engine "dsn" one that nobody else
            has. A server that runs already is left without what was made, and with what was there.
        port: Of all instances; None: any that is free.
        reader_only: Have no writer, as a global database's secondary cluster.
        server_version: What instances call themselves: by default the MySQL of Aurora 3.08, whatever the engine is.
            For clients that write SQL by the version: "10.11.6-MariaDB" lets SQLAlchemy write what the engine "mariadb"
            knows.
        seed: Kept for those who draw faults by chance.
    """

    database: str
    password: str
    seed: int | None
    user: str

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
        database: str | None = None,
        port: int | None = None,
        reader_only: bool = False,
        server_version: str = "8.0.39",
        seed: int | None = None,
    ) -> None:
        names = Names(name, TLS_SUFFIX if tls else PLAIN_SUFFIX)
        made = _made_engine(engine, dsn)
        accounts, encrypted_only = {user: Account(password, auth)}, tls == "required"
        super().__init__(
            ClusterCore(made, names, accounts, auth, version=server_version, encrypted_only=encrypted_only)
        )
        self._is_guest = made.name == "dsn"
        self.database = database or (f"shop_{self._core.mark}" if self._is_guest else "shop")
        self.user, self.password, self.seed = user, password, seed
        self._ids = [f"db-{number}" for number in range(1, instances + 1)] if isinstance(instances, int) else instances
        self._tls, self._wanted_port, self._reader_only = tls, port, reader_only
        self._exit = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        shown = ", ".join(f"{each.id} {each.role}{'' if each.is_up else ' (down)'}" for each in self.instances.values())
        return f"<SimulatedCluster {self.name} on {self.engine} | {shown or 'not started'}>"

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
        stack, core = self._exit, self._core
        core.addresses = Addresses(len(self._ids), port=self._wanted_port)
        stack.callback(core.addresses.release)
        await core.dns.start()
        stack.push_async_callback(core.dns.stop)
        stack.push_async_callback(core.engine.stop)
        await core.engine.start()
        stack.callback(core.control.close)
        if self._tls:
            from aioaurora.simulator.tls import Authority  # noqa: PLC0415 - needs an extra

            core.authority = Authority()
            stack.callback(core.authority.close)
        await self._make_database()
        await core.views.start()
        if self._is_guest:
            stack.push_async_callback(core.views.forget)
        await self._start_instances()

    async def _make_database(self) -> None:
        control = self._core.control
        try:
            await control.execute(f"CREATE DATABASE `{self.database}`")
        except EngineError as error:
            if error.errno != _EXISTS:
                raise
        else:
            if self._is_guest:
                self._exit.push_async_callback(control.execute, f"DROP DATABASE IF EXISTS `{self.database}`")
        control.use(self.database)

    async def _start_instances(self) -> None:
        core = self._core
        for number, server_id in enumerate(self._ids):
            is_writer = number == 0 and not self._reader_only
            core.add(core.made(server_id, Role.WRITER if is_writer else Role.READER))
        await core.publish()
        self._exit.push_async_callback(self._close_instances)
        for each in core.instances.values():
            each.rise(each.role)
        core.point_names()
        core.tasks.own(core.keep_rows_fresh())
        core.timeline.add("started", engine=self.engine, instances=tuple(core.instances))

    async def _close_instances(self) -> None:
        core = self._core
        await core.tasks.end()
        for each in core.instances.values():
            if self._is_guest:  # Sessions that live on would hold what is to be dropped.
                await core.undo(each.fall(Ending.RST), each.id)
            await each.close()

    # --- where it is ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The cluster's id."""
        return self._core.names.name

    @property
    def engine(self) -> str:
        """Which engine plays the storage; never "auto"."""
        return self._core.engine.name

    @property
    def endpoint(self) -> str:
        """The cluster endpoint's name."""
        return self._core.names.cluster

    @property
    def reader_endpoint(self) -> str:
        """The reader endpoint's name."""
        return self._core.names.reader

    @property
    def instance_pattern(self) -> str:
        """The instance endpoints' names, with `{id}` for the id."""
        return self._core.names.pattern

    def instance_endpoint(self, server_id: str) -> str:
        """The endpoint's name of one instance."""
        return self._core.instance(server_id).host

    @property
    def port(self) -> int:
        """The port of all instances."""
        return self._core.addresses.port

    @property
    def nameservers(self) -> tuple[str, ...]:
        """Who knows these names, as `nameservers=` wants it."""
        return (f"{self.dns.address}:{self.dns.port}",)

    @property
    def ca_file(self) -> str | None:
        """The certificate of the authority that signed the instances' certificates; None without TLS."""
        return self._core.authority.ca_file if self._core.authority is not None else None

    @property
    def url(self) -> str:
        """The cluster endpoint as a URL, with the password and all that `aioaurora` needs to find the simulated names.

        The same as `connect_options`. What stands before the "?" is for other clients, once they know the names.
        """
        user, password = (urllib.parse.quote(text, safe="") for text in (self.user, self.password))
        said = {"nameservers": ",".join(self.nameservers), "instance_pattern": self.instance_pattern}
        said |= {"ssl": self.ca_file} if self.ca_file is not None else {}
        query = urllib.parse.urlencode(said, safe=":,/")
        return f"mysql://{user}:{password}@{self.endpoint}:{self.port}/{self.database}?{query}"

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
        self._core.accounts[user] = Account(password, plugin if isinstance(password, str) else "mysql_clear_password")

    def remove_user(self, user: str) -> None:
        """Let `user` log in no more; connections that exist go on."""
        del self._core.accounts[user]

    # --- the truth --------------------------------------------------------------------------------------------------

    async def execute(self, sql: str, *args: Value) -> int:
        """Run a statement in the engine, past all instances and faults; return how many rows it changed."""
        return await self._core.control.execute(sql, *args)

    async def rows(self, sql: str, *args: Value) -> list[tuple[Value, ...]]:
        """Ask the engine, past all instances and faults."""
        return await self._core.control.rows(sql, *args)


def _made_engine(name: EngineName, dsn: str | None) -> Engine:
    if name == "auto":
        name = "dsn" if dsn else "mariadb" if mariadbd_path() else "memory"
    if dsn and name != "dsn":
        raise SimulatorError(f"the engine {name!r} uses no dsn: leave one of them out, or say engine='dsn'")
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
