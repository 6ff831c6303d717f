"""SQLAlchemy's dialect for aiomysql, over a Cluster: it connects to who is right, and knows who no longer is.

What it changes of that of aiomysql, and why:

- each checkout looks, in memory, whether the pooled connection still leads to who it is meant for (case 11);
- what breaks one connection replaces this one: the others are looked at when their turn comes (case 60);
- all that ends a session is a disconnect (case 43), a demotion too;
- an end never waits for a server that may be gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import event, exc
from sqlalchemy.dialects.mysql.aiomysql import AsyncAdapt_aiomysql_connection, MySQLDialect_aiomysql
from sqlalchemy.dialects.mysql.mariadb import MariaDBDialect
from sqlalchemy.util.concurrency import await_only

from aioaurora._core.verdict import ends_session, errno_of
from aioaurora.config import said_by
from aioaurora.connection import Connection
from aioaurora.errors import ConnectionLost, Outcome, WriterDemoted
from aioaurora.sqlalchemy._followed import Clusters, Entry, asked_until, flaw_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine, ExceptionContext
    from sqlalchemy.engine.interfaces import ConnectArgsType, DBAPIConnection, DBAPICursor, DBAPIModule
    from sqlalchemy.engine.url import URL
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from aioaurora.cluster import Cluster


class AuroraDialect(MySQLDialect_aiomysql):
    """The dialect `mysql+aioaurora`; SQLAlchemy makes one for each engine."""

    driver = "aioaurora"
    supports_statement_cache = True

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.clusters: Clusters = Clusters()

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Look at each connection of its pool before it is handed out."""
        dialect = engine.dialect
        assert isinstance(dialect, AuroraDialect)  # noqa: S101 - SQLAlchemy has made it of this class.
        event.listen(engine.pool, "checkout", dialect.checked_out)
        event.listen(engine.pool, "checkin", _checked_in)
        event.listen(engine, "handle_error", _keep_the_others)
        event.listen(engine, "engine_disposed", dialect.disposed)

    # --- connecting --------------------------------------------------------------------------------------------

    def create_connect_args(self, url: URL, _translate_args: dict[str, Any] | None = None) -> ConnectArgsType:
        """Read a URL: aiomysql's options and ours, as far as a text can say them."""
        written = url.set(drivername="mysql").render_as_string(hide_password=False)
        said = said_by((written,), {})
        return [], said | {"client_flag": said.get("client_flag", 0) | self._found_rows_client_flag()}

    def connect(self, *_cargs: Any, **cparams: Any) -> Any:
        """Connect to the instance that holds the engine's role now; raises what `Cluster.connect` does."""
        followed = self.clusters.made_here(cparams, may_change=bool(self.dispatch.do_connect))
        connection: Any = await_only(followed.connect())
        return AsyncAdapt_aiomysql_connection(self.loaded_dbapi, connection)

    def on_connect(self) -> Callable[[DBAPIConnection], None] | None:  # type: ignore[override]  # As its base's base.
        """Have nothing more to do: the character set was said with the connect."""
        return None

    # --- the pool ----------------------------------------------------------------------------------------------

    def do_ping(self, dbapi_connection: DBAPIConnection) -> bool:  # type: ignore[override]  # Literal[True] in 2.1.
        """Ask for a sign of life; what fails costs this connection only."""
        connection = driver_of(dbapi_connection)
        if connection is not None:
            self._look_at(connection)
        try:
            dbapi_connection.ping(False)  # noqa: FBT003 - the adapter's; by position in all of SQLAlchemy 2.
            return True
        except ConnectionLost as error:
            raise exc.DisconnectionError(str(error)) from error

    def do_close(self, dbapi_connection: DBAPIConnection) -> None:
        """Close a connection; not even a good one waits for its server: there may be many, one after the other."""
        if driver_of(dbapi_connection) is None:
            super().do_close(dbapi_connection)  # type: ignore[no-untyped-call]  # Of SQLAlchemy's.
        else:
            self.do_terminate(dbapi_connection)

    def do_terminate(self, dbapi_connection: DBAPIConnection) -> None:
        """Close a connection that may be broken, without waiting for its server."""
        dbapi_connection.driver_connection.close()

    def checked_out(
        self, dbapi_connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxied: PoolProxiedConnection
    ) -> None:
        """Have the pool connect anew, through the Cluster, where a connection is not what it was."""
        connection = driver_of(dbapi_connection)
        if connection is not None:
            connection.slot.uses, connection.slot.is_ending = connection.slot.uses + 1, False
            self._look_at(connection)

    def _look_at(self, connection: Connection) -> None:
        flaw = flaw_of(connection)
        if flaw:
            raise exc.DisconnectionError(flaw)
        followed = self.clusters.here()
        if followed is None:
            return
        if followed.is_sought():
            deadline = followed.deadline()
            await_only(followed.settled(deadline))
            flaw = flaw_of(connection)
            asked_until.set(deadline)
        flaw = flaw or followed.flaw_of(connection)
        if flaw:
            raise exc.DisconnectionError(flaw)
        asked_until.set(None)

    def disposed(self, _engine: Engine) -> None:
        """Close what was followed for an engine that was disposed of."""
        self.clusters.close()

    # --- transactions ------------------------------------------------------------------------------------------

    def do_commit(self, dbapi_connection: PoolProxiedConnection) -> None:
        """Commit; a unit of work only if its transaction is still the one that was begun."""
        connection = driver_of(dbapi_connection)
        if connection is not None and connection.is_in_unit and connection.slot.is_ending:
            await_only(connection.end_guarded())
        else:
            super().do_commit(dbapi_connection)  # type: ignore[no-untyped-call]  # Of SQLAlchemy's.

    def do_rollback(self, dbapi_connection: PoolProxiedConnection) -> None:
        """Roll back; what went with its session has been rolled back by the server."""
        connection = driver_of(dbapi_connection)
        if connection is not None and (connection.closed or connection.slot.is_ending):
            return  # A unit of work leaves nothing behind.
        try:
            super().do_rollback(dbapi_connection)  # type: ignore[no-untyped-call]  # As above.
        except ConnectionLost as error:
            if error.outcome is Outcome.UNKNOWN:
                raise

    # --- errors ------------------------------------------------------------------------------------------------

    def is_disconnect(
        self,
        e: DBAPIModule.Error,
        connection: PoolProxiedConnection | DBAPIConnection | None,
        cursor: DBAPICursor | None,
    ) -> bool:
        """Tell whether a connection is of no use after this error."""
        if isinstance(e, ConnectionLost | WriterDemoted) or super().is_disconnect(e, connection, cursor):
            return True
        ours = None if connection is None else driver_of(connection)
        return ours is not None and (ours.closed or ends_session(errno_of(e) or 0))


