"""Reading packets and rows, straight from the stream's buffer while they are there.

aiomysql awaits two coroutines for each packet, and makes an object for each row; a fetch of many rows spends three
quarters of its time so. Here a packet that has arrived is sliced out, and rows are taken apart in one loop over
one copy of the buffer. The buffer is asyncio's private attribute: where it is missing, packets are awaited.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aioaurora._io import driver
from aioaurora._io.driver import MAX_PACKET, SERVER_LOST, MysqlPacket, OperationalError, Status
from aioaurora._io.packets import ERR, HEADER, column_in, converter_in, error_in_first, last_in, parsed, row_end

if TYPE_CHECKING:
    from typing import Any

    from aioaurora._io.driver import Converter, StreamReader


class OutOfStep(driver.InternalError):
    """The server's packets do not follow one another: the session cannot be used on."""


class ServerLost(OperationalError):
    """The stream ended; `__cause__` says why, as far as anybody does."""


def has_buffer(reader: asyncio.StreamReader) -> bool:
    """Whether the stream lets us look at what has arrived."""
    return isinstance(getattr(reader, "_buffer", None), bytearray) and hasattr(reader, "_maybe_resume_transport")


def unread(reader: asyncio.StreamReader) -> bytes:
    """What has arrived and was not asked for yet."""
    return bytes(getattr(reader, "_buffer", b""))


def has_unread(reader: asyncio.StreamReader) -> bool:
    """Whether anything has arrived that was not asked for yet."""
    return bool(getattr(reader, "_buffer", b""))


def holds_packet(reader: asyncio.StreamReader) -> bool:
    """Whether a whole packet waits to be read."""
    waiting = unread(reader)
    return len(waiting) >= HEADER and len(waiting) >= HEADER + int.from_bytes(waiting[:3], "little")


class Result(driver.MySQLResult):
    """A result that reads rows in bulk and tells its connection what the server's last status was."""

    affected_rows: int
    connection: Any
    converters: list[tuple[str | None, Converter | None]]
    description: tuple[tuple[Any, ...], ...] | None
    field_count: int
    fields: list[driver.FieldDescriptorPacket]
    has_next: int
    rows: tuple[tuple[Any, ...], ...] | None
    server_status: int
    unbuffered_active: bool
    warning_count: int

    async def _get_descriptions(self) -> None:
        wire: Wire = self.connection
        encoding, use_unicode, decoders = wire.encoding, wire.use_unicode, wire.decoders
        fields, descriptions, converters = [], [], []
        for _ in range(self.field_count):
            field, description, value_encoding = column_in(wire.take() or await wire.awaited(), encoding, use_unicode)
            converter = decoders.get(field.type_code)
            fields.append(field)
            descriptions.append(description)
            converters.append((value_encoding, None if converter is driver.through else converter))
        self.fields, self.converters, self.description = fields, converters, tuple(descriptions)
        await self._read_end_of_columns(wire)

    async def _read_end_of_columns(self, wire: Wire) -> None:
        if not self._is_last(wire.take() or await wire.awaited()):
            raise OutOfStep("the columns of a result were followed by something else than their end")

    def _is_last(self, payload: bytes) -> bool:
        """Tell whether a packet is an EOF packet, and take note of it."""
        last = last_in(payload)
        if last is None:
            return False
        self.warning_count, self.server_status = last  # aiomysql looks at it in OK packets only (case 38).
        self.has_next = last[1] & Status.MORE_RESULTS
        return True

    def _check_packet_is_eof(self, packet: MysqlPacket) -> bool:
        return self._is_last(packet.get_all_data())

    async def _read_rowdata_packet(self) -> None:
        wire: Wire = self.connection
        rows: list[tuple[Any, ...]] = []
        while True:
            if wire.is_peeking:
                wire.take_rows(rows, self)
            payload = wire.take() or await wire.awaited()
            if self._is_last(payload):
                self.connection = None
                break
            rows.append(self._read_row_from_packet(MysqlPacket(payload, wire.encoding)))
        self.affected_rows = len(rows)
        self.rows = tuple(rows)

    async def _read_rowdata_packet_unbuffered(self) -> tuple[Any, ...] | None:
        if not self.unbuffered_active:
            return None
        wire: Wire = self.connection
        return await wire.fetch_one(self)

    async def read_one(self) -> tuple[Any, ...] | None:
        """Read the next row of an unbuffered result; None at its end."""
        wire: Wire = self.connection
        packet = await wire._read_packet()  # noqa: SLF001 - As above.
        if self._check_packet_is_eof(packet):
            self.rows = None
            self._end(wire)
            return None
        row = self._read_row_from_packet(packet)
        self.affected_rows = 1
        self.rows = (row,)
        return row

    async def _finish_unbuffered_query(self) -> None:
        if self.unbuffered_active:
            wire: Wire = self.connection
            await wire.drain_result(self)

    async def read_to_end(self) -> None:
        """Read on to the end of an unbuffered result; MySQL cannot be told to stop."""
        wire: Wire = self.connection
        while self.unbuffered_active:
            if wire.is_peeking:
                wire.skip_rows()
            packet = await wire._read_packet()  # noqa: SLF001 - As above.
            if self._check_packet_is_eof(packet):
                self._end(wire)

    def _end(self, wire: Wire) -> None:
        self.unbuffered_active = False
        self.connection = None
        wire.note_answer(self.server_status)

    async def _read_load_local_packet(self, first_packet: MysqlPacket) -> None:
        wire: Wire = self.connection
        if not wire.may_send_files:
            await super()._read_load_local_packet(first_packet)
            return
        unreadable: driver.Error | None = None
        wire.is_sending_file = True
        try:
            await driver.LoadLocalFile(first_packet.get_all_data()[1:], wire).send_data()
        except driver.Error as error:  # What was sent of it is loaded all the same, and has an answer.
            unreadable = error
        wire.is_sending_file = False
        packet = await wire._read_packet()  # noqa: SLF001 - As above.
        if not packet.is_ok_packet():
            raise OutOfStep("LOAD DATA LOCAL was answered with something else than OK")
        self._read_ok_packet(packet)
        if unreadable is not None:
            wire.note_answer(self.server_status)
            raise unreadable


