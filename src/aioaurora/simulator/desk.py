"""What a simulated instance does with the statements that reach it: counts, refuses, rewrites, loses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from aioaurora.errors import Role
from aioaurora.simulator.conditions import Fate
from aioaurora.simulator.relay import Ending, Front
from aioaurora.simulator.rewrite import READ_ONLY, READ_ONLY_ERRNO, Asker, Facts, is_change, is_concerned, rewritten
from aioaurora.simulator.wire import ERR, Command, error_packet, native_scramble, sha2_scramble

if TYPE_CHECKING:
    from aioaurora.simulator.conditions import Rule, State
    from aioaurora.simulator.login import Account

WRITER_MARK = b"/* writer */"
AURORA_VERSION, MYSQL_VERSION = "3.08.0", "8.0.39"
# MySQL's COM_RESET_CONNECTION forgets the session's character set (bugs 97633, 85185); MariaDB's keeps it.
_GLOBAL_CHARACTERS = (
    "SET character_set_client = @@global.character_set_client, "
    "character_set_results = @@global.character_set_results, collation_connection = @@global.collation_connection"
)
_KEEP_READ_ONLY = "SET SESSION TRANSACTION READ ONLY"
_TRANSACTION_END = re.compile(
    rb"\s*(?:/\*.*?\*/\s*)*(commit|rollback)\b(?!\s+(?:work\s+)?to\b)", re.IGNORECASE | re.DOTALL
)
_OF_SESSIONS = (b"connection_id", b"user", b"kill", b"pseudo_thread", b"processlist")
_CACHED_BYTES, _CACHED_TEXTS = 500, 256


class Storage(Protocol):
    """What a cluster does for its instances' desks."""

    def report(self, kind: str, instance: str | None = None, **detail: object) -> None:
        """Note what happened."""

    def end_when_done(self, front: Front, ending: Ending) -> None:
        """Let what was sent be executed to its end, and end the connection without a word of it."""

    def end_undone(self, front: Front, ending: Ending) -> None:
        """Undo the session's transaction, and end the connection without a word of it."""


