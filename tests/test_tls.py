"""What `ssl=` means for a name of RDS, and for others."""

from __future__ import annotations

import copy
import dataclasses
import ssl

import pytest
import trustme

from aioaurora.config import Config, from_kwargs, from_url
from aioaurora.errors import ConfigurationError

CLUSTER = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"


@pytest.fixture
def authorities(tmp_path):
    """A file with one certificate authority."""
    path = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize(
    "reach",
    [
        {"host": CLUSTER},
        {"host": "10.0.0.1", "instance_pattern": "{id}.abc123.us-east-1.rds.amazonaws.com"},
        {"host": "orders.proxy-a1.us-east-1.rds.amazonaws.com"},
    ],
)
def test_rds_is_encrypted_even_if_nobody_asks(reach):
    """Not verified, and that is worth an event."""
    rule = from_kwargs(**reach).tls

    assert (rule.require, rule.verify, rule.is_assumed) == (True, False, True)
    assert (rule.context.verify_mode, rule.context.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize("host", [CLUSTER, "orders-1.abc123.rds.cn-north-1.amazonaws.com.cn"])
def test_rds_is_never_spoken_to_in_plain_text(host):
    """Not on request either; the sentence says what to write."""
    with pytest.raises(ConfigurationError, match="never spoken to in plain text"):
        from_kwargs(host=host, ssl=False)
    with pytest.raises(ConfigurationError, match="never spoken to in plain text"):
        Config(endpoint=from_kwargs(host=host).endpoint)


@pytest.mark.parametrize("choice", [None, False])
def test_others_are_plain_as_with_aiomysql(choice):
    """A server of one's own needs no TLS."""
    rule = from_kwargs(host="db", ssl=choice).tls

    assert (rule.require, rule.verify, rule.is_assumed, rule.context) == (False, False, False, None)


def test_authorities_are_read_once_and_verify_the_name(authorities):
    """A path is all that it takes, and a folder will do."""
    rule = from_kwargs(host=CLUSTER, ssl=authorities).tls

    assert (rule.require, rule.verify, rule.is_assumed) == (True, True, False)
    assert (rule.context.verify_mode, rule.context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(rule.context.get_ca_certs()) == 1
    assert from_kwargs(host=CLUSTER, ssl=str(authorities.parent)).tls.verify


def test_context_is_taken_as_it_is():
    """Whoever passes a context that verifies nothing knows it: no event."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    rule = from_kwargs(host=CLUSTER, ssl=context).tls

    assert rule.context is context
    assert (rule.require, rule.verify, rule.is_assumed) == (True, False, False)


def test_configuration_can_be_copied_with_its_context():
    """An SSLContext cannot, so the rule around it stays the same (case 34)."""
    config = from_kwargs(host=CLUSTER)

    assert copy.copy(config) == config
    assert copy.deepcopy(config) is config
    assert copy.deepcopy(config.tls) is config.tls
    assert dataclasses.replace(config, connect_timeout=1).tls is config.tls


@pytest.mark.parametrize("text", ["true", "1", "yes", "ON"])
def test_ssl_in_a_url_may_be_true(text):
    """The system's authorities."""
    assert from_url(f"mysql://db/?ssl={text}").tls.verify


def test_ssl_in_a_url_may_be_a_path(authorities):
    """Anything but true, false and none is a path."""
    assert from_url(f"mysql://db/?ssl={authorities}").tls.verify
