"""The examples in aiomysql's own documentation that use a pool, retyped: only the import is another.

Left out is `examples/example_pool_oldstyle.py`, whose `yield from` no Python that we support can run. Host, port and
password are those of this test's server.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

import aioaurora as aiomysql
from tests.mariadb import private_mariadb

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

pytestmark = [pytest.mark.needs("mariadbd")]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signed the server's certificate."""
    return trustme.CA()


@pytest.fixture(scope="module")
def port(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A MariaDB as the examples take it for granted, with TLS."""
    place = tmp_path_factory.mktemp("server")
    certificate = authority.issue_cert("localhost")
    files = {"ca": place / "ca.pem", "cert": place / "cert.pem", "key": place / "key.pem"}
    authority.cert_pem.write_to_path(str(files["ca"]))
    certificate.cert_chain_pems[0].write_to_path(str(files["cert"]))
    certificate.private_key_pem.write_to_path(str(files["key"]))
    with private_mariadb(place / "db", [f"--ssl-{name}={path}" for name, path in files.items()]) as server:
        yield server.port


async def test_readme(port: int) -> None:
    """README.rst."""
    async with aiomysql.create_pool(host="127.0.0.1", port=port, user="root", password="", db="mysql") as pool:
        async with pool.acquire() as conn:
            async with conn.cursor() as cur:
                await cur.execute("SELECT 42;")
                print(cur.description)
                (r,) = await cur.fetchone()
                assert r == 42


async def test_basic_usage(port: int) -> None:
    """docs/pool.rst, which gives the loop."""
    loop = asyncio.get_event_loop()
    pool = await aiomysql.create_pool(
        host="127.0.0.1", port=port, user="root", password="", db="mysql", loop=loop, autocommit=False
    )

    async with pool.acquire() as conn:
        async with conn.cursor() as cur:
            await cur.execute("SELECT 10")
            (r,) = await cur.fetchone()
            assert r == 10
    pool.close()
    await pool.wait_closed()


async def test_example_pool(port: int) -> None:
    """examples/example_pool.py."""
    loop = asyncio.get_event_loop()
    pool = await aiomysql.create_pool(host="127.0.0.1", port=port, user="root", password="", db="mysql", loop=loop)
    async with pool.acquire() as conn:
        async with conn.cursor() as cur:
            await cur.execute("SELECT 42;")
            print(cur.description)
            (r,) = await cur.fetchone()
            assert r == 42
    pool.close()
    await pool.wait_closed()


async def test_example_ssl(port: int, authority: trustme.CA, tmp_path: pathlib.Path) -> None:
    """examples/example_ssl.py, with a TLS of today."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname = False
    ctx.load_verify_locations(cafile=str(tmp_path / "ca.pem"))

    async with aiomysql.create_pool(
        host="localhost", port=port, user="root", password="", ssl=ctx, auth_plugin="mysql_clear_password"
    ) as pool:
        async with pool.acquire() as conn:
            async with conn.cursor() as cur:
                # Run simple command
                await cur.execute("SHOW DATABASES;")
                value = await cur.fetchall()

                values = [item[0] for item in value]
                # Spot check the answers, we should at least have mysql
                # and information_schema
                assert "mysql" in values, 'Could not find the "mysql" table'
                assert "information_schema" in values, 'Could not find the "mysql" table'

                # Check TLS variables
                await cur.execute("SHOW STATUS LIKE 'Ssl_version%';")
                value = await cur.fetchone()

                # The context has TLS
                assert value[1].startswith("TLS"), "Not connected to the database with TLS"


async def test_what_the_reference_says_of_a_pool(port: int) -> None:
    """docs/pool.rst: its attributes and methods."""
    pool = await aiomysql.create_pool(1, 5, host="127.0.0.1", port=port, user="root", echo=True, pool_recycle=3600)

    assert (pool.echo, pool.minsize, pool.maxsize, pool.size, pool.freesize) == (True, 1, 5, 1, 1)
    conn = await pool.acquire()
    assert (pool.size, pool.freesize) == (1, 0)
    pool.release(conn)
    assert (pool.size, pool.freesize) == (1, 1)
    await pool.clear()
    assert pool.freesize == 0
    conn = await pool.acquire()
    pool.terminate()
    await pool.wait_closed()
    assert conn.closed
    with pytest.raises(RuntimeError):
        await pool.acquire()


def test_a_program_that_closes_its_pool_between_two_runs_of_its_loop(port: int) -> None:
    """As many a program of before `asyncio.run`, and aiomysql's own tests: close is no coroutine, and needs no loop."""
    loop = asyncio.new_event_loop()

    async def go() -> aiomysql.Pool:
        pool = await aiomysql.create_pool(host="127.0.0.1", port=port, user="root", minsize=2, maxsize=5)
        async with pool.acquire() as conn:
            await conn.ensure_closed()
        return pool  # One connection is being opened in the place of the one that was closed.

    try:
        pool = loop.run_until_complete(go())
        pool.close()
        loop.run_until_complete(pool.wait_closed())

        assert pool.closed
        assert pool.size == 0
    finally:
        loop.close()
