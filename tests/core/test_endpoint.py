"""Host names as AWS writes them, and everything else that people write."""

from __future__ import annotations

import pathlib
import string
import tomllib

import hypothesis
import pytest
from hypothesis import strategies as st

from aioaurora._core.endpoint import (
    Endpoint,
    EndpointKind,
    is_server_id,
    parse_endpoint,
    parse_nameserver,
    parse_pattern,
    without_green_suffix,
)
from aioaurora.errors import ConfigurationError, InvalidEndpoint

SCENARIOS = tomllib.loads((pathlib.Path(__file__).parent / "scenarios/endpoints.toml").read_text(encoding="utf-8"))
CLUSTER = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
server_id = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}[A-Za-z0-9]", fullmatch=True)
suffix = st.sampled_from(
    ["us-east-1.rds.amazonaws.com", "rds.cn-north-1.amazonaws.com.cn", "rds.us-iso-east-1.c2s.ic.gov", "xx.aurora.test"]
)
# Text that is nearly an endpoint finds more than text at random does.
nearly = st.text(alphabet="ab1.:-[]%{}?@/ ", max_size=30) | st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            ["orders", ".", ":", "[", "]", "::1", "cluster-", "x1", ".rds.amazonaws.com", "3306", "{id}", "\n", "é"]
        )
    ),
)


@pytest.mark.parametrize("scenario", SCENARIOS["endpoint"], ids=lambda scenario: scenario["title"])
def test_host_name_says(scenario):
    """Each name of the scenario file is read as it expects (cases 18, 19, 21, 51)."""
    expected = {
        "kind": "other",
        "name": None,
        "port": 3306,
        "pattern": None,
        "region": None,
        "is_rds": False,
        "role": "writer",
    }
    expected |= {"host": scenario.get("canonical", scenario["host"])} | scenario["expect"]
    instance = expected.pop("instance", None)

    endpoint = parse_endpoint(scenario["host"], instance_pattern=scenario.get("pattern"))

    seen = {name: getattr(endpoint, name) for name in expected if name != "role"}
    assert seen | {"role": endpoint.default_role or "either"} == expected
    assert instance is None or endpoint.instance_host("db-2") == tuple(instance)


@pytest.mark.parametrize("scenario", SCENARIOS["refused"], ids=lambda scenario: scenario["title"])
def test_other_text_is_refused(scenario):
    """What is no endpoint is refused with what is wrong with it."""
    with pytest.raises(InvalidEndpoint) as refused:
        parse_endpoint(scenario["host"], instance_pattern=scenario.get("pattern"))

    assert scenario["says"] in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("port", [0, -1, 65536, True, "3306", 3306.0, None])
def test_port_that_is_none_is_refused(port):
    """A port is a whole number from 1 to 65535."""
    with pytest.raises(InvalidEndpoint, match="whole number"):
        parse_endpoint("db", port)


def test_instances_inherit_port():
    """The port of the endpoint is that of every instance (case 19)."""
    assert parse_endpoint(CLUSTER, 3307).instance_host("DB-2") == ("db-2.abc123.us-east-1.rds.amazonaws.com", 3307)


@pytest.mark.parametrize("text", ["", "2db", "db_2", "db.2", "db 2", "db-2\n", "-db", "d" * 64, "db\u0661", "a/../b"])
def test_id_that_is_no_label_never_becomes_host_name(text):
    """Ids are data until they look like ids."""
    assert not is_server_id(text)
    with pytest.raises(InvalidEndpoint, match="is no instance id"):
        parse_endpoint(CLUSTER).instance_host(text)


def test_id_with_hyphen_at_end_is_refused_as_host_name():
    """It has the form of an id, but no DNS name ends a label so."""
    with pytest.raises(InvalidEndpoint, match="is no host name"):
        parse_endpoint(CLUSTER).instance_host("db-")


