"""The typed face of what we use of aiomysql and PyMySQL; the one place that imports their insides.

Neither package is typed. Their names are declared here for type checkers and imported for real otherwise, so that
everything above is checked strictly. What is declared is what we lean on; `pyproject.toml` pins the versions for it:

- `Connection`: `_reader`, `_writer`, `_result`, `_next_seq_id`, `_affected_rows`, `_close_reason`, `_secure`, and that all
  commands go through `query`, `_execute_command`, `_read_ok_packet`, `_read_packet` and `_read_query_result`;
- `MySQLResult`: `read`, `_read_rowdata_packet`, `_read_rowdata_packet_unbuffered`, `_finish_unbuffered_query`,
  `_check_packet_is_eof`, `converters`;
- PyMySQL: the packet classes, the scrambles, the error classes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
    from types import TracebackType
    from typing import Any, Self, TypeVar

    C = TypeVar("C", bound="Cursor")

    class Warning(Exception):  # noqa: A001 - Its name in DB-API.
        """Important warnings, such as truncated data."""

    class Error(Exception):
        """Base of every error of the driver."""

    class InterfaceError(Error):
        """The interface was used wrongly."""

    class DatabaseError(Error):
        """The database reports an error."""

    class DataError(DatabaseError):
        """The data is at fault."""

    class OperationalError(DatabaseError):
        """The database's operation is at fault."""

    class IntegrityError(DatabaseError):
        """A constraint was violated."""

    class InternalError(DatabaseError):
        """The driver and the database disagree."""

    class ProgrammingError(DatabaseError):
        """The statement is at fault."""

    class NotSupportedError(DatabaseError):
        """The database cannot do this."""

    class MysqlPacket:
        """One packet, with a place to read on from."""

        _data: bytes

        def __init__(self, data: bytes, encoding: str) -> None: ...
        def advance(self, length: int) -> None: ...
        def read_all(self) -> bytes: ...
        def read_uint8(self) -> int: ...
        def read_string(self) -> bytes | None: ...
        def read_length_encoded_integer(self) -> int: ...
        def get_all_data(self) -> bytes: ...
        def is_ok_packet(self) -> bool: ...
        def is_eof_packet(self) -> bool: ...
        def is_error_packet(self) -> bool: ...
        def is_auth_switch_request(self) -> bool: ...
        def is_extra_auth_data(self) -> bool: ...
        def raise_for_error(self) -> None: ...

    class FieldDescriptorPacket(MysqlPacket):
        """What one column is."""

        name: str
        table_name: str
        type_code: int
        charsetnr: int

    class OKPacketWrapper:
        """An OK packet, taken apart."""

        def __init__(self, from_packet: MysqlPacket) -> None: ...

        server_status: int
        affected_rows: int
        insert_id: int
        warning_count: int
        has_next: int

    class EOFPacketWrapper:
        """An EOF packet, taken apart."""

        def __init__(self, from_packet: MysqlPacket) -> None: ...

        server_status: int
        warning_count: int
        has_next: int

    class StreamReader(asyncio.StreamReader):
        """asyncio's, which also says that its peer has ended."""

        eof_received: bool

    Converter = Callable[[Any], Any]

    class MySQLResult:
        """One result set, or the answer to a statement without one."""

        connection: Any
        affected_rows: int
        insert_id: int | None
        server_status: int | None
        warning_count: int
        message: bytes | None
        description: tuple[tuple[Any, ...], ...] | None
        fields: list[FieldDescriptorPacket]
        converters: list[tuple[str | None, Converter | None]]
        rows: Sequence[tuple[Any, ...]] | None
        has_next: int | None
        unbuffered_active: bool

        def __init__(self, connection: Connection) -> None: ...
        async def read(self) -> None: ...
        async def init_unbuffered_query(self) -> None: ...
        def _check_packet_is_eof(self, packet: MysqlPacket) -> bool: ...
        async def _read_rowdata_packet(self) -> None: ...
        async def _read_rowdata_packet_unbuffered(self) -> tuple[Any, ...] | None: ...
        async def _finish_unbuffered_query(self) -> None: ...
        def _read_row_from_packet(self, packet: MysqlPacket) -> tuple[Any, ...]: ...

    class Cursor:
        """aiomysql's cursor."""

        def __init__(self, connection: Connection, echo: bool = False) -> None: ...
        @property
        def connection(self) -> Connection: ...
        @property
        def description(self) -> tuple[tuple[Any, ...], ...] | None: ...
        @property
        def rowcount(self) -> int: ...
        @property
        def rownumber(self) -> int: ...
        @property
        def lastrowid(self) -> int | None: ...
        @property
        def closed(self) -> bool: ...

        arraysize: int

        async def close(self) -> None: ...
        async def execute(self, query: str | bytes, args: Any = None) -> int: ...
        async def executemany(self, query: str, args: Sequence[Any]) -> int | None: ...
        async def callproc(self, procname: str, args: Sequence[Any] = ()) -> Sequence[Any]: ...
        async def nextset(self) -> bool | None: ...
        def mogrify(self, query: str, args: Any = None) -> str: ...
        def fetchone(self) -> Awaitable[Any]: ...
        def fetchmany(self, size: int | None = None) -> Awaitable[list[Any]]: ...
        def fetchall(self) -> Awaitable[list[Any]]: ...
        def scroll(self, value: int, mode: str = "relative") -> Awaitable[None]: ...
        def __aiter__(self) -> AsyncIterator[Any]: ...
        async def __anext__(self) -> Any: ...
        async def __aenter__(self) -> Self: ...
        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
        ) -> None: ...

    class DictCursor(Cursor):
        """Rows are dictionaries."""

    class SSCursor(Cursor):
        """Rows are read one by one, as they are fetched."""

    class SSDictCursor(SSCursor):
        """Both."""

    class CursorContext(Coroutine[Any, Any, C]):
        """Awaitable, and an async context manager, that gives a cursor."""

        def __await__(self) -> Generator[Any, Any, C]: ...
        async def __aenter__(self) -> C: ...
        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
        ) -> None: ...

    class Connection:
        """aiomysql's connection."""

        _loop: asyncio.AbstractEventLoop
        _reader: StreamReader | None
        _writer: asyncio.StreamWriter | None
        _result: MySQLResult | None
        _host: str
        _port: int
        _user: str
        _password: str
        _db: str | bytes | None
        _unix_socket: str | None
        _ssl_context: ssl.SSLContext | None
        _secure: bool
        _encoding: str
        _charset: str
        _affected_rows: int
        _next_seq_id: int
        _close_reason: str | None
        _last_usage: float
        _local_infile: bool
        _client_auth_plugin: str
        _server_auth_plugin: str
        _auth_plugin_used: str
        _connect_attrs: dict[str, str]
        connected_time: float
        client_flag: int
        server_status: int
        server_capabilities: int
        server_version: str
        server_thread_id: tuple[int, ...]
        protocol_version: int
        server_public_key: bytes | None
        salt: bytes
        host_info: str
        sql_mode: str | None
        init_command: str | None
        autocommit_mode: bool | None
        connect_timeout: float | None
        cursorclass: type[Cursor]
        decoders: Mapping[int, Converter]
        use_unicode: bool

        def __init__(self, **keywords: Any) -> None: ...
        @property
        def host(self) -> str: ...
        @property
        def port(self) -> int: ...
        @property
        def user(self) -> str: ...
        @property
        def db(self) -> str | None: ...
        @property
        def closed(self) -> bool: ...
        @property
        def encoding(self) -> str: ...
        @property
        def charset(self) -> str: ...
        @property
        def echo(self) -> bool: ...
        @property
        def last_usage(self) -> float: ...
        @property
        def loop(self) -> asyncio.AbstractEventLoop: ...
        @property
        def unix_socket(self) -> str | None: ...
        def close(self) -> None: ...
        async def ensure_closed(self) -> None: ...
        async def autocommit(self, value: bool) -> None: ...
        def get_autocommit(self) -> bool: ...
        async def begin(self) -> None: ...
        async def commit(self) -> None: ...
        async def rollback(self) -> None: ...
        async def select_db(self, db: str) -> None: ...
        async def show_warnings(self) -> Sequence[tuple[Any, ...]] | None: ...
        def escape(self, obj: Any) -> str: ...
        def literal(self, obj: Any) -> str: ...
        def escape_string(self, s: str) -> str: ...
        def cursor(self, *cursors: type[C]) -> CursorContext[C]: ...
        async def query(self, sql: str | bytes, unbuffered: bool = False) -> int: ...
        async def next_result(self) -> int: ...
        def affected_rows(self) -> int: ...
        async def kill(self, thread_id: int) -> None: ...
        async def ping(self, reconnect: bool = True) -> None: ...
        async def set_charset(self, charset: str) -> None: ...
        def insert_id(self) -> int: ...
        def thread_id(self) -> int: ...
        def character_set_name(self) -> str: ...
        def get_host_info(self) -> str: ...
        def get_proto_info(self) -> int: ...
        def get_server_info(self) -> str: ...
        def get_transaction_status(self) -> bool: ...
        async def _connect(self) -> None: ...
        async def _execute_command(self, command: int, sql: str | bytes) -> None: ...
        async def _read_packet(self, packet_type: type[MysqlPacket] = ...) -> MysqlPacket: ...
        async def _read_ok_packet(self) -> bool: ...
        async def _read_query_result(self, unbuffered: bool = False) -> None: ...
        async def _get_server_information(self) -> None: ...
        async def _request_authentication(self) -> None: ...
        async def _process_auth(self, plugin_name: bytes, auth_packet: MysqlPacket) -> MysqlPacket | None: ...
        async def caching_sha2_password_auth(self, pkt: MysqlPacket) -> MysqlPacket | None: ...
        async def sha256_password_auth(self, pkt: MysqlPacket) -> MysqlPacket | None: ...
        async def _send_autocommit_mode(self) -> None: ...
        def write_packet(self, payload: bytes) -> None: ...
        def _close_on_cancel(self) -> None: ...
        def _ensure_alive(self) -> None: ...
        async def __aenter__(self) -> Self: ...
        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
        ) -> None: ...

    def encoding_of(charset: str) -> str: ...  # noqa: D103 - Documented below.
    def collation_of(charset: str) -> int: ...  # noqa: D103
    def error_in(payload: bytes) -> Error: ...  # noqa: D103

    class _auth:  # noqa: N801 - A module.
        @staticmethod
        def scramble_native_password(password: bytes, message: bytes) -> bytes: ...
        @staticmethod
        def scramble_caching_sha2(password: bytes, nonce: bytes) -> bytes: ...
        @staticmethod
        def scramble_old_password(password: bytes, message: bytes) -> bytes: ...
        @staticmethod
        def sha2_rsa_encrypt(password: bytes, salt: bytes, public_key: bytes) -> bytes: ...

