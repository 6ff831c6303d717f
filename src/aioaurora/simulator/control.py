"""The simulator's own sessions at the engine, past all instances: logging in, asking, killing."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, TypeAlias

from aioaurora.simulator.engine import SimulatorError
from aioaurora.simulator.rsa import encrypted_password
from aioaurora.simulator.wire import (
    EOF,
    ERR,
    LARGEST_MARIADB_COLLATION,
    OK,
    OWN_LOGIN,
    UTF8MB4,
    EngineError,
    Flag,
    Greeting,
    lenenc,
    lenenc_bytes,
    native_scramble,
    packet,
    read_packet,
    sha2_scramble,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection

    from aioaurora.simulator.engine import Engine

Value: TypeAlias = int | float | str | bytes | None

_LARGEST_PACKET = 1 << 30
_SHORTEST_EOF = 9
_INTEGERS, _FLOATS, _BLOBS = {1, 2, 3, 8, 9, 13}, {4, 5}, {249, 250, 251, 252, 253, 254}
_BINARY = 63
_POLL_S = 0.005
_NO_SUCH_THREAD = 1094
_MORE_RESULTS = 8
_FAST_DONE, _FULL = b"\x01\x03", b"\x01\x04"


async def log_in(
    sock: socket.socket,
    engine: Engine,
    greeting: Greeting,
    *,
    capabilities: int = 0,
    collation: int = UTF8MB4,
    database: str = "",
) -> bytes:
    """Log in at the engine with a client's wishes; return the final OK or ERR payload."""
    wished = (capabilities | OWN_LOGIN) & greeting.capabilities | Flag.LONG_PASSWORD
    wished &= ~int(Flag.ATTRIBUTES | Flag.LENENC_AUTH | Flag.WITH_DATABASE)
    if database:
        wished |= Flag.WITH_DATABASE
    if engine.is_mariadb and collation > LARGEST_MARIADB_COLLATION:
        collation = UTF8MB4
    auth = _scramble(greeting.plugin, engine.password, greeting.nonce)
    head = struct.pack("<IIB23x", wished, _LARGEST_PACKET, collation) + engine.user.encode() + b"\0"
    rest = (database.encode() + b"\0" if database else b"") + greeting.plugin.encode() + b"\0"
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, packet(1, head + bytes([len(auth)]) + auth + rest))
    return await _answered(sock, engine.password, greeting.nonce)


