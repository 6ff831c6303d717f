"""The packets that answer a client's commands, followed to the end of each answer.

                    ERR, OK or EOF without more results
    first -------------------------------------------------> over
      |  ^                                                    ^
      |  +-- OK or EOF with more results -------+             |
      |  +-- file wanted: the client's turn     |             |
      |                                         |             |
      +-- columns --> definitions --> rows -----+-------------+

    prepared --> definitions of parameters and columns --> over

Rows pass through as they come, in whatever pieces; only a packet that may end an answer waits until it is whole.
"""

from __future__ import annotations

import enum
import struct

from aioaurora.simulator.wire import (
    EOF,
    ERR,
    HEADER_BYTES,
    LARGEST_FRAME,
    LOCAL_FILE,
    OK,
    Command,
    Status,
    lenenc,
    status_of,
)

_LONGEST_EOF = 8


class _Next(enum.Enum):
    """What the engine's next packet is."""

    FIRST = enum.auto()
    DEFINITION = enum.auto()
    ROW = enum.auto()
    PREPARED = enum.auto()
    LAST = enum.auto()
    UNKNOWN = enum.auto()


_PLAIN = (
    Command.INIT_DB,
    Command.QUERY,
    Command.PROCESS_KILL,
    Command.PING,
    Command.STMT_EXECUTE,
    Command.STMT_RESET,
    Command.SET_OPTION,
)
_STARTS: dict[int, _Next] = {
    Command.STMT_PREPARE: _Next.PREPARED,
    Command.STMT_FETCH: _Next.ROW,
    Command.FIELD_LIST: _Next.ROW,
    Command.STATISTICS: _Next.LAST,
    **{int(command): _Next.FIRST for command in _PLAIN},
}


class Answers:
    """What an engine says on one connection, answer by answer.

    Attributes:
        is_owed: Whether a command has not been answered to the end.
        wants_file: Whether it is the client's turn to send a file.
        status: The session's flags as it last told them.
        statement_id: Of the newest prepared statement.
    """

    is_owed: bool
    statement_id: int
    status: int
    wants_file: bool

    def __init__(self, *, status: int, ends_with_ok: bool) -> None:
        """`ends_with_ok`: rows end with an OK packet (CLIENT_DEPRECATE_EOF)."""
        self.status, self.statement_id = status, 0
        self.is_owed = self.wants_file = False
        self._ends_with_ok = ends_with_ok
        self._next = self._after_definitions = _Next.UNKNOWN
        self._definitions = 0
        self._rest = b""
        self._passing = 0
        self._goes_on = False

    def expect(self, command: int) -> None:
        """Know what the engine has been asked; what it says to a command that is not known here is not followed."""
        self._next = _STARTS.get(command, _Next.UNKNOWN)
        self.is_owed = self._next is not _Next.UNKNOWN

    def taken(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what can be handed on, and after it the packet that ends the answer: empty while it is not here."""
        if not self.is_owed:
            return data, b""
        data, self._rest, at = self._rest + data, b"", 0
        while True:
            passed = min(self._passing, len(data) - at)
            at, self._passing = at + passed, self._passing - passed
            if self._next is _Next.ROW and not self._goes_on:
                at = _after_rows(data, at)
            if len(data) - at <= HEADER_BYTES:
                break
            size = int.from_bytes(data[at : at + 3], "little")
            end = at + HEADER_BYTES + size
            if self._goes_on or not self._is_looked_at(data[at + HEADER_BYTES], size):
                self._passing, self._goes_on = end - at, size == LARGEST_FRAME
                continue
            if len(data) < end:
                break
            self._step(data[at + HEADER_BYTES : end])
            if not self.is_owed:
                return data[:at], data[at:]
            at = end
        self._rest = data[at:]
        return data[:at], b""

    def _is_looked_at(self, first: int, size: int) -> bool:
        if self._next is not _Next.ROW or first == ERR:
            return True
        # A row may begin with the same byte: the length of a value of 16 MB and more.
        return first == EOF and (size <= _LONGEST_EOF or (self._ends_with_ok and size < LARGEST_FRAME))

    def _step(self, payload: bytes) -> None:
        if payload[0] == ERR:
            self.is_owed = self.wants_file = False
            return
        match self._next:
            case _Next.FIRST:
                self._first(payload)
            case _Next.PREPARED:
                self._prepared(payload)
            case _Next.DEFINITION:
                self._definition(payload)
            case _Next.ROW:
                self._ended(payload)
            case _:
                self.is_owed = False

    def _first(self, payload: bytes) -> None:
        if payload[0] == LOCAL_FILE:
            self.wants_file = True
        elif payload[0] in (OK, EOF):
            self._ended(payload)
        else:
            count, _ = lenenc(payload, 0)
            self._expect_definitions((count or 0) + (not self._ends_with_ok), _Next.ROW)

    def _prepared(self, payload: bytes) -> None:
        self.statement_id, columns, parameters = struct.unpack_from("<IHH", payload, 1)
        ends = 0 if self._ends_with_ok else bool(columns) + bool(parameters)
        self._expect_definitions(columns + parameters + ends, _Next.LAST)

    def _expect_definitions(self, count: int, after: _Next) -> None:
        self._definitions, self._after_definitions = count, after
        self._next = _Next.DEFINITION
        self.is_owed = count > 0

    def _definition(self, payload: bytes) -> None:
        self._definitions -= 1
        if self._definitions:
            return
        self._next = self._after_definitions
        has_cursor = not self._ends_with_ok and bool(status_of(payload) & Status.CURSOR_EXISTS)
        self.is_owed = self._next is _Next.ROW and not has_cursor

    def _ended(self, payload: bytes) -> None:
        self.status = status_of(payload)
        self._next = _Next.FIRST
        self.is_owed = bool(self.status & Status.MORE_RESULTS)


def _after_rows(data: bytes, at: int) -> int:
    """Return where the first packet begins that is not plainly a whole row: most packets are."""
    while len(data) - at > HEADER_BYTES:
        end = at + HEADER_BYTES + int.from_bytes(data[at : at + 3], "little")
        if data[at + HEADER_BYTES] >= EOF or end > len(data) or end - at == HEADER_BYTES + LARGEST_FRAME:
            break
        at = end
    return at
