"""What users of the simulator may call."""

from __future__ import annotations

from aioaurora.simulator import SimulatedCluster, SimulatedInstance


def public(thing):
    """Its names for everybody."""
    return {name for name in dir(thing) if not name.startswith("_")}


def test_a_cluster_shows_what_can_be_done_to_it_and_nothing_of_its_workings():
    """The reference documents all of it."""
    where = "name engine endpoint reader_endpoint instance_endpoint instance_pattern port nameservers ca_file url"
    using = "connect_options resolving add_user remove_user execute rows"
    seen = "instances writer readers dns timeline wrong_roles"
    members = "add_instance remove_instance switch_to_green add_custom_endpoint"
    writer = "failover two_writers freeze restart crash patch"
    connections = "hang refuse half_open slow limit_connections"
    logins = "deny_logins slow_logins pace_logins block_hosts require_tls"
    statements = "lose_commit_answer lose_answer hang_statement"
    rows = "distort_view report_lag heal"

    expected = f"{where} {using} {seen} {members} {writer} {connections} {logins} {statements} {rows}".split()
    assert public(SimulatedCluster) == set(expected)


def test_an_instance_shows_who_it_is():
    """Faults are calls on the cluster."""
    assert public(SimulatedInstance) == set("id role address port is_up connection_ids knocks peak_handshakes".split())
