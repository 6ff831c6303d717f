"""A source of DNS answers for tests: it says what it was told to, when it was told to, and counts questions."""

from __future__ import annotations

import asyncio
import math

from aioaurora._io.resolver import Answer, ResolveError, UnknownHost

DEAD_S = 2.8  # What c-ares takes to give up on a server that is silent.


class Answers:
    """Answers by name; `takes_s` before each one."""

    def __init__(self, **addresses):
        """Start with one address for each name: its dots are written as underscores."""
        self.addresses = {name.replace("_", "."): (address,) for name, address in addresses.items()}
        self.ttl_s, self.takes_s = 5.0, 0.01
        self.chains = {}
        self.fails = None
        self.asked, self.flushed, self.closed, self.cancelled = [], 0, False, 0

    async def ask(self, host):
        """Answer, or fail as `fails` says."""
        self.asked.append(host)
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails is not None:
            raise ResolveError(host, self.fails)
        if host not in self.addresses:
            raise UnknownHost(host, "DNS has no address for it")
        return Answer(addresses=self.addresses[host], ttl_s=self.ttl_s, chain=self.chains.get(host, ()))

    def die(self):
        """Answer nothing any more."""
        self.fails, self.takes_s = "timeout", DEAD_S

    def hang(self):
        """Do not even give up."""
        self.takes_s = math.inf

    def heal(self):
        """Answer again."""
        self.fails, self.takes_s = None, 0.01

    def flush(self):
        """Count."""
        self.flushed += 1

    async def close(self):
        """Remember."""
        self.closed = True


def now():
    """Loop time."""
    return asyncio.get_running_loop().time()


async def ask(resolver, host="db.test", *, within=3.0):
    """Addresses, and the seconds that it took."""
    start = now()
    addresses = await resolver.resolve(host, 3306, deadline=start + within)
    return addresses, round(now() - start, 3)


class Zone:
    """The names of a simulated cluster, without a question on the wire: c-ares has no virtual time."""

    def __init__(self, dns):
        """Take the simulator's server."""
        self._dns = dns

    async def ask(self, host):
        """Say what it would say."""
        answer = self._dns.answer(host)
        if not answer.addresses:
            raise UnknownHost(host, "DNS has no address for it")
        return Answer(addresses=answer.addresses, ttl_s=float(answer.ttl))

    def flush(self):
        """Keep nothing."""

    async def close(self):
        """Hold nothing."""
