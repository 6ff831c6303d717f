"""What cannot work is refused before any packet is sent."""

from __future__ import annotations

import re
import socket

import pytest

from aioaurora._io.kernel import KeepAlive, set_options
from aioaurora.config import from_kwargs
from aioaurora.credentials import Credentials
from aioaurora.errors import ConfigurationError
from aioaurora.making import create_pool


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
        ({"host": "db", "tcp_user_timeout": 3e6}, "tcp_user_timeout=3000000.0 must be at most 2147483 seconds"),
        ({"host": "db", "max_connecting": 0}, "max_connecting=0 must be a whole number from 1 to 100000"),
        ({"host": "db", "max_connecting": 10**5000}, "max_connecting must be a whole number from 1 to 100000"),
        ({"host": "db", "max_connecting": True}, "max_connecting= is a bool: it must be a whole number"),
        ({"host": "db", "keepalive_idle": 32768}, "keepalive_idle=32768 must be a whole number from 1 to 32767"),
        ({"host": "db", "keepalive_interval": 32768}, "from 1 to 32767"),
        ({"host": "db", "keepalive_count": 128}, "from 1 to 127"),
        ({"host": "db", "keepalive_count": 2.5}, "keepalive_count= is a float: it must be a whole number"),
        ({"host": "db", "keepalive_idle": float("nan")}, "is a float"),
        ({"host": "db", "port": True}, "port= is a bool"),
        ({"host": "db", "port": 3306.0}, "port= is a float"),
        ({"host": "db", "port": 65536}, "from 1 to 65535"),
        ({"host": "db", "client_flag": -1}, "client_flag=-1 must be a whole number from 0 to 4294967295"),
        ({"host": "db", "client_flag": 2**32}, "from 0 to 4294967295"),
        ({"host": "db", "role": "writter"}, "role='writter': did you mean 'writer'?"),
        ({"host": "db", "role": "primary"}, "write 'reader' or 'writer'"),
        ({"host": "db", "role": 1}, "write 'writer' or 'reader'"),
        ({"host": "db", "follow": True}, "write 'on' or 'observe' or 'off'"),
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


def test_a_refusal_is_a_value_error_too():
    """For who knows nothing of databases: a framework that reads settings."""
    with pytest.raises(ValueError, match="maxsize"):
        create_pool(host="db", maxsize=-1)


class Transport:
    """A socket, as a transport shows it."""

    def __init__(self, sock):
        self.sock = sock

    def get_extra_info(self, name):
        return {"socket": self.sock}[name]


def test_what_is_accepted_is_accepted_by_the_kernel_too():
    """At both ends of each range, so that no connect fails for it later."""
    for idle, interval, count, timeout in [(1, 1, 1, 1e-9), (32767, 32767, 127, 2147483)]:
        config = from_kwargs(
            host="db",
            keepalive_idle=idle, keepalive_interval=interval, keepalive_count=count, tcp_user_timeout=timeout,
        )  # fmt: skip
        keep_alive = KeepAlive(
            idle_s=config.keepalive_idle, interval_s=config.keepalive_interval, count=config.keepalive_count,
            user_timeout_s=config.tcp_user_timeout,
        )  # fmt: skip
        with socket.socket() as sock:
            set_options(Transport(sock), keep_alive)

            assert not hasattr(socket, "TCP_USER_TIMEOUT") or sock.getsockopt(6, socket.TCP_USER_TIMEOUT) > 0
