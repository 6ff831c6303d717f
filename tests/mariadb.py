"""A mariadbd of one's own, in a temporary directory, gone with its starter."""

from __future__ import annotations

import contextlib
import ctypes
import random
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator, Sequence

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class MariaDB:
    """A running server; root has no password."""

    port: int
    socket: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def private_mariadb(
    place: pathlib.Path, options: Sequence[str] = (), *, host: str = "127.0.0.1", inside: Sequence[str] = ()
) -> Iterator[MariaDB]:
    """Start a server with its data in `place`, and stop it afterwards; `inside`: a command to start it with."""
    binary = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin")
    install = shutil.which("mariadb-install-db")
    if binary is None or install is None:
        raise FileNotFoundError("mariadbd is not installed")
    data, temporary = place / "data", place / "tmp"
    temporary.mkdir(parents=True)
    log = place / "log"
    command = [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"]
    # Of its own, for a mariadbd that starts removes what others have in the same one.
    command += [f"--tmpdir={temporary}", "--skip-test-db", "--user=root"]
    with log.open("wb") as told:
        made = subprocess.run(command, check=False, stdout=told, stderr=told)
    if made.returncode:
        raise RuntimeError(f"mariadb-install-db failed: {log.read_text(errors='replace')[:2000]}")
    port, path = _free_port(), str(place / "s")
    command = [binary, "--no-defaults", f"--datadir={data}", f"--tmpdir={temporary}", f"--socket={path}"]
    command += [f"--port={port}", f"--bind-address={host}", "--user=root", "--innodb-flush-log-at-trx-commit=0"]
    with log.open("wb") as told:
        process = subprocess.Popen([*inside, *command, *options], stdout=told, stderr=told, preexec_fn=_die_with_parent)  # noqa: PLW1509 - One system call.
    try:
        _wait_for(host, port, process, log)
        yield MariaDB(port, path, process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_port() -> int:
    ports = range(23310, 32000, 7)
    for port in random.sample(ports, len(ports)):  # Others may be looking for one at this moment.
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port below the ephemeral ones")


def _wait_for(host: str, port: int, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1) as probe:
            probe.settimeout(5)
            if probe.recv(1):
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"mariadbd did not start: {log.read_text(errors='replace')[-2000:]}")