else:
    from aiomysql.connection import Connection, MySQLResult
    from aiomysql.connection import _StreamReader as StreamReader
    from aiomysql.cursors import Cursor, DictCursor, SSCursor, SSDictCursor
    from aiomysql.utils import _ContextManager as CursorContext
    from pymysql.charset import charset_by_name
    from pymysql.connections import _auth
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
        raise_mysql_exception,
    )
    from pymysql.protocol import EOFPacketWrapper, FieldDescriptorPacket, MysqlPacket, OKPacketWrapper

    def encoding_of(charset):
        """Give Python's name of a MySQL character set; KeyError if there is none."""
        return charset_by_name(charset).encoding

    def collation_of(charset):
        """Give the number of a character set's default collation."""
        return charset_by_name(charset).id

    def error_in(payload):
        """Give the error that an ERR packet carries, as PyMySQL would raise it."""
        try:
            raise_mysql_exception(payload)
        except Error as error:
            return error.with_traceback(None)


class Command:
    """First byte of what a client sends."""

    QUIT, INIT_DB, QUERY, PROCESS_KILL, PING = 0x01, 0x02, 0x03, 0x0C, 0x0E


class Status:
    """Bits of the status that OK and EOF packets carry."""

    IN_TRANS, AUTOCOMMIT, MORE_RESULTS, NO_BACKSLASH_ESCAPES = 0x0001, 0x0002, 0x0008, 0x0200


class Capability:
    """Bits of what client and server can do."""

    CONNECT_WITH_DB, SSL, SECURE_CONNECTION = 0x0008, 0x0800, 0x8000
    MULTI_RESULTS, PLUGIN_AUTH, CONNECT_ATTRS, LENENC_AUTH = 1 << 17, 1 << 19, 1 << 20, 1 << 21


SERVER_GONE, CANNOT_CONNECT, SERVER_LOST = 2006, 2003, 2013  # Client errors, by PyMySQL's numbers.
MAX_PACKET = 0xFFFFFF  # A payload of that length has a sequel.

__all__ = [
    "CANNOT_CONNECT",
    "MAX_PACKET",
    "SERVER_GONE",
    "SERVER_LOST",
    "Capability",
    "Command",
    "Connection",
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
    "collation_of",
    "encoding_of",
    "error_in",
]
