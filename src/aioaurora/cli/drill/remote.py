"""A look at a real cluster: who is who, whether the roles are right, and how far away it is. It only reads."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pymysql import err
from rich import box
from rich.table import Table
from rich.text import Text

from aioaurora.cluster import Cluster
from aioaurora.errors import ConfigurationError, Role

if TYPE_CHECKING:
    from rich.console import Console

    from aioaurora.connection import Connection

UNREACHABLE = (err.MySQLError, OSError)
_ASKED = 5
_AURORA = "SELECT @@innodb_read_only, @@read_only, @@aurora_server_id"
_PLAIN = "SELECT @@innodb_read_only, @@read_only, NULL"
_UNKNOWN_VARIABLE = 1193


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One instance, asked on a connection that was requested by its id.

    Attributes:
        believed: The role that the driver's topology gives it; empty: none.
        said: What it says of itself on the connection; empty when it could not be reached.
        connect_s: From asking for the connection to holding it, role check included.
        round_trip_s: Median of a few `SELECT 1`.
        error: Why it could not be reached.
    """

    instance: str
    believed: str
    said: str = ""
    connect_s: float | None = None
    round_trip_s: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A cluster as it was found.

    Attributes:
        writer: Where a request for the writer led; empty: nowhere.
        reader: Where a request for a reader led; empty: nowhere.
        problems: Requests that failed or led to the wrong role.
    """

    cluster: str
    writer: str
    reader: str
    instances: tuple[Seen, ...]
    problems: tuple[str, ...]


async def looked_at(url: str) -> View:
    """Look at a cluster.

    Raises:
        ConfigurationError: The URL is none.
        MySQLError: It could not be reached, or refused the log-in.
    """
    async with Cluster(url, autocommit=True) as cluster:
        writer, writer_problem = await _asked_for(cluster, Role.WRITER)
        reader, reader_problem = await _asked_for(cluster, Role.READER)
        topology = cluster.topology
        roles = {each.id: "reader" for each in topology.readers}
        if topology.writer is not None:
            roles[topology.writer.id] = "writer"
        seen = [await _seen(cluster, each.id, roles.get(each.id, "")) for each in topology.instances]
        problems = [each for each in (writer_problem, reader_problem) if each]
        problems += [
            f"{each.instance} is believed to be a {each.believed} and says {each.said}"
            for each in seen
            if each.said and each.believed and each.said != each.believed
        ]
    return View(cluster=topology.cluster, writer=writer, reader=reader, instances=tuple(seen), problems=tuple(problems))


def is_wrong(view: View) -> bool:
    """Say whether a promise about roles was broken, or a role could not be had."""
    return bool(view.problems)


def as_json(view: View) -> dict[str, Any]:
    """Return what `json.dumps` takes."""
    return asdict(view)


def print_view(console: Console, view: View) -> None:
    """Print a table of the instances."""
    table = Table(title=f"cluster {view.cluster}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("instance", "believed", "says"):
        table.add_column(name)
    for name in ("connect", "round trip"):
        table.add_column(name, justify="right")
    for each in view.instances:
        said = Text(each.said or each.error, style="" if each.said == each.believed else "red")
        table.add_row(each.instance, each.believed, said, _ms(each.connect_s), _ms(each.round_trip_s))
    console.print(table)
    console.print(f"role=writer leads to {view.writer or 'nobody'}, role=reader to {view.reader or 'nobody'}.")
    for problem in view.problems:
        console.print(Text(problem, style="bold red"))
    console.print("Nothing was written, and no fault was injected.", style="dim")


async def _asked_for(cluster: Cluster, role: Role) -> tuple[str, str]:
    """Ask for a role; returns where it led, and what is wrong with that."""
    try:
        async with cluster.connect(role=role) as connection:
            said = await _role_of(connection)
            is_fallback = role is Role.READER and not cluster.topology.readers
            wrong = said != role and not is_fallback
            problem = f"role={role} led to {connection.instance}, which says that it is a {said}" if wrong else ""
            return connection.instance, problem
    except ConfigurationError:
        raise
    except UNREACHABLE as error:
        return "", f"role={role}: {error}"


async def _seen(cluster: Cluster, instance: str, believed: str) -> Seen:
    began = time.perf_counter()
    try:
        async with cluster.connect(role=believed or None, instance=instance) as connection:
            connect_s = time.perf_counter() - began
            said = await _role_of(connection)
            trips = [await _round_trip_s(connection) for _ in range(_ASKED)]
    except UNREACHABLE as error:
        return Seen(instance=instance, believed=believed, error=str(error))
    return Seen(
        instance=instance,
        believed=believed,
        said=said,
        connect_s=connect_s,
        round_trip_s=statistics.median(trips),
    )


async def _role_of(connection: Connection) -> str:
    try:
        innodb_read_only, read_only, _ = await _row(connection, _AURORA)
    except err.MySQLError as error:
        if not error.args or error.args[0] != _UNKNOWN_VARIABLE:
            raise
        innodb_read_only, read_only, _ = await _row(connection, _PLAIN)
    if innodb_read_only:
        return "reader"
    return "frozen" if read_only else "writer"


async def _round_trip_s(connection: Connection) -> float:
    began = time.perf_counter()
    await _row(connection, "SELECT 1")
    return time.perf_counter() - began


async def _row(connection: Connection, sql: str) -> tuple[Any, ...]:
    cursor: Any
    async with connection.cursor() as cursor:
        await cursor.execute(sql)
        row: tuple[Any, ...] = await cursor.fetchone()
        return row


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"
