"""No sentence repeats a secret that was written in the wrong place, and no traceback does."""

from __future__ import annotations

import traceback

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora.config import from_arguments
from aioaurora.errors import ConfigurationError, InvalidEndpoint

CLUSTER = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
PEM = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n"
LONG = PEM + "hush" * 2000


def refusal(*args, **kwargs):
    """Give what a refusal prints: its sentence, and those of its causes."""
    with pytest.raises(ConfigurationError) as refused:
        from_arguments(*args, **kwargs)
    return "".join(traceback.format_exception_only(refused.value)), _chain(refused.value)


def _chain(error):
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return str(error) + repr(error) + (_chain(before) if before else "")


@pytest.mark.parametrize(
    ("host", "says"),
    [
        (f"app:hush@{CLUSTER}", "a URL, which starts with mysql://"),
        (f"app:hush@{CLUSTER}:3306", "a URL, which starts with mysql://"),
        (f"app:hush@{CLUSTER}/shop", "a URL, which starts with mysql://"),
        ("[hush@db]", "a URL, which starts with mysql://"),
        ("//app:hush@db", "a URL, which starts with mysql://"),
        ("db:hush", "'db': what follows the colon must be a port"),
        ("db;password=hush", "it may hold a secret"),
        ("host=db\npassword hush", "it may hold a secret"),
        ('{"password": "hush"}', "it may hold a secret"),
        ("hush" * 100, "it may hold a secret"),
    ],
)
def test_host_that_is_more_than_a_host_is_not_repeated(host, says):
    """A URL without its scheme, or another driver's form of one."""
    sentence, chain = refusal(host)

    assert says in sentence
    assert "hush" not in chain


@pytest.mark.parametrize(
    "url",
    [
        "mysql://app:12?hush@host/db",
        "mysql://app:12?echo=hush@host/db",
        "mysql://app:12/hush@host",
        "mysql://app:12#hush@host/db",
        "mysql://app:p@ss?hush@host/db",
        "mysql://app:p@ss?connect_timeout=hush@host/db",
        "mysql://app:p@ss/hush@host/db",
    ],
)
def test_password_that_was_not_quoted_is_not_taken_for_something_else(url):
    """What follows its first special character would be an option, a database or a port."""
    sentence, chain = refusal(url)

    assert "%3F for ?" in sentence
    assert "hush" not in chain


@pytest.mark.parametrize("url", ["mysql://db/?hush!=1", "mysql://db/?hush%0A=1", "mysql://db/?hush-=1"])
def test_name_that_no_option_could_have_is_not_repeated(url):
    """It is a piece of something else."""
    sentence, chain = refusal(url)

    assert "no option has such a name" in sentence
    assert "hush" not in chain


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pasword": "hush"}, "'pasword' is no option: did you mean 'password'?"),
        ({"passwd": b"hush"}, "password= is a bytes"),
        ({"passwd": ["hush"]}, "password= is a list"),
        ({"passwd": "hush", "password": "hush"}, "the same option"),
        ({"credentials": "hush"}, "must be async"),
        ({"credentials": {"password": "hush"}}, "must be async"),
        ({"hush, hush": 1}, "no option has such a name"),
        ({"ssl": PEM}, "the text of a certificate or key"),
        ({"ssl": LONG}, "the text of a certificate or key"),
        ({"ssl": "~hush\0"}, "cannot be read"),
        ({"ssl": "hush=" + "x" * 5000}, "cannot be read"),
        ({"ssl": {"key": "hush"}}, "ssl= is a dict"),
        ({"read_default_file": "[client]\npassword=hush"}, "cannot be read"),
        ({"read_default_file": "[client]\npassword=hush" * 1000}, "cannot be read"),
        ({"read_default_file": "mysql://app:hush@db/"}, "cannot be read"),
        ({"read_default_file": {"password": "hush"}}, "read_default_file= is a dict"),
        ({"read_default_file": "hush\0"}, "cannot be read"),
        ({"instance_pattern": "mysql://app:hush@db"}, "instance_pattern"),
        ({"instance_pattern": "app:hush@{id}.db"}, "a URL"),
        ({"nameservers": "app:hush@10.0.0.2"}, "a URL"),
        ({"nameservers": {"password": "hush"}}, "nameservers= is a dict: write a tuple"),
        ({"nameservers": (b"hush",)}, "nameservers= holds a bytes: write a tuple"),
        ({"listeners": ("hush",)}, "listeners= holds a str: write a tuple"),
        ({"instance": "mysql://app:hush@db"}, "is no instance id"),
        ({"charset": "app:hush@db"}, "is not known to PyMySQL"),
        ({"role": "app:hush@db"}, "write 'reader' or 'writer'"),
        ({"role": ["hush"]}, "role= is a list: write 'writer' or 'reader'"),
        ({"port": "hush"}, "port= is a str: it must be a whole number"),
        ({"host": "db:3307", "port": "hush"}, "port= is a str: it must be a whole number"),
        ({"connect_timeout": "hush"}, "connect_timeout= is a str: it must be a number of seconds"),
        ({"max_connecting": "hush"}, "max_connecting= is a str: it must be a whole number"),
        ({"client_flag": "hush"}, "client_flag= is a str: it must be a whole number"),
    ],
)
def test_value_that_may_be_a_secret_is_not_repeated(options, says):
    """Its name and its type say enough."""
    sentence, chain = refusal(**{"host": "db"} | options)

    assert says in sentence
    assert "hush" not in chain


@pytest.mark.parametrize("text", ["[client]\nport=hush\n", "[client]\nport=12 hush\nhost=db\n"])
def test_option_file_is_not_repeated(tmp_path, text):
    """Nor the value that is wrong."""
    path = tmp_path / "my.cnf"
    path.write_text(text)

    _, chain = refusal(read_default_file=path)

    assert "hush" not in chain


def test_names_that_can_be_hosts_are_repeated():
    """Whoever mistypes one wants to see it."""
    with pytest.raises(InvalidEndpoint, match=r"'orders_\.cluster!' is no host name"):
        from_arguments("orders_.cluster!")


@hypothesis.given(password=st.text(alphabet="abc/?#@:[]%&=", max_size=8).map(lambda text: f"hush{text}hush"))
def test_password_as_it_is_in_a_url_is_never_repeated(password):
    """Whatever special characters it has: the URL is read rightly, or refused without it."""
    try:
        printed = repr(from_arguments(f"mysql://app:{password}@db.example.com/shop"))
    except ConfigurationError as refused:
        printed = _chain(refused)

    assert "hush" not in printed
