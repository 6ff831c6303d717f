"""The resolver on virtual time: what is kept, for how long, and who waits for whom."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from aioaurora._io.resolver import ResolveError, UnknownHost
from tests.io.answers import ask, now

FAR = 1e6


# --- kept -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("10.1.2.3", ("10.1.2.3",)),
        ("::1", ("::1",)),
        ("[2001:DB8::1]", ("2001:db8::1",)),
        ("fe80::1%eth0", ("fe80::1%eth0",)),
        ("localhost", ("127.0.0.1", "::1")),
        ("LOCALHOST.", ("127.0.0.1", "::1")),
        ("/run/mysqld.sock", ("/run/mysqld.sock",)),
    ],
)
async def test_what_is_no_name_is_not_looked_up(resolver, dns, host, addresses):
    """Addresses, sockets and localhost go through, also when DNS is dead."""
    dns.die()

    assert await ask(resolver, host) == (addresses, 0.0)
    assert await resolver.canonical(host, deadline=FAR) is None
    assert dns.asked == []


async def test_answer_is_kept_for_its_ttl(resolver, dns):
    """And asked for anew afterwards."""
    dns.ttl_s = 2.0

    await ask(resolver)
    dns.addresses["db.test"] = ("10.0.0.9",)
    await asyncio.sleep(1.9)
    kept = await ask(resolver)
    await asyncio.sleep(0.2)

    assert kept == (("10.0.0.1",), 0.0)
    assert await ask(resolver) == (("10.0.0.9",), 0.01)


async def test_ttl_is_capped(resolver, dns):
    """A zone that says an hour is asked every five seconds."""
    dns.ttl_s = 3600.0

    for _ in range(11):
        await ask(resolver)
        await asyncio.sleep(1.0)

    assert len(dns.asked) == 3


async def test_answer_without_life_is_not_kept(resolver, dns):
    """TTL 0: each time anew."""
    dns.ttl_s = 0.0

    await ask(resolver)
    await ask(resolver)

    assert len(dns.asked) == 2


async def test_case_and_trailing_dot_make_no_difference(resolver, dns):
    """One name, one question."""
    await ask(resolver, "DB.Test.")
    await ask(resolver, "db.test")

    assert dns.asked == ["db.test"]


async def test_many_who_ask_at_once_share_one_question(resolver, dns):
    """A failover of 1,000 connections sends one packet for each name."""
    answers = await asyncio.gather(*(ask(resolver) for _ in range(1000)))

    assert set(answers) == {(("10.0.0.1",), 0.01)}
    assert len(dns.asked) == 1


async def test_canonical_is_the_next_name(resolver, dns):
    """A cluster endpoint is an alias of its writer's (DESIGN 5.11)."""
    dns.chains["db.test"] = ("db-1.test", "ec2-10-0-0-1.test")

    assert await resolver.canonical("db.test", deadline=FAR) == "db-1.test"
    assert await resolver.canonical("ro.test", deadline=FAR) is None


# --- waiting --------------------------------------------------------------------------------------------------------


async def test_cancelled_caller_leaves_the_look_up_to_the_others(resolver, dns):
    """Cancelling ends one wait; what was asked is learnt all the same."""
    dns.takes_s = 1.0
    gone, stays = asyncio.create_task(ask(resolver)), asyncio.create_task(ask(resolver))

    await asyncio.sleep(0.5)
    gone.cancel()

    assert await stays == (("10.0.0.1",), 1.0)
    assert gone.cancelled()
    assert (len(dns.asked), dns.cancelled) == (1, 0)


async def test_look_up_that_nobody_waits_for_is_still_learnt(resolver, dns):
    """The next caller finds it."""
    dns.takes_s = 1.0
    gone = asyncio.create_task(ask(resolver))
    await asyncio.sleep(0.5)
    gone.cancel()

    await asyncio.sleep(1.0)

    assert await ask(resolver) == (("10.0.0.1",), 0.0)


async def test_deadline_ends_the_wait(resolver, dns):
    """To the moment, whatever DNS does; the sentence says what was waited for."""
    dns.hang()

    with pytest.raises(ResolveError, match=r"'db\.test' could not be looked up: no answer within 0\.7 s"):
        await ask(resolver, within=0.7)
    assert now() == pytest.approx(0.7)


