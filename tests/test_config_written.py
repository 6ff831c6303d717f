"""A configuration as it stands in a URL or in an option file."""

from __future__ import annotations

import re

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora.config import from_kwargs, from_url
from aioaurora.credentials import Credentials, FixedPassword
from aioaurora.errors import ConfigurationError, Role
from aioaurora.making import create_pool

CLUSTER = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"


async def provider(host, port, user):
    """A provider of credentials."""
    return Credentials(user=user, password=f"{host}:{port}")


def test_url_is_read_in_all_its_parts():
    """Everything is percent-decoded, and options get the type of their field."""
    config = from_url(
        f"mysql://app%40corp:p%40ss%2Fw%C3%B6rd%2B@{CLUSTER}:3307/my%20shop?role=reader&connect_timeout=1.5&max_connecting=2"
        "&autocommit=true&give_up_waiting_after=none&nameservers=10.0.0.2,10.0.0.3:5353&follow=OFF&init_command=SET+%40x%3D1&client_flag=2"
    )

    assert (config.user, config.credentials) == ("app@corp", FixedPassword("p@ss/wörd+"))
    assert str(config.endpoint) == f"{CLUSTER}:3307"
    assert dict(config.session) == {"db": "my shop", "autocommit": True, "init_command": "SET @x=1", "client_flag": 2}
    assert (config.role, config.connect_timeout, config.max_connecting, config.follow) == (Role.READER, 1.5, 2, "off")
    assert (config.give_up_waiting_after, config.nameservers) == (None, ("10.0.0.2:53", "10.0.0.3:5353"))


def test_password_may_be_an_option_of_the_url():
    """As some secret stores write it; PyMySQL's names will do."""
    config = from_url("mysql://app@db/?passwd=p%26ss&database=shop")

    assert (config.credentials, config.session["db"]) == (FixedPassword("p&ss"), "shop")
    assert "p&ss" not in repr(config)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+aiomysql", "mysql+aioaurora", "MYSQL"])
def test_schemes_of_others_are_understood(scheme):
    """A URL for SQLAlchemy is one for us."""
    assert from_url(f"{scheme}://app@[::1]:3307/shop").endpoint.host == "::1"


def test_arguments_win_over_the_url():
    """Explicit over written; None says nothing."""
    config = from_url(
        "mysql://app:old@db/shop?connect_timeout=1&role=reader", password="new", connect_timeout=2, role=None, user=None
    )

    assert (config.user, config.credentials, config.connect_timeout, config.role) == (
        "app",
        FixedPassword("new"),
        2.0,
        Role.READER,
    )


def test_none_is_an_argument_where_it_is_a_value():
    """It wins over the URL as any other does: "never" is not "not said"."""
    making = create_pool("mysql://app@db/shop?max_idle=30&give_up_waiting_after=5", max_lifetime=None, max_idle=None)

    assert (making._config.max_lifetime, making._config.max_idle) == (None, None)
    assert from_url("mysql://db/?give_up_waiting_after=5", give_up_waiting_after=None).give_up_waiting_after is None


def test_other_host_does_not_get_the_port_of_the_urls():
    """The port belongs to the host beside which it stands."""
    assert str(from_url("mysql://db:3307/", host="other").endpoint) == "other:3306"


