"""`aioaurora simulate` as a process: its lines connect, its commands act, and nothing is left when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shlex
import signal
import sys

import pytest

import aioaurora

ENDS_S = 10.0


class Simulated:
    """A running `aioaurora simulate`, and what it has printed."""

    def __init__(self, process):
        self.process, self.said = process, []

    async def until(self, text):
        """Read up to a line that holds `text`."""
        async with asyncio.timeout(15):
            while line := (await self.process.stdout.readline()).decode():
                self.said.append(line)
                if text in line:
                    return line
        raise AssertionError(f"no {text!r} in {self.said}")

    def type(self, line):
        """Write a line to its standard input."""
        self.process.stdin.write(line.encode() + b"\n")

    async def ended(self):
        """Its exit status."""
        async with asyncio.timeout(ENDS_S):
            await self.process.stdout.read()
            return await self.process.wait()


@contextlib.asynccontextmanager
async def simulating(*options):
    """A process that is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from aioaurora.cli import main; main()", "simulate", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Simulated(process)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()


async def connected_as_printed(line):
    """Run the line for Python, word for word."""
    call = line.partition("await ")[2]
    async with asyncio.timeout(10):
        return await eval(call, {"aioaurora": aioaurora})


@pytest.mark.parametrize(
    "options",
    [
        ("--engine", "memory"),
        ("--engine", "memory", "--tls", "--auth", "caching_sha2_password"),
        pytest.param(("--engine", "mariadb", "--require-tls"), marks=pytest.mark.needs("mariadbd")),
    ],
    ids=["memory", "memory with TLS and caching_sha2", "mariadb that requires TLS"],
)
async def test_the_printed_line_connects_to_the_writer_through_a_failover(options):
    """The line to copy is Python that runs; after `failover` the same line leads to the new writer."""
    async with simulating(*options) as simulated:
        line = await simulated.until("python:")
        before = await connected_as_printed(line)
        first = before.instance
        await before.ensure_closed()
        simulated.type("failover crash 0.5")
        await simulated.until("promoted")
        after = await connected_as_printed(line)
        second = after.instance
        await after.ensure_closed()
        simulated.type("quit")

        assert (first, second) == ("db-1", "db-2")
        assert await simulated.ended() == 0


@pytest.mark.needs("mariadbd")
@pytest.mark.parametrize("tls", [(), ("--tls",)], ids=["plain", "tls"])
async def test_the_printed_shell_line_connects(tls):
    """MariaDB's client, word for word."""
    async with simulating("--engine", "mariadb", "--name", "billing", *tls) as simulated:
        line = await simulated.until("mariadb:")
        words = [*shlex.split(line.partition("mariadb:")[2]), "-N", "-e", "SELECT @@aurora_server_id"]
        client = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        shown, _ = await asyncio.wait_for(client.communicate(), 10)

        assert shown.split() == [b"db-1"]


async def test_the_printed_url_says_it_all():
    """In quotes, as a shell needs it: one variable, for whatever reads one."""
    async with simulating("--engine", "memory", "--tls") as simulated:
        line = await simulated.until("url:")
        (url,) = shlex.split(line.partition("url:")[2])

        async with aioaurora.connect(url) as connection:
            assert connection.instance == "db-1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("engine", ["memory", pytest.param("mariadb", marks=pytest.mark.needs("mariadbd"))])
async def test_a_signal_ends_it_in_order(engine, number):
    """Status 0, and no server left."""
    async with simulating("--engine", engine) as simulated:
        await simulated.until("started")
        children = children_of(simulated.process.pid)
        simulated.process.send_signal(number)

        assert await simulated.ended() == 0
        assert len(children) == (engine == "mariadb")
        assert await all_gone(children)


@pytest.mark.needs("mariadbd")
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the child")
async def test_kill_9_leaves_no_server_behind():
    """The kernel ends what it started."""
    async with simulating("--engine", "mariadb") as simulated:
        await simulated.until("started")
        children = children_of(simulated.process.pid)
        simulated.process.kill()
        await simulated.ended()

        assert len(children) == 1
        assert await all_gone(children)


