"""What an instance says of itself, put into the statements that ask for it.

The engine knows nothing of Aurora: variables, functions and the table of instances are replaced by literals and by
a table of the simulator's. Column names stay what the client wrote. Reads of MySQL's names are translated for MariaDB.
All of it goes token by token: what stands between quotes stays as it is. Of a text of more than 10,000 tokens the
rest is passed on unread.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aioaurora.simulator.columns import Columns
from aioaurora.simulator.listings import listing
from aioaurora.simulator.refusals import always_refused, killed_by, write_refused
from aioaurora.simulator.statements import Statement, statements_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aioaurora.simulator.facts import Asker, Facts
    from aioaurora.simulator.refusals import Refusal
    from aioaurora.simulator.tokens import Token

_COLLATION_0900 = re.compile(r"utf8mb4_0900_(ai_ci|as_ci|as_cs|bin)", re.IGNORECASE)
_TRANSACTION_NAME = re.compile(r"\btransaction_(isolation|read_only)\b", re.IGNORECASE)
_COLLATING = frozenset("collate collation_connection collation_database collation_server".split())
_READ_ONLY_NAMES = frozenset("transaction_read_only tx_read_only".split())
# After one of these comes a name, though it may look like a function: INSERT INTO user () VALUES ().
_NAMING = frozenset("into insert replace ignore table call".split())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the engine is to run; with `refusal`, the last thing that it does is told as that error."""

    text: str
    refusal: Refusal | None = None


def rewritten(sql: str, facts: Facts, asker: Asker, *, has_written: bool = False) -> Wanted:
    """Return what the engine is to run, up to the first statement that is refused here.

    Args:
        sql: The client's text.
        facts: Of the instance.
        asker: The client.
        has_written: Whether its open transaction may have written something.
    """
    parts: list[str] = []
    rewriter = _Rewriter(facts, asker, sql)
    for statement in statements_of(sql):
        refusal = always_refused(statement, asker) or write_refused(statement, facts, has_written=has_written)
        if refusal is not None:
            return Wanted("".join(parts) + refusal.instead, refusal)
        has_written &= not statement.rolls_back
        parts.append(rewriter.statement(statement))
    return Wanted("".join(parts))


def prepared(sql: str, facts: Facts, asker: Asker) -> Wanted:
    """Return what the engine is to prepare: a write is refused when it is executed."""
    statements = statements_of(sql)
    for statement in statements:
        if (refusal := always_refused(statement, asker)) is not None:
            return Wanted(refusal.instead, refusal)
    rewriter = _Rewriter(facts, asker, sql)
    return Wanted("".join(map(rewriter.statement, statements)))


def executed(sql: str, facts: Facts, *, has_written: bool = False) -> Wanted:
    """Return the text of a prepared statement as it is, if it may be executed."""
    for statement in statements_of(sql):
        refusal = write_refused(statement, facts, has_written=has_written)
        if refusal is not None:
            return Wanted(refusal.instead, refusal)
    return Wanted(sql)