def test_provider_wins_over_password_of_the_url():
    """A URL from a secret store, used with tokens."""
    assert from_url("mysql://app:old@db/", credentials=provider).credentials is provider


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgres://app:hush@db/", "'postgres' URLs are not understood"),
        ("mysql://app:hush@db:port/", "bad host or port"),
        ("mysql://app:hush@db:99999/", "bad host or port"),
        ("mysql://app:hush[@db/", "bad host or port"),
        ("mysql://app:hush\u2100x@db/", "bad host or port"),
        ("mysql://app:hush#x@db/", "%XX"),
        ("mysql://app@db/#hush", "%23"),
        ("mysql://app@db/hush/x", "%2F"),
        ("mysql://app:hush@/shop", "no host"),
        ("mysql://app:hush@db/?conect_timeout=1", "did you mean 'connect_timeout'?"),
        ("mysql://app:hush@db/?connect_timeout=fast", "connect_timeout='fast' is no number"),
        ("mysql://app:hush@db/?connect_timeout=1&connect_timeout=2", "says 'connect_timeout' twice"),
        ("mysql://app:hush@db/?host=other", "says 'host' twice"),
        ("mysql://app:hush@db/?passwd=hush", "says 'password' twice"),
        ("mysql://app:hush@db/?echo=maybe", "write true or false"),
        ("mysql://app:hush@db/?client_flag=1.5", "is no whole number"),
        ("mysql://app:hush@db/?cursorclass=DictCursor", "pass it as an argument"),
        ("mysql://app:hush@db/?connect_timeout=1e999", "finite"),
    ],
)
def test_url_that_cannot_work_is_refused_without_its_password(url, says):
    """Neither the sentence nor its cause repeats what may be a secret."""
    with pytest.raises(ConfigurationError, match=re.escape(says)) as refused:
        from_url(url)

    chain = [
        refused.value,
        refused.value.__cause__,
        None if refused.value.__suppress_context__ else refused.value.__context__,
    ]
    assert "hush" not in "".join(map(repr, chain)) + str(refused.value)


@hypothesis.given(user=st.text(min_size=1), password=st.text(), db=st.text(min_size=1))
def test_url_brings_back_what_was_quoted_into_it(user, password, db):
    """Any text may be a user, a password or a database."""
    from urllib.parse import quote

    hypothesis.assume(not any("\ud800" <= char <= "\udfff" for char in user + password + db))
    config = from_url(f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@db/{quote(db, safe='')}")

    assert (config.user, config.credentials, config.session["db"]) == (user, FixedPassword(password), db)


@hypothesis.given(text=st.text() | st.text(alphabet="ab1:/@?#[]%&=.+", max_size=30).map("mysql://".__add__))
def test_any_url_is_read_or_refused(text):
    """Nothing but ConfigurationError comes out."""
    try:
        config = from_url(text)
    except ConfigurationError:
        return

    assert config.endpoint.host


def test_option_file_fills_in_what_was_not_said(tmp_path):
    """It is read here, as it may name the host; aiomysql would dial that for every instance."""
    path = tmp_path / "my.cnf"
    path.write_text(
        "[client]\nhost = db.example.com\nport=3307\nuser=app\npassword='hush # not a comment'\ndatabase=shop\n"
        "default-character-set=utf8mb4\nquick\n[other]\nhost=other.example.com\nsocket=/run/x.sock\n"
    )

    config = from_kwargs(read_default_file=path, user="me")
    other = from_kwargs(read_default_file=str(path), read_default_group="other")

    assert (str(config.endpoint), config.user, config.credentials) == (
        "db.example.com:3307",
        "me",
        FixedPassword("hush # not a comment"),
    )
    assert dict(config.session) == {"db": "shop", "charset": "utf8mb4"}
    assert (other.endpoint.host, other.session["unix_socket"]) == ("other.example.com", "/run/x.sock")


@pytest.mark.parametrize("text", ["password = hush", "[client]\n hush = x\n[", "[client]\nport=hush\n"])
def test_option_file_that_cannot_be_read_is_refused(tmp_path, text):
    """Its lines are not repeated but for the option that is wrong."""
    path = tmp_path / "my.cnf"
    path.write_text(text)

    with pytest.raises(ConfigurationError) as refused:
        from_kwargs(read_default_file=path)

    assert "password" not in str(refused.value)


def test_option_file_that_is_not_there_is_refused():
    """A silence of aiomysql's that we do not share."""
    with pytest.raises(ConfigurationError, match="FileNotFoundError"):
        from_kwargs(read_default_file="/nowhere/my.cnf", host="db")
