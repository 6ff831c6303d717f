"""What an instance says of itself, put into the statements that ask for it.

The engine knows nothing of Aurora: variables, functions and the table of instances are replaced by literals and by
a table of the simulator's. Column names stay what the client wrote. Reads of MySQL's names are translated for MariaDB.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.simulator.columns import Columns
from aioaurora.simulator.tokens import Statement, Token, statements_of

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_ONLY_ERRNO = 1290
READ_ONLY = "The MySQL server is running with the --read-only option so it cannot execute this statement"
UNKNOWN_THREAD_ERRNO = 1094

_TRIGGERS = (
    b"@@", b"replica_host_status", b"aurora_version", b"version(", b"variables", b"processlist", b"_id(", b"user(",
    b"current_user", b"kill", b"transaction_", b"_0900_", b"for share",
)  # fmt: skip
_READER_TRIGGERS = (b";", b"with", b"for update", b"share mode", b"write", b"_read_only")
_CHANGE = re.compile(
    rb"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*|\#[^\n]*\n\s*|\(\s*)*"
    rb"(?:insert|update|delete|replace|create|alter|drop|truncate|rename|grant|revoke|load|import|optimize)\b",
    re.IGNORECASE | re.DOTALL,
)
_SEARCHED_BYTES = 1 << 16  # Nobody asks an instance's role at the end of a bulk insert.
_COLLATION_0900 = re.compile(r"utf8mb4_0900_(ai_ci|as_ci|as_cs|bin)", re.IGNORECASE)
_TRANSACTION_NAME = re.compile(r"\btransaction_(isolation|read_only)\b", re.IGNORECASE)
_LIKE = re.compile(
    r"show\s+(?:global\s+|session\s+|local\s+)?variables\s+"
    r"(?:like|where\s+variable_name\s*(?:=|like))\s*'([\w%]+)'\s*;?\s*$",
    re.IGNORECASE,
)
_SHOW = re.compile(
    r"show\s+(global\s+|session\s+|local\s+)?variables(?:\s+(like|where)\b(.*))?", re.IGNORECASE | re.DOTALL
)
_PROCESSES = re.compile(r"show\s+(?:full\s+)?processlist\s*;?$", re.IGNORECASE)
_SET_READ_WRITE = re.compile(r"\b((?:tx|transaction)_read_only\s*:?=\s*)(?:0|off|false|default)", re.IGNORECASE)


class Refused(Exception):
    """The instance itself refuses the statement, and the engine never sees it."""

    errno: int
    sentence: str

    def __init__(self, errno: int, sentence: str) -> None:
        super().__init__(errno, sentence)
        self.errno, self.sentence = errno, sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an instance says of itself, whoever asks."""

    server_id: str
    schema: str
    number: int
    port: int
    version: str
    aurora_version: str
    innodb_read_only: bool
    read_only: bool
    is_mariadb: bool

    def variables(self) -> dict[str, str]:
        """System variables as SQL, by name."""
        found = {
            "aurora_server_id": f"'{self.server_id}'",
            "aurora_version": f"'{self.aurora_version}'",
            "hostname": f"'{self.server_id}'",
            "innodb_read_only": str(int(self.innodb_read_only)),
            "port": str(self.port),
            "read_only": str(int(self.read_only)),
            "server_id": str(self.number),
            "super_read_only": "0",
            "version": f"'{self.version}'",
            "version_comment": "'Source distribution'",
        }
        if self.is_mariadb:
            found |= {"transaction_isolation": "@@tx_isolation", "transaction_read_only": "@@tx_read_only"}
        if self.innodb_read_only:
            found |= {"transaction_read_only": "0", "tx_read_only": "0"}
        return found


@dataclass(frozen=True, slots=True)
class Asker:
    """The session that asks: its id at the instance, who is logged in, and the engine's ids of all sessions."""

    connection_id: int
    user: str
    sessions: Mapping[int, int]

    def functions(self, facts: Facts) -> dict[str, str]:
        """Functions as SQL, by name."""
        client = f"'{self.user}@127.0.0.1'"
        return {
            "aurora_version": f"'{facts.aurora_version}'",
            "version": f"'{facts.version}'",
            "connection_id": str(self.connection_id),
            "current_user": f"'{self.user}@%'",
            "user": client,
            "session_user": client,
            "system_user": client,
        }


