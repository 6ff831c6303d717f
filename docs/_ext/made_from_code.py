"""Pages that cannot go stale: options, strategies, errors, events, commands and the map of rooms, made from the code.

```{made-from-code} options
```
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import os
import pathlib
import re
import textwrap
import typing
from typing import TYPE_CHECKING, Any

from sphinx.util.docutils import SphinxDirective

import aioaurora
from aioaurora import errors, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx


class MadeFromCode(SphinxDirective):
    """Put the Markdown that a function below makes in the place of the directive."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        """Make it and parse it."""
        what, *arguments = self.arguments
        return self.parse_text_to_nodes("\n".join(MAKERS[what](*arguments)) + "\n", allow_section_headings=True)


MADE_FROM_OTHERS = {"endpoint", "credentials", "tls", "session"}  # The page says from which keywords.


def option_table() -> Iterator[str]:
    """Every option of a cluster with its default and its unit."""
    from aioaurora import config  # noqa: PLC0415 - the other tables do not need it.

    yield from _options_of(config.Config)


def pool_option_table() -> Iterator[str]:
    """Every option of a pool with its default and its unit."""
    from aioaurora import pool_config  # noqa: PLC0415 - as above.

    yield from _options_of(pool_config.PoolConfig)


def _options_of(told: type[Any]) -> Iterator[str]:
    described = attributes_of(told)
    yield "| option | default | what it does |"
    yield "| --- | --- | --- |"
    for field in dataclasses.fields(told):
        if field.name in MADE_FROM_OTHERS:
            continue
        # It has a column of its own.
        says = re.sub(r" Default (None|True|\(\)|\"\w+\"|[\d.]+?)\.$", "", described[field.name])
        yield f"| `{field.name}` | {_default(field)} | {_cell(says)} |"


def strategy_table() -> Iterator[str]:
    """Every reader strategy that has a name."""
    from aioaurora._core import selection  # noqa: PLC0415 - as above.

    yield "| `reader_strategy=` | what it does |"
    yield "| --- | --- |"
    for name, strategy in selection.STRATEGIES.items():
        yield f'| `"{name}"` | {_cell(inspect.getdoc(strategy) or "")} |'


def error_tree() -> Iterator[str]:
    """The drawing at the top of errors.py."""
    drawing = re.findall(r"^ {4,}\S.*$", errors.__doc__ or "", re.MULTILINE)
    yield from ["```text", *textwrap.dedent("\n".join(drawing)).splitlines(), "```"]


def error_classes() -> Iterator[str]:
    """Every public error with its facts."""
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, errors.AioauroraError) and not name.startswith("_"):
            yield from ["```{eval-rst}", f".. autoexception:: aioaurora.errors.{name}", "   :show-inheritance:", "```"]


def event_table() -> Iterator[str]:
    """Every event: its name in the log, its level, its fields, and what it says."""
    yield "| event | level | fields | says |"
    yield "| --- | --- | --- | --- |"
    for name in sorted(events.__all__):
        event = getattr(events, name)
        if isinstance(event, type) and issubclass(event, events.Event) and event is not events.Event:
            fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(event))
            says = _cell((inspect.getdoc(event) or "").partition("Attributes:")[0])
            yield f"| `{event.name}` | {event.level.name} | {fields} | {says} |"


def command_help(*words: str) -> Iterator[str]:
    """What `aioaurora WORDS --help` prints."""
    from typer.testing import CliRunner  # noqa: PLC0415 - the other tables do not need it.

    from aioaurora.cli import app  # noqa: PLC0415 - as above.

    os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="aioaurora").output
    yield from ["```text", *shown.strip("\n").splitlines(), "```"]


def room_map() -> Iterator[str]:
    """Every module, by package, with the first line of its docstring."""
    here = pathlib.Path(aioaurora.__file__).parent
    modules = sorted(here.rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path))
    for path in modules:
        said = _cell((ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0])
        package = path.parent.relative_to(here)
        if path.name == "__init__.py":
            yield from ["", f"### {package if package.parts else 'aioaurora'}", "", said, ""]
        else:
            yield from [f"`{path.name}`", f": {said}", ""]


def attributes_of(described: type) -> dict[str, str]:
    """Give what the `Attributes:` section of a docstring says of each."""
    section = (inspect.getdoc(described) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        unit = " s" if "seconds" in field.metadata and field.default is not None else ""
        return f"`{field.default!r}`{unit}"
    with contextlib.suppress(TypeError):
        return f"`{field.default_factory()!r}`"  # type: ignore[misc]  # MISSING is not callable: suppressed.
    return "required"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def fences_as_blocks(_app: Sphinx, *about: object) -> None:
    """Let docstrings use the fences of Markdown, which reStructuredText does not know."""
    lines = typing.cast("list[str]", about[-1])  # Before it: what it is, its name, itself, the options.
    indent: str | None = None
    for number, line in enumerate(lines):
        fence = re.fullmatch(r"( *)```(\w*)", line)
        if fence and indent is None:
            indent = fence[1]
            lines[number] = f"{indent}.. code-block:: {fence[2] or 'text'}\n"
        elif fence:
            indent = None
            lines[number] = ""
        elif indent is not None:
            lines[number] = f"    {line}" if line else ""
    lines[:] = "\n".join(lines).split("\n")


MAKERS = {
    "command": command_help,
    "error-classes": error_classes,
    "error-tree": error_tree,
    "events": event_table,
    "options": option_table,
    "pool-options": pool_option_table,
    "rooms": room_map,
    "strategies": strategy_table,
}


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("made-from-code", MadeFromCode)
    app.connect("autodoc-process-docstring", fences_as_blocks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