async def test_look_up_that_hangs_ends_by_itself(resolver, dns):
    """Nobody waits, and it is not for ever."""
    dns.hang()
    with pytest.raises(ResolveError):
        await ask(resolver, within=0.1)

    await asyncio.sleep(5.0)

    assert dns.cancelled == 1


async def test_deadline_that_has_passed_gives_what_is_known(resolver):
    """An answer that is kept costs no time."""
    await ask(resolver)

    assert (await ask(resolver, within=-1.0))[0] == ("10.0.0.1",)


async def test_closing_releases_who_waits(resolver, dns):
    """With an error, not with a cancellation that nobody asked for."""
    dns.hang()
    waiting = asyncio.create_task(ask(resolver))
    await asyncio.sleep(0.1)

    await resolver.close()

    with pytest.raises(ResolveError, match="closed"):
        await waiting
    with pytest.raises(ResolveError, match="closed"):
        await ask(resolver, "ro.test")
    assert dns.closed


# --- search ---------------------------------------------------------------------------------------------------------


async def test_flush_has_everything_asked_anew(resolver, dns):
    """Ours and c-ares' own answers: a search starts."""
    await ask(resolver)
    dns.addresses["db.test"] = ("10.0.0.9",)

    resolver.flush()

    assert dns.flushed == 1
    assert (await ask(resolver))[0] == ("10.0.0.9",)


async def test_flush_is_seldom(resolver, dns):
    """Asked for ten times a second, done every five: a VPC's resolver drops what comes faster."""
    for _ in range(110):
        resolver.flush()
        await asyncio.sleep(0.1)
    assert dns.flushed == 3

    resolver.flush(force=True)
    assert dns.flushed == 4


async def test_flush_keeps_what_is_needed_when_dns_is_dead(resolver, dns):
    """A search with a dead DNS server still finds the instances."""
    await ask(resolver)
    dns.die()

    resolver.flush()
    first = await ask(resolver)
    await asyncio.sleep(10)
    resolver.flush()

    assert [first, await ask(resolver)] == [(("10.0.0.1",), 0.5), (("10.0.0.1",), 0.0)]


async def test_flush_has_a_name_that_was_unknown_asked_anew(resolver, dns):
    """An instance that was added a moment ago is found by the search."""
    with pytest.raises(UnknownHost):
        await ask(resolver, "new.test")
    dns.addresses["new.test"] = ("10.0.0.3",)

    resolver.flush()

    assert (await ask(resolver, "new.test"))[0] == ("10.0.0.3",)


async def test_forgotten_address_is_never_used_again(resolver, dns):
    """The name leads to another instance now: not even when DNS is dead (DESIGN 5.11)."""
    await ask(resolver)
    resolver.forget("DB.test.")
    dns.die()

    with pytest.raises(ResolveError, match="no answer"):
        await ask(resolver, within=1.0)


async def test_name_that_is_forgotten_under_way_is_asked_anew(resolver, dns):
    """What was asked before may bring the old address, and there is nothing older to use meanwhile."""
    await ask(resolver)
    await asyncio.sleep(6)
    dns.takes_s = 1.0
    waiting = asyncio.create_task(ask(resolver))
    await asyncio.sleep(0.1)

    resolver.forget("db.test")
    dns.addresses["db.test"] = ("10.0.0.9",)

    assert await waiting == (("10.0.0.9",), 1.5)


# --- small things ---------------------------------------------------------------------------------------------------


async def test_names_that_are_not_used_any_more_are_dropped(resolver, dns):
    """A cluster that scales for a year keeps no year of names."""
    for number in range(50):
        dns.addresses[f"db-{number}.test"] = ("10.0.0.1",)
        await ask(resolver, f"db-{number}.test")
        await asyncio.sleep(60)

    assert repr(resolver) == "<Resolver 5 names known, 0 looked up>"


@pytest.mark.parametrize("kind", [ResolveError, UnknownHost])
def test_errors_survive_pickle(kind):
    """They cross processes as the others do."""
    error = pickle.loads(pickle.dumps(kind("db.test", "timeout")))

    assert (type(error), error.host, error.why) == (kind, "db.test", "timeout")
    assert str(error) == "'db.test' could not be looked up: timeout"
