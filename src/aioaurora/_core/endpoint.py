"""A host name as AWS writes it, read as a value: what it leads to and how its instances are called.

    orders.cluster-abc123.us-east-1.rds.amazonaws.com           the writer
    orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com        a reader
    night.cluster-custom-abc123.us-east-1.rds.amazonaws.com     some members
    orders-1.abc123.us-east-1.rds.amazonaws.com                 one instance
    orders.proxy-abc123.us-east-1.rds.amazonaws.com             RDS Proxy; also name.endpoint.proxy-abc123...
    orders.global-abc123.global.rds.amazonaws.com               the writer of a global database

The first four share `abc123.us-east-1.rds.amazonaws.com`, so each says the name of every instance: `{id}` in front of
that. China, GovCloud and the ISO partitions have other suffixes, and some of them write `rds` before the region.
The same labels under any other suffix mean the same, without the promises that only RDS keeps (`is_rds`).
"""

from __future__ import annotations

import enum
import ipaddress
import re

from aioaurora._core.options import shown, whole
from aioaurora._core.value import dataclass
from aioaurora.errors import ConfigurationError, InvalidEndpoint, Role

DEFAULT_PORT = 3306
_DNS_PORT = 53

# Texts, which `re` compiles when they are first used, and keeps.
_SERVER_ID = r"[A-Za-z][A-Za-z0-9-]{0,62}"
_GREEN = r"(?i)(?P<name>.+)-green-[0-9a-z]{6}"
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_PORT = r"[0-9]{1,5}"
_SCOPE = r"[A-Za-z0-9_.-]+"
_REGION = r"[a-z]{2,4}(-[a-z]+)+-[0-9]+"
_MEANING = r"(?P<prefix>cluster-|cluster-ro-|cluster-custom-|proxy-|global-)?(?P<id>[a-z0-9]+)"
_LONGEST_NAME = 253  # RFC 1035, without the trailing dot.

# Botocore's endpoints.json names the partitions: aws, aws-cn, aws-us-gov, aws-iso, -iso-b, -iso-e, -iso-f, aws-eusc.
_PARTITION = (
    r"(amazonaws\.com|amazonaws\.com\.cn|c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov|cloud\.adc-e\.uk|amazonaws\.eu)"
)
_RDS_NAME = rf"(.*\.)?rds(\.[a-z0-9-]+)?\.{_PARTITION}"
_RDS_DOMAIN = rf"(?P<first>[a-z0-9-]+)\.(?P<second>[a-z0-9-]+)\.{_PARTITION}"
_RDS_LIKE_DOMAIN = r"(?P<first>[a-z0-9-]+)\.(?P<second>[a-z0-9-]+)\..+"


class EndpointKind(enum.StrEnum):
    """What a host name leads to."""

    CLUSTER = "cluster"  # The writer.
    READER = "reader"  # Any reader; the writer where there is none.
    CUSTOM = "custom"  # Some members, whatever their role.
    INSTANCE = "instance"  # That one.
    PROXY = "proxy"  # RDS Proxy: nothing behind it can be followed.
    GLOBAL = "global"  # The writer of a global database, in whichever region it is.
    ADDRESS = "address"  # An IP address or localhost.
    OTHER = "other"  # Any other name: it is asked what it is.