async def _answered(sock: socket.socket, password: str, nonce: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        sequence, payload = await read_packet(sock)
        if payload[0] in (OK, ERR):
            return payload
        if payload == _FAST_DONE:
            continue
        if payload[0] == EOF:
            plugin, _, nonce = payload[1:].partition(b"\0")
            nonce = nonce.rstrip(b"\0")
            answer = _scramble(plugin.decode(), password, nonce)
        elif payload == _FULL:
            answer = b"\x02"  # Please send your public key.
        else:
            answer = encrypted_password(password, nonce, payload[1:])
        await loop.sock_sendall(sock, packet(sequence + 1, answer))


def _scramble(plugin: str, password: str, nonce: bytes) -> bytes:
    if plugin == "caching_sha2_password":
        return sha2_scramble(password, nonce)
    return native_scramble(password, nonce)


class Control:
    """One session of the simulator's, opened when first used and again when it was lost.

    It asks one thing at a time, whoever asks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sock: socket.socket | None = None
        self._turn = asyncio.Lock()
        self._database = ""

    def use(self, database: str) -> None:
        """Take `database` as the default schema from now on."""
        self._database = database
        self.close()

    async def execute(self, sql: str, *args: Value) -> int:
        """Run one statement with `%s` filled in; return how many rows it changed."""
        return (await self._ask(sql, args))[0]

    async def rows(self, sql: str, *args: Value) -> list[tuple[Value, ...]]:
        """Run one statement with `%s` filled in; return its rows, numbers as numbers, times as text."""
        return (await self._ask(sql, args))[1]

    def close(self) -> None:
        """End the session."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    # --- killing ----------------------------------------------------------------------------------------------------

    async def kill(self, ids: Collection[int]) -> None:
        """End these sessions of the engine and wait until their transactions are undone."""
        pending = set(ids)
        while living := await self.commands(ids):
            if pending and await self._kill("KILL", living, pending & living.keys()):
                pending.clear()
            await asyncio.sleep(_POLL_S)

    async def kill_queries(self, ids: Collection[int]) -> None:
        """End what these sessions run, and wait until they are idle; their transactions stay open."""
        living = await self.commands(ids)
        await self._kill("KILL QUERY", living, [number for number in living if living[number] != "Sleep"])
        await self.idle(ids)

    async def idle(self, ids: Collection[int]) -> None:
        """Wait until these sessions run nothing."""
        while await self.busy(ids):  # noqa: ASYNC110 - as above
            await asyncio.sleep(_POLL_S)

    async def commands(self, ids: Collection[int]) -> dict[int, str]:
        """Return what those of these sessions that still live are doing, "Sleep" being nothing."""
        if not ids:
            return {}
        listed = ", ".join(map(str, ids))
        # MariaDB calls a session that was idle at its KILL QUERY "Killed" until its next statement.
        command = "IF(COMMAND = 'Killed' AND INFO IS NULL, 'Sleep', COMMAND)"
        rows = await self.rows(f"SELECT ID, {command} FROM information_schema.PROCESSLIST WHERE ID IN ({listed})")  # noqa: S608 - numbers
        return {number: str(command) for number, command in rows if isinstance(number, int)}

    async def busy(self, ids: Collection[int]) -> list[int]:
        """Return those of these sessions that are running something."""
        return [number for number, command in (await self.commands(ids)).items() if command != "Sleep"]

    async def _kill(self, verb: str, living: dict[int, str], ids: Collection[int]) -> bool:
        """Kill in one packet, those first that are running something; False when one was gone already.

        One that waits for a lock would else get it from one that was killed before it, and commit.
        """
        ordered = sorted(ids, key=lambda number: (living[number] == "Sleep", -number))
        try:
            if ordered:
                await self.execute("; ".join(f"{verb} {number}" for number in ordered))
        except EngineError as error:
            if error.errno != _NO_SUCH_THREAD:
                raise
            return False
        return True

    # --- the protocol -----------------------------------------------------------------------------------------------

    async def _ask(self, sql: str, args: tuple[Value, ...]) -> tuple[int, list[tuple[Value, ...]]]:
        text = sql % tuple(map(literal, args)) if args else sql
        async with self._turn:
            try:
                sock = self._sock or await self._opened()
                await asyncio.get_running_loop().sock_sendall(sock, packet(0, b"\x03" + text.encode()))
                return await _result(sock)
            except EngineError:
                raise
            except BaseException:
                self.close()  # Half an answer may be under way: the next question gets a new session.
                raise

    async def _opened(self) -> socket.socket:
        sock = self._sock = await self._engine.open()
        _, payload = await read_packet(sock)
        answer = await log_in(
            sock, self._engine, Greeting.parse(payload), capabilities=Flag.MULTI_STATEMENTS, database=self._database
        )
        if answer[0] == ERR:
            error = EngineError(answer)
            sentence = f"the engine {self._engine.name!r} refuses {self._engine.user!r}: {error.sentence}"
            raise SimulatorError(sentence) from error
        return sock


async def _result(sock: socket.socket) -> tuple[int, list[tuple[Value, ...]]]:
    """Read all results of a packet; return what the last one says."""
    while True:
        payload = await _payload(sock)
        if payload[0] != OK:
            return await _rows(sock, payload)
        changed, at = lenenc(payload, 1)
        _, at = lenenc(payload, at)
        if not payload[at] & _MORE_RESULTS:
            return changed or 0, []


async def _rows(sock: socket.socket, payload: bytes) -> tuple[int, list[tuple[Value, ...]]]:
    count, _ = lenenc(payload, 0)
    kinds = [_kind(await _payload(sock)) for _ in range(count or 0)]
    await _payload(sock)
    rows = []
    while not _is_end(payload := await _payload(sock)):
        rows.append(_row(payload, kinds))
    return len(rows), rows


async def _payload(sock: socket.socket) -> bytes:
    _, payload = await read_packet(sock)
    if payload and payload[0] == ERR:
        raise EngineError(payload)
    return payload


def _is_end(payload: bytes) -> bool:
    return payload[:1] == b"\xfe" and len(payload) < _SHORTEST_EOF


def _kind(definition: bytes) -> tuple[int, int]:
    at = 0
    for _ in range(6):
        _, at = lenenc_bytes(definition, at)
    charset, _, kind = struct.unpack_from("<HIB", definition, at + 1)
    return kind, charset


def _row(payload: bytes, kinds: list[tuple[int, int]]) -> tuple[Value, ...]:
    at, values = 0, []
    for kind in kinds:
        is_null = payload[at] == 0xFB  # noqa: PLR2004 - the protocol's NULL
        data, at = lenenc_bytes(payload, at)
        values.append(None if is_null else _value(data, *kind))
    return tuple(values)


def _value(data: bytes, kind: int, charset: int) -> Value:
    if kind in _INTEGERS:
        return int(data)
    if kind in _FLOATS:
        return float(data)
    return data if kind in _BLOBS and charset == _BINARY else data.decode("utf-8", "replace")


def literal(value: Value) -> str:
    """Write a value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return repr(value)