class MariaDBAuroraDialect(MariaDBDialect, AuroraDialect):
    """The dialect `mariadb+aioaurora`: the same, for a server that must be a MariaDB."""

    supports_statement_cache = True


def cluster_of(engine: AsyncEngine | Engine) -> Cluster | None:
    """Give the Cluster that an engine follows on this event loop; None before its first connection there.

    Raises:
        TypeError: The engine's URL is not `mysql+aioaurora`.
    """
    dialect = engine.dialect
    if not isinstance(dialect, AuroraDialect):
        raise TypeError(f"{engine!r} has no Cluster: its URL must begin with mysql+aioaurora")
    followed = dialect.clusters.here()
    return followed.cluster if followed is not None else None


def _checked_in(dbapi_connection: DBAPIConnection | None, _entry: ConnectionPoolEntry) -> None:
    connection = None if dbapi_connection is None else driver_of(dbapi_connection)
    if connection is not None and not connection.closed:
        connection.slot.idle_since = connection._loop.time()


def _keep_the_others(context: ExceptionContext) -> None:
    context.invalidate_pool_on_disconnect = False


def driver_of(proxied: Any) -> Connection | None:
    """Give what we have connected, behind SQLAlchemy's proxy or adapter; None: an `async_creator` did."""
    driver = proxied.driver_connection
    return driver if isinstance(driver, Connection) and isinstance(driver.slot, Entry) else None