class _Rewriter:
    def __init__(self, facts: Facts, asker: Asker, sql: str) -> None:
        self._facts, self._asker, self._sql = facts, asker, sql
        self._variables = facts.variables() | {"pseudo_thread_id": str(asker.connection_id)}
        self._functions = asker.functions(facts)

    def statement(self, statement: Statement) -> str:
        if statement.is_routine:
            return statement.text
        if statement.locks_tables and self._facts.keeps_read_only:
            return "COMMIT" + _end(statement)  # A lock of a reader's is nothing to the others; the storage is one.
        match statement.verb:
            case "show":
                return self._show(statement)
            case "kill":
                return self._kill(statement)
            case "set" | "start":
                return self._set(statement)
            case "grant" | "revoke" | "create" | "alter" | "drop":
                return "".join(self._translated(token, before) for token, before in _with_before(statement))
            case _:
                return self._expressions(statement)

    # --- one token --------------------------------------------------------------------------------------------------

    def _expressions(self, statement: Statement) -> str:
        out: list[str] = []
        columns = Columns(self._sql)
        for token, before in _with_before(statement):
            out.append(columns.alias_before(token))
            instead = self._instead(token, before)
            columns.add(token, is_replaced=instead is not None and token.kind != "table")
            out.append(self._translated(token, before) if instead is None else instead)
        out.append(columns.alias_at_end())
        return "".join(out)

    def _instead(self, token: Token, before: str) -> str | None:
        match token.kind:
            case "variable":
                return self._variables.get(token.low[2:].rpartition(".")[2])
            case "function" if before not in _NAMING:
                return self._functions[token.low.partition("(")[0].strip()]
            case "table":
                return f"`{self._facts.schema}`.replica_host_status"
            case "word" if token.low == "replica_host_status" and before in ("from", "join"):
                return f"`{self._facts.schema}`.replica_host_status"
            case "word" if token.low == "share" and before == "for" and self._facts.is_mariadb:
                return "UPDATE"  # MariaDB has LOCK IN SHARE MODE only, in another place.
            case _:
                return None

    def _translated(self, token: Token, before: str) -> str:
        """Spell a collation as MariaDB does; one in quotes only where nothing but a collation can stand."""
        is_name = token.kind == "word" or (token.kind == "text" and before.lstrip("@").rpartition(".")[2] in _COLLATING)
        if not is_name or not self._facts.is_mariadb:
            return token.text
        return _COLLATION_0900.sub(r"utf8mb4_uca1400_\1", token.text)

    # --- SET, SHOW, KILL --------------------------------------------------------------------------------------------

    def _set(self, statement: Statement) -> str:
        """Also START TRANSACTION, whose words are those of SET TRANSACTION."""
        targets = _targets(statement)
        kept = _kept_read_only(statement) if self._facts.keeps_read_only else {}
        out: list[str] = []
        for token, before in _with_before(statement):
            instead = None if token.at in targets else self._instead(token, before)
            text = self._translated(token, before) if instead is None else instead
            if token.kind in ("word", "variable") and self._facts.is_mariadb:
                text = _TRANSACTION_NAME.sub(r"tx_\1", text)
            out.append(kept.get(token.at, text))
        return "".join(out)

    def _show(self, statement: Statement) -> str:
        asked = listing(statement, self._variables, self._asker, is_mariadb=self._facts.is_mariadb)
        if asked is not None:
            return asked + _end(statement)
        is_ours = self._facts.is_mariadb and "variables" in statement.words
        return _TRANSACTION_NAME.sub(r"tx_\1", statement.text) if is_ours else statement.text

    def _kill(self, statement: Statement) -> str:
        number = killed_by(statement, self._asker)
        if number is None:
            return statement.text
        query = "QUERY " if "query" in statement.words else ""
        return f"KILL {query}{self._asker.sessions[number]}{_end(statement)}"


def _end(statement: Statement) -> str:
    return ";" if statement.significant[-1].text == ";" else ""


def _with_before(statement: Statement) -> list[tuple[Token, str]]:
    """Return each token with the word before it; signs of assignment are passed over."""
    found: list[tuple[Token, str]] = []
    before = ""
    for token in statement.tokens:
        found.append((token, before))
        if token.kind != "space" and token.text not in ("=", ":"):
            before = token.low
    return found


def _targets(statement: Statement) -> set[int]:
    """Return where the names stand that a SET assigns to."""
    return {token.at for token, after in itertools.pairwise(statement.significant) if after.text in ("=", ":")}


def _kept_read_only(statement: Statement) -> dict[int, str]:
    """A session may call itself read-write; the engine's session behind it must not become so."""
    words = [token for token in statement.significant if token.kind == "word"]
    pairs = itertools.pairwise(words)
    found = {after.at: "ONLY" for token, after in pairs if (token.low, after.low) == ("read", "write")}
    for number, token in enumerate(statement.significant):
        if token.low.lstrip("@").rpartition(".")[2] in _READ_ONLY_NAMES:
            value = _value(statement.significant[number + 1 :])
            found |= {each.at: "" if beyond else "1" for beyond, each in enumerate(value)}
    return found


def _value(tokens: list[Token]) -> Iterator[Token]:
    """Return what is assigned, of the tokens after a name."""
    after = itertools.dropwhile(lambda token: token.text in ("=", ":"), tokens)
    return itertools.takewhile(lambda token: token.low not in (",", ";", "for"), after)
