"""Logging in: what is sent to a server before it is trusted, and what never is.

aiomysql goes on in plain text when TLS was asked for and the server does not offer it, and hands over the password
whenever it is asked to. A server in the middle needs no more. Here:

- TLS that was asked for and is not offered: error 2026, before anything is sent;
- `mysql_clear_password`, `mysql_old_password` and a log-in older than those: refused without TLS, error 2061.
  `caching_sha2_password` and `sha256_password` send the password encrypted with the server's key then;
- TLS verifies the endpoint's name (`_host`), whatever address was dialled.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, SupportsIndex

from aioaurora._io.driver import (
    MAX_PACKET,
    NOT_MYSQL,
    Capability,
    InternalError,
    MysqlPacket,
    OKPacketWrapper,
    OperationalError,
    _auth,
    collation_of,
)
from aioaurora._io.wire import Wire

if TYPE_CHECKING:
    import ssl

    from aioaurora._io.pipe import Pipe

_PROTOCOL = 10
_TLS_NOT_OFFERED, _PLUGIN_REFUSED = 2026, 2061
_IN_CLEAR = ("mysql_clear_password", "mysql_old_password")


class Secret(str):
    """A password: shows as asterisks wherever something is printed by its repr, such as an object's `vars`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Encode as aiomysql asks, or as UTF-8 where that cannot be: an encoding's error would show the password."""
        try:
            return super().encode(encoding, errors)
        except UnicodeEncodeError:
            return super().encode("utf-8", "surrogateescape")

    def __reduce_ex__(self, protocol: SupportsIndex) -> str:
        raise TypeError("a password is not written into a pickle")


_NO_PASSWORD = Secret("")


def secret(password: str | bytes | None) -> Secret:
    """Wrap a password; bytes are sent as they are. One that is wrapped is shared."""
    if isinstance(password, Secret):
        return password
    if not password:
        return _NO_PASSWORD
    return Secret(password.decode("latin-1") if isinstance(password, bytes | bytearray) else password)


class Login(Wire):
    """A connection that logs in by these rules."""

    client_flag: int
    salt: bytes
    server_public_key: bytes
    server_status: int

    phase: str = "new"
    _pipe: Pipe | None = None
    _tls: ssl.SSLContext | None = None
    _require_tls: bool = True

    async def _get_server_information(self) -> None:
        try:
            await super()._get_server_information()
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise InternalError(NOT_MYSQL, f"what {self._host!r} greets with is not MySQL's protocol") from error
        if self.protocol_version != _PROTOCOL:
            raise InternalError(
                NOT_MYSQL, f"{self._host!r} speaks protocol {self.protocol_version}, not MySQL's {_PROTOCOL}"
            )

    async def _request_authentication(self) -> None:
        self.client_flag |= Capability.MULTI_RESULTS
        if self._tls is not None:
            await self._encrypted(self._tls)
        self.phase = "login"
        plugin = self._client_auth_plugin or self._server_auth_plugin
        self._refuse_in_clear(plugin)
        self._auth_plugin_used = plugin
        self.write_packet(self._response(plugin))
        packet = await self._read_packet()
        if packet.is_auth_switch_request():
            packet = await self._switched(packet)
        elif packet.is_extra_auth_data():
            packet = await self._continued(plugin, packet)
        if packet.is_ok_packet():
            self.server_status = OKPacketWrapper(packet).server_status

    async def _encrypted(self, context: ssl.SSLContext) -> None:
        if not self.server_capabilities & Capability.SSL:
            if self._require_tls:
                raise OperationalError(_TLS_NOT_OFFERED, f"{self._host!r} does not offer TLS, which was asked for")
            self.client_flag &= ~Capability.SSL
            return
        pipe = self._pipe
        if pipe is None:
            self._ensure_alive()
            return
        self.phase = "tls"
        self.client_flag |= Capability.SSL
        self.write_packet(self._response_head())
        await pipe.encrypt(context, self._host)
        self._reader, self._writer = pipe.reader, pipe.writer
        self._secure = True

    def _refuse_in_clear(self, plugin: str) -> None:
        if plugin in _IN_CLEAR and not self._secure:
            raise OperationalError(
                _PLUGIN_REFUSED, f"{plugin} would show the password to anyone on the way: refused without TLS"
            )

    def _response_head(self) -> bytes:
        return struct.pack("<iIB23s", self.client_flag, MAX_PACKET, collation_of(self._charset) & 0xFF, b"")

    def _response(self, plugin: str) -> bytes:
        user = self._user.encode(self._encoding)
        data = self._response_head() + user + b"\0"
        proof = self._proof(plugin)
        if self.server_capabilities & Capability.LENENC_AUTH:
            data += _with_length(proof)
        elif self.server_capabilities & Capability.SECURE_CONNECTION:
            data += bytes([len(proof)]) + proof
        else:
            data += proof + b"\0"
        if self._db and self.server_capabilities & Capability.CONNECT_WITH_DB:
            data += (self._db.encode(self._encoding) if isinstance(self._db, str) else self._db) + b"\0"
        if self.server_capabilities & Capability.PLUGIN_AUTH:
            data += plugin.encode("ascii") + b"\0"
        if self.server_capabilities & Capability.CONNECT_ATTRS:
            texts = [text.encode() for pair in self._connect_attrs.items() for text in pair]
            data += _with_length(b"".join(map(_with_length, texts)))
        return data

    def _proof(self, plugin: str) -> bytes:
        password = self._password.encode("latin-1")
        match plugin:
            case "" | "mysql_native_password":
                return _auth.scramble_native_password(password, self.salt)
            case "caching_sha2_password":
                return _auth.scramble_caching_sha2(password, self.salt)
            case "sha256_password" if not self._secure:
                return b"\1" if password else b"\0"  # Ask for the server's key.
            case "sha256_password" | "mysql_clear_password":
                return password + b"\0"
            case _:
                return b""

    async def _switched(self, packet: MysqlPacket) -> MysqlPacket:
        packet.read_uint8()
        name = packet.read_string()
        if name is None or not self.server_capabilities & Capability.PLUGIN_AUTH:
            self._refuse_in_clear("mysql_old_password")
            scrambled = _auth.scramble_old_password(self._password.encode("latin-1"), packet.read_all())
            self.write_packet(scrambled + b"\0")
            return await self._read_packet()
        self._refuse_in_clear(name.decode("ascii", "replace"))
        return await self._process_auth(name, packet) or packet

    async def _process_auth(self, plugin_name: bytes, auth_packet: MysqlPacket) -> MysqlPacket | None:
        # aiomysql drops the last answer of these two, and with it the session's status.
        if plugin_name in (b"caching_sha2_password", b"sha256_password"):
            self._auth_plugin_used = plugin_name.decode()
            return await self._continued(self._auth_plugin_used, auth_packet)
        return await super()._process_auth(plugin_name, auth_packet)

    async def _continued(self, plugin: str, packet: MysqlPacket) -> MysqlPacket:
        match plugin:
            case "caching_sha2_password":
                return await self._caching_sha2(packet)
            case "sha256_password":
                return await self._sha256(packet)
            case _:
                raise OperationalError(_PLUGIN_REFUSED, f"unexpected packet of the log-in by {plugin!r}")

    async def _caching_sha2(self, packet: MysqlPacket) -> MysqlPacket:
        if packet.is_auth_switch_request():
            self.salt = packet.read_all().removesuffix(b"\0")
            packet = await self._asked(_auth.scramble_caching_sha2(self._password.encode("latin-1"), self.salt))
        if not packet.is_extra_auth_data():
            return packet  # An empty password needs nothing more.
        packet.advance(1)
        match packet.read_uint8():
            case 3:  # The server had the password in its cache: its OK follows.
                return await self._read_packet()
            case 4 if self._secure:
                return await self._asked(self._password.encode("latin-1") + b"\0")
            case 4:
                return await self._sent_encrypted(ask_key=b"\2")
            case unknown:
                raise OperationalError(_PLUGIN_REFUSED, f"caching_sha2_password: unknown answer {unknown}")

    async def _sha256(self, packet: MysqlPacket) -> MysqlPacket:
        if packet.is_auth_switch_request():
            self.salt = packet.read_all().removesuffix(b"\0")
            if self._secure:
                return await self._asked(self._password.encode("latin-1") + b"\0")
            if not self._password:
                return await self._asked(b"\0")
            return await self._sent_encrypted(ask_key=b"\1")
        self.server_public_key = packet.get_all_data()[1:]
        return await self._sent_encrypted(ask_key=b"\1")

    async def _sent_encrypted(self, *, ask_key: bytes) -> MysqlPacket:
        if not self.server_public_key:
            packet = await self._asked(ask_key)
            if not packet.is_extra_auth_data():
                raise OperationalError(_PLUGIN_REFUSED, f"{self._host!r} did not send its public key")
            self.server_public_key = packet.get_all_data()[1:]
        try:
            proof = _auth.sha2_rsa_encrypt(self._password.encode("latin-1"), self.salt, self.server_public_key)
        except RuntimeError as error:
            sentence = f"{self._auth_plugin_used} without TLS needs the package cryptography: install it, or use TLS"
            raise OperationalError(_PLUGIN_REFUSED, sentence) from error
        return await self._asked(proof)

    async def _asked(self, payload: bytes) -> MysqlPacket:
        self.write_packet(payload)
        return await self._read_packet()


def _with_length(data: bytes) -> bytes:
    size = len(data)
    if size < 0xFB:  # noqa: PLR2004 - From here on the length takes more than one byte.
        return bytes([size]) + data
    return b"\xfc" + struct.pack("<H", size) + data
