"""The typed face of what we use of aiomysql and PyMySQL; the one place that imports their insides.

Neither package is typed. Type checkers see `faces` instead, so that everything above is checked strictly.
What `faces` declares is what we lean on; `pyproject.toml` pins the versions for it:

- `Connection`: `_reader`, `_writer`, `_result`, `_next_seq_id`, `_affected_rows`, `_close_reason`, `_secure`, and
  that cursors go through `query`, `next_result` and `show_warnings`, and all reading through `_read_packet`;
- `MySQLResult`: `read`, `_get_descriptions`, `_read_rowdata_packet`, `_read_rowdata_packet_unbuffered`,
  `_finish_unbuffered_query`, `_read_ok_packet`, `_read_load_local_packet`, `_check_packet_is_eof`, `fields`,
  `converters`, `description`;
- PyMySQL: the packet classes, the scrambles, the error classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aioaurora._io.faces import (
        TEXT_TYPES,
        Connection,
        Converter,
        Cursor,
        CursorContext,
        DatabaseError,
        DataError,
        DictCursor,
        EOFPacketWrapper,
        Error,
        FieldDescriptorPacket,
        IntegrityError,
        InterfaceError,
        InternalError,
        LoadLocalFile,
        MysqlPacket,
        MySQLResult,
        NotSupportedError,
        OKPacketWrapper,
        OperationalError,
        ProgrammingError,
        SSCursor,
        SSDictCursor,
        StreamReader,
        Warning,  # noqa: A004 - Its name in DB-API.
        charset_by_name,
        through,
    )
    from aioaurora._io.faces import Auth as _auth  # noqa: N813 - A module.
else:
    from collections.abc import Callable as Converter

    from aiomysql.connection import Connection, LoadLocalFile, MySQLResult
    from aiomysql.connection import _StreamReader as StreamReader
    from aiomysql.cursors import Cursor, DictCursor, SSCursor, SSDictCursor
    from aiomysql.utils import _ContextManager as CursorContext
    from pymysql.charset import charset_by_name
    from pymysql.connections import TEXT_TYPES, _auth
    from pymysql.converters import through
    from pymysql.err import (
        DatabaseError,
        DataError,
        Error,
        IntegrityError,
        InterfaceError,
        InternalError,
        NotSupportedError,
        OperationalError,
        ProgrammingError,
        Warning,  # noqa: A004 - Its name in DB-API.
    )
    from pymysql.protocol import EOFPacketWrapper, FieldDescriptorPacket, MysqlPacket, OKPacketWrapper


def encoding_of(charset: str) -> str:
    """Give Python's name of a MySQL character set; KeyError if there is none."""
    return charset_by_name(charset).encoding


def collation_of(charset: str) -> int:
    """Give the number of a character set's default collation."""
    return charset_by_name(charset).id


def collation_name_of(charset: str) -> str:
    """Give the name of a character set's default collation."""
    return charset_by_name(charset).collation


def error_in(payload: bytes) -> Error:
    """Give the error that an ERR packet carries, as PyMySQL would raise it."""
    try:
        MysqlPacket(payload, "").raise_for_error()
    except Error as error:
        return error.with_traceback(None)
    raise AssertionError("no ERR packet")


def sentence_of(error: BaseException) -> str:
    """Give what an error says, without its number; its class where it says nothing."""
    if isinstance(error, Error) and len(error.args) > 1:
        return str(error.args[1])
    return str(error) or type(error).__name__


class Command:
    """First byte of what a client sends."""

    QUIT, INIT_DB, QUERY, PROCESS_KILL, PING, RESET_CONNECTION = 0x01, 0x02, 0x03, 0x0C, 0x0E, 0x1F


class Status:
    """Bits of the status that OK and EOF packets carry."""

    IN_TRANS, AUTOCOMMIT, MORE_RESULTS, NO_BACKSLASH_ESCAPES = 0x0001, 0x0002, 0x0008, 0x0200


class Capability:
    """Bits of what client and server can do."""

    CONNECT_WITH_DB, SSL, SECURE_CONNECTION = 0x0008, 0x0800, 0x8000
    MULTI_RESULTS, PLUGIN_AUTH, CONNECT_ATTRS, LENENC_AUTH = 1 << 17, 1 << 19, 1 << 20, 1 << 21


CANNOT_CONNECT, NOT_MYSQL, SERVER_LOST = 2003, 2007, 2013  # Client errors, by PyMySQL's numbers.
MAX_PACKET = 0xFFFFFF  # A payload of that length has a sequel.

__all__ = [
    "CANNOT_CONNECT",
    "MAX_PACKET",
    "NOT_MYSQL",
    "SERVER_LOST",
    "TEXT_TYPES",
    "Capability",
    "Command",
    "Connection",
    "Converter",
    "Cursor",
    "CursorContext",
    "DataError",
    "DatabaseError",
    "DictCursor",
    "EOFPacketWrapper",
    "Error",
    "FieldDescriptorPacket",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LoadLocalFile",
    "MySQLResult",
    "MysqlPacket",
    "NotSupportedError",
    "OKPacketWrapper",
    "OperationalError",
    "ProgrammingError",
    "SSCursor",
    "SSDictCursor",
    "Status",
    "StreamReader",
    "Warning",
    "_auth",
    "collation_name_of",
    "collation_of",
    "encoding_of",
    "error_in",
    "sentence_of",
    "through",
]