def test_endpoint_without_pattern_says_what_to_add():
    """An Aurora instance behind a name that says nothing needs one more line (case 18)."""
    with pytest.raises(ConfigurationError, match=r"(?s)'db\.corp\.example\.com'.*'orders-1'.*instance_pattern="):
        parse_endpoint("db.corp.example.com").instance_host("orders-1")


@pytest.mark.parametrize(
    ("server_id", "name"),
    [
        ("orders-1-green-ab12cd", "orders-1"),
        ("orders-1-GREEN-AB12CD", "orders-1"),
        ("a-green-aaaaaa-green-bbbbbb", "a-green-aaaaaa"),
        ("orders-1", "orders-1"),
        ("green-ab12cd", "green-ab12cd"),
        ("orders-green-ab12c", "orders-green-ab12c"),
        ("evergreen-ab12cd", "evergreen-ab12cd"),
    ],
)
def test_green_suffix_is_taken_off(server_id, name):
    """After a blue/green switchover an instance answers to the name without the suffix (case 51)."""
    assert without_green_suffix(server_id) == name


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.2", "10.0.0.2:53"),
        (" 127.0.0.1:5353 ", "127.0.0.1:5353"),
        ("::1", "[::1]:53"),
        ("[::1]:5353", "[::1]:5353"),
    ],
)
def test_name_server_is_an_address(text, server):
    """With or without a port; the form that c-ares reads."""
    assert parse_nameserver(text) == server


@pytest.mark.parametrize("text", ["", "dns.example.com", "10.0.0.2:0", "10.0.0.2:x", "[10.0.0.2]:53", "10.0.0.2:53:1"])
def test_name_server_that_is_no_address_is_refused(text):
    """A name would need a name server to be found."""
    with pytest.raises(InvalidEndpoint):
        parse_nameserver(text)


@hypothesis.given(
    cluster=label,
    prefix=st.sampled_from(["cluster-", "cluster-ro-", "cluster-custom-"]),
    suffix=suffix,
    server=server_id,
)
def test_instances_lie_beside_their_cluster(cluster, prefix, suffix, server):
    """A cluster's instance names lead back to the same pattern, where the suffix tells instances from any name."""
    endpoint = parse_endpoint(f"{cluster}.{prefix}abc123.{suffix}")

    host, port = endpoint.instance_host(server)
    instance = parse_endpoint(host, port)

    assert host == f"{server.lower()}.abc123.{suffix}"
    if endpoint.region is not None:
        assert (instance.kind, instance.pattern) == (EndpointKind.INSTANCE, endpoint.pattern)


@hypothesis.given(
    text=st.text() | nearly, port=st.integers(min_value=-1, max_value=70000), pattern=st.none() | st.text() | nearly
)
def test_any_text_is_read_or_refused(text, port, pattern):
    """No text raises anything but InvalidEndpoint, and what was read is read the same again."""
    try:
        endpoint = parse_endpoint(text, port, instance_pattern=pattern)
    except InvalidEndpoint:
        return

    assert parse_endpoint(str(endpoint), instance_pattern=endpoint.pattern) == endpoint
    assert parse_endpoint(endpoint.host, endpoint.port, instance_pattern=endpoint.pattern) == endpoint
    assert endpoint.host == endpoint.host.lower() or "%" in endpoint.host


@hypothesis.given(text=st.text() | nearly)
def test_any_pattern_is_read_or_refused(text):
    """A pattern that was accepted is in its one form, and gives a name for every short id."""
    try:
        pattern = parse_pattern(text)
    except InvalidEndpoint:
        return

    assert parse_pattern(pattern) == pattern
    assert Endpoint(host="x", pattern=pattern).instance_host("db-2")


@hypothesis.given(text=st.text() | st.text(alphabet=string.ascii_letters + string.digits + "-", max_size=70))
def test_id_is_a_label_that_starts_with_a_letter(text):
    """Exactly the ids that RDS gives."""
    allowed = set(string.ascii_letters + string.digits + "-")

    assert is_server_id(text) == (1 <= len(text) <= 63 and text[:1] in string.ascii_letters and set(text) <= allowed)