class BareResult(Result):
    """A result whose rows matter and whose columns' names do not: taking those apart costs more than the rows."""

    async def _get_descriptions(self) -> None:
        wire: Wire = self.connection
        encoding = wire.encoding
        # Not by the user's own converters: what we ask of a server is for us to read.
        self.converters = [converter_in(wire.take() or await wire.awaited(), encoding) for _ in range(self.field_count)]
        await self._read_end_of_columns(wire)


class Wire(driver.Connection):
    """aiomysql's connection, reading as this module says."""

    is_peeking: bool = False
    is_sending_file: bool = False
    server_status: int
    _answered: int = 0  # Statements of the last packet that have their answer.
    is_established: bool = False  # False while logging in: an ERR that comes then is the reason, whatever its number.

    @property
    def may_send_files(self) -> bool:
        """Whether the server may ask for a file (LOAD DATA LOCAL)."""
        return self._local_infile

    async def _read_packet(self, packet_type: type[MysqlPacket] = MysqlPacket) -> MysqlPacket:
        return packet_type(self.take() or await self.awaited(), self._encoding)

    def take(self) -> bytes | None:
        """Take the next packet's payload out of the buffer if it is there whole, and is no error."""
        reader = self._reader
        if not self.is_peeking or reader is None or reader._exception is not None:  # type: ignore[attr-defined]  # noqa: SLF001 - The point of this module.
            return None
        buffer: bytearray = reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - As above.
        if len(buffer) <= HEADER:
            return None
        end = (buffer[0] | buffer[1] << 8 | buffer[2] << 16) + HEADER
        is_whole = HEADER < end <= len(buffer) and end != MAX_PACKET + HEADER
        if not is_whole or buffer[3] != self._next_seq_id or buffer[HEADER] == ERR:
            return None
        payload = bytes(memoryview(buffer)[HEADER:end])
        del buffer[:end]
        self._next_seq_id = (self._next_seq_id + 1) & 0xFF
        if reader._paused:  # type: ignore[attr-defined]  # noqa: SLF001 - As above.
            reader._maybe_resume_transport()  # type: ignore[attr-defined]  # noqa: SLF001 - As above.
        return payload

    async def awaited(self) -> bytes:
        """Read the next packet's payload; raises the error that it may be."""
        reader = self._reader
        if reader is None:  # Closed or lost while its answer was read.
            raise ServerLost(SERVER_LOST, "Lost connection to MySQL server during query")
        payload = await self._awaited(reader)
        if payload[:1] == b"\xff":
            self._end_with_error()
            raise driver.error_in(payload)
        return payload

    async def read_last_row(self) -> tuple[Any, ...] | None:
        """Read all results of a packet of statements; give the first row of the last one."""
        while True:
            result = BareResult(self)
            await result.read()
            self._answered += 1
            self.server_status = result.server_status or 0
            if not result.has_next:
                return result.rows[0] if result.rows else None

    def note_answer(self, status: int) -> None:
        """Take the server's last word: a statement has its whole answer, and a transaction is open or not."""
        self._answered += 1
        was, self.server_status = self.server_status, status
        if was & ~status & Status.IN_TRANS:
            self._transaction_ended()

    def _transaction_ended(self) -> None:
        """The flag fell: hook for who must know whether the statement meant it."""

    async def fetch_one(self, result: Result) -> tuple[Any, ...] | None:
        """Read one row of an unbuffered result."""
        return await result.read_one()

    async def drain_result(self, result: Result) -> None:
        """Read an unbuffered result to its end."""
        await result.read_to_end()

    def _end_with_error(self) -> None:
        if self._result is not None and self._result.unbuffered_active:
            self._result.unbuffered_active = False

    async def _awaited(self, reader: StreamReader) -> bytes:
        payload = b""
        try:
            while True:
                header = await reader.readexactly(HEADER)
                if header[3] != self._next_seq_id:
                    raise self._out_of_step(header, reader)
                self._next_seq_id = (header[3] + 1) & 0xFF
                size = int.from_bytes(header[:3], "little")
                payload += await reader.readexactly(size)
                if size < MAX_PACKET:
                    return payload
        except (asyncio.IncompleteReadError, OSError) as error:
            ended = isinstance(error, asyncio.IncompleteReadError)
            why = "" if ended else f" ({error})"
            raise ServerLost(SERVER_LOST, f"Lost connection to MySQL server during query{why}") from error

    def _out_of_step(self, header: bytes, reader: StreamReader) -> driver.Error:
        told = error_in_first(header + unread(reader))
        if told is not None and not self.is_established:
            return told  # "Host is blocked", "Too many connections": the number of the packet is no matter.
        if told is not None or header[3] == 0:
            # A server that ends a session says so unasked, with number 0 (MySQL 8 at its shutdown).
            lost = ServerLost(SERVER_LOST, "Lost connection to MySQL server during query")
            lost.__cause__ = told
            return lost
        return OutOfStep(f"Packet sequence number wrong - got {header[3]} expected {self._next_seq_id}")

    def take_rows(self, rows: list[tuple[Any, ...]], result: Result) -> None:
        """Move the rows that have arrived from the buffer to `rows`."""
        reader = self._reader
        if reader is None:
            return
        buffer: bytearray = reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - The point of this module.
        taken, self._next_seq_id = parsed(bytes(buffer), self._next_seq_id, rows, result)
        self._consume(reader, taken)

    def skip_rows(self) -> None:
        """Drop the rows that have arrived from the buffer."""
        reader = self._reader
        if reader is None:
            return
        buffer: bytearray = reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001 - The point of this module.
        data, position, sequence = bytes(buffer), 0, self._next_seq_id
        while (end := row_end(data, position, sequence)) is not None:
            position, sequence = end, (sequence + 1) & 0xFF
        self._next_seq_id = sequence
        self._consume(reader, position)

    def _consume(self, reader: StreamReader, size: int) -> None:
        if size:
            del reader._buffer[:size]  # type: ignore[attr-defined]  # noqa: SLF001 - As above.
            reader._maybe_resume_transport()  # type: ignore[attr-defined]  # noqa: SLF001 - As above.
