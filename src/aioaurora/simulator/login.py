"""The server's side of a log-in: greeting, TLS, proof of the password, and the engine's session behind it."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from aioaurora.simulator.back import Back
from aioaurora.simulator.control import log_in
from aioaurora.simulator.relay import RESET_LINGER, Ending, Front
from aioaurora.simulator.rsa import key_pair
from aioaurora.simulator.wire import (
    ERR,
    RELAYED,
    EngineError,
    Flag,
    Greeting,
    LoginRequest,
    early_error_packet,
    error_packet,
    native_scramble,
    packet,
    read_packet,
    sha2_scramble,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from aioaurora.simulator.engine import Engine

Plugin: TypeAlias = Literal["mysql_native_password", "caching_sha2_password", "mysql_clear_password"]

_TLS_REQUEST_BYTES = 32
_TLS_S, _CLOSE_S = 10.0, 1.0
_SHOWN_COLLATION, _AUTOCOMMIT = 255, 2
_FAST_DONE, _FULL, _KEY_WANTED = b"\x01\x03", b"\x01\x04", b"\x02"
_INSECURE = "Connections using insecure transport are prohibited while --require_secure_transport=ON."


@dataclass(frozen=True, slots=True)
class Account:
    """Who may log in: a password, or for tokens a function that says whether one is good (over TLS only)."""

    password: str | Callable[[str], bool]
    plugin: Plugin = "mysql_native_password"


class Gate(Protocol):
    """What an instance says about those who want in."""

    engine: Engine
    version: str
    default_plugin: Plugin
    accounts: dict[str, Account]
    sha2_cache: set[str]
    tls: ssl.SSLContext | None

    @property
    def requires_tls(self) -> bool:
        """Whether log-ins in the clear are refused."""
        ...

    async def awake(self) -> None:
        """Return when the instance is not silent."""

    async def admission(self) -> tuple[int, str] | None:
        """Return the error in the place of a greeting, None if the client is let in."""

    async def verdict(self, user: str) -> tuple[int, str] | None:
        """Return the error after a right password, None if all is well; takes the time that a log-in takes."""

    def next_front(self, engine_id: int) -> Front:
        """Make the connection's front with the instance's next id."""

    async def opened(self, front: Front) -> None:
        """Make the engine's session what a session of this instance is."""

    def admit(self, front: Front) -> None:
        """Take the connection into the books."""


class Denied(Exception):
    """The client does not get in."""

    errno: int
    sentence: str
    state: str

    def __init__(self, errno: int, sentence: str, state: str = "HY000") -> None:
        super().__init__(errno, sentence)
        self.errno, self.sentence, self.state = errno, sentence, state


