"""What a simulated instance does with the statements that reach it: counts, refuses, rewrites, loses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aioaurora.errors import Role
from aioaurora.simulator.conditions import Fate
from aioaurora.simulator.decisions import Order
from aioaurora.simulator.facts import Asker, Facts
from aioaurora.simulator.glance import is_change, is_concerned, may_write
from aioaurora.simulator.refusals import READ_ONLY
from aioaurora.simulator.relay import Ending, Front
from aioaurora.simulator.rewrite import executed, prepared, rewritten
from aioaurora.simulator.statements import statements_of
from aioaurora.simulator.wire import (
    ERR,
    HEADER_BYTES,
    Command,
    change_of_user,
    error_packet,
    native_scramble,
    parsed_error,
    sha2_scramble,
)

if TYPE_CHECKING:
    from aioaurora.simulator.conditions import Rule, State
    from aioaurora.simulator.login import Account

WRITER_MARK = b"/* writer */"
AURORA_VERSION = "3.08.0"
# MySQL's COM_RESET_CONNECTION forgets the session's character set (bugs 97633, 85185); MariaDB's keeps it.
_GLOBAL_CHARACTERS = (
    "SET character_set_client = @@global.character_set_client, "
    "character_set_results = @@global.character_set_results, collation_connection = @@global.collation_connection"
)
KEEP_READ_ONLY = "SET SESSION TRANSACTION READ ONLY"
_REFUSED_BY_ENGINE = 1792  # Cannot execute statement in a READ ONLY transaction.
_LEFT_KEPT = 1000
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
        self._left: dict[int, int] = {}
        self._state, self._is_mariadb, self._accounts, self._storage = state, is_mariadb, accounts, storage
        self._hanging: list[Front] = []
        self._facts: Facts | None = None
        self._known: dict[tuple[bytes, int, bool], Order] = {}

    # --- what relays ask --------------------------------------------------------------------------------------------

    @property
    def latency_s(self) -> float:
        """Seconds by which every answer is late."""
        return self._state.conditions.latency_s

    def order(self, front: Front, command: int, text: bytes) -> Order | None:
        """Decide about a text that is to be run, prepared, or executed after that; None: the engine gets nothing."""
        if command == Command.STMT_PREPARE:
            return self._looked_up(front, command, text)
        self._state.statements += 1
        if is_change(text) or WRITER_MARK in text:
            self._count(front, text)
        front.is_writing = may_write(text)
        rule = next((rule for rule in self._state.conditions.rules if rule.meets(text)), None)
        if (rule is not None and not self._answers(front, text, rule)) or self._hangs(front, text):
            return None
        return self._looked_up(front, command, text)

    def error(self, front: Front, data: bytes) -> bytes | None:
        """Return the ERR packet that the client gets for one of the engine's, None for nothing."""
        errno, _, _ = parsed_error(data[HEADER_BYTES:])
        if errno != _REFUSED_BY_ENGINE or not self._keeps_read_only:
            return data
        if self._state.conditions.is_fenced:
            self._hanging.append(front)
            return None
        return READ_ONLY.packet(data[3])

    def engine_id_of(self, connection_id: int) -> int | None:
        """Return the engine's id of one of the instance's sessions."""
        front = self.fronts.get(connection_id)
        return front.engine_id if front else self._left.get(connection_id)

    def gone(self, front: Front) -> None:
        """Take the connection out of the books."""
        if self.fronts.get(front.connection_id) is front:
            del self.fronts[front.connection_id]
            # A statement goes on when its client has gone: a server notices that only when it answers.
            self._left[front.connection_id] = front.engine_id
            if len(self._left) > _LEFT_KEPT:
                del self._left[next(iter(self._left))]

    async def reset(self, front: Front, command: bytes) -> bytes:
        """Carry out COM_RESET_CONNECTION or COM_CHANGE_USER at the engine; return the final payload."""
        back = front.back
        if back is None:
            raise ConnectionResetError("the engine's session has gone")
        database = b""
        if command[0] == Command.CHANGE_USER:
            try:
                user, auth, database = change_of_user(command)
            except ValueError:
                return error_packet(0, 1047, "Unknown command", "08S01")[HEADER_BYTES:]
            if not self._is_right(front, user, auth):
                return error_packet(0, 1045, "Access denied for COM_CHANGE_USER", "28000")[HEADER_BYTES:]
            front.user = user
        final = await back.ask(bytes([Command.RESET_CONNECTION]))
        if final[0] != ERR:
            front.was_reset()
            await self.prepare(front, is_reset=True)
            final = await back.ask(bytes([Command.INIT_DB]) + database) if database else final
        return final

    async def prepare(self, front: Front, *, is_reset: bool = False) -> None:
        """Make the engine's session what a session of this instance is."""
        if front.back is not None and is_reset and self._is_mariadb:
            await front.back.run(_GLOBAL_CHARACTERS)
        if front.back is not None and self._keeps_read_only:
            await front.back.run(KEEP_READ_ONLY)

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
                version=state.version,
                aurora_version=AURORA_VERSION,
                innodb_read_only=state.role is Role.READER,
                read_only=state.is_read_only,
                keeps_read_only=self._keeps_read_only,
                is_mariadb=self._is_mariadb,
            )
        return self._facts

    # --- one statement ----------------------------------------------------------------------------------------------

    @property
    def _keeps_read_only(self) -> bool:
        return self._state.is_read_only or self._state.conditions.is_fenced

    def _looked_up(self, front: Front, command: int, text: bytes) -> Order:
        is_guarded = self._state.is_read_only and front.has_written
        if not is_guarded and not is_concerned(text, read_only=self._keeps_read_only):
            return Order(text)
        key = (text, command, front.has_written)
        order = self._known.get(key)
        if order is None:
            order = self._worked_out(front, command, text)
            low = text[:_CACHED_BYTES].lower()
            if len(text) < _CACHED_BYTES and not any(word in low for word in _OF_SESSIONS):
                if len(self._known) >= _CACHED_TEXTS:
                    self._known.clear()
                self._known[key] = order
        return order

    def _worked_out(self, front: Front, command: int, text: bytes) -> Order:
        sessions = self._left | {number: each.engine_id for number, each in self.fronts.items()}
        asker = Asker(front.connection_id, front.user, sessions)
        sql = text.decode("utf-8", "surrogateescape")
        match command:
            case Command.STMT_PREPARE:
                wanted = prepared(sql, self.facts(), asker)
            case Command.STMT_EXECUTE:
                wanted = executed(sql, self.facts(), has_written=front.has_written)
            case _:
                wanted = rewritten(sql, self.facts(), asker, has_written=front.has_written)
        is_same = wanted.text == sql
        return Order(text if is_same else wanted.text.encode("utf-8", "surrogateescape"), wanted.refusal)

    def _hangs(self, front: Front, text: bytes) -> bool:
        """Say whether a fenced instance stays silent to a text: it would change something, or say that it did."""
        if not self._state.conditions.is_fenced:
            return False
        for statement in statements_of(text.decode("utf-8", "surrogateescape")):
            is_lie = front.has_written and statement.commits
            is_read_write = statement.verb == "start"  # The engine's session stays read-only; see `rewrite`.
            if is_lie or statement.is_locking_read or (statement.is_change and not is_read_write):
                self._hanging.append(front)
                return True
        return False

    def _count(self, front: Front, text: bytes) -> None:
        state = self._state
        if state.role is Role.WRITER and not state.conditions.is_fenced:
            return
        shown = text[:80].decode("utf-8", "replace")
        self._storage.report("wrong_role", state.id, statement=shown, connection=front.connection_id, user=front.user)

    def _answers(self, front: Front, text: bytes, rule: Rule) -> bool:
        """Carry a rule out; say whether the engine is to run the text nevertheless."""
        shown = text[:80].decode("utf-8", "replace")
        self._storage.report("statement_lost", self._state.id, fate=str(rule.fate), statement=shown)
        match rule.fate:
            case Fate.ANSWER_LOST:
                front.on_answer = lambda: self._storage.end_when_done(front, rule.ending)
            case Fate.NEVER_EXECUTED:
                self._storage.end_undone(front, rule.ending)
            case Fate.HANGS:
                self._hanging.append(front)
        return rule.fate is Fate.ANSWER_LOST

    def _is_right(self, front: Front, user: str, auth: bytes) -> bool:
        account = self._accounts.get(user)
        if account is None or not isinstance(account.password, str):
            return False
        return auth in (native_scramble(account.password, front.nonce), sha2_scramble(account.password, front.nonce))