def is_concerned(text: bytes, *, read_only: bool) -> bool:
    """Say quickly whether `rewritten` has anything to look at."""
    low = text[:_SEARCHED_BYTES].lower()
    for trigger in _TRIGGERS:
        if trigger in low:
            return True
    if not read_only:
        return False
    return is_change(text) or any(trigger in low for trigger in _READER_TRIGGERS)


def is_change(text: bytes) -> bool:
    """Say quickly whether a statement begins like one that writes."""
    return _CHANGE.match(text, 0, _SEARCHED_BYTES) is not None


def rewritten(sql: str, facts: Facts, asker: Asker, *, is_prepared: bool = False) -> str:
    """Return what the engine is to run; raises Refused when the first statement is not allowed here.

    A later statement that is not allowed becomes one that fails in its place, so earlier ones have their answers.
    A prepared one is refused when it is executed, by the engine's own read-only transaction.
    """
    parts: list[str] = []
    for statement in statements_of(sql):
        try:
            _check(statement, facts, is_prepared=is_prepared)
            parts.append(_Rewriter(facts, asker, sql).statement(statement))
        except Refused as refused:
            if not any(part.strip(" \n\t;") for part in parts):
                raise
            parts.append(_failing(refused))
    return "".join(parts)


def _check(statement: Statement, facts: Facts, *, is_prepared: bool) -> None:
    if not facts.read_only:
        return
    if statement.is_locking_read or (statement.is_change and not is_prepared):
        raise Refused(READ_ONLY_ERRNO, READ_ONLY)


def _failing(refused: Refused) -> str:
    return f" SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {refused.errno}, MESSAGE_TEXT = '{refused.sentence}';"


