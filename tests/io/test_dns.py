"""What is made of the answers of c-ares and of getaddrinfo."""

from __future__ import annotations

import asyncio
import socket

import pycares
import pytest
from aiodns.error import DNSError

from aioaurora._io.dns import NameServers, ResolveError, SystemResolver, UnknownHost
from tests.io.answers import now

NXDOMAIN, NODATA, SERVFAIL, TIMEOUT = (4, "not found"), (1, "no data"), (3, "server failure"), (12, "timed out")


def record(name, data, ttl=5):
    """One line of an answer."""
    return pycares.DNSRecord(name=name, type=0, record_class=1, ttl=ttl, data=data)


def alias(name, target, ttl=5):
    """A CNAME."""
    return record(name, pycares.CNAMERecordData(cname=target), ttl)


def ipv4(name, address, ttl=5):
    """An A record."""
    return record(name, pycares.ARecordData(addr=address), ttl)


def ipv6(name, address, ttl=5):
    """An AAAA record."""
    return record(name, pycares.AAAARecordData(addr=address), ttl)


class Channel:
    """What aiodns offers: an answer, or an error, for each family after some seconds."""

    def __init__(self, first, second, *, first_s=0.01, second_s=0.01):
        self.replies = {"A": (first, first_s), "AAAA": (second, second_s)}

    def query_dns(self, _host, family):
        """Begin a question."""
        reply, takes_s = self.replies[family]
        loop = asyncio.get_running_loop()
        question = loop.create_future()
        loop.call_later(takes_s, self._answer, question, reply)
        return question

    async def close(self):
        """Free nothing."""

    @staticmethod
    def _answer(question, reply):
        if question.done():
            return
        if isinstance(reply, list):
            question.set_result(pycares.DNSResult(answer=reply, authority=[], additional=[]))
        else:
            question.set_exception(reply if isinstance(reply, Exception) else DNSError(*reply))


async def asked(monkeypatch, *replies, **seconds):
    """What a channel with these replies leads to."""
    monkeypatch.setattr("aiodns.DNSResolver", lambda **_: Channel(*replies, **seconds))
    return await NameServers().ask("db.test")


async def test_both_families_are_given_ipv4_first(monkeypatch):
    """Aurora has IPv4 always; in the order of the answer, each address once, with the shortest TTL."""
    answer = await asked(
        monkeypatch,
        [alias("DB.test", "db-1.test."), ipv4("db-1.test", "10.0.0.2", 60), ipv4("db-1.test", "10.0.0.1", 60)],
        [alias("db.test", "db-1.test", 3), ipv6("db-1.test", "fd00::1"), ipv6("db-1.test", "fd00::1")],
    )

    assert (answer.addresses, answer.ttl_s, answer.chain) == (("10.0.0.2", "10.0.0.1", "fd00::1"), 3.0, ("db-1.test",))


async def test_family_that_is_late_is_not_waited_for(monkeypatch):
    """50 ms after the other, as RFC 8305 has it."""
    answer = await asked(monkeypatch, [ipv4("db.test", "10.0.0.1")], [ipv6("db.test", "fd00::1")], second_s=2.0)

    assert (answer.addresses, now()) == (("10.0.0.1",), pytest.approx(0.06))


@pytest.mark.parametrize("failure", [NXDOMAIN, NODATA, SERVFAIL, TIMEOUT])
async def test_one_family_is_enough(monkeypatch, failure):
    """Whatever became of the other."""
    assert (await asked(monkeypatch, [ipv4("db.test", "10.0.0.1")], failure)).addresses == ("10.0.0.1",)
    assert (await asked(monkeypatch, failure, [ipv6("db.test", "fd00::1")], second_s=0.5)).addresses == ("fd00::1",)


@pytest.mark.parametrize(
    "replies", [(NXDOMAIN, NXDOMAIN), (NODATA, NODATA), ([], []), ([alias("db.test", "x.test")], NODATA)]
)
async def test_no_address_of_either_family_is_an_answer(monkeypatch, replies):
    """No such name, no such records, or an alias of nothing."""
    with pytest.raises(UnknownHost, match="DNS has no address for it"):
        await asked(monkeypatch, *replies)


@pytest.mark.parametrize("replies", [(SERVFAIL, NODATA), (NODATA, TIMEOUT), (TIMEOUT, TIMEOUT)])
async def test_failure_is_none(monkeypatch, replies):
    """One family says nothing, so the other's silence is not known."""
    with pytest.raises(ResolveError, match=r"server failure|timed out") as failed:
        await asked(monkeypatch, *replies)

    assert not isinstance(failed.value, UnknownHost)
    assert isinstance(failed.value.__cause__, DNSError)