_KINDS = {
    "cluster-": EndpointKind.CLUSTER,
    "cluster-ro-": EndpointKind.READER,
    "cluster-custom-": EndpointKind.CUSTOM,
    "proxy-": EndpointKind.PROXY,
    "global-": EndpointKind.GLOBAL,
    None: EndpointKind.INSTANCE,
}
_WITH_SIBLINGS = {EndpointKind.CLUSTER, EndpointKind.READER, EndpointKind.CUSTOM, EndpointKind.INSTANCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a program was told to connect, and what that name says about its cluster.

    Attributes:
        host: Lower case, without trailing dot or brackets.
        port: As given; instances inherit it.
        kind: What the name leads to.
        name: First label of an RDS name: the id of the cluster, instance, custom endpoint or proxy.
        pattern: Name of every instance with `{id}` for its id, and `:port` where that was said; None if unknown.
        region: Such as `us-east-1`; None if the name does not say.
    """

    host: str
    port: int = DEFAULT_PORT
    kind: EndpointKind = EndpointKind.OTHER
    name: str | None = None
    pattern: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_rds(self) -> bool:
        """Whether AWS itself owns the name, or those of the instances."""
        return is_rds_name(self.host) or (self.pattern is not None and is_rds_name(_split_port(self.pattern)[0]))

    @property
    def default_role(self) -> Role | None:
        """The role that who gives this name and no role gets; None: either, as the members of a custom endpoint."""
        match self.kind:
            case EndpointKind.READER:
                return Role.READER
            case EndpointKind.CUSTOM:
                return None
            case EndpointKind.PROXY if ".endpoint.proxy-" in self.host:
                return None  # A proxy's further endpoints are read-only or read-write; the name does not say.
            case _:
                return Role.WRITER

    def instance_host(self, server_id: str) -> tuple[str, int]:
        """Return host name and port of the instance that calls itself `server_id`.

        Raises:
            InvalidEndpoint: The id is no host name, or no pattern is known.
        """
        if self.pattern is None:
            raise InvalidEndpoint(
                f"{self.host!r} does not say how the instances of its cluster are called (seen: {server_id!r}): "
                'add instance_pattern="{id}.<your id>.<region>.rds.amazonaws.com"'
            )
        if not is_server_id(server_id):
            raise InvalidEndpoint(
                f"{server_id!r} is no instance id: a letter, then at most 62 letters, digits and hyphens"
            )
        host, port = _split_port(self.pattern)
        return _host_name(host.replace("{id}", server_id.lower())), port or self.port

    def place_of(self, server_id: str) -> tuple[str, int] | None:
        """Tell where an instance should be; None if its id, or what is known of the cluster, gives no name."""
        try:
            return self.instance_host(server_id)
        except InvalidEndpoint:
            return None

    def names_instance(self, host: str) -> bool:
        """Tell whether a host's name is one that the pattern gives an instance."""
        if self.pattern is None or (host == self.host and self.kind is not EndpointKind.INSTANCE):
            return False
        before, _, after = self.pattern.partition("{id}")
        after = after.partition(":")[0]
        label = host.removeprefix(before).removesuffix(after)
        return host == f"{before}{label}{after}" and "." not in label


def is_server_id(text: str) -> bool:
    """Tell whether `text` can stand for an instance in a host name; anything else is only data."""
    return re.fullmatch(_SERVER_ID, text) is not None


def is_rds_name(host: str) -> bool:
    """Tell whether AWS owns the name: `rds` next to the region, under a suffix of one of its partitions."""
    return re.fullmatch(_RDS_NAME, host.rstrip(".").lower()) is not None


def without_green_suffix(server_id: str) -> str:
    """Return the name that an instance bears after a blue/green switchover, which leaves `-green-abc123` in its id."""
    found = re.fullmatch(_GREEN, server_id)
    return found["name"] if found else server_id


def parse_endpoint(host: str, port: int = DEFAULT_PORT, *, instance_pattern: str | None = None) -> Endpoint:
    """Read a host name or an IP address, with or without a port of its own.

    Args:
        host: `name`, `name:3307`, `10.0.0.1`, `::1`, `[::1]:3307`. Case, a trailing dot and outer blanks do not matter.
        port: For a `host` without one.
        instance_pattern: `{id}.abc123.us-east-1.rds.amazonaws.com`, for names that do not say it; `:3307` may follow,
            and `?` may stand for `{id}`.

    Raises:
        InvalidEndpoint: The text is no host name or address; says what is wrong with it.
    """
    text, own_port = _split_host(host.strip())
    given = None if instance_pattern is None else parse_pattern(instance_pattern)
    port = _valid_port(port)
    port = port if own_port is None else own_port
    address = _address(text)
    if address is not None:
        return Endpoint(host=address, port=port, kind=EndpointKind.ADDRESS, pattern=given)
    name = _host_name(text)
    if name == "localhost":
        return Endpoint(host=name, port=port, kind=EndpointKind.ADDRESS, pattern=given)
    return _named(name, port, given)


def parse_pattern(text: str) -> str:
    """Return an instance pattern in the one form that is used inside: lower case, `{id}`, no trailing dot.

    Raises:
        InvalidEndpoint: It does not hold `{id}` once, or what is around it is no host name.
    """
    pattern = text.strip().lower().replace("?", "{id}")
    if pattern.count("{id}") != 1:
        raise InvalidEndpoint(
            f"instance_pattern={shown(text)} must hold {{id}} once, where the id of an instance goes: "
            '"{id}.abc123.us-east-1.rds.amazonaws.com"'
        )
    host, port = _split_host(pattern)
    # An id starts with a letter; so does the stand-in, and what is left must be a name around any of them.
    name = _host_name(host.replace("{id}", "x"))
    if _address(name) is not None:
        raise InvalidEndpoint(f"instance_pattern={shown(text)} is an address: ids are put into names only")
    bare = host.rstrip(".")
    return bare if port is None else f"{bare}:{port}"


def parse_nameserver(text: str) -> str:
    """Return a DNS server as `10.0.0.2:53` or `[::1]:53`.

    Raises:
        InvalidEndpoint: It is no IP address; a name would need a DNS server to be found.
    """
    host, port = _split_host(text.strip())
    address = _address(host)
    if address is None:
        raise InvalidEndpoint(f'nameservers={shown(text)}: write IP addresses, "10.0.0.2" or "127.0.0.1:5353"')
    return str(Endpoint(host=address, port=_DNS_PORT if port is None else port))


def _named(host: str, port: int, given: str | None) -> Endpoint:
    labels = host.split(".")
    skip = 1 if labels[1:2] == ["endpoint"] and labels[2:3] and labels[2].startswith("proxy-") else 0
    meaning = re.fullmatch(_MEANING, labels[1 + skip]) if len(labels) > 2 + skip else None
    if meaning is None:
        return Endpoint(host=host, port=port, pattern=given)
    kind, domain = _KINDS[meaning["prefix"]], ".".join(labels[2 + skip :])
    region = _region(domain)
    if kind is EndpointKind.INSTANCE and region is None:
        return Endpoint(host=host, port=port, pattern=given)  # db.example.com: any name has a second label.
    pattern = f"{{id}}.{meaning['id']}.{domain}" if kind in _WITH_SIBLINGS else None
    return Endpoint(host=host, port=port, kind=kind, name=labels[0], pattern=given or pattern, region=region)


def _region(domain: str) -> str | None:
    """Return the region of `us-east-1.rds.suffix` or `rds.us-east-1.suffix`."""
    found = re.fullmatch(_RDS_DOMAIN, domain) or re.fullmatch(_RDS_LIKE_DOMAIN, domain)
    if found is None:
        return None
    match found["first"], found["second"]:
        case (region, "rds") | ("rds", region) if re.fullmatch(_REGION, region):
            return region
        case _:
            return None


def _split_host(text: str) -> tuple[str, int | None]:
    """Cut off the port that follows a name, or an address in brackets."""
    if "://" in text:
        raise InvalidEndpoint(
            "a URL was given as the host: pass it as the only positional argument"
        )  # Without the text: it may hold a password.
    if "@" in text:
        raise InvalidEndpoint(
            "a host has no @ in it: user and password are options of their own, or part of a URL, which starts with "
            "mysql:// and is the only positional argument"
        )
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or ":" not in address:
            raise InvalidEndpoint(f"{shown(text)} is no address: write [::1] or [::1]:3307")
        return address, _port_of(rest[1:], address) if rest else None
    if text.count(":") != 1:
        return text, None  # More than one: an IPv6 address without brackets.
    host, _, port = text.partition(":")
    return host, _port_of(port, host)


def _split_port(pattern: str) -> tuple[str, int | None]:
    host, colon, port = pattern.partition(":")
    return host, int(port) if colon else None


def _port_of(digits: str, host: str) -> int:
    if not re.fullmatch(_PORT, digits):
        raise InvalidEndpoint(f"{shown(host)}: what follows the colon must be a port from 1 to 65535")
    return _valid_port(int(digits))


def _valid_port(port: object) -> int:
    try:
        return whole("port", port, most=65535)
    except ConfigurationError as refused:
        raise InvalidEndpoint(str(refused)) from None


def _address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    scope = getattr(address, "scope_id", None)
    return str(address) if scope is None or re.fullmatch(_SCOPE, scope) else None


def _host_name(text: str) -> str:
    """Return the name in lower case and without its trailing dot; raise InvalidEndpoint if it is none."""
    name = text.removesuffix(".").lower()
    if not name:
        raise InvalidEndpoint('no host was given: write host="orders.cluster-abc123.us-east-1.rds.amazonaws.com"')
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise InvalidEndpoint(
            f"{shown(text)} is no host name: labels of at most 63 ASCII letters, digits and hyphens, 253 in all"
        )
    if labels[-1].isdecimal():
        raise InvalidEndpoint(f"{shown(text)} is no IPv4 address: four numbers from 0 to 255 without leading zeros")
    return name
