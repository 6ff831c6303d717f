"""The engine `mariadb`: a private `mariadbd` with its own data directory and socket, started and stopped by us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.guard import ended, guarded

_START_S, _POLL_S = 20.0, 0.01
_ELSEWHERE = "/usr/sbin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin:/usr/local/mysql/bin"
_LOG_SIZE = "--innodb-log-file-size=16M"
_MEMORY, _ROOM_BYTES = "/dev/shm", 1 << 30  # noqa: S108 - mkdtemp makes a private directory there
_SHORT = 40
_PREFIX, _LEFT_AFTER_S = "aioaurora-mariadb-", 60.0
_OPTIONS = (
    "--no-defaults",
    "--skip-networking",
    "--skip-log-bin",
    "--default-time-zone=+00:00",  # As RDS.
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_general_ci",
    "--innodb-buffer-pool-size=64M",
    _LOG_SIZE,
    "--innodb-flush-log-at-trx-commit=0",  # What must survive is a relay's failover, not a power cut.
    "--max-connections=2000",
    "--max-connect-errors=4294967295",
    "--max-allowed-packet=64M",
    "--performance-schema=OFF",
    "--sql-mode=ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
)


def mariadbd_path() -> str | None:
    """Where the server's binary is, None when there is none."""
    return _which("mariadbd")


class MariadbEngine:
    """A `mariadbd` that lives as long as the simulated cluster and not a moment longer than its process."""

    name = "mariadb"
    is_mariadb = True
    user = "root"
    password = ""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        return f"<MariadbEngine {'running' if self._process else 'stopped'}>"

    @property
    def pid(self) -> int | None:
        """The server's process."""
        return self._process.pid if self._process else None

    @property
    def socket_path(self) -> str:
        """The server's Unix socket."""
        return str(self._own_folder() / "s")

    async def start(self) -> None:
        """Install a data directory and start the server; takes half a second."""
        server, installer = mariadbd_path(), _which("mariadb-install-db")
        if server is None or installer is None:
            missing = "mariadbd" if server is None else "mariadb-install-db"
            raise SimulatorError(
                f"the engine 'mariadb' needs {missing}: apt-get install mariadb-server, "
                "or brew install mariadb, or use engine='memory'"
            )
        base = _base()
        _remove_leftovers(Path(base or tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        try:
            await self._install(installer)
            await self._run(server)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server and remove its files."""
        process, self._process = self._process, None
        if process is not None:
            await ended(process)  # Its data is thrown away: it need not flush them.
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def open(self) -> socket.socket:
        """Connect to the server's socket."""
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the library's signature
            await asyncio.get_running_loop().sock_connect(sock, self.socket_path)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _install(self, installer: str) -> None:
        folder = self._own_folder()
        (folder / "tmp").mkdir()
        process = await guarded(
            installer,
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            _LOG_SIZE,
            f"--datadir={folder / 'data'}",
            f"--tmpdir={folder / 'tmp'}",
            *_as_root(),
            output=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_START_S):
                said = await process.stdout.read() if process.stdout is not None else b""
                status = await process.wait()
        finally:
            await ended(process)
        if status:
            raise SimulatorError(f"mariadb-install-db failed: {said.decode(errors='replace')[-500:]}")

    async def _run(self, server: str) -> None:
        folder = self._own_folder()
        self._process = await guarded(
            server,
            *_OPTIONS,
            f"--datadir={folder / 'data'}",
            f"--tmpdir={folder / 'tmp'}",
            f"--socket={folder / 's'}",
            f"--pid-file={folder / 'pid'}",
            f"--log-error={folder / 'log'}",
            *_as_root(),
            output=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(_START_S):
            while not await self._answers():
                if self._process.returncode is not None:
                    log = (folder / "log").read_text(errors="replace")[-500:]
                    raise SimulatorError(f"mariadbd ended with status {self._process.returncode}: {log}")
                await asyncio.sleep(_POLL_S)

    async def _answers(self) -> bool:
        try:
            (await self.open()).close()
        except OSError:
            return False
        return True

    def _own_folder(self) -> Path:
        if self._folder is None:
            raise SimulatorError("the engine 'mariadb' is not running")
        return self._folder


def _which(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_ELSEWHERE)


def _base() -> str | None:
    """Where the data go: into memory where there is room, which halves the start; None is the usual place."""
    with contextlib.suppress(OSError):
        room = os.statvfs(_MEMORY)
        if room.f_bavail * room.f_frsize >= _ROOM_BYTES and os.access(_MEMORY, os.W_OK | os.X_OK):
            return _MEMORY
    # A Unix socket's path may hold about 100 bytes, and macOS has a long TMPDIR.
    return None if len(tempfile.gettempdir()) < _SHORT else "/tmp"  # noqa: S108 - as above


def _remove_leftovers(base: Path) -> None:
    """Remove what killed processes of ours left: folders in which no server answers, and none is being started."""
    for folder in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # Another user's, or another process is removing it.
            if time.time() - folder.stat().st_mtime > _LEFT_AFTER_S and not _is_served(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_served(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(folder / "s")) == 0


def _as_root() -> tuple[str, ...]:
    return ("--user=root",) if os.geteuid() == 0 else ()