class _Rewriter:
    def __init__(self, facts: Facts, asker: Asker, sql: str) -> None:
        self._facts, self._asker, self._sql = facts, asker, sql
        self._variables = facts.variables() | {"pseudo_thread_id": str(asker.connection_id)}
        self._functions = asker.functions(facts)

    def statement(self, statement: Statement) -> str:
        text = "".join(token.text for token in statement.tokens)
        if statement.is_routine:
            return text
        match statement.verb:
            case "show":
                return self._show(text)
            case "kill":
                return self._kill(statement, text)
            case "set":
                return self._set(statement)
            case "grant" | "revoke" | "create" | "alter" | "drop":
                return self._translated(text)
            case _:
                return self._translated(self._expressions(statement))

    def _translated(self, text: str) -> str:
        return _COLLATION_0900.sub(r"utf8mb4_uca1400_\1", text) if self._facts.is_mariadb else text

    # --- expressions ------------------------------------------------------------------------------------------------

    def _expressions(self, statement: Statement) -> str:
        out: list[str] = []
        columns = Columns(self._sql)
        before = ""
        for token in statement.tokens:
            out.append(columns.alias_before(token))
            instead = self._instead(token, before)
            columns.add(token, is_replaced=instead is not None and token.kind != "table")
            out.append(token.text if instead is None else instead)
            before = before if token.kind == "space" else token.low
        out.append(columns.alias_at_end())
        return "".join(out)

    def _instead(self, token: Token, before: str) -> str | None:
        match token.kind:
            case "variable":
                return self._variables.get(token.low[2:].rpartition(".")[2])
            case "function":
                return self._functions[token.low.partition("(")[0].strip()]
            case "table":
                return f"`{self._facts.schema}`.replica_host_status"
            case "word" if token.low == "replica_host_status" and before in ("from", "join"):
                return f"`{self._facts.schema}`.replica_host_status"
            case "word" if token.low == "share" and before == "for" and self._facts.is_mariadb:
                return "UPDATE"  # MariaDB has LOCK IN SHARE MODE only, in another place.
            case _:
                return None

    # --- SET, SHOW, KILL --------------------------------------------------------------------------------------------

    def _set(self, statement: Statement) -> str:
        out: list[str] = []
        significant = [token for token in statement.tokens if token.kind != "space"]
        following = {id(token): after.text for token, after in itertools.pairwise(significant)}
        for token in statement.tokens:
            is_target = following.get(id(token), "") in ("=", ":")
            instead = None if is_target else self._instead(token, "")
            out.append(token.text if instead is None else instead)
        text = self._translated("".join(out))
        if self._facts.is_mariadb:
            text = _TRANSACTION_NAME.sub(r"tx_\1", text)
        return _kept_read_only(text) if self._facts.innodb_read_only else text

    def _show(self, text: str) -> str:
        shown = {name: value for name, value in self._variables.items() if not value.startswith("@@")}
        if found := _LIKE.match(text.strip()):
            pattern = found.group(1).lower()
            if pattern in shown:
                return f"SELECT '{pattern}' AS Variable_name, {_as_shown(pattern, shown[pattern])} AS Value"
            if "%" not in pattern:
                return self._translated_show(text)
        if _PROCESSES.match(text.strip()):
            return self._processes()
        if found := _SHOW.match(text.strip().rstrip(";")):
            return self._all_variables(shown, found)
        return self._translated_show(text)

    def _translated_show(self, text: str) -> str:
        return _TRANSACTION_NAME.sub(r"tx_\1", text) if self._facts.is_mariadb else text

    def _all_variables(self, shown: dict[str, str], show: re.Match[str]) -> str:
        scope, clause, rest = show.groups()
        is_global = (scope or "").strip().lower() == "global"
        table = ("global" if is_global else "session") + "_variables"
        schema = "information_schema" if self._facts.is_mariadb else "performance_schema"
        ours = " UNION ALL ".join(f"SELECT '{name}', {_as_shown(name, value)}" for name, value in shown.items())
        names = ", ".join(f"'{name}'" for name in shown)
        engines = (
            f"SELECT LOWER(VARIABLE_NAME) AS Variable_name, VARIABLE_VALUE AS Value FROM {schema}.{table} "  # noqa: S608 - our words
            f"WHERE LOWER(VARIABLE_NAME) NOT IN ({names})"
        )
        wanted = {"like": f"WHERE Variable_name LIKE {rest}", "where": f"WHERE {rest}"}.get((clause or "").lower(), "")
        return f"SELECT * FROM ({engines} UNION ALL {ours}) AS v {wanted} ORDER BY Variable_name"  # noqa: S608 - the client's

    def _processes(self) -> str:
        """The instance's own sessions, under the ids that KILL takes."""
        ours = {engine_id: number for number, engine_id in self._asker.sessions.items()}
        cases = " ".join(f"WHEN {engine_id} THEN {number}" for engine_id, number in ours.items())
        listed = ", ".join(map(str, ours)) or "0"
        return (
            f"SELECT CASE ID {cases or 'WHEN 0 THEN 0'} END AS Id, '{self._asker.user}' AS User, "  # noqa: S608 - numbers
            "'127.0.0.1' AS Host, DB AS db, COMMAND AS Command, TIME AS Time, STATE AS State, INFO AS Info "
            f"FROM information_schema.PROCESSLIST WHERE ID IN ({listed}) ORDER BY Id"
        )

    def _kill(self, statement: Statement, text: str) -> str:
        target = statement.words[-1] if statement.words[-1] != ";" else statement.words[-2]
        if not target.isdigit() and not target.startswith("connection_id"):
            return text
        number = int(target) if target.isdigit() else self._asker.connection_id
        engine_id = self._asker.sessions.get(number)
        if engine_id is None:
            raise Refused(UNKNOWN_THREAD_ERRNO, f"Unknown thread id: {number}")
        query = "QUERY " if "query" in statement.words else ""
        return f"KILL {query}{engine_id}" + (";" if statement.words[-1] == ";" else "")


def _kept_read_only(text: str) -> str:
    """A reader's session may call itself read-write; the engine's session behind it must not become so."""
    text = re.sub(r"\bread\s+write\b", "READ ONLY", text, flags=re.IGNORECASE)
    return _SET_READ_WRITE.sub(r"\g<1>1", text)


def _as_shown(name: str, value: str) -> str:
    if name in ("innodb_read_only", "read_only", "super_read_only", "transaction_read_only", "tx_read_only"):
        return "'ON'" if value == "1" else "'OFF'"
    return value if value.startswith("'") else f"'{value}'"
