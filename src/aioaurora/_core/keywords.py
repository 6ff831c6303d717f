"""The names that options go by: aiomysql's, ours, PyMySQL's aliases, and those that other drivers use."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aioaurora.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Passed on to each session as they were given.
SESSION: Mapping[str, Any] = MappingProxyType(
    {
        "db": str,
        "unix_socket": str,
        "charset": str,
        "sql_mode": str,
        "conv": object,
        "use_unicode": bool,
        "client_flag": int,
        "cursorclass": object,
        "init_command": str,
        "autocommit": bool | None,
        "echo": bool,
        "local_infile": bool,
        "auth_plugin": str,
        "program_name": str,
        "server_public_key": object,
    }
)

# Read once, for what they say about the way to the cluster.
REACH: Mapping[str, Any] = MappingProxyType(
    {
        "host": str,
        "port": int,
        "password": str | object,
        "ssl": bool | str | object | None,
        "instance_pattern": str,
        "read_default_file": str | object,
        "read_default_group": str,
        "loop": object,
    }
)

# The order of aiomysql.connect.
POSITIONAL = (
    "host",
    "user",
    "password",
    "db",
    "port",
    "unix_socket",
    "charset",
    "sql_mode",
    "read_default_file",
    "conv",
    "use_unicode",
    "client_flag",
    "cursorclass",
    "init_command",
    "connect_timeout",
    "read_default_group",
    "autocommit",
    "echo",
    "local_infile",
    "loop",
    "ssl",
    "auth_plugin",
    "program_name",
    "server_public_key",
)

_FUNCTIONS = ("credentials", "listeners", "on_connect", "on_acquire", "on_release")
NOT_AS_TEXT = frozenset({*_FUNCTIONS, "conv", "cursorclass", "server_public_key", "loop"})

_PYMYSQLS_OWN = (
    "auth_plugin_map",
    "binary_prefix",
    "bind_address",
    "collation",
    "defer_connect",
    "max_allowed_packet",
    "named_pipe",
)
_BY_CONTEXT = "pass an ssl.SSLContext as ssl="

INSTEAD: Mapping[str, str] = MappingProxyType(
    {
        "read_timeout": "silent queries are ended by heartbeat_timeout and stall_timeout",
        "write_timeout": "silent queries are ended by heartbeat_timeout and stall_timeout",
        "timeout": "write connect_timeout for one instance, acquire_timeout for all of the waiting",
        "ssl_ca": 'write ssl="/path/of/authorities.pem"',
        "ssl_cert": _BY_CONTEXT,
        "ssl_key": _BY_CONTEXT,
        "ssl_key_password": _BY_CONTEXT,
        "ssl_disabled": "write ssl=False",
        "ssl_mode": 'write ssl="/path/of/authorities.pem" to verify',
        "ssl_verify_cert": 'write ssl="/path/of/authorities.pem" to verify',
        "ssl_verify_identity": 'write ssl="/path/of/authorities.pem" to verify',
        "dsn": "pass the URL as the only positional argument",
        "url": "pass the URL as the only positional argument",
        "compress": "aiomysql does not compress",
        "no_delay": "it is always on",
        **dict.fromkeys(_PYMYSQLS_OWN, "aiomysql does not have it"),
        **dict.fromkeys(("minsize", "maxsize", "pool_recycle"), "it belongs to create_pool"),
    }
)

ALIASES = {"passwd": "password", "database": "db"}


# None is a value of these, "as the server does" or "no limit"; of all others it says nothing.
_NONE_IS_SAID = frozenset(
    {"autocommit", "give_up_waiting_after", "max_idle", "max_lag", "max_lifetime", "max_waiting", "reader_maxsize"}
)


def is_said(name: str, value: object) -> bool:
    """Tell whether a value means something."""
    return value is not None or name in _NONE_IS_SAID


def without_aliases(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said, under its one name.

    Raises:
        ConfigurationError: Both a name and its alias say something.
    """
    said = {name: value for name, value in given.items() if is_said(name, value)}
    for alias, name in ALIASES.items():
        if alias not in said:
            continue
        if name in said:
            raise ConfigurationError(f"{alias!r} and {name!r} are the same option: write {name!r}")
        said[name] = said.pop(alias)
    return said


def positional(values: Iterable[Any]) -> dict[str, Any]:
    """Name aiomysql's positional arguments."""
    given = tuple(values)
    if len(given) > len(POSITIONAL):
        raise ConfigurationError(
            f"{len(given)} positional arguments: aiomysql has {len(POSITIONAL)}; pass them by name"
        )
    return dict(zip(POSITIONAL, given, strict=False))
