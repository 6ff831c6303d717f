"""Loopback addresses and a port that no other simulated cluster on this machine has.

Linux has all of 127.0.0.0/8; macOS has 127.0.0.1 until somebody adds others, so we look for the same ones each time.
"""

from __future__ import annotations

import random
import socket
from contextlib import suppress

from aioaurora.simulator.engine import SimulatorError

_PORTS = (20000, 32000)  # Below the ephemeral ones, of which one may be taken at any time.
_NETS = (16, 250)
_TRIES = 200
_ONLY = "127.0.0.1"


class Addresses:
    """Addresses `127.0.x.1`, `127.0.x.2` ... with one port; for one instance 127.0.0.1, where only that exists.

    Raises:
        SimulatorError: There are not so many addresses, and how to add them; or no port is free.
    """

    port: int

    def __init__(self, instances: int, *, port: int | None = None) -> None:
        self._given = 0
        for _ in range(_TRIES):
            self._net = random.randrange(*_NETS)  # noqa: S311 - no secret
            if not _exists(self._nth(1)):
                self._net = _NETS[0]
            first = self._first(instances)
            self.port = port or random.randrange(*_PORTS)  # noqa: S311 - no secret
            with suppress(OSError):
                _bound(first, self.port).close()
                self._claim = _bound(first, self.port, socket.SOCK_DGRAM)  # It leaves TCP's port to the instance.
                return
        raise SimulatorError(f"no free port in {_TRIES} tries" if port is None else f"port {port} is taken")

    def next(self) -> tuple[str, int]:
        """Return one more address and its port; raises SimulatorError where it does not exist."""
        self._given += 1
        address = self._nth(self._given)
        if _exists(address):
            return address, self.port
        if self._given == 1:
            return _ONLY, self.port
        raise _missing([address])

    def release(self) -> None:
        """Let others have them."""
        self._claim.close()

    def _first(self, instances: int) -> str:
        missing = [each for each in map(self._nth, range(1, instances + 1)) if not _exists(each)]
        if missing and instances > 1:
            raise _missing(missing)
        return _ONLY if missing else self._nth(1)

    def _nth(self, number: int) -> str:
        return f"127.0.{self._net}.{number}"


def _missing(addresses: list[str]) -> SimulatorError:
    commands = "; ".join(f"sudo ifconfig lo0 alias {each} up" for each in addresses)
    return SimulatorError(
        f"each instance needs a loopback address of its own, and {', '.join(addresses)} cannot be had; "
        f"on macOS run: {commands}"
    )


def _bound(address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(type=kind)
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
