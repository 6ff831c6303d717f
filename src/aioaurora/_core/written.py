"""Options as they stand in a URL, in a MySQL option file or in the environment, read into keywords.

Each may hold a password, so no error repeats what was read, and none has a cause that does.
"""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from aioaurora._core import options
from aioaurora._core.keywords import ALIASES, INSTEAD, NOT_AS_TEXT
from aioaurora.errors import ConfigurationError, InvalidEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SCHEMES = ("mysql", "mariadb", "aurora")
_FORM = "mysql://user:password@host:3306/db?option=value"
_IN_FILE = {
    "user": "user",
    "password": "password",
    "host": "host",
    "database": "db",
    "socket": "unix_socket",
    "default-character-set": "charset",
}


def from_url(url: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """Read a URL into keywords; `kinds` says which options there are and of what type."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidEndpoint(
            f"the URL has a bad host or port: write {_FORM}, with %XX for special characters in user and password"
        ) from None  # The cause quotes what it could not read, which may be the password.
    if parts.scheme.partition("+")[0] not in _SCHEMES:
        raise InvalidEndpoint(f"{parts.scheme!r} URLs are not understood: write {_FORM}")
    # An @ behind the host is, as a rule, that of a password with a special character: its rest would be an option.
    if parts.fragment or "/" in parts.path[1:] or "@" in parts.path + parts.query:
        raise InvalidEndpoint(f"the URL has more than {_FORM}: write %23 for #, %2F for /, %3F for ? and %40 for @")
    said = {
        "host": unquote(parts.hostname or "") or None,
        "port": port,
        "user": unquote(parts.username or "") or None,
        "password": None if parts.password is None else unquote(parts.password),
        "db": unquote(parts.path[1:]) or None,
    }
    said = {name: value for name, value in said.items() if value is not None}
    return said | _from_query(parts, kinds, before=said)


def from_option_file(text: str, group: str) -> dict[str, Any]:
    """Read the keywords that aiomysql takes from one group of an option file."""
    file = configparser.RawConfigParser(allow_no_value=True, strict=False)
    try:
        file.read_string(text)
        section = dict(file.items(group)) if file.has_section(group) else {}
    except configparser.Error:
        raise ConfigurationError("the option file is not in the form of my.cnf") from None  # Quotes the line.
    found: dict[str, Any] = {
        name: _unquoted(section[key]) for key, name in _IN_FILE.items() if section.get(key) is not None
    }
    if section.get("port"):
        try:
            found["port"] = int(section["port"])
        except ValueError:
            raise ConfigurationError("the option file says a port that is no whole number") from None
    return found


def from_environment(
    variables: Mapping[str, str], prefix: str, kinds: Mapping[str, Any], *, check: Callable[[str, object], None]
) -> dict[str, Any]:
    """Read the keywords that variables with this prefix say, and `url`; what is nobody's option is left alone.

    Args:
        variables: By their names.
        prefix: What those names begin with.
        kinds: The options, and of what type they are.
        check: Raises ConfigurationError if an option, by name, cannot have a value.
    """
    found: dict[str, Any] = {}
    for variable, text in variables.items():
        if not variable.startswith(prefix) or not text:
            continue
        written = variable.removeprefix(prefix).lower()
        name = ALIASES.get(written, written)
        if name == "url":
            found[name] = text
        elif name not in kinds:
            _refuse_what_looks_like_ours(variable, name, prefix, kinds)
        elif name in NOT_AS_TEXT:
            raise ConfigurationError(f"{variable} cannot be written in the environment: pass {name}= as an argument")
        elif name in found:
            raise ConfigurationError(f"the environment says {name!r} twice: {variable} is one of them")
        else:
            found[name] = _tls(text) if name == "ssl" else options.from_text(variable, text, kinds[name])
            _check_alone(variable, name, found[name], check)
    return found


def _check_alone(variable: str, name: str, value: object, check: Callable[[str, object], None]) -> None:
    try:
        check(name, value)
    except ConfigurationError as error:
        raise type(error)(f"{variable}: {error}") from error


def _refuse_what_looks_like_ours(variable: str, name: str, prefix: str, kinds: Mapping[str, Any]) -> None:
    """Refuse what another driver would understand, as `ssl_ca`, and what is nearly one of our options."""
    if name == "dsn":
        raise ConfigurationError(f"{variable} is no option: write {prefix}URL")
    if name in INSTEAD:
        raise ConfigurationError(f"{variable} is no option: {INSTEAD[name]}")
    if meant := options.meant_by(name, [*kinds, *ALIASES, "url"]):
        raise ConfigurationError(f"{variable} is no option: did you mean '{prefix}{meant.upper()}'?")


def _from_query(parts: SplitResult, kinds: Mapping[str, Any], *, before: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for written, text in parse_qsl(parts.query, keep_blank_values=True):
        name = ALIASES.get(written, written)
        options.refuse_unknown([name], kinds, instead=INSTEAD)
        if name in NOT_AS_TEXT:
            raise ConfigurationError(f"{name!r} cannot be written in a URL: pass it as an argument")
        if name in found or name in before:
            raise ConfigurationError(f"the URL says {name!r} twice")
        found[name] = _tls(text) if name == "ssl" else options.from_text(name, text, kinds[name])
    return found


def _tls(text: str) -> bool | str | None:
    match text.lower():
        case "" | "none":
            return None
        case "true" | "on" | "yes" | "1":
            return True
        case "false" | "off" | "no" | "0":
            return False
        case _:
            return text


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
