"""Every Python block of README, docs and docstrings runs.

The blocks of a page share their names and run in order. `await` may stand outside of functions. `DATABASE_URL` and
the URL of the example cluster lead to a simulated one, in a thread of its own. A block that cannot run says why in a
comment before it: `<!-- not run: db.example.com is nobody's -->`. A page with `<!-- engine: mariadb -->` runs on one.
"""

from __future__ import annotations

import ast
import asyncio
import concurrent.futures
import contextlib
import inspect
import pathlib
import re
import textwrap
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

import aioaurora
from aioaurora.simulator import SimulatedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from _pytest.mark import ParameterSet

    from aioaurora.simulator.cluster import EngineName

ROOT = pathlib.Path(__file__).parent.parent
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"mysql(\+\w+)?://app(?::\w+)?@orders\.cluster-abc123\.us-east-1\.rds\.amazonaws\.com/shop(\?)?")
ON_MARIADB = "<!-- engine: mariadb -->"
NOT_RUN = re.compile(r"<!-- not run: \S.* -->\n\s*$")


class Block(NamedTuple):
    """A piece of code and where it stands."""

    path: pathlib.Path
    line: int
    code: str


def _blocks(path: pathlib.Path, text: str, first_line: int = 1) -> list[Block]:
    return [
        Block(path, first_line + text[: found.start(2)].count("\n"), textwrap.dedent(found[2]))
        for found in BLOCK.finditer(text)
        if not NOT_RUN.search(text[: found.start()])
    ]


def _docstring_blocks(path: pathlib.Path) -> list[Block]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, documented) and (doc := ast.get_docstring(node)):
            found += _blocks(path, doc, node.body[0].lineno)
    return found


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CHAPTERS = [blocks for page in PAGES if (blocks := _blocks(page, page.read_text()))]
CHAPTERS += [[block] for source in sorted((ROOT / "src").rglob("*.py")) for block in _docstring_blocks(source)]


def _chapter(blocks: list[Block]) -> ParameterSet:
    needs = [pytest.mark.needs("mariadbd")] if ON_MARIADB in blocks[0].path.read_text() else []
    return pytest.param(blocks, marks=needs, id=f"{blocks[0].path.relative_to(ROOT)}:{blocks[0].line}")


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, blocks: list[Block]) -> Iterator[str]:
    """The URL of a simulated cluster, which is also where DATABASE_URL leads."""
    engine = "mariadb" if ON_MARIADB in blocks[0].path.read_text() else "memory"
    with _elsewhere(_serve(engine)) as (url, ca):
        monkeypatch.setenv("DATABASE_URL", url)
        monkeypatch.setenv("DATABASE_CA", ca)
        yield url


@pytest.mark.real_time
@pytest.mark.timeout(60)
@pytest.mark.parametrize("blocks", [_chapter(blocks) for blocks in CHAPTERS])
def test_documented_code_runs(blocks, database):
    """A page that is wrong teaches what is wrong."""
    names = {"__name__": "__main__", "aioaurora": aioaurora}

    with asyncio.Runner() as runner:
        for block in blocks:
            code = EXAMPLE.sub(lambda found: _led_to(database, found[1] or "", found[2]), block.code)
            _run(block._replace(code=code), names, runner)


def _led_to(database: str, driver: str, has_query: str | None) -> str:
    return database.replace("mysql:", f"mysql{driver}:", 1) + ("&" if has_query else "")


def _run(block: Block, names: dict[str, object], runner: asyncio.Runner) -> None:
    tree = ast.parse(block.code, str(block.path))
    ast.increment_lineno(tree, block.line - 1)
    code = compile(tree, str(block.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, names)
    if inspect.iscoroutine(result):
        runner.run(result)


async def _serve(engine: EngineName) -> AsyncIterator[tuple[str, str]]:
    async with SimulatedCluster(instances=3, engine=engine, tls=True) as sim:
        yield f"{sim.url.partition('?')[0]}?nameservers={sim.nameservers[0]}", str(sim.ca_file)


@contextlib.contextmanager
def _elsewhere(steps: AsyncGenerator) -> Iterator[object]:
    """Run an async generator that yields once, in a thread and a loop of its own."""
    given: concurrent.futures.Future = concurrent.futures.Future()
    ended = threading.Event()

    async def serve() -> None:
        try:
            given.set_result(await anext(steps))
        except BaseException as error:
            given.set_exception(error)
            raise
        await asyncio.to_thread(ended.wait)
        await anext(steps, None)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        yield given.result(timeout=10)
    finally:
        ended.set()
        thread.join()