async def test_aliases_in_a_ring_end(monkeypatch):
    """A zone may be wrong."""
    ring = [
        alias("db.test", "a.test"),
        alias("a.test", "b.test"),
        alias("b.test", "a.test"),
        ipv4("a.test", "10.0.0.1"),
    ]

    assert (await asked(monkeypatch, ring, NODATA)).chain == ("a.test", "b.test")


async def test_cancelled_question_is_given_up(monkeypatch):
    """And its late answer is nobody's."""
    asking = asyncio.create_task(asked(monkeypatch, TIMEOUT, SERVFAIL, first_s=2.0, second_s=2.0))
    await asyncio.sleep(0.1)

    asking.cancel()
    await asyncio.wait({asking})
    await asyncio.sleep(5)

    assert asking.cancelled()


# --- getaddrinfo ----------------------------------------------------------------------------------------------------


class Machine:
    """A machine whose getaddrinfo takes a while."""

    def __init__(self, known=(), *, fails=socket.EAI_NONAME, takes_s=0.1):
        self.known, self.fails, self.takes_s, self.asked = dict(known), fails, takes_s, []

    async def __call__(self, host):
        """Answer from what is known."""
        self.asked.append(host)
        await asyncio.sleep(self.takes_s)
        if host not in self.known:
            raise socket.gaierror(self.fails, "no")
        return self.known[host]


def found(family, address, canonical=""):
    """One entry as getaddrinfo returns it."""
    return (family, socket.SOCK_STREAM, 6, canonical, (address, 0))


@pytest.mark.parametrize(
    ("host", "spellings"),
    [
        ("legacy", ["legacy"]),
        ("db.corp.example.com", ["db.corp.example.com.", "db.corp.example.com"]),
        ("orders.cluster-a1.us-east-1.rds.amazonaws.com", ["orders.cluster-a1.us-east-1.rds.amazonaws.com."]),
    ],
)
async def test_name_is_asked_for_without_search_domains_first(host, spellings):
    """With ndots:5 a name without its dot is ten questions (case 69); only other names than RDS's may need them."""
    one = Machine()

    with pytest.raises(UnknownHost):
        await SystemResolver(one).ask(host)

    assert one.asked == spellings


async def test_system_answer_is_put_in_our_order():
    """IPv4 first, each once, and the name behind an alias."""
    machine = Machine(
        {
            "db.test.": [
                found(socket.AF_INET6, "fd00::1", "db-1.test"),
                found(socket.AF_INET, "10.0.0.1"),
                found(socket.AF_INET, "10.0.0.1"),
            ]
        }
    )

    answer = await SystemResolver(machine).ask("db.test")

    assert (answer.addresses, answer.chain) == (("10.0.0.1", "fd00::1"), ("db-1.test",))


async def test_hosts_file_is_found_without_the_dot():
    """Where names stand as they are."""
    machine = Machine({"db.test": [found(socket.AF_INET, "10.0.0.1", "db.test")]})

    answer = await SystemResolver(machine).ask("db.test")

    assert (answer.addresses, answer.chain) == (("10.0.0.1",), ())


async def test_name_that_cannot_be_spelt_is_unknown():
    """A label of 64 cannot be encoded at all."""

    async def lookup(_host):
        raise UnicodeEncodeError("idna", "", 0, 1, "label too long")

    with pytest.raises(UnknownHost):
        await SystemResolver(lookup).ask("a" * 64)


async def test_system_that_fails_is_told_from_one_that_does_not_know():
    """EAI_AGAIN: DNS is down for it too."""
    machine = Machine(fails=socket.EAI_AGAIN)

    with pytest.raises(ResolveError, match="system's resolver failed") as failed:
        await SystemResolver(machine).ask("db.test")
    assert not isinstance(failed.value, UnknownHost)


async def test_few_threads_are_ever_busy_and_the_others_wait_their_turn():
    """A dead DNS server holds each for half a minute, also when nobody waits for it any more."""
    one = Machine({"db3": [found(socket.AF_INET, "10.0.0.3")]}, takes_s=30.0)
    system = SystemResolver(one)
    waiting = [asyncio.create_task(system.ask(f"db{number}")) for number in range(4)]
    await asyncio.sleep(1)

    waiting[0].cancel()
    waiting[2].cancel()
    await asyncio.sleep(1)
    asked_meanwhile = list(one.asked)
    answer = await waiting[3]

    assert (asked_meanwhile, one.asked) == (["db0", "db1"], ["db0", "db1", "db3"])
    assert (answer.addresses, now()) == (("10.0.0.3",), pytest.approx(60.0))
    assert isinstance(waiting[1].exception(), UnknownHost)


async def test_closing_waits_for_no_thread():
    """What is under way is given up."""
    system = SystemResolver(Machine(takes_s=30.0))
    waiting = asyncio.create_task(system.ask("db"))
    await asyncio.sleep(1)

    await system.close()

    assert now() == pytest.approx(1.0)
    await asyncio.wait({waiting})
