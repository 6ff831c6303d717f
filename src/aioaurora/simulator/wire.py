"""The MySQL protocol's packets, as far as a relay must understand them: framing, greetings, errors, scrambles."""

from __future__ import annotations

import asyncio
import enum
import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import socket

HEADER_BYTES, LARGEST_FRAME = 4, 0xFFFFFF
OK, ERR, EOF, LOCAL_FILE = 0x00, 0xFF, 0xFE, 0xFB
_EOF_BYTES = 5
UTF8MB4 = 45  # utf8mb4_general_ci: every engine knows it.
LARGEST_MARIADB_COLLATION = 247  # MySQL 8 says 255 (utf8mb4_0900_ai_ci), which MariaDB would take for latin1.


class Flag(enum.IntFlag):
    """Capabilities that the relay looks at; the others pass through."""

    LONG_PASSWORD = 1
    WITH_DATABASE = 1 << 3
    COMPRESS = 1 << 5
    PROTOCOL_41 = 1 << 9
    TLS = 1 << 11
    TRANSACTIONS = 1 << 13
    SECURE_CONNECTION = 1 << 15
    MULTI_STATEMENTS = 1 << 16
    PLUGIN_AUTH = 1 << 19
    ATTRIBUTES = 1 << 20
    LENENC_AUTH = 1 << 21
    DEPRECATE_EOF = 1 << 24
    OPTIONAL_METADATA = 1 << 25
    ZSTD = 1 << 26
    QUERY_ATTRIBUTES = 1 << 27
    MULTI_FACTOR = 1 << 28
    ABOVE = 7 << 29


class Status(enum.IntFlag):
    """Flags of OK and EOF packets that the relay looks at."""

    IN_TRANSACTION = 1
    AUTOCOMMIT = 2
    MORE_RESULTS = 8
    CURSOR_EXISTS = 64


# What cannot be relayed byte for byte, or belongs to the relay's own log-in.
RELAYED = 0xFFFFFFFF & ~int(
    Flag.TLS
    | Flag.COMPRESS
    | Flag.ZSTD
    | Flag.OPTIONAL_METADATA
    | Flag.QUERY_ATTRIBUTES
    | Flag.MULTI_FACTOR
    | Flag.ABOVE
)
OWN_LOGIN = Flag.LONG_PASSWORD | Flag.PROTOCOL_41 | Flag.TRANSACTIONS | Flag.SECURE_CONNECTION | Flag.PLUGIN_AUTH


class Command(enum.IntEnum):
    """Commands that the relay looks into."""

    QUIT = 0x01
    INIT_DB = 0x02
    QUERY = 0x03
    FIELD_LIST = 0x04
    STATISTICS = 0x09
    PROCESS_KILL = 0x0C
    PING = 0x0E
    CHANGE_USER = 0x11
    STMT_PREPARE = 0x16
    STMT_EXECUTE = 0x17
    STMT_CLOSE = 0x19
    STMT_RESET = 0x1A
    SET_OPTION = 0x1B
    STMT_FETCH = 0x1C
    RESET_CONNECTION = 0x1F


class EngineError(Exception):
    """The engine answered with an error packet."""

    errno: int
    sentence: str
    state: str

    def __init__(self, payload: bytes) -> None:
        self.errno, self.state, self.sentence = parsed_error(payload)
        super().__init__(self.errno, self.sentence)


def packet(sequence: int, payload: bytes) -> bytes:
    """Frame one payload of less than 16 MB."""
    return struct.pack("<I", len(payload) | (sequence & 0xFF) << 24) + payload


def command_packets(payload: bytes) -> bytes:
    """Frame a command of any size."""
    if len(payload) < LARGEST_FRAME:
        return packet(0, payload)
    starts = range(0, len(payload) + 1, LARGEST_FRAME)
    return b"".join(packet(number, payload[at : at + LARGEST_FRAME]) for number, at in enumerate(starts))


def error_packet(sequence: int, errno: int, sentence: str, state: str = "HY000") -> bytes:
    """Frame an ERR packet."""
    return packet(sequence, b"\xff" + struct.pack("<H", errno) + f"#{state}{sentence}".encode())


def early_error_packet(errno: int, sentence: str) -> bytes:
    """Frame an ERR packet that stands in the place of a greeting: before capabilities there is no state in it."""
    return packet(0, b"\xff" + struct.pack("<H", errno) + sentence.encode())


def parsed_error(payload: bytes) -> tuple[int, str, str]:
    """Read an ERR packet: number, state, sentence."""
    (errno,) = struct.unpack_from("<H", payload, 1)
    text = payload[3:].decode("utf-8", "replace")
    return (errno, text[1:6], text[6:]) if text.startswith("#") else (errno, "HY000", text)


