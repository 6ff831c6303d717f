"""SHOW VARIABLES and SHOW PROCESSLIST, told by queries that have what an instance says among what the engine knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.control import literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aioaurora.simulator.facts import Asker
    from aioaurora.simulator.statements import Statement

_SCOPES = frozenset("global session local".split())
_SWITCHES = frozenset("innodb_read_only read_only super_read_only transaction_read_only tx_read_only".split())


def listing(statement: Statement, variables: Mapping[str, str], asker: Asker, *, is_mariadb: bool) -> str | None:
    """Return the query that answers a SHOW; None when the engine's own answer is right."""
    words = statement.words[1:]
    if words[:1] == ["full"] or words == ["processlist"]:
        return _processes(asker) if words[-1:] == ["processlist"] else None
    scope = words.pop(0) if words[:1] and words[0] in _SCOPES else ""
    if words[:1] != ["variables"]:
        return None
    shown = {name: value for name, value in variables.items() if not value.startswith("@@")}
    name = _named(words[1:])
    if name in shown:
        return f"SELECT '{name}' AS Variable_name, {_as_shown(name, shown[name])} AS Value"
    if name and "%" not in name:
        return None
    return _all_variables(shown, scope, _condition(statement), is_mariadb=is_mariadb)


def _named(words: list[str]) -> str:
    """Return the one name or pattern that is asked for, in lower case; empty when it is more than that."""
    match words:
        case ["like", text] | ["where", "variable_name", "=" | "like", text]:
            return text[1:-1].lower() if text[:1] in ("'", '"') else ""
        case _:
            return ""


def _condition(statement: Statement) -> str:
    """Return what the client wants of the variables, as it wrote it."""
    for number, token in enumerate(statement.tokens):
        if token.low in ("like", "where"):
            rest = "".join(each.text for each in statement.tokens[number + 1 :]).rstrip().rstrip(";")
            return f"WHERE Variable_name LIKE {rest}" if token.low == "like" else f"WHERE {rest}"
    return ""


def _all_variables(shown: Mapping[str, str], scope: str, condition: str, *, is_mariadb: bool) -> str:
    table = ("global" if scope == "global" else "session") + "_variables"
    schema = "information_schema" if is_mariadb else "performance_schema"
    ours = " UNION ALL ".join(f"SELECT '{name}', {_as_shown(name, value)}" for name, value in shown.items())
    names = ", ".join(f"'{name}'" for name in shown)
    engines = (
        f"SELECT LOWER(VARIABLE_NAME) AS Variable_name, VARIABLE_VALUE AS Value FROM {schema}.{table} "  # noqa: S608 - our words
        f"WHERE LOWER(VARIABLE_NAME) NOT IN ({names})"
    )
    return f"SELECT * FROM ({engines} UNION ALL {ours}) AS v {condition} ORDER BY Variable_name"  # noqa: S608 - the client's


def _processes(asker: Asker) -> str:
    """The instance's own sessions, under the ids that KILL takes."""
    ours = {engine_id: number for number, engine_id in asker.sessions.items()}
    cases = " ".join(f"WHEN {engine_id} THEN {number}" for engine_id, number in ours.items())
    listed = ", ".join(map(str, ours)) or "0"
    return (
        f"SELECT CASE ID {cases or 'WHEN 0 THEN 0'} END AS Id, {literal(asker.user)} AS User, "  # noqa: S608 - numbers
        "'127.0.0.1' AS Host, DB AS db, COMMAND AS Command, TIME AS Time, STATE AS State, INFO AS Info "
        f"FROM information_schema.PROCESSLIST WHERE ID IN ({listed}) ORDER BY Id"
    )


def _as_shown(name: str, value: str) -> str:
    if name in _SWITCHES:
        return "'ON'" if value == "1" else "'OFF'"
    return value if value.startswith("'") else f"'{value}'"