@pytest.mark.needs("mariadbd")
async def test_a_signal_while_it_starts_leaves_no_server_behind():
    """Also before there is anything to print."""
    async with simulating("--engine", "mariadb") as simulated:
        children = []
        async with asyncio.timeout(10):
            while not children:
                await asyncio.sleep(0.01)
                children = children_of(simulated.process.pid)
        simulated.process.send_signal(signal.SIGTERM)

        # Before its handler is in place, a signal ends it as it ends any process.
        assert await simulated.ended() in (0, -signal.SIGTERM)
        assert await all_gone(children)


async def test_commands_act_and_mistakes_are_told():
    """Each command beside those that are under way; a wrong one ends nothing."""
    async with simulating("--engine", "memory", "--instances", "2") as simulated:
        await simulated.until("started")
        for line, answer in (
            ("nonsense", "type help"),
            ("failover db-9", "no number and none of"),
            ("failover db-1 db-2", "two of a kind"),
            ("failover nan", "'nan' is no duration: it must be 0 or more, and end; write: failover"),
            ("restart inf", "'inf' is no duration"),
            ("slow -1", "'-1' is no duration"),
            ("failover -3", "'-3' is no duration"),
            ("dns nonsense", "dns wants one of"),
            ("failover db-1", "is the writer already"),
            ("help", "End the cluster"),
            ("failover blackhole 3", "fault=failover  mode=blackhole"),
            ("status", "db-1     writer  down"),
            ("slow db-2 0.5", "fault=slow  latency=0.5"),
            ("freeze", "fault=freeze"),
            ("patch 0.1", "fault=patch"),
            ("hang", "fault=hang"),
            ("dns servfail", "fault=dns_servfail"),
            ("heal", "healed"),
        ):
            simulated.type(line)
            await simulated.until(answer)
        simulated.type("quit")

        assert await simulated.ended() == 0


async def test_without_commands_it_plays_on():
    """As a service: the end of its input is not the end of it."""
    async with simulating("--engine", "memory") as simulated:
        await simulated.until("started")
        simulated.process.stdin.close()
        await asyncio.sleep(0.5)

        assert simulated.process.returncode is None


async def test_it_ends_with_whoever_reads_it():
    """`aioaurora simulate | head -1` shall not play for ever."""
    async with simulating("--engine", "memory") as simulated:
        await simulated.until("started")
        simulated.process._transport.get_pipe_transport(1).close()
        simulated.type("failover 0.1")

        async with asyncio.timeout(ENDS_S):
            assert await simulated.process.wait() in (0, 1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--engine", "sqlite"), "choose from auto, mariadb, memory, dsn"),
        (("--auth", "none"), "choose from mysql_native_password"),
        (("--engine", "dsn"), "--engine dsn and --dsn URL go together"),
        (("--engine", "dsn", "--dsn", "mysql://root@127.0.0.1:1"), "no server answers at 127.0.0.1:1"),
        (("--engine", "dsn", "--dsn", "mysql://u:p@h:notaport"), "a dsn looks like mysql://root:password@127.0.0.1"),
        (("--instances", "0"), "--instances"),
    ],
)
async def test_bad_usage_is_refused(options, says):
    """Status 2 and what to write."""
    async with simulating(*options) as simulated:
        shown = (await simulated.process.stdout.read()).decode()

        assert says in " ".join(shown.replace("│", " ").split())
        assert await simulated.process.wait() == 2


def children_of(pid):
    """The processes that a process has started."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


async def all_gone(pids):
    """Wait until these processes have ended."""
    async with asyncio.timeout(ENDS_S):
        while any(is_running(pid) for pid in pids):
            await asyncio.sleep(0.01)
    return True


def is_running(pid):
    """A zombie does not run."""
    try:
        os.kill(pid, 0)
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
