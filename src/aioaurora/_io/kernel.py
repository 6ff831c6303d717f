"""What the kernel does for a connection, what it knows of one, and which process this is."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

from aioaurora._core.value import dataclass

if TYPE_CHECKING:
    import asyncio

_IS_LINUX = sys.platform == "linux"
# struct tcp_info of <linux/tcp.h>: eight bytes of states, then 32-bit words; only ever extended at its end.
_TCP_INFO_SIZE = 152
_ESTABLISHED = 1  # The first byte is the state: enum of <net/tcp_states.h>.
_NEVER = 0xFFFFFFFF
_UNACKED, _LAST_RECEIVED, _LEAST_ROUND_TRIP = 24, 52, 148
# When idle, how often then, how many times, and how long without an acknowledgement; None: the platform has it not.
_TIMINGS = [
    getattr(socket, name, None)
    for name in (
        "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE",  # macOS' name for it.
        "TCP_KEEPINTVL",
        "TCP_KEEPCNT",
        "TCP_USER_TIMEOUT",
    )
]
_FIONREAD = 0x541B  # <asm-generic/ioctls.h>; MIPS, PowerPC and SPARC differ, where the answer is "unknown".


class _Process:
    """The process that this is: looked up after a fork only, as asking the kernel per statement costs."""

    __slots__ = ("id",)

    def __init__(self) -> None:
        self.look()

    def look(self) -> None:
        """Ask the kernel."""
        self.id = os.getpid()


process = _Process()
if hasattr(os, "register_at_fork"):  # Not on Windows, where nothing forks.
    os.register_at_fork(after_in_child=process.look)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """When an idle connection is probed, and when silence means that its host is gone.

    The first keeps entries of NAT and load balancers alive; quick verdicts are the heartbeat's.
    """

    idle_s: int = 60
    interval_s: int = 10
    count: int = 3
    user_timeout_s: float = 30.0  # TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged.


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What the kernel knows of the peer, whatever its process is doing.

    Attributes:
        unacked: Segments that the peer's kernel has not acknowledged: its host is gone, not merely stalled.
        last_received_s: Seconds since data arrived.
        unread: Bytes that have arrived and that we have not read: silence is then our own fault.
        is_established: Neither end has closed.
        least_round_trip_s: The quickest answer of the peer's kernel so far, in seconds: how far away it is, whatever
            our loop is doing (case 62). None: an older Linux, or nothing was sent yet.
    """

    unacked: int
    last_received_s: float
    unread: int
    is_established: bool = True
    least_round_trip_s: float | None = None


def set_options(transport: asyncio.BaseTransport, keep_alive: KeepAlive) -> None:
    """Probe a TCP connection when it is idle, and give up on bytes that nobody acknowledges.

    That each byte is sent at once (TCP_NODELAY), asyncio and uvloop see to themselves.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    user_timeout_ms = math.ceil(keep_alive.user_timeout_s * 1000)
    values = (keep_alive.idle_s, keep_alive.interval_s, keep_alive.count, user_timeout_ms)
    for option, value in zip(_TIMINGS, values, strict=True):
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def signs_of(transport: asyncio.BaseTransport) -> Signs | None:
    """Ask the kernel; None where it cannot tell (not Linux, no TCP, already closed)."""
    sock = transport.get_extra_info("socket")
    if not _IS_LINUX or sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        (unacked,) = struct.unpack_from("=I", info, _UNACKED)
        (last_received_ms,) = struct.unpack_from("=I", info, _LAST_RECEIVED)
        unread = _unread(sock.fileno())
    except (OSError, ValueError, struct.error):  # uvloop's sockets raise ValueError once they are closed.
        return None
    return Signs(
        unacked=unacked,
        last_received_s=last_received_ms / 1e3,
        unread=unread,
        is_established=info[0] == _ESTABLISHED,
        least_round_trip_s=_least_round_trip_s(info),
    )


def _least_round_trip_s(info: bytes) -> float | None:
    if len(info) < _TCP_INFO_SIZE:
        return None
    (microseconds,) = struct.unpack_from("=I", info, _LEAST_ROUND_TRIP)
    return None if microseconds == _NEVER else microseconds / 1e6


def _unread(descriptor: int) -> int:
    import fcntl  # noqa: PLC0415 - Not on Windows.

    answer = bytearray(4)
    with contextlib.suppress(OSError):  # An architecture with another number: then it does not count.
        fcntl.ioctl(descriptor, _FIONREAD, answer)
    return int.from_bytes(answer, sys.byteorder) & 0x7FFFFFFF


def forget_descriptor(transport: asyncio.BaseTransport) -> None:
    """Close our copy of a socket that belongs to the parent process: no byte is sent, its session lives on.

    The number is pointed at the null device rather than closed, as the transport will close it once more.
    """
    sock = transport.get_extra_info("socket")
    descriptor = sock.fileno() if sock is not None else -1
    if descriptor < 0:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, descriptor)
    finally:
        os.close(nothing)
