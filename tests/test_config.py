"""A configuration from a URL, from keywords and from an option file, and what is refused at once."""

from __future__ import annotations

import dataclasses
import inspect
import re

import aiomysql
import pymysql
import pytest

from aioaurora._core import keywords
from aioaurora._core.endpoint import EndpointKind
from aioaurora.config import Config, from_arguments, from_kwargs, from_url
from aioaurora.credentials import AskedPassword, Credentials, FixedPassword
from aioaurora.errors import ConfigurationError, InvalidEndpoint, Role

CLUSTER = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
READER = "orders.cluster-ro-abc123.us-east-1.rds.amazonaws.com"


async def provider(host, port, user):
    """A provider of credentials."""
    return Credentials(user=user, password=f"{host}:{port}")


def test_defaults_are_those_of_the_design():
    """What nobody said; the table of docs/reference is made from the same values."""
    config = from_kwargs(host="db.example.com")

    durations = {
        each.name: getattr(config, each.name) for each in dataclasses.fields(config) if "seconds" in each.metadata
    }
    assert durations == {
        "connect_timeout": 3.0,
        "acquire_timeout": 30.0,
        "refresh_interval": 5.0,
        "heartbeat_interval": 1.0,
        "heartbeat_timeout": 2.0,
        "stall_timeout": 15.0,
        "suspect_after": 0.25,
        "search_interval": 0.1,
        "give_up_waiting_after": None,
        "dns_max_ttl": 5.0,
        "dns_stale_if_error": 300.0,
        "tcp_user_timeout": 30.0,
    }
    assert (config.max_connecting, config.keepalive_idle, config.keepalive_interval, config.keepalive_count) == (
        4,
        60,
        10,
        3,
    )
    assert (config.role, config.instance, config.follow, config.nameservers, config.listeners) == (
        None,
        None,
        "on",
        (),
        (),
    )
    assert (config.user, config.credentials, dict(config.session)) == (None, FixedPassword(""), {})


def test_every_keyword_of_aiomysql_is_accepted():
    """An import of aioaurora in the place of aiomysql changes no call."""
    signature = inspect.signature(aiomysql.connection.connect)
    said = {name: each.default for name, each in signature.parameters.items()} | {"host": "db", "connect_timeout": 7}

    config = from_kwargs(**said)

    assert tuple(signature.parameters) == keywords.POSITIONAL
    assert config.connect_timeout == 7.0
    assert config.session["cursorclass"] is aiomysql.Cursor
    assert config.session["conv"] == pymysql.converters.decoders
    assert config.session["autocommit"] is False


def test_aiomysql_own_time_out_of_none_means_ours():
    """What aiomysql leaves out waits for ever; ours does not."""
    assert from_kwargs(host="db", connect_timeout=None).connect_timeout == 3.0


def test_autocommit_of_none_is_kept():
    """It is aiomysql's "as the server does"; other Nones say nothing."""
    assert dict(from_kwargs(host="db", autocommit=None, db=None).session) == {"autocommit": None}


def test_aliases_of_pymysql_are_accepted():
    """`passwd` and `database` are what older programs write."""
    config = from_kwargs(host="db", passwd="hush", database="shop")

    assert (config.credentials, config.session["db"]) == (FixedPassword("hush"), "shop")


def test_name_and_alias_together_are_refused():
    """Which of the two is meant cannot be known."""
    with pytest.raises(ConfigurationError, match="'passwd' and 'password' are the same option"):
        from_kwargs(host="db", passwd="hush", password="shush")


@pytest.mark.parametrize(
    ("host", "kind", "role"),
    [
        (CLUSTER, EndpointKind.CLUSTER, Role.WRITER),
        (READER, EndpointKind.READER, Role.READER),
        ("10.0.0.1", EndpointKind.ADDRESS, Role.WRITER),
    ],
)
def test_role_follows_from_the_endpoint(host, kind, role):
    """Nobody said a role: the endpoint does."""
    config = from_kwargs(host=host)

    assert (config.role, config.endpoint.kind, config.endpoint.default_role) == (None, kind, role)


@pytest.mark.parametrize("role", ["reader", "READER", Role.READER])
def test_role_is_one_value(role):
    """Text or Role: what is kept is a Role."""
    assert from_kwargs(host="db", role=role).role is Role.READER


@pytest.mark.parametrize(
    "host", ["orders.proxy-abc123.us-east-1.rds.amazonaws.com", "r.endpoint.proxy-abc123.us-east-1.rds.amazonaws.com"]
)
def test_proxy_is_not_followed_by_default(host):
    """There is nothing behind it to see (case 21)."""
    assert from_kwargs(host=host).follow == "off"
    assert from_kwargs(host=host, follow="on").follow == "on"


