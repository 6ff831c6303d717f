"""Packets as bytes: rows, columns and errors taken out of what has arrived. Nothing here reads or waits."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

from aioaurora._io import driver
from aioaurora._io.driver import MAX_PACKET, TEXT_TYPES, FieldDescriptorPacket, MysqlPacket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from aioaurora._io.driver import Converter

HEADER = 4
ERR = 0xFF
_NULL, _TWO_BYTES, _THREE_BYTES = 251, 252, 253
_EOF = 0xFE
_EOF_AT_MOST = 8  # A row that begins with that byte is longer: it has a column of 16 MB.
_LAST = struct.Struct("<xHH")
_COLUMN_TAIL = struct.Struct("<HIB5x")  # Character set, length and type; the names stand before.
_BINARY = 63  # The character set of what is no text; numbers have it, too.
_JSON = 245
_WHOLE_NUMBERS = frozenset((1, 2, 3, 8, 9))
_TEXTS = frozenset((15, *range(245, 256)))


def error_in_first(waiting: bytes) -> driver.Error | None:
    """The ERR packet at the front of `waiting`, as an error; None if there is none."""
    payload = waiting[HEADER : HEADER + int.from_bytes(waiting[:3], "little")]
    is_error = len(waiting) > HEADER and len(payload) > 3 and payload[0] == ERR  # noqa: PLR2004 - 0xFF and the number.
    return driver.error_in(payload) if is_error else None


def last_in(payload: bytes) -> tuple[int, int] | None:
    """The warnings and the status of an EOF packet; None if it is none."""
    if payload[:1] != b"\xfe" or len(payload) > _EOF_AT_MOST:
        return None
    warnings, status = _LAST.unpack_from(payload)
    return warnings, status


@functools.lru_cache(maxsize=512)
def column_in(payload: bytes, encoding: str, use_unicode: bool) -> tuple[FieldDescriptorPacket, Any, str | None]:  # noqa: FBT001 - lru_cache tells keywords apart.
    """A column's definition, its description by DB-API, and the encoding of its values; None: they are bytes.

    Remembered: applications ask for the same columns over and over, and taking a definition apart costs as much as all
    else that is read of a short answer.
    """
    column = FieldDescriptorPacket(payload, encoding)
    kind = column.type_code
    value_encoding: str | None = "ascii"
    if not use_unicode or (kind in TEXT_TYPES and column.charsetnr == _BINARY):
        value_encoding = None
    elif kind in TEXT_TYPES or kind == _JSON:  # JSON's character set is binary, and its values are text.
        value_encoding = encoding
    return column, column.description(), value_encoding


def converter_in(payload: bytes, encoding: str) -> tuple[str | None, Converter | None]:
    """What `Result.converters` has for a column where neither names nor a user's converters matter."""
    charset, _, kind = _COLUMN_TAIL.unpack(payload[-_COLUMN_TAIL.size :])
    return (None if charset == _BINARY and kind in _TEXTS else encoding), (int if kind in _WHOLE_NUMBERS else None)


def row_end(data: bytes, position: int, sequence: int) -> int | None:
    """Where the row packet at `position` ends; None if it is not there whole, or is no plain row."""
    start = position + HEADER
    if len(data) <= start:
        return None
    size = data[position] | data[position + 1] << 8 | data[position + 2] << 16
    is_plain = data[position + 3] == sequence and 0 < size < MAX_PACKET and data[start] < _EOF
    return start + size if is_plain and len(data) >= start + size else None


def parsed(data: bytes, sequence: int, rows: list[tuple[Any, ...]], result: driver.MySQLResult) -> tuple[int, int]:
    """Take apart the rows at the front of `data`; says how long they are, and the number of the packet that follows."""
    # One loop without a call per row or column: it is where the time of a fetch goes.
    columns: Sequence[tuple[str | None, Converter | None]] = result.converters
    add_row = rows.append
    position, length = 0, len(data)
    while length - position > HEADER:
        size = data[position] | data[position + 1] << 8 | data[position + 2] << 16
        at = position + HEADER
        end = at + size
        if data[position + 3] != sequence or end > length or not 0 < size < MAX_PACKET or data[at] >= _EOF:
            break
        row: list[Any] = []
        add = row.append
        try:
            for encoding, converter in columns:
                count = data[at]
                at += 1
                if count >= _NULL:
                    if count == _NULL:
                        add(None)
                        continue
                    width = 2 if count == _TWO_BYTES else 3 if count == _THREE_BYTES else 8
                    count = int.from_bytes(data[at : at + width], "little")
                    at += width
                value: Any = data[at : at + count]
                at += count
                if encoding is not None:
                    value = value.decode(encoding)
                add(value if converter is None else converter(value))
        except Exception:  # noqa: BLE001 - A converter's, or a row without its last columns: told below.
            at = -1
        if at != end:  # aiomysql knows what to make of a row without its last columns; or raises once more.
            row = list(result._read_row_from_packet(MysqlPacket(data[position + HEADER : end], "")))  # noqa: SLF001 - aiomysql's own name for it.
        add_row(tuple(row))
        position = end
        sequence = (sequence + 1) & 0xFF
    return position, sequence
