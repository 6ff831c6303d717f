"""How to reach a cluster, as one frozen value: from a URL, from aiomysql's keywords, or from both.

    from_url("mysql://app@orders.cluster-abc123.us-east-1.rds.amazonaws.com/shop?role=reader", password=...)
    from_kwargs(host="orders.cluster-abc123.us-east-1.rds.amazonaws.com", user="app", password=..., db="shop")

Every option of aiomysql is accepted, PyMySQL's `passwd` and `database` too. An argument wins over the URL, and both
over `read_default_file`. None means: not said; but for `autocommit`, where it is aiomysql's "as the server does", and
for durations and numbers whose None is "never" or "no limit". The text "none", in a URL, is None wherever that may be.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any, Literal, Self, get_type_hints

from pymysql.charset import charset_by_name

from aioaurora._core import options
from aioaurora._core.endpoint import (
    DEFAULT_PORT,
    Endpoint,
    EndpointKind,
    is_server_id,
    parse_endpoint,
    parse_nameserver,
)
from aioaurora._core.frozen import Event  # noqa: TC001 - as above.
from aioaurora._core.keywords import INSTEAD, REACH, SESSION, positional, without_aliases
from aioaurora._core.value import dataclass
from aioaurora.credentials import NO_PASSWORD, CredentialProvider, provider_of
from aioaurora.errors import ConfigurationError, Role
from aioaurora.tls import PLAIN, TlsRule, tls_rule


def _seconds(default: float | None, **limits: Any) -> Any:
    return field(default=default, metadata={"seconds": limits})


def _whole(default: int, *, most: int) -> Any:
    return field(default=default, metadata={"whole": {"most": most}})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config:
    """All that one Cluster was told. Durations are seconds.

    Attributes:
        endpoint: Where to connect first, and how the instances are called.
        user: Log-in name; None: that of the process's owner.
        credentials: Says who to log in as: made from `password`, or `async (host, port, user) -> Credentials`.
        role: "writer" or "reader"; None: as the endpoint says (`cluster-ro-`: reader, `cluster-custom-`: either,
            others: writer).
        instance: Id of the only instance to use; None: whichever holds the role.
        follow: "off": use this address only, whatever is behind it. "observe": the same, but watch the cluster, and
            tell by events what "on" would do. Default "on"; "off" for RDS Proxy and sockets.
        tls: Made from `ssl`.
        session: aiomysql's own options, as they were given.
        connect_timeout: For one instance: DNS, TCP, TLS, log-in and role check together; a log-in to the writer that
            stands in line may take up to `stall_timeout`. Default 3.
        acquire_timeout: From asking for a connection to holding it, a failover included. Default 30.
        refresh_interval: Between looks at the topology while nothing is wrong. Default 5.
        heartbeat_interval: Between questions to an instance in use. Default 1.
        heartbeat_timeout: Silence after which an instance that acknowledges nothing is dead. Default 2.
        stall_timeout: Silence after which queries are aborted though the host acknowledges. Default 15.
        suspect_after: Lateness of a heartbeat's answer that starts the search; aborts nothing. Default 0.25.
        search_interval: Between dials of an instance that is lost or refuses, while the writer is sought; grows to 1
            after the first minute. Nobody else is asked more often. Default 0.1.
        give_up_waiting_after: Of search, from then on new requests fail at once. Default None: they wait.
        max_connecting: Connects under way at once, for each instance, the heartbeats' own not counted; at most 100,000.
            Default 4.
        dns_max_ttl: Age of an address at which DNS is asked again; sooner if its TTL says so. Default 5; 0: always.
        dns_stale_if_error: Age up to which an address is used while DNS does not answer. Default 300; 0: never.
        nameservers: DNS servers to ask, "10.0.0.2" or "127.0.0.1:5353". Default (): the system's.
        keepalive_idle: Silence after which TCP asks whether the peer is there; at most 32,767. Default 60.
        keepalive_interval: Between such questions; at most 32,767. Default 10.
        keepalive_count: How many may go unanswered; at most 127. Default 3.
        tcp_user_timeout: How long sent bytes may stay unacknowledged, on Linux; at most 2,147,483. Default 30.
        listeners: Functions that are called with each event. Default ().
    """

    endpoint: Endpoint
    user: str | None = None
    credentials: CredentialProvider = NO_PASSWORD
    role: Role | None = None
    instance: str | None = None
    follow: Literal["on", "observe", "off"] = "on"
    tls: TlsRule = PLAIN
    session: Mapping[str, Any] = field(default_factory=dict, hash=False)
    connect_timeout: float = _seconds(3.0)
    acquire_timeout: float = _seconds(30.0)
    refresh_interval: float = _seconds(5.0)
    heartbeat_interval: float = _seconds(1.0)
    heartbeat_timeout: float = _seconds(2.0)
    stall_timeout: float = _seconds(15.0)
    suspect_after: float = _seconds(0.25)
    search_interval: float = _seconds(0.1)
    give_up_waiting_after: float | None = _seconds(None)
    max_connecting: int = _whole(4, most=100_000)  # MySQL's largest max_connections.
    dns_max_ttl: float = _seconds(5.0, may_be_zero=True)
    dns_stale_if_error: float = _seconds(300.0, may_be_zero=True)
    nameservers: tuple[str, ...] = ()
    # Linux's limits: MAX_TCP_KEEPIDLE, _KEEPINTVL and _KEEPCNT of <net/tcp.h>, and milliseconds in a C int.
    keepalive_idle: int = _whole(60, most=32_767)
    keepalive_interval: int = _whole(10, most=32_767)
    keepalive_count: int = _whole(3, most=127)
    tcp_user_timeout: float = _seconds(30.0, most=2_147_483)
    listeners: tuple[Callable[[Event], None], ...] = ()

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"session": MappingProxyType(dict(self.session))}
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if "seconds" in each.metadata and value is not None:
                checked[each.name] = options.seconds(each.name, value, **each.metadata["seconds"])
            elif "whole" in each.metadata:
                options.whole(each.name, value, **each.metadata["whole"])
        if self.role is not None:
            checked["role"] = Role(options.choice("role", self.role, [role.value for role in Role]))
        checked["follow"] = options.choice("follow", self.follow, ["on", "observe", "off"])
        checked["nameservers"] = tuple(map(parse_nameserver, self._several("nameservers", str)))
        checked["listeners"] = self._several("listeners", Callable)
        self._check_parts()
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        shown = {
            each.name: getattr(self, each.name)
            for each in dataclasses.fields(self)
            if each.name not in _NOT_SHOWN and getattr(self, each.name) != each.default
        }
        if "db" in self.session:
            shown["db"] = self.session["db"]
        facts = "".join(f" {name}={value}" for name, value in shown.items())
        return f"<Config {f'{self.user}@' if self.user else ''}{self.endpoint}{facts}>"

    def __deepcopy__(self, _memo: dict[int, object]) -> Self:
        return self  # It never changes.

    def _several(self, name: str, kind: Any) -> tuple[Any, ...]:
        """Return the values of an option that takes several; one alone will do."""
        value = getattr(self, name)
        several = (value,) if isinstance(value, kind) else value
        if not isinstance(several, list | tuple):
            raise ConfigurationError(f"{name}= is a {type(value).__name__}: write a tuple of {_SEVERAL[name]}")
        for one in several:
            if not isinstance(one, kind):
                raise ConfigurationError(f"{name}= holds a {type(one).__name__}: write a tuple of {_SEVERAL[name]}")
        return tuple(several)

    def _check_parts(self) -> None:
        if self.instance is not None and not is_server_id(self.instance):
            raise ConfigurationError(f"instance={options.shown(self.instance)} is no instance id such as 'orders-1'")
        if self.endpoint.is_rds and not self.tls.require and not self.session.get("unix_socket"):
            tls_rule(False, is_rds=True)  # noqa: FBT003 - raises, with what to write instead.


_SEVERAL = {"nameservers": 'IP addresses, "10.0.0.2" or "127.0.0.1:5353"', "listeners": "functions of an event"}
_NOT_SHOWN = {"endpoint", "user", "credentials", "session", "listeners"}
_MADE_HERE = {"endpoint", "tls", "session"}
_OWN: Mapping[str, Any] = {name: kind for name, kind in get_type_hints(Config).items() if name not in _MADE_HERE}
KINDS: dict[str, Any] = {**REACH, **SESSION, **_OWN}
CHECKED_ALONE = frozenset({*_OWN, "host", "port", "charset", "client_flag"})  # Right or wrong, whatever else is said.
_NONE: Mapping[str, Any] = {}


def from_arguments(*args: Any, **kwargs: Any) -> Config:
    """Read the arguments of `connect`: a URL and keywords, or aiomysql's own, in its order."""
    return from_kwargs(**said_by(args, kwargs))


