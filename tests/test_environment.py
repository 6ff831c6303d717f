"""Options from the environment: every one that a text can express, and none that something else says."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_type_hints

import pymysql
import pytest

import aioaurora
from aioaurora._core.keywords import ALIASES, INSTEAD, NOT_AS_TEXT
from aioaurora.config import KINDS, Config, from_kwargs
from aioaurora.environment import from_env
from aioaurora.errors import ConfigurationError
from aioaurora.pool_config import PoolConfig

TEXTS = {
    "role": "reader",
    "follow": "off",
    "reader_strategy": "nearest",
    "reset": "never",
    "reader_weights": "db-2=2",
    "host": "db.test",
    "instance": "db-1",
    "charset": "utf8mb4",
    "nameservers": "10.0.0.2",
}


def read(*args, **variables):
    """Read variables that are given without their prefix."""
    options = variables.pop("options", {})
    return from_env(*args, environ={f"AIOAURORA_{name}": text for name, text in variables.items()}, **options)


def test_variables_are_options_of_their_own_kind():
    """Numbers, truths, several, none, and a mapping."""
    said = read(
        HOST="db.test", PORT="3307", USER="app", PASSWORD="1234", DB="shop", MAXSIZE="20", AUTOCOMMIT="none",
        MAX_LAG="0.5", READER_FALLBACK="no", NAMESERVERS="10.0.0.2, 10.0.0.3", READER_WEIGHTS="db-2=2, db-3=0.5",
        SSL="true", GIVE_UP_WAITING_AFTER="none",
    )  # fmt: skip

    assert said == {
        "host": "db.test", "port": 3307, "user": "app", "password": "1234", "db": "shop", "maxsize": 20,
        "autocommit": None, "max_lag": 0.5, "reader_fallback": False, "nameservers": ("10.0.0.2", "10.0.0.3"),
        "reader_weights": {"db-2": 2.0, "db-3": 0.5}, "ssl": True, "give_up_waiting_after": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted((KINDS.keys() | get_type_hints(PoolConfig).keys()) - NOT_AS_TEXT))
def test_every_option_has_a_variable(name):
    """Each that a text can express."""
    fields = {each.name: each for kind in (Config, PoolConfig) for each in dataclasses.fields(kind)}
    default = fields[name].default if name in fields else None
    text = TEXTS.get(name) or (str(default) if isinstance(default, int | float) else "1")

    assert read(**{name.upper(): text})[name] is not None


@pytest.mark.parametrize("name", sorted(NOT_AS_TEXT))
def test_functions_and_objects_are_no_text(name):
    """It says how to pass them."""
    with pytest.raises(ConfigurationError, match=f"AIOAURORA_{name.upper()} cannot be written"):
        read(**{name.upper(): "x"})


def test_an_argument_wins_over_a_url_and_a_url_over_the_environment():
    """Each says what the ones before it do not."""
    said = read(
        "mysql://app@db.test/shop?maxsize=7&minsize=2",
        MAXSIZE="8", MINSIZE="3", MAX_IDLE="30", PASSWORD="from the environment", USER="other",
        options={"minsize": 1},
    )  # fmt: skip

    assert (said["minsize"], said["maxsize"], said["max_idle"]) == (1, 7, 30.0)
    assert (said["user"], said["password"]) == ("app", "from the environment")


def test_the_environments_url_wins_over_its_other_variables():
    """One order, wherever the URL comes from."""
    said = read(URL="mysql://app:pw@db.test:3307/shop?follow=on", FOLLOW="off", MAXSIZE="8", PORT="3308", HOST="other")

    assert (said["host"], said["port"], said["follow"], said["maxsize"]) == ("db.test", 3307, "on", 8)


def test_a_shared_cluster_says_itself_how_to_connect():
    """What the environment says of that is for those who have none; the pool's own options count."""
    cluster = aioaurora.Cluster("mysql://app@db.test/shop")

    said = read(
        URL="mysql://other@other.test/shop?maxsize=7", PASSWORD="pw", FOLLOW="off", MINSIZE="2",
        options={"cluster": cluster},
    )  # fmt: skip

    assert said == {"cluster": cluster, "maxsize": 7, "minsize": 2}


@pytest.mark.parametrize("where", [["mysql://app@here.test/shop"], []])
def test_the_environments_url_is_for_those_who_name_no_host(where):
    """Its password is that of another host."""
    options = {} if where else {"host": "here.test", "user": "app"}

    said = read(*where, URL="mysql://root:secret@there.test:3307/other", PORT="3308", options=options)

    assert (said["host"], said["user"]) == ("here.test", "app")
    assert said.keys().isdisjoint({"password", "port"})


def test_credentials_replace_the_environments_password():
    """Nobody has two."""

    async def provider(host, port, user):
        return aioaurora.Credentials(user=user, password="x")

    said = read("mysql://app@db.test/shop", PASSWORD="old", options={"credentials": provider})

    assert "password" not in said
    from_kwargs(**said)


