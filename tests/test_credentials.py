"""Fixed, asked for and rotating credentials."""

from __future__ import annotations

import asyncio
import datetime
import functools
import math
import re
import traceback

import pytest
from pymysql.err import OperationalError

from aioaurora.credentials import AskedPassword, CredentialCache, Credentials, FixedPassword, provider_of
from aioaurora.errors import ConfigurationError


class Vault:
    """A provider that numbers what it gives; its tokens live for `lives_s`."""

    def __init__(self, *, lives_s=900.0, takes_s=0.0):
        self.now, self.lives_s, self.takes_s = 1_000_000.0, lives_s, takes_s
        self.asked = []
        self.fails = None

    async def __call__(self, host, port, user):
        """Give the next token."""
        self.asked.append((host, port, user))
        await asyncio.sleep(self.takes_s)
        if self.fails is not None:
            raise self.fails
        expires_at = None if self.lives_s is None else self.now + self.lives_s
        return Credentials(user=user, password=f"token-{len(self.asked)}", expires_at=expires_at)

    def cache(self):
        """A cache that reads the vault's clock."""
        return CredentialCache(self, clock=lambda: self.now)


async def password_of(cache, host="db-1", **options):
    """What is sent to one host."""
    return (await cache.get(host, 3306, "app", **options)).password


async def test_fixed_password_is_for_every_host():
    """As aiomysql's `password`."""
    cache = CredentialCache(provider_of("hush"))

    assert await cache.get("db-1", 3306, "app") == Credentials(user="app", password="hush")
    assert await password_of(cache, "db-2") == "hush"


async def test_no_password_is_an_empty_one():
    """Users without a password exist."""
    assert await password_of(CredentialCache(provider_of())) == ""


async def test_function_is_asked_at_each_connect():
    """So that it may change at any time (case 25)."""
    words = iter(["one", "two"])
    cache = CredentialCache(provider_of(lambda: next(words)))

    assert [await password_of(cache), await password_of(cache)] == ["one", "two"]


async def test_coroutine_function_is_asked_too():
    """Secrets come over the network."""

    async def fetch():
        await asyncio.sleep(0.1)
        return "hush"

    assert await password_of(CredentialCache(provider_of(fetch))) == "hush"


async def test_function_that_returns_no_text_is_a_mistake():
    """Said in full but for what it returned."""
    with pytest.raises(ConfigurationError, match="returned bytes: it must return a str"):
        await password_of(CredentialCache(provider_of(lambda: b"hush")))


async def test_token_is_kept_for_its_host_until_shortly_before_it_expires():
    """It is signed for the host that is dialled, and good for 30 s more when it is sent (case 20)."""
    vault = Vault(lives_s=900)
    cache = vault.cache()

    first, other = await password_of(cache), await password_of(cache, "db-2")
    vault.now += 869.9
    still = await password_of(cache)
    vault.now += 0.1
    later = await password_of(cache)

    assert (first, other, still, later) == ("token-1", "token-2", "token-1", "token-3")
    assert vault.asked == [("db-1", 3306, "app"), ("db-2", 3306, "app"), ("db-1", 3306, "app")]


async def test_credentials_without_expiry_are_kept_until_refused():
    """After a 1045 they are fetched anew (case 25)."""
    vault = Vault(lives_s=None)
    cache = vault.cache()

    kept = [await password_of(cache), await password_of(cache)]
    renewed = [await password_of(cache, fresh=True), await password_of(cache)]

    assert (kept, renewed) == (["token-1"] * 2, ["token-2"] * 2)


async def test_token_that_lives_shorter_than_the_margin_is_used_once():
    """The provider may have nothing better: no endless asking."""
    vault = Vault(lives_s=10)
    cache = vault.cache()

    assert [await password_of(cache), await password_of(cache)] == ["token-1", "token-2"]


async def test_many_who_ask_at_once_share_one_question():
    """A failover of 200 connections asks the secret store once."""
    vault = Vault(takes_s=0.2)
    cache = vault.cache()

    passwords = await asyncio.gather(*(password_of(cache, fresh=True) for _ in range(200)))

    assert set(passwords) == {"token-1"}
    assert len(vault.asked) == 1