def said_by(args: tuple[Any, ...], kwargs: Mapping[str, Any], *, others: Mapping[str, Any] = _NONE) -> dict[str, Any]:
    """Give what the arguments of `connect`, and `others` by name and kind, say, by its one name."""
    if args and isinstance(args[0], str) and "://" in args[0]:
        if len(args) > 1:
            raise ConfigurationError("a URL is the only positional argument: pass the others by name")
        return _said_by_url(args[0], kwargs, {**KINDS, **others})
    named, given = positional(args), without_aliases(kwargs)
    for name in named.keys() & given.keys():
        raise ConfigurationError(f"{name!r} was given twice: by position and by name")
    return {**named, **given}


def from_url(url: str, **overrides: Any) -> Config:
    """Read `mysql://user:password@host:port/db?option=value`; `overrides` win over what it says.

    User, password, database and options are percent-decoded. Options are any that a text can express.

    Raises:
        ConfigurationError: Says which part is wrong; never repeats the URL, which may hold a password.
    """
    return from_kwargs(**_said_by_url(url, overrides, KINDS))


def _said_by_url(url: str, overrides: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    from aioaurora._core.written import from_url as read  # noqa: PLC0415 - not needed without a URL.

    written, said = read(url, kinds), without_aliases(overrides)
    if "credentials" in said:
        written.pop("password", None)
    if "host" in said:
        written.pop("port", None)  # It was that of another host.
    return {**written, **said}


def from_kwargs(**kwargs: Any) -> Config:
    """Read keywords: aiomysql's, and those of `Config` but for what is made here.

    Args:
        host: Name or address, with or without `:port`. No default; "localhost" with `unix_socket`.
        port: Default 3306.
        password: A str, or a function (a coroutine function too) that returns one and is asked at each connect.
        ssl: An SSLContext, a path of authorities, True, False or None: see `aioaurora.tls`. Default None.
        instance_pattern: "{id}.abc123.us-east-1.rds.amazonaws.com", for hosts that do not say it.
        read_default_file: Option file for what is not given otherwise.
        read_default_group: Its group. Default "client".

    Raises:
        ConfigurationError: Something cannot work; says what to write instead.
    """
    given = without_aliases(kwargs)
    options.refuse_unknown(given, KINDS.keys(), instead=INSTEAD)
    given = {**_from_file(given), **given}
    _check_types(given)
    socket = given.get("unix_socket")
    endpoint = _endpoint(given, default="localhost" if socket else None)
    own = {name: given[name] for name in _OWN.keys() & given.keys()}
    own["credentials"] = provider_of(given.get("password"), given.get("credentials"))
    own.setdefault("follow", "off" if socket or endpoint.kind is EndpointKind.PROXY else "on")
    return Config(
        endpoint=endpoint,
        tls=tls_rule(given.get("ssl"), is_rds=endpoint.is_rds and not socket),
        session={name: given[name] for name in SESSION.keys() & given.keys()},
        **own,
    )


def _endpoint(given: Mapping[str, Any], *, default: str | None) -> Endpoint:
    host, port = given.get("host") or default, given.get("port")
    if host is None:
        raise ConfigurationError('no host: write host="orders.cluster-abc123.us-east-1.rds.amazonaws.com"')
    pattern = given.get("instance_pattern")
    endpoint = parse_endpoint(host, DEFAULT_PORT if port is None else port, instance_pattern=pattern)
    if port is not None and endpoint.port != port:
        raise ConfigurationError(f"host says port {endpoint.port} and port={port!r}: write one of them")
    return endpoint


def _from_file(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the option file here: it may name the host, and aiomysql would dial that for every instance."""
    path = given.get("read_default_file")
    if path is None:
        return {}
    from pathlib import Path  # noqa: PLC0415 - large, and not needed without a file.

    from aioaurora._core.written import from_option_file as read  # noqa: PLC0415 - as above.

    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(f"read_default_file= is a {type(path).__name__}: write the path of an option file")
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, RuntimeError, TypeError, ValueError) as exc:  # RuntimeError: no such home.
        shown = options.shown(str(path))
        raise ConfigurationError(f"read_default_file={shown} cannot be read: {type(exc).__name__}") from None
    found = read(text, given.get("read_default_group", "client"))
    if "credentials" in given:
        found.pop("password", None)
    if "host" in given:
        found.pop("port", None)  # It was that of another host.
    return found


def _check_types(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if KINDS[name] in {str, str | None} and not isinstance(value, str):
            raise ConfigurationError(f"{name}= is a {type(value).__name__}: it must be a str")
    if "client_flag" in given:
        options.whole("client_flag", given["client_flag"], least=0, most=0xFFFF_FFFF)
    charset = given.get("charset")
    if charset and charset_by_name(charset) is None:
        raise ConfigurationError(f"charset={options.shown(charset)} is not known to PyMySQL: write 'utf8mb4'")
    with contextlib.suppress(RuntimeError):  # No loop is running yet.
        if given.get("loop") not in (None, asyncio.get_running_loop()):
            raise ConfigurationError("loop= is not the loop that is running: leave it out")
