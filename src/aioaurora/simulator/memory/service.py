"""Serving one client of the memory engine: log-in, then one command after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.memory.grammar import parsed, understood
from aioaurora.simulator.memory.session import Session
from aioaurora.simulator.memory.values import SqlError
from aioaurora.simulator.memory.variables import VERSION
from aioaurora.simulator.memory.wire import (
    AUTOCOMMIT,
    FOUND_ROWS,
    MORE_RESULTS,
    Done,
    Packets,
    ResultSet,
    eof,
    err,
    greeting,
    ok,
    parsed_login,
    result_set,
)

if TYPE_CHECKING:
    import asyncio

    from aioaurora.simulator.memory.state import Server

QUIT, INIT_DB, QUERY, STATISTICS, PROCESS_KILL, PING, SET_OPTION, RESET_CONNECTION = 1, 2, 3, 9, 12, 14, 27, 31


class Service:
    """One connection.

    Attributes:
        id: Its connection id.
        session: The session, once somebody has logged in.
    """

    def __init__(self, server: Server, connection_id: int, nonce: bytes) -> None:
        """Wait for `serve`."""
        self.id = connection_id
        self.session: Session | None = None
        self._server, self._nonce = server, nonce
        self._reader: asyncio.StreamReader | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Log the client in and obey it until it leaves or is killed.

        A statement goes on when its client has gone: a server notices that only when it answers.
        """
        self._reader = reader
        packets = Packets(reader, writer)
        packets.write(greeting(VERSION, self.id, self._nonce, AUTOCOMMIT))
        session = await self._logged_in(packets)
        await packets.flush()
        while session is not None and not session.is_killed:
            packet = await packets.read()
            if packet[0] == QUIT:
                return
            session.doing, session.since = _text_of(packet), self._server.now()
            try:
                await self._obey(session, packet, packets)
            finally:
                session.doing, session.since = None, self._server.now()
            await packets.flush()

    def kill(self, *, query_only: bool) -> None:
        """End the connection, or only what it is doing."""
        if self.session is not None:
            self.session.interrupt(for_good=not query_only)
        if not query_only and self._reader is not None and (self.session is None or self.session.doing is None):
            self._reader.feed_eof()  # Nothing is under way: what it waits for is the client's next command.

    def end(self) -> None:
        """Undo what is open."""
        if self.session is not None:
            self.session.rollback()

    async def _logged_in(self, packets: Packets) -> Session | None:
        login = parsed_login(await packets.read())
        session = Session(self._server, self.id, login.user)
        session.variables.choose(login.collation)
        session.counts_found = bool(login.capabilities & FOUND_ROWS)
        try:
            if login.database:
                session.use(login.database)
        except SqlError as error:
            packets.write(err(error))
            return None
        if login.user != self._server.user:
            packets.write(err(SqlError(1045, f"Access denied for user '{login.user}'@'localhost'", "28000")))
            return None
        self.session = session
        packets.write(ok(Done(), session.status))
        return session

    async def _obey(self, session: Session, packet: bytes, packets: Packets) -> None:
        command, argument = packet[0], packet[1:]
        try:
            if command == QUERY:
                await self._query(session, argument, packets)
                return
            if command == INIT_DB:
                session.use(argument.decode())
            elif command == RESET_CONNECTION:
                session.reset()
            elif command == PROCESS_KILL:
                self._server.kill(int.from_bytes(argument[:4], "little"), query_only=False)
        except SqlError as error:
            packets.write(err(error))
            return
        packets.write(_acknowledged(command, session.status))

    async def _query(self, session: Session, argument: bytes, packets: Packets) -> None:
        """Carry out the statements of a text; the first error ends it."""
        codec = session.variables.codec("client")
        statements = parsed(argument.decode(codec, "surrogateescape"), codec)
        for number, statement in enumerate(statements, 1):
            result = await session.run(understood(statement))
            more = MORE_RESULTS if number < len(statements) else 0
            status = session.status | more
            if isinstance(result, ResultSet):
                packets.write(*result_set(result, status, session.variables.codec("results")))
            else:
                packets.write(ok(result, status))
            await packets.flush()


def _acknowledged(command: int, status: int) -> bytes:
    if command == STATISTICS:
        return b"Uptime: 1"
    if command == SET_OPTION:
        return eof(status)
    if command in (INIT_DB, PROCESS_KILL, PING, RESET_CONNECTION):
        return ok(Done(), status)
    return err(SqlError(1047, f"the memory engine does not know command {command}", "08S01"))


def _text_of(packet: bytes) -> str:
    return packet[1:].decode("utf-8", "replace") if packet[0] == QUERY else ""
