"""A client's bytes as they come, and the packets in them."""

from __future__ import annotations

from aioaurora.simulator.wire import HEADER_BYTES, LARGEST_FRAME


class Frames:
    """Bytes of which only whole packets are given out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def add(self, data: bytes) -> None:
        """Take in what has come."""
        self._bytes += data

    def frame(self) -> bytes | None:
        """Take the next frame, header included; None while it is not whole."""
        return self._taken(self._end(0))

    def command(self) -> bytes | None:
        """Take the next command, one frame or several; None while it is not whole."""
        end = self._end(0)
        while end is not None and self._size(end[0]) == LARGEST_FRAME:
            end = self._end(end[1])
        return self._taken(end)

    def _size(self, at: int) -> int:
        return int.from_bytes(self._bytes[at : at + 3], "little")

    def _end(self, at: int) -> tuple[int, int] | None:
        """Return where a frame begins and ends, None while it is not whole."""
        if len(self._bytes) < at + HEADER_BYTES:
            return None
        end = at + HEADER_BYTES + self._size(at)
        return (at, end) if len(self._bytes) >= end else None

    def _taken(self, span: tuple[int, int] | None) -> bytes | None:
        if span is None:
            return None
        _, end = span
        taken = bytes(self._bytes[:end])
        del self._bytes[:end]
        return taken


def payload_of(command: bytes) -> bytes:
    """Return what is in the frames of a command."""
    if len(command) < HEADER_BYTES + LARGEST_FRAME:
        return command[HEADER_BYTES:]
    step = HEADER_BYTES + LARGEST_FRAME
    return b"".join(command[at + HEADER_BYTES : at + step] for at in range(0, len(command), step))
