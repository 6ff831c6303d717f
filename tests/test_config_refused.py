"""What cannot work is refused before any packet is sent."""

from __future__ import annotations

import re

import pytest

from aioaurora.config import from_kwargs
from aioaurora.credentials import Credentials
from aioaurora.errors import ConfigurationError


async def provider(host, port, user):
    """A provider of credentials."""
    return Credentials(user=user, password=f"{host}:{port}")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "no host: write host="),
        ({"host": ""}, "no host: write host="),
        ({"host": None, "user": "app"}, "no host: write host="),
        ({"host": "mysql://app:hush@db/"}, "a URL was given as the host"),
        ({"host": "db:3307", "port": 3306}, "host says port 3307 and port=3306"),
        ({"host": "db", "port": 0}, "from 1 to 65535"),
        ({"host": 7}, "host= is a int"),
        ({"host": "db", "conect_timeout": 1}, "'conect_timeout' is no option: did you mean 'connect_timeout'?"),
        ({"host": "db", "hearbeat_interval": 1}, "did you mean 'heartbeat_interval'?"),
        ({"host": "db", "xyzzy": 1}, "known are "),
        ({"host": "db", "read_timeout": 1}, "heartbeat_timeout and stall_timeout"),
        ({"host": "db", "minsize": 1}, "belongs to create_pool"),
        ({"host": "db", "connect_timeout": -1}, "connect_timeout=-1 must be finite and more than 0 seconds"),
        ({"host": "db", "connect_timeout": 0}, "more than 0"),
        ({"host": "db", "acquire_timeout": float("nan")}, "finite"),
        ({"host": "db", "acquire_timeout": float("inf")}, "finite"),
        ({"host": "db", "acquire_timeout": 10**400}, "too large"),
        ({"host": "db", "stall_timeout": "15"}, "must be a number of seconds"),
        ({"host": "db", "heartbeat_timeout": True}, "must be a number of seconds"),
        ({"host": "db", "dns_max_ttl": -0.1}, "0 or more"),
        ({"host": "db", "max_connecting": 0}, "whole number of 1 or more"),
        ({"host": "db", "keepalive_count": 2.5}, "whole number of 1 or more"),
        ({"host": "db", "role": "writter"}, "role='writter': did you mean 'writer'?"),
        ({"host": "db", "role": "primary"}, "write 'reader' or 'writer'"),
        ({"host": "db", "role": 1}, "write 'writer' or 'reader'"),
        ({"host": "db", "follow": True}, "write 'on' or 'off'"),
        ({"host": "db", "follow": "of"}, "did you mean 'off'?"),
        ({"host": "db", "instance": "db.1"}, "is no instance id"),
        ({"host": "db", "nameservers": ("dns.example.com",)}, "write IP addresses"),
        ({"host": "db", "nameservers": 53}, "write a tuple of IP addresses"),
        ({"host": "db", "instance_pattern": "db.example.com"}, "must hold {id} once"),
        ({"host": "db", "instance_pattern": ("{id}",)}, "instance_pattern= is a tuple"),
        ({"host": "db", "charset": "utf8m4"}, "is not known to PyMySQL"),
        ({"host": "db", "user": b"app"}, "user= is a bytes"),
        ({"host": "db", "password": b"hush"}, "password= is a bytes"),
        ({"host": "db", "password": "hush", "credentials": provider}, "were both given"),
        ({"host": "db", "credentials": "hush"}, "must be async (host, port, user)"),
        ({"host": "db", "listeners": (1,)}, "write a tuple of functions"),
        ({"host": "db", "ssl": {"ca": "x"}}, "ssl= is a dict: pass an SSLContext"),
        ({"host": "db", "ssl": "/nowhere/ca.pem"}, "cannot be read as a file of certificate authorities"),
        ({"host": "db", "ssl": ""}, "write the path"),
        ({"host": "db", "ssl": __file__}, "cannot be read as a file of certificate authorities"),
    ],
)
def test_bad_input_is_refused_at_once(options, says):
    """Before any packet, with what to write instead, and without secrets."""
    with pytest.raises(ConfigurationError, match=re.escape(says)) as refused:
        from_kwargs(**options)

    assert "hush" not in str(refused.value)