@pytest.mark.parametrize("none", ["none", "None", "NONE", "null"])
def test_none_is_said_in_text(none):
    """It is a value, "never" or "no limit", and wins over what is said below."""
    url = f"mysql://app@db.test/shop?max_idle={none}&role={none}"
    said = read(url, MAX_LIFETIME=none, MAX_IDLE="30", ROLE="reader", GIVE_UP_WAITING_AFTER="5",
                options={"give_up_waiting_after": None})  # fmt: skip

    assert {name: said[name] for name in ("max_lifetime", "max_idle", "role", "give_up_waiting_after")} == {
        "max_lifetime": None, "max_idle": None, "role": None, "give_up_waiting_after": None,
    }  # fmt: skip
    config = aioaurora.create_pool(**said)._config
    assert (config.max_lifetime, config.max_idle) == (None, None)


def test_what_may_not_be_none_refuses_it():
    """By name; and so is an empty value in a URL, which might mean anything."""
    with pytest.raises(ConfigurationError, match="AIOAURORA_MAXSIZE='none' is no whole number"):
        read(MAXSIZE="none")
    with pytest.raises(ConfigurationError, match="connect_timeout='None' is no number"):
        read("mysql://app@db.test/?connect_timeout=None")
    with pytest.raises(ConfigurationError, match="max_lifetime='' is no number"):
        read("mysql://app@db.test/?max_lifetime=")


def test_an_empty_variable_says_nothing():
    """As compose files leave them behind."""
    assert read(HOST="", MAXSIZE="", PASSWORD="") == {}


def test_what_is_misspelt_is_refused_and_what_is_not_ours_is_left_alone():
    """Kubernetes names variables after services, and so may others."""
    with pytest.raises(ConfigurationError, match="did you mean 'AIOAURORA_MAXSIZE'"):
        read(MAXSIZ="3")
    with pytest.raises(ConfigurationError, match="did you mean 'AIOAURORA_FOLLOW'"):
        read(FOLOW="off")

    assert (
        read(
            REQUIRE_ALL="1",
            HYPOTHESIS="brief",
            CYCLES="9",
            TEST="1",
            PORTAL="x",
            SERVICE_HOST="10.0.0.1",
            PORT_3306_TCP="tcp://10.0.0.1:3306",
        )
        == {}
    )


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("SSL_CA", "write ssl="),
        ("SSL_CERT", "pass an ssl.SSLContext as ssl="),
        ("SSL_VERIFY_IDENTITY", "to verify"),
        ("READ_TIMEOUT", "heartbeat_timeout and stall_timeout"),
        ("NO_DELAY", "always on"),
        ("BIND_ADDRESS", "aiomysql does not have it"),
        ("DSN", "write AIOAURORA_URL"),
    ],
)
def test_what_other_drivers_have_is_refused(name, instead):
    """As in a URL: a certificate that is not looked at must not pass in silence."""
    with pytest.raises(ConfigurationError, match=f"AIOAURORA_{name} is no option: .*{instead}"):
        read(**{name: "x"})


def test_whatever_pymysql_takes_is_an_option_or_refused():
    """None is passed over."""
    theirs = inspect.signature(pymysql.connections.Connection.__init__).parameters.keys() - {"self"}

    assert theirs <= KINDS.keys() | ALIASES.keys() | INSTEAD.keys()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"MAXSIZE": "many"}, "AIOAURORA_MAXSIZE='many' is no whole number"),
        ({"READER_FALLBACK": "maybe"}, "AIOAURORA_READER_FALLBACK='maybe': write true or false"),
        ({"DB": "shop", "DATABASE": "shop"}, "says 'db' twice"),
        ({"URL": "mysql://app:hunter2@db.test/shop?maxsiz=3"}, "did you mean 'maxsize'"),
        ({"READER_WEIGHTS": "db-2"}, "is no number"),
        ({"ACQUIRE_TIMEOUT": "-1"}, "AIOAURORA_ACQUIRE_TIMEOUT: acquire_timeout=-1.0 must be finite"),
        ({"FOLLOW": "maybe"}, "AIOAURORA_FOLLOW: follow='maybe'"),
        ({"NAMESERVERS": "10.0.0.2 10.0.0.3"}, "AIOAURORA_NAMESERVERS: nameservers='10.0.0.2 10.0.0.3'"),
        ({"MAXSIZE": "-1"}, "AIOAURORA_MAXSIZE: maxsize=-1 must be"),
        ({"READER_WEIGHTS": "db-2=-1"}, "AIOAURORA_READER_WEIGHTS: reader_weights"),
        ({"PORT": "70000"}, "AIOAURORA_PORT: "),
        ({"CHARSET": "klingon"}, "AIOAURORA_CHARSET: "),
    ],
)
def test_what_cannot_be_read_is_refused(variables, sentence):
    """It names the variable, and repeats no secret."""
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        read(**variables)

    assert "hunter2" not in str(refused.value)


def test_what_depends_on_other_options_is_left_to_them():
    """A URL or an argument may say the other half."""
    assert read(MINSIZE="20", READER_MINSIZE="30")["minsize"] == 20
    assert read(HOST="orders.cluster-abc123.us-east-1.rds.amazonaws.com", SSL="/none.pem")["ssl"] == "/none.pem"


def test_another_prefix_is_another_cluster(monkeypatch):
    """None reads nothing."""
    monkeypatch.setenv("CATALOGUE_HOST", "catalogue.test")
    monkeypatch.setenv("AIOAURORA_HOST", "orders.test")

    assert from_env(prefix="CATALOGUE_") == {"host": "catalogue.test"}
    assert from_env()["host"] == "orders.test"
    assert from_env(prefix=None) == {}