class Handshake:
    """One client from its TCP connection to its session; `run` ends with both sides joined, or closed.

    Attributes:
        was_cut: The client left after the greeting, before its log-in was through.
        ending: How the client sees the end, should it come now.
        began_at: Loop time.
        user: Who the client says that it is; empty before it has said so.
    """

    began_at: float
    ending: Ending
    user: str
    was_cut: bool

    def __init__(self, gate: Gate, sock: socket.socket) -> None:
        self.was_cut, self.ending, self.user = False, Ending.FIN, ""
        self.began_at = asyncio.get_running_loop().time()
        self._is_joined = False
        self._gate, self._sock = gate, sock
        self._engine_sock: socket.socket | None = None
        self._front: Front | None = None
        self._sequence = 0
        self._is_secure = False

    async def run(self) -> None:
        """Log the client in, or tell it why not."""
        try:
            await self._run()
        except (OSError, EOFError, ValueError, IndexError, EngineError, TimeoutError):
            return  # The client left, spoke no MySQL, or the engine has no place: what a server logs and forgets.

    def finish(self) -> None:
        """Close whatever was not handed over; call it when `run` has ended, however it did."""
        if self._engine_sock is not None:
            self._engine_sock.close()
            self._engine_sock = None
        if self._is_joined:
            return
        front = self._front
        if front is not None and (back := front.detach()) is not None:
            back.abandon()
        if front is not None and front.transport is not None:
            front.end(self.ending)
            return
        if self.ending is Ending.RST:
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_LINGER)
        self._sock.close()

    async def _run(self) -> None:
        gate, loop = self._gate, asyncio.get_running_loop()
        await gate.awake()
        refusal = await gate.admission()
        if refusal is not None:
            await loop.sock_sendall(self._sock, early_error_packet(*refusal))
            return
        self._engine_sock = await gate.engine.open()
        _, payload = await read_packet(self._engine_sock)
        greeting = Greeting.parse(payload)
        self._front = gate.next_front(greeting.thread_id)
        nonce = bytes(byte % 93 + 33 for byte in os.urandom(20))
        self._front.nonce, capabilities = nonce, self._capabilities(greeting)
        await loop.sock_sendall(self._sock, self._greeting(greeting, capabilities, nonce))
        self.was_cut = True
        request = await self._request(self._front)
        self.user = request.user
        await gate.awake()
        try:
            await self._prove(self._front, request, nonce)
            await self._join(self._front, greeting, request, capabilities)
        except Denied as denied:
            self.was_cut = False
            self._write(error_packet(self._sequence, denied.errno, denied.sentence, denied.state))

    # --- greeting and request ---------------------------------------------------------------------------------------

    def _capabilities(self, greeting: Greeting) -> int:
        own = Flag.LONG_PASSWORD | Flag.PLUGIN_AUTH | Flag.LENENC_AUTH | Flag.ATTRIBUTES | Flag.WITH_DATABASE
        return greeting.capabilities & RELAYED | own | (Flag.TLS if self._gate.tls else 0)

    def _greeting(self, greeting: Greeting, capabilities: int, nonce: bytes) -> bytes:
        front = self._front
        return Greeting(
            version=self._gate.version,
            thread_id=front.connection_id if front else greeting.thread_id,
            nonce=nonce,
            capabilities=capabilities,
            collation=_SHOWN_COLLATION,
            status=_AUTOCOMMIT,
            plugin=self._gate.default_plugin,
        ).packed()

    async def _request(self, front: Front) -> LoginRequest:
        loop, gate = asyncio.get_running_loop(), self._gate
        sequence, payload = await read_packet(self._sock)
        await gate.awake()
        wants_tls = len(payload) == _TLS_REQUEST_BYTES and gate.tls is not None
        if wants_tls:
            await loop.connect_accepted_socket(
                lambda: front, self._sock, ssl=gate.tls, ssl_handshake_timeout=_TLS_S, ssl_shutdown_timeout=_CLOSE_S
            )
            sequence, payload = await front.packet()
        else:
            await loop.connect_accepted_socket(lambda: front, self._sock)
        self._sequence = sequence + 1
        self._is_secure = wants_tls
        return LoginRequest.parse(payload)

    # --- proof ------------------------------------------------------------------------------------------------------

    async def _prove(self, front: Front, request: LoginRequest, nonce: bytes) -> None:
        if self._gate.requires_tls and not self._is_secure:
            raise Denied(3159, _INSECURE)
        account = self._gate.accounts.get(request.user)
        plugin = account.plugin if account else self._gate.default_plugin
        auth = request.auth
        if plugin == "mysql_clear_password" and not self._is_secure:
            raise _denied(request.user, auth)
        if request.plugin != plugin:
            self._write(packet(self._sequence, b"\xfe" + plugin.encode() + b"\0" + nonce + b"\0"))
            auth = await self._answer(front)
        if account is None or not await self._is_right(front, account, request.user, auth, nonce):
            raise _denied(request.user, auth)
        refusal = await self._gate.verdict(request.user)
        if refusal is not None:
            errno, sentence = refusal
            raise Denied(errno, sentence, "28000") if errno != 1045 else _denied(request.user, auth)  # noqa: PLR2004 - access denied

    async def _is_right(self, front: Front, account: Account, user: str, auth: bytes, nonce: bytes) -> bool:
        said = account.password
        if not isinstance(said, str):
            return said(auth.rstrip(b"\0").decode("utf-8", "replace"))
        match account.plugin:
            case "mysql_native_password":
                return auth == native_scramble(said, nonce)
            case "mysql_clear_password":
                return auth.rstrip(b"\0").decode("utf-8", "replace") == said
            case _:
                return await self._is_right_sha2(front, said, user, auth, nonce)

    async def _is_right_sha2(self, front: Front, password: str, user: str, auth: bytes, nonce: bytes) -> bool:
        cache = self._gate.sha2_cache
        if not auth.rstrip(b"\0"):
            return not password
        if user in cache and auth == sha2_scramble(password, nonce):
            self._write(packet(self._sequence, _FAST_DONE))
            self._sequence += 1
            return True
        self._write(packet(self._sequence, _FULL))
        given = await self._answer(front)
        if self._is_secure:
            is_right = given.rstrip(b"\0").decode("utf-8", "replace") == password
        else:
            if given == _KEY_WANTED:
                self._write(packet(self._sequence, b"\x01" + key_pair().public_pem()))
                given = await self._answer(front)
            is_right = key_pair().decrypted_password(given, nonce) == password
        if is_right:
            cache.add(user)
        return is_right

    async def _answer(self, front: Front) -> bytes:
        sequence, payload = await front.packet()
        self._sequence = sequence + 1
        await self._gate.awake()
        return payload

    def _write(self, data: bytes) -> None:
        if self._front is not None:
            self._front.write(data)

    # --- the engine's session ---------------------------------------------------------------------------------------

    async def _join(self, front: Front, greeting: Greeting, request: LoginRequest, capabilities: int) -> None:
        sock = self._engine_sock
        if sock is None:
            raise ConnectionResetError("the engine's session was closed")
        final = await log_in(
            sock,
            self._gate.engine,
            greeting,
            capabilities=request.capabilities & capabilities,
            collation=request.collation,
            database=request.database,
        )
        if final[0] == ERR:
            error = EngineError(final)
            raise Denied(error.errno, error.sentence, error.state)
        back = Back(front)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: back, sock)
        self._engine_sock = None
        front.user, front.attributes = request.user, request.attributes
        front.join(back, ends_with_ok=bool(request.capabilities & capabilities & Flag.DEPRECATE_EOF))
        await self._gate.opened(front)
        await self._gate.awake()
        if front.is_lost:
            raise ConnectionResetError("the client closed the connection")
        self._gate.admit(front)
        self.was_cut, self._is_joined = False, True
        front.write(packet(self._sequence, final))


def _denied(user: str, auth: bytes) -> Denied:
    given = "YES" if auth.rstrip(b"\0") else "NO"
    return Denied(1045, f"Access denied for user '{user}'@'127.0.0.1' (using password: {given})", "28000")
