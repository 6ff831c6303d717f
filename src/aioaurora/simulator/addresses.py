"""Loopback addresses and a port that no other simulated cluster on this machine has."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

from aioaurora.simulator.engine import SimulatorError

_PORTS = (20000, 32000)  # Below the ephemeral ones, of which one may be taken at any time.
_TRIES = 200
_CLAIM = 254


class Addresses:
    """Addresses `127.0.x.1`, `127.0.x.2` ... with one port; where only 127.0.0.1 exists, a port each."""

    is_shared: bool
    port: int

    def __init__(self, *, port: int | None = None) -> None:
        self._given = 0
        self._claim: socket.socket | None = None
        for _ in range(_TRIES):
            self._net = random.randrange(16, 250)  # noqa: S311 - no secret
            self.port = port or random.randrange(*_PORTS)  # noqa: S311 - no secret
            self.is_shared = not _exists(f"127.0.{self._net}.1")
            with suppress(OSError):
                self._claim = _bound("127.0.0.1" if self.is_shared else f"127.0.{self._net}.{_CLAIM}", self.port)
                return
        raise SimulatorError(f"no free port in {_TRIES} tries" if port is None else f"port {port} is taken")

    def next(self) -> tuple[str, int]:
        """Return one more address and its port."""
        self._given += 1
        if not self.is_shared:
            return f"127.0.{self._net}.{self._given}", self.port
        return "127.0.0.1", self.port + self._given

    def release(self) -> None:
        """Let others have them."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket()
    try:
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _exists(address: str) -> bool:
    try:
        _bound(address, 0).close()
    except OSError:
        return False
    return True
