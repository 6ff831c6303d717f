"""The resolver when DNS fails, on virtual time: older answers, and the system's resolver."""

from __future__ import annotations

import asyncio
import socket

import pytest

from aioaurora._io.dns import SystemResolver
from aioaurora._io.resolver import ResolveError, Resolver, UnknownHost
from aioaurora.events import DnsFallback, DnsStale
from tests.io.answers import DEAD_S, Answers, ask

FAR = 1e6


# --- DNS fails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["timeout", "SERVFAIL", "REFUSED"])
async def test_older_answer_is_used_when_dns_fails(resolver, dns, heard, how):
    """An instance's address rarely moves."""
    await ask(resolver)
    dns.fails = how
    await asyncio.sleep(60)

    assert (await ask(resolver))[0] == ("10.0.0.1",)
    assert heard == [DnsStale(cluster="orders", host="db.test", age_s=pytest.approx(60.01))]


async def test_dead_dns_costs_a_moment_once(resolver, dns, heard):
    """The first caller waits half a second; the others do not, nor does the event come again."""
    await ask(resolver)
    dns.die()
    await asyncio.sleep(60)

    took = []
    for _ in range(20):
        took.append((await ask(resolver))[1])
        await asyncio.sleep(0.1)

    assert took[0] == 0.5
    assert max(took[1:]) == 0.0
    assert len(heard) == 1


async def test_dead_dns_is_asked_again_a_second_after_it_gave_up(resolver, dns):
    """Often enough to see it come back, seldom enough not to drown it."""
    await ask(resolver)
    dns.die()
    await asyncio.sleep(10)
    before = len(dns.asked)

    took = []
    for _ in range(200):
        took.append((await ask(resolver))[1])
        await asyncio.sleep(0.1)

    assert len(dns.asked) - before == pytest.approx(20 / (DEAD_S + 1.0), abs=1)
    assert (took[0], max(took[1:])) == (0.5, 0.0)


async def test_answer_that_is_back_is_used_and_the_next_failure_said_again(resolver, dns, heard):
    """Each episode has its event."""
    for _ in range(2):
        dns.heal()
        await ask(resolver)
        await asyncio.sleep(10)
        dns.fails = "SERVFAIL"
        await ask(resolver)
        await asyncio.sleep(2)

    assert [type(event) for event in heard] == [DnsStale, DnsStale]


async def test_answer_that_is_too_old_is_not_used(resolver, dns):
    """Five minutes; then the caller is told what DNS says."""
    await ask(resolver)
    dns.fails = "SERVFAIL"
    await asyncio.sleep(301)

    with pytest.raises(ResolveError, match="SERVFAIL") as failed:
        await ask(resolver)
    assert failed.value.__notes__ == ["while connecting to db.test:3306"]


async def test_name_that_is_gone_is_gone(resolver, dns):
    """NXDOMAIN is an answer: the address may be another's by now (case 3)."""
    await ask(resolver)
    del dns.addresses["db.test"]
    await asyncio.sleep(6)

    with pytest.raises(UnknownHost):
        await ask(resolver)
    dns.fails = "SERVFAIL"
    await asyncio.sleep(2)
    with pytest.raises(ResolveError, match="SERVFAIL"):
        await ask(resolver)


async def test_name_that_does_not_exist_yet_is_found_within_a_second(resolver, dns):
    """A new instance's name comes later than its row (case 8), and asking is paced (case 29)."""
    for _ in range(10):
        with pytest.raises(UnknownHost):
            await ask(resolver, "new.test")
    dns.addresses["new.test"] = ("10.0.0.3",)
    await asyncio.sleep(1.0)

    assert (await ask(resolver, "new.test"))[0] == ("10.0.0.3",)
    assert len(dns.asked) == 2


async def test_bug_in_a_source_is_not_hidden(resolver, dns):
    """Every waiter gets it, and the next question is asked."""
    dns.chains = None

    with pytest.raises(AttributeError):
        await ask(resolver)
    dns.chains = {}

    assert (await ask(resolver))[0] == ("10.0.0.1",)


# --- the system's resolver ------------------------------------------------------------------------------------------


@pytest.fixture
def system():
    """The hosts file."""
    return Answers(legacy="10.0.0.7", db_test="10.0.0.8")


@pytest.fixture
async def both(dns, system, heard):
    """A resolver that asks the system too."""
    made = Resolver(source=dns, fallback=system, emit=heard.append, cluster="orders")
    yield made
    await made.close()


async def test_system_knows_what_dns_does_not(both, dns, system, heard):
    """The hosts file and search domains; said once."""
    for _ in range(3):
        assert (await ask(both, "legacy"))[0] == ("10.0.0.7",)
        await asyncio.sleep(6)

    assert heard == [DnsFallback(cluster="orders", host="legacy", why="DNS has no address for it")]
    assert (len(dns.asked), len(system.asked)) == (3, 3)


async def test_system_is_asked_when_dns_is_dead_from_the_start(both, dns):
    """There is no older answer yet."""
    dns.die()

    assert await ask(both) == (("10.0.0.8",), 2.81)


async def test_older_answer_of_dns_wins_over_the_system(both, dns, system):
    """Which asks the same dead server, in a thread."""
    await ask(both)
    dns.fails = "SERVFAIL"
    await asyncio.sleep(10)

    assert (await ask(both))[0] == ("10.0.0.1",)
    assert system.asked == []


async def test_neither_knows(both):
    """The answer of DNS is the one that counts."""
    with pytest.raises(UnknownHost, match="DNS has no address for it"):
        await ask(both, "nobody.test")


async def test_system_that_could_not_say_makes_no_name_unknown(both, system, heard):
    """DNS never knew the name, so the system's address holds until the system says otherwise."""
    await ask(both, "legacy")
    system.fails = "busy"
    await asyncio.sleep(6)

    assert (await ask(both, "legacy"))[0] == ("10.0.0.7",)
    assert [type(event) for event in heard] == [DnsFallback, DnsStale]
    with pytest.raises(ResolveError, match="busy") as failed:
        await ask(both, "other")
    assert not isinstance(failed.value, UnknownHost)


async def test_many_names_of_the_system_are_found_at_once(dns, heard):
    """Two threads serve a whole cluster of the hosts file when a search starts."""

    async def lookup(_name):
        await asyncio.sleep(0.02)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", 0))]

    both = Resolver(source=dns, fallback=SystemResolver(lookup), emit=heard.append, cluster="orders")

    found = await asyncio.gather(*(ask(both, f"db-{number}.hosts.file") for number in range(6)))

    assert [addresses for addresses, _ in found] == [("10.0.0.9",)] * 6
    await both.close()


async def test_system_is_not_asked_where_name_servers_are_given():
    """They are the whole truth then; without them it is, lazily: nothing is opened before the first question."""
    given = Resolver(nameservers=("127.0.0.1:1",), emit=print)
    ours = Resolver(emit=print)

    assert (given._fallback, ours._fallback is None) == (None, False)
    await given.close()
    await ours.close()