def test_socket_is_localhost_and_not_followed():
    """No host is needed, and a socket leads to one server."""
    config = from_kwargs(unix_socket="/run/mysqld.sock", user="app")

    assert (config.endpoint.host, config.follow, config.tls.require) == ("localhost", "off", False)


def test_address_without_pattern_is_accepted():
    """It is asked first whether it is Aurora at all (cases 18, 19)."""
    assert from_kwargs(host="10.0.0.1").endpoint.pattern is None


def test_pattern_and_port_reach_the_endpoint():
    """Instances inherit the port (case 19)."""
    config = from_kwargs(host="10.0.0.1", port=3307, instance_pattern="?.db.example.com")

    assert config.endpoint.instance_host("orders-1") == ("orders-1.db.example.com", 3307)


def test_name_servers_are_put_in_one_form():
    """A single text is a list of one."""
    assert from_kwargs(host="db", nameservers="127.0.0.1:5353").nameservers == ("127.0.0.1:5353",)
    assert from_kwargs(host="db", nameservers=["10.0.0.2", "::1"]).nameservers == ("10.0.0.2:53", "[::1]:53")


async def test_running_loop_is_accepted_and_another_is_not():
    """The `loop` of aiomysql changes nothing, so it must be the one that runs."""
    import asyncio

    assert from_kwargs(host="db", loop=asyncio.get_running_loop())
    with pytest.raises(ConfigurationError, match="leave it out"):
        from_kwargs(host="db", loop=object())


def test_positions_are_those_of_aiomysql():
    """The first positional argument is a host, if it is no URL."""
    config = from_arguments("db.example.com", "app", "hush", "shop", 3307, cursorclass=aiomysql.DictCursor)

    assert (str(config.endpoint), config.user, config.credentials) == (
        "db.example.com:3307",
        "app",
        FixedPassword("hush"),
    )
    assert dict(config.session) == {"db": "shop", "cursorclass": aiomysql.DictCursor}


def test_first_position_may_be_a_url():
    """And then it is the only one."""
    assert from_arguments("mysql://app@db/shop", db="other").session["db"] == "other"
    with pytest.raises(ConfigurationError, match="only positional argument"):
        from_arguments("mysql://app@db/shop", "app")


def test_position_and_name_together_are_refused():
    """As Python does for any function."""
    with pytest.raises(ConfigurationError, match="'db' was given twice"):
        from_arguments("db", "app", "hush", "shop", database="other")


def test_too_many_positions_are_refused():
    """There are 24 in aiomysql."""
    with pytest.raises(ConfigurationError, match="pass them by name"):
        from_arguments(*["x"] * 25)


def test_repr_shows_what_was_said_and_no_secret():
    """The whole of what one asks first; the password in no part of it."""
    config = from_url(f"mysql://app:hush@{CLUSTER}/shop?role=reader&acquire_timeout=10")

    assert repr(config) == f"<Config app@{CLUSTER}:3306 role=reader tls=unverified acquire_timeout=10.0 db=shop>"
    assert "hush" not in repr(config.credentials)
    assert "hush" not in repr(dict(config.session))


def test_password_may_be_asked_for():
    """A function is asked at each connect (aiomysql #285)."""
    assert from_kwargs(host="db", password=lambda: "hush").credentials.__class__ is AskedPassword


def test_configuration_is_a_value():
    """Nothing of it changes, the options for sessions neither."""
    config = from_kwargs(host="db", db="shop")

    with pytest.raises(dataclasses.FrozenInstanceError):
        config.role = Role.READER
    with pytest.raises(TypeError):
        config.session["db"] = "other"
    assert config == from_kwargs(host="db", db="shop")
    assert hash(config) == hash(from_kwargs(host="db", db="shop"))


def test_every_option_is_documented():
    """The table of docs/reference is made from these lines."""
    listed = set(
        re.findall(r"^ +(\w+): ", (inspect.getdoc(Config) or "") + (inspect.getdoc(from_kwargs) or ""), re.MULTILINE)
    )

    assert {each.name for each in dataclasses.fields(Config)} <= listed
    assert keywords.REACH.keys() - {"loop"} <= listed


def test_endpoint_that_is_none_is_told_from_other_mistakes():
    """Both are ConfigurationError; the first is also InvalidEndpoint."""
    with pytest.raises(InvalidEndpoint):
        from_kwargs(host="no host")
