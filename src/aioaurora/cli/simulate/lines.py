"""What `aioaurora simulate` prints: lines to copy, the state of the cluster, and what happens to it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aioaurora.simulator import Entry, SimulatedCluster


def banner(sim: SimulatedCluster) -> Iterator[str]:
    """Say where the cluster is, and how to connect to it."""
    nameserver = sim.nameservers[0]
    yield f"cluster {sim.name!r} on the engine {sim.engine}, name server {nameserver}"
    yield from status(sim)
    yield ""
    yield "url:      " + shlex.quote(sim.url)
    yield "python:   " + python_line(sim)
    yield "mariadb:  " + client_line(sim)
    yield ""
    yield "Type help for what can be done to it; Ctrl-C ends it."


def python_line(sim: SimulatedCluster) -> str:
    """Return the call that connects through the driver."""
    return f"connection = await aioaurora.connect({sim.url!r})"


def client_line(sim: SimulatedCluster) -> str:
    """Return the shell's line that connects MariaDB's client to whoever is the writer now.

    By address, as it cannot be told to ask another name server; so no name can be verified.
    """
    writer = sim.writer
    words = ["mariadb", "-h", writer.address, "-P", str(writer.port), "-u", sim.user, f"-p{sim.password}"]
    if sim.ca_file is not None:
        words += ["--ssl-ca", sim.ca_file, "--skip-ssl-verify-server-cert"]
    return shlex.join([*words, sim.database])


def status(sim: SimulatedCluster) -> Iterator[str]:
    """Say who is who: one line for each instance."""
    for each in sim.instances.values():
        how = "up" if each.is_up else "down"
        where, count = f"{each.address}:{each.port}", len(each.connection_ids)
        yield f"  {each.id:<8} {each.role:<6}  {how:<4}  {where:<18}  {each.host}  {count} connections"


def told(entry: Entry, since: float) -> str:
    """Return one line of the timeline; times are seconds from the start."""
    detail = "  ".join(f"{name}={_short(value)}" for name, value in entry.detail.items())
    return f"{entry.at - since:10.3f}  {entry.kind:<15} {entry.instance or '':<8} {detail}".rstrip()


def _short(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
