"""System variables: what a server of MySQL 8.0 says, as far as a client of the simulator asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioaurora.simulator.memory.values import SqlError, as_text

if TYPE_CHECKING:
    from aioaurora.simulator.memory.values import Value

VERSION = "8.0.39"
_SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)
_UTF8 = "utf-8"
# Python's names for what is not UTF-8. MySQL's latin1 is Windows' own.
_CODECS = {"latin1": "cp1252", "ascii": "ascii", "binary": "latin-1"}
# Of what a client may choose at log-in, by the collation's number.
_COLLATIONS = {
    8: ("latin1", "latin1_swedish_ci"),
    11: ("ascii", "ascii_general_ci"),
    33: ("utf8mb3", "utf8mb3_general_ci"),
    45: ("utf8mb4", "utf8mb4_general_ci"),
    46: ("utf8mb4", "utf8mb4_bin"),
    63: ("binary", "binary"),
    224: ("utf8mb4", "utf8mb4_unicode_ci"),
}
_WORDS = {"on": 1, "true": 1, "off": 0, "false": 0}
_DEFAULTS: dict[str, Value] = {
    "auto_increment_increment": 1,
    "autocommit": 1,
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_database": "utf8mb4",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": "utf8mb4_0900_ai_ci",
    "collation_database": "utf8mb4_0900_ai_ci",
    "collation_server": "utf8mb4_0900_ai_ci",
    "foreign_key_checks": 1,
    "hostname": "memory",
    "init_connect": "",
    "innodb_lock_wait_timeout": 50,
    "innodb_read_only": 0,
    "interactive_timeout": 28800,
    "license": "Apache-2.0",
    "lower_case_table_names": 0,
    "max_allowed_packet": 67108864,
    "max_connections": 10000,
    "max_execution_time": 0,
    "net_read_timeout": 30,
    "net_write_timeout": 60,
    "port": 3306,
    "read_only": 0,
    "server_id": 1,
    "sql_auto_is_null": 0,
    "sql_mode": _SQL_MODE,
    "sql_safe_updates": 0,
    "super_read_only": 0,
    "system_time_zone": "UTC",
    "time_zone": "SYSTEM",
    "transaction_isolation": "REPEATABLE-READ",
    "transaction_read_only": 0,
    "unique_checks": 1,
    "version": VERSION,
    "version_comment": "aioaurora's memory engine",
    "wait_timeout": 28800,
}
_ALIASES = {"tx_isolation": "transaction_isolation", "tx_read_only": "transaction_read_only"}
_SWITCHES = frozenset(
    {"autocommit", "foreign_key_checks", "innodb_read_only", "read_only", "sql_auto_is_null", "sql_safe_updates"}
    | {"super_read_only", "transaction_read_only", "unique_checks"}
)
_FIXED = frozenset({"hostname", "innodb_read_only", "license", "lower_case_table_names", "port", "version"})


class Variables:
    """One session's variables over the server's."""

    def __init__(self, server: dict[str, Value]) -> None:
        """Start with the server's values."""
        self._server = server
        self._session = dict(server)

    @staticmethod
    def of_server() -> dict[str, Value]:
        """Return what a fresh server starts with."""
        return dict(_DEFAULTS)

    def choose(self, collation: int) -> None:
        """Take the character set of a log-in; one that is not known leaves the server's."""
        if collation in _COLLATIONS:
            charset, name = _COLLATIONS[collation]
            for what in ("client", "connection", "results"):
                self._session[f"character_set_{what}"] = charset
            self._session["collation_connection"] = name

    def codec(self, what: str) -> str:
        """Return Python's name for the character set of "client" or "results"."""
        return _CODECS.get(as_text(self._session[f"character_set_{what}"] or ""), _UTF8)

    def reset(self) -> None:
        """Go back to the server's values, character sets too, as MySQL does."""
        self._session = dict(self._server)

    def get(self, scope: str, name: str) -> Value:
        """Return a variable; raises 1193."""
        values = self._server if scope.lower() == "global" else self._session
        return values[self._known(name)]

    def set(self, scope: str, name: str, value: Value) -> None:
        """Change a variable; raises 1193, and 1238 for one that cannot change; None takes the server's value."""
        name = self._known(name)
        if name in _FIXED:
            raise SqlError(1238, f"Variable '{name}' is a read only variable")
        values = self._server if scope == "global" else self._session
        values[name] = self._server[name] if value is None else self._fitting(name, value)

    def number(self, name: str) -> float:
        """Return a variable as a number."""
        return float(as_text(self._session[name]))

    def is_on(self, name: str) -> bool:
        """Return a variable as a switch."""
        return bool(self._session[name])

    def shown(self) -> list[tuple[str, str]]:
        """Return all of them as SHOW VARIABLES does."""
        return [(name, self._shown(name, value)) for name, value in sorted(self._session.items())]

    @staticmethod
    def _shown(name: str, value: Value) -> str:
        if name in _SWITCHES:
            return "ON" if value else "OFF"
        return "" if value is None else as_text(value)

    @staticmethod
    def _known(name: str) -> str:
        name = _ALIASES.get(name, name)
        if name not in _DEFAULTS:
            raise SqlError(1193, f"Unknown system variable '{name}'")
        return name

    @staticmethod
    def _fitting(name: str, value: Value) -> Value:
        if isinstance(_DEFAULTS[name], int) and isinstance(value, str):
            word = _WORDS.get(value.lower())
            if word is None:
                raise SqlError(1231, f"Variable '{name}' can't be set to the value of '{value}'", "42000")
            return word
        return value