async def test_cancelled_caller_leaves_the_question_to_the_others():
    """Cancelling ends one wait only."""
    vault = Vault(takes_s=0.2)
    cache = vault.cache()
    gone, stays = (asyncio.create_task(password_of(cache)) for _ in range(2))

    await asyncio.sleep(0.1)
    gone.cancel()

    assert await stays == "token-1"
    assert gone.cancelled()


async def test_failing_provider_is_told_of_without_its_text():
    """Nor in a traceback, as it may hold what it signed; the lines that led to it are said. The next connect asks."""
    vault = Vault()
    vault.fails = RuntimeError("cannot sign hush")
    cache = vault.cache()

    with pytest.raises(OperationalError, match="no credentials for 'db-1': the provider raised RuntimeError") as failed:
        await password_of(cache)
    vault.fails = None

    assert "hush" not in "".join(traceback.format_exception(failed.value))
    assert re.search(r"\(tests\.test_credentials:\d+ in __call__\)", str(failed.value))
    assert (failed.value.args[0], failed.value.__context__.args) == (2059, ("cannot sign hush",))
    assert await password_of(cache) == "token-2"


async def test_provider_that_cannot_be_called_so_is_told_of():
    """It takes no arguments: then no line of its own was reached."""

    async def provider():
        return Credentials(user="app", password="hush")

    with pytest.raises(OperationalError, match=r"the provider raised TypeError \(aioaurora\.credentials:\d+ in _ask\)"):
        await password_of(CredentialCache(provider))


async def test_provider_that_names_no_user_leaves_the_configured_one():
    """It knows the password only."""

    async def provider(host, port, user):
        return Credentials(user=None, password="hush")

    assert (await CredentialCache(provider).get("db-1", 3306, "app")).user == "app"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"password": b"hush"}, "password= is a bytes: it must be a str"),
        ({"password": None}, "password= is a NoneType: it must be a str"),
        ({"user": ("hush",)}, "user= is a tuple: it must be a str or None"),
        ({"expires_at": datetime.datetime.now(datetime.UTC)}, "expires_at= is a datetime: it must be Unix time"),
        ({"expires_at": "hush"}, "expires_at= is a str: it must be Unix time"),
        ({"expires_at": True}, "expires_at= is a bool: it must be Unix time"),
        ({"expires_at": math.nan}, "expires_at= is not a number"),
    ],
)
def test_credentials_of_another_kind_are_a_mistake(fields, says):
    """Said where they are made, and without them."""
    with pytest.raises(ConfigurationError, match=says) as refused:
        Credentials(**{"user": "app", "password": "hush"} | fields)

    assert "hush" not in str(refused.value)


async def test_renewal_that_fails_uses_what_is_still_good():
    """In the last 30 s the token works; the secret store may be back before it ends."""
    vault = Vault(lives_s=60)
    cache = vault.cache()
    await password_of(cache)

    vault.now += 40
    vault.fails = TimeoutError()
    in_time = await password_of(cache)
    vault.now += 20

    assert in_time == "token-1"
    with pytest.raises(OperationalError, match="TimeoutError"):
        await password_of(cache)


async def test_provider_that_returns_something_else_is_a_mistake():
    """A tuple, as other drivers take it."""

    async def pair(host, port, user):
        return user, "hush"

    with pytest.raises(ConfigurationError, match="returned tuple: return Credentials") as refused:
        await password_of(CredentialCache(pair))
    assert "hush" not in str(refused.value)


async def test_closing_ends_open_questions():
    """No task is left behind, and who waited is told."""
    cache = Vault(takes_s=3600).cache()
    waiting = asyncio.create_task(password_of(cache))

    await asyncio.sleep(0.1)
    await cache.close()

    with pytest.raises(OperationalError, match="closed"):
        await waiting


async def test_closing_twice_is_as_once():
    """Also before anything was asked."""
    cache = Vault().cache()

    await cache.close()
    await cache.close()


@pytest.mark.parametrize(
    "holder",
    [
        Credentials(user="app", password="hush"),
        FixedPassword("hush"),
        AskedPassword(functools.partial(str, "hush")),
        CredentialCache(FixedPassword("hush")),
    ],
)
def test_no_password_in_a_repr(holder):
    """Whatever holds it."""
    assert "hush" not in repr(holder)