class StatementDesk:
    """The desk of one instance.

    Attributes:
        fronts: The connections that have logged in.
    """

    def __init__(
        self,
        state: State,
        *,
        is_mariadb: bool,
        accounts: dict[str, Account],
        storage: Storage,
    ) -> None:
        self.fronts: dict[int, Front] = {}
        self._state, self._is_mariadb, self._accounts, self._storage = state, is_mariadb, accounts, storage
        self._hanging: list[Front] = []
        self._facts: Facts | None = None
        self._known: dict[tuple[bytes, bool], bytes] = {}

    # --- what relays ask --------------------------------------------------------------------------------------------

    @property
    def latency_s(self) -> float:
        """Seconds by which every answer is late."""
        return self._state.conditions.latency_s

    @property
    def refuses_writes(self) -> bool:
        """Whether a write is answered with 1290."""
        return self._state.is_read_only

    def query(self, front: Front, text: bytes, *, is_prepared: bool) -> bytes | None:
        """Return what the engine is to run, None when it gets nothing; raises Refused."""
        state = self._state
        state.statements += 1
        changes = is_change(text)
        if changes or WRITER_MARK in text:
            self._count(front, text)
        conditions = state.conditions
        for rule in conditions.rules:
            if rule.meets(text):
                return self._lost(front, text, rule)
        if conditions.is_frozen or conditions.is_fenced:
            instead = self._without_writes(front, text, changes=changes)
            if instead is not text:
                return instead
        if front.has_written and _TRANSACTION_END.match(text):
            front.has_written = False
        front.has_written |= changes
        if not is_concerned(text, read_only=state.is_read_only):
            return text
        return self._rewritten(front, text, is_prepared=is_prepared)

    def engine_id_of(self, connection_id: int) -> int | None:
        """Return the engine's id of one of the instance's sessions."""
        front = self.fronts.get(connection_id)
        return front.engine_id if front else None

    def gone(self, front: Front) -> None:
        """Take the connection out of the books."""
        if self.fronts.get(front.connection_id) is front:
            del self.fronts[front.connection_id]

    async def reset(self, front: Front, command: bytes) -> bytes:
        """Carry out COM_RESET_CONNECTION or COM_CHANGE_USER at the engine; return the final payload."""
        back = front.back
        if back is None:
            raise ConnectionResetError("the engine's session has gone")
        database = b""
        if command[0] == Command.CHANGE_USER:
            user, database = self._new_user(front, command)
            if user is None:
                return error_packet(0, 1045, "Access denied for COM_CHANGE_USER", "28000")[4:]
            front.user = user
        final = await back.ask(bytes([Command.RESET_CONNECTION]))
        if final[0] != ERR:
            front.has_written = False
            await self.prepare(front, is_reset=True)
            final = await back.ask(bytes([Command.INIT_DB]) + database) if database else final
        return final

    async def prepare(self, front: Front, *, is_reset: bool = False) -> None:
        """Make the engine's session what a session of this instance is."""
        if front.back is not None and is_reset and self._is_mariadb:
            await front.back.run(_GLOBAL_CHARACTERS)
        if front.back is not None and self._state.is_read_only:
            await front.back.run(_KEEP_READ_ONLY)

    # --- what the instance asks -------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Forget what was worked out from the instance's former state."""
        self._facts = None
        self._known.clear()

    def heal(self) -> None:
        """Let go of the statements that hang: their clients see the connection end."""
        for front in self._hanging:
            front.end(Ending.RST)
        self._hanging.clear()

    def facts(self) -> Facts:
        """What the instance says of itself now."""
        if self._facts is None:
            state = self._state
            self._facts = Facts(
                server_id=state.id,
                schema=state.schema,
                number=state.number,
                port=state.port,
                version=MYSQL_VERSION,
                aurora_version=AURORA_VERSION,
                innodb_read_only=state.role is Role.READER,
                read_only=state.is_read_only,
                is_mariadb=self._is_mariadb,
            )
        return self._facts

    # --- one statement ----------------------------------------------------------------------------------------------

    def _rewritten(self, front: Front, text: bytes, *, is_prepared: bool) -> bytes:
        known = self._known.get((text, is_prepared))
        if known is not None:
            return known
        sessions = {number: each.engine_id for number, each in self.fronts.items()}
        asker = Asker(front.connection_id, front.user, sessions)
        sql = text.decode("utf-8", "surrogateescape")
        new = rewritten(sql, self.facts(), asker, is_prepared=is_prepared).encode("utf-8", "surrogateescape")
        low = text.lower()
        depends_on_session = any(word in low for word in _OF_SESSIONS)
        if len(text) < _CACHED_BYTES and not depends_on_session:
            if len(self._known) >= _CACHED_TEXTS:
                self._known.clear()
            self._known[text, is_prepared] = new
        return new

    def _count(self, front: Front, text: bytes) -> None:
        state = self._state
        if state.role is Role.WRITER and not state.conditions.is_fenced:
            return
        shown = text[:80].decode("utf-8", "replace")
        self._storage.report("wrong_role", state.id, statement=shown, connection=front.connection_id, user=front.user)

    def _lost(self, front: Front, text: bytes, rule: Rule) -> bytes | None:
        shown = text[:80].decode("utf-8", "replace")
        self._storage.report("statement_lost", self._state.id, fate=str(rule.fate), statement=shown)
        match rule.fate:
            case Fate.ANSWER_LOST:
                front.on_answer = lambda: self._storage.end_when_done(front, rule.ending)
                return text
            case Fate.NEVER_EXECUTED:
                self._storage.end_undone(front, rule.ending)
                return None
            case Fate.HANGS:
                self._hanging.append(front)
                return None

    def _without_writes(self, front: Front, text: bytes, *, changes: bool) -> bytes | None:
        end = _TRANSACTION_END.match(text)
        if end and end.group(1).lower() == b"rollback":
            front.has_written = False
            return text
        is_commit = end is not None and front.has_written
        if self._state.conditions.is_fenced and (changes or is_commit):
            self._hanging.append(front)
            return None
        if is_commit:  # MySQL refuses a COMMIT that has written while read_only is on, and rolls back.
            front.has_written = False
            front.on_answer = lambda: front.send(error_packet(1, READ_ONLY_ERRNO, READ_ONLY))
            return b"ROLLBACK"
        return text

    def _new_user(self, front: Front, command: bytes) -> tuple[str | None, bytes]:
        name, _, rest = command[1:].partition(b"\0")
        auth, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        database = rest.partition(b"\0")[0]
        account = self._accounts.get(name.decode("utf-8", "replace"))
        if account is None or not isinstance(account.password, str):
            return None, b""
        right = (native_scramble(account.password, front.nonce), sha2_scramble(account.password, front.nonce))
        return (name.decode() if auth in right else None), database