def lenenc(data: bytes, at: int) -> tuple[int | None, int]:
    """Read a length-encoded integer: its value (None: NULL) and where what follows it starts."""
    first = data[at]
    if first < 0xFB:  # noqa: PLR2004 - the protocol's own border
        return first, at + 1
    if first == LOCAL_FILE:
        return None, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def lenenc_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Read a length-encoded string and where what follows it starts."""
    size, at = lenenc(data, at)
    end = at + (size or 0)
    return data[at:end], end


def status_of(payload: bytes) -> int:
    """Read the flags of an OK or EOF packet."""
    if payload[0] == EOF and len(payload) == _EOF_BYTES:
        return int.from_bytes(payload[3:], "little")
    _, at = lenenc(payload, 1)
    _, at = lenenc(payload, at)
    return int.from_bytes(payload[at : at + 2], "little")


def native_scramble(password: str, nonce: bytes) -> bytes:
    """What `mysql_native_password` sends for this password and nonce."""
    if not password:
        return b""
    once = hashlib.sha1(password.encode()).digest()  # noqa: S324 - the protocol's choice
    mask = hashlib.sha1(nonce + hashlib.sha1(once).digest()).digest()  # noqa: S324 - the protocol's choice
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


def sha2_scramble(password: str, nonce: bytes) -> bytes:
    """What `caching_sha2_password` sends first for this password and nonce."""
    if not password:
        return b""
    once = hashlib.sha256(password.encode()).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + nonce).digest()
    return bytes(a ^ b for a, b in zip(once, mask, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A server's first packet; what the relay says is the engine's with another version, id, nonce and flags."""

    version: str
    thread_id: int
    nonce: bytes
    capabilities: int
    collation: int
    status: int
    plugin: str

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read it; raises EngineError when an ERR packet stands in its place."""
        if payload[0] == ERR:
            raise EngineError(payload)
        end = payload.index(0, 1)
        at = end + 1
        low, collation, status, high = struct.unpack_from("<HBHH", payload, at + 13)
        plugin = payload[at + 44 :].split(b"\0")[0].decode()
        return cls(
            version=payload[1:end].decode(),
            thread_id=struct.unpack_from("<I", payload, at)[0],
            nonce=payload[at + 4 : at + 12] + payload[at + 31 : at + 43],
            capabilities=low | high << 16,
            collation=collation,
            status=status,
            plugin=plugin or "mysql_native_password",
        )

    def packed(self) -> bytes:
        """Write it, framed."""
        low, high = self.capabilities & 0xFFFF, self.capabilities >> 16
        return packet(
            0,
            b"\x0a"
            + self.version.encode()
            + b"\0"
            + struct.pack("<I", self.thread_id & 0xFFFFFFFF)
            + self.nonce[:8]
            + b"\0"
            + struct.pack("<HBHHB10x", low, self.collation, self.status, high, len(self.nonce) + 1)
            + self.nonce[8:]
            + b"\0"
            + self.plugin.encode()
            + b"\0",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """What a client says of itself after the greeting."""

    capabilities: int
    collation: int
    user: str
    auth: bytes
    database: str
    plugin: str
    attributes: dict[str, str]

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a handshake response of protocol 4.1."""
        capabilities, _, collation = struct.unpack_from("<IIB", payload)
        user, at = _terminated(payload, 32)
        auth, at = _auth(payload, at, capabilities)
        database = plugin = b""
        if capabilities & Flag.WITH_DATABASE:
            database, at = _terminated(payload, at)
        if capabilities & Flag.PLUGIN_AUTH:
            plugin, at = _terminated(payload, at)
        attributes = _attributes(payload, at) if capabilities & Flag.ATTRIBUTES and at < len(payload) else {}
        return cls(
            capabilities=capabilities,
            collation=collation,
            user=user.decode("utf-8", "replace"),
            auth=auth,
            database=database.decode("utf-8", "replace"),
            plugin=plugin.decode("ascii", "replace") or "mysql_native_password",
            attributes=attributes,
        )


def change_of_user(command: bytes) -> tuple[str, bytes, bytes]:
    """Read a COM_CHANGE_USER: user, proof of the password, schema; raises ValueError when it is cut short."""
    if command.count(0, 1) == 0:
        raise ValueError("the user's name does not end")
    user, at = _terminated(command, 1)
    size, start = command[at : at + 1], at + 1
    end = start + (size[0] if size else 0)
    if not size or len(command) <= end:
        raise ValueError("the proof of the password or the schema is missing")
    return user.decode("utf-8", "replace"), command[start:end], _terminated(command, end)[0]


def _terminated(payload: bytes, at: int) -> tuple[bytes, int]:
    end = payload.find(0, at)
    end = len(payload) if end < 0 else end
    return payload[at:end], end + 1


def _auth(payload: bytes, at: int, capabilities: int) -> tuple[bytes, int]:
    if capabilities & Flag.LENENC_AUTH:
        return lenenc_bytes(payload, at)
    if capabilities & Flag.SECURE_CONNECTION:
        size = payload[at]
        return payload[at + 1 : at + 1 + size], at + 1 + size
    return _terminated(payload, at)


def _attributes(payload: bytes, at: int) -> dict[str, str]:
    total, at = lenenc(payload, at)
    end, found = min(at + (total or 0), len(payload)), {}
    while at < end:
        key, at = lenenc_bytes(payload, at)
        value, at = lenenc_bytes(payload, at)
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read `size` bytes and not one more: a TLS hello may follow what is being read."""
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    while size:
        part = await loop.sock_recv(sock, min(size, 1 << 16))
        if not part:
            raise ConnectionResetError("the other side closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


async def read_packet(sock: socket.socket) -> tuple[int, bytes]:
    """Read one packet: its sequence number and payload."""
    head = await read_exactly(sock, HEADER_BYTES)
    return head[3], await read_exactly(sock, int.from_bytes(head[:3], "little"))
