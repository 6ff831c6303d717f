"""What the house rules say that a linter cannot: imports, sizes, names, errors, events, secrets."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import pathlib
import pickle
import pkgutil
import re
import subprocess
import sys
from typing import Any

import grimp
import pytest

import aioaurora
from aioaurora import config, credentials, errors, events

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FUNCTION_LINES = 40
DOCUMENTED_FUNCTION_LINES = 45
FILE_LINES = 350


# --- imports --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, also for types only."""
    return grimp.build_graph("aioaurora", cache_dir=None)


def test_imports_point_down():
    """The layers, and what the core may not know, are contracts in pyproject.toml."""
    command = pathlib.Path(sys.executable).with_name("lint-imports")

    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_no_modules_import_each_other(graph):
    """A cycle means that neither module can be understood alone, even where only types are imported."""
    reached = {module: _reached(graph, module) for module in graph.modules}

    assert sorted(module for module, below in reached.items() if module in below) == []


def test_simulator_knows_the_errors_only(graph):
    """Users test their own applications against it: it must not drag the driver along."""
    rooms = {"aioaurora.simulator", *graph.find_descendants("aioaurora.simulator")}
    known = {name for room in rooms for name in graph.find_modules_directly_imported_by(room)}

    assert known - rooms <= {"aioaurora.errors"}


def _reached(graph: grimp.ImportGraph, module: str) -> set[str]:
    reached: set[str] = set()
    ahead = {module}
    while ahead:
        ahead = {name for here in ahead for name in graph.find_modules_directly_imported_by(here)} - reached
        reached |= ahead
    return reached


# --- sizes ----------------------------------------------------------------------------------------------------------


def test_functions_fit_a_screen():
    """A function that does not is a decision written inside an I/O loop."""
    too_long = [told for path in SOURCES for told in _long_functions(path)]

    assert too_long == []


def test_files_tell_one_thing():
    """A file of more lines tells two."""
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}

    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def _long_functions(path: pathlib.Path) -> list[str]:
    told = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            limit = DOCUMENTED_FUNCTION_LINES if ast.get_docstring(node) else FUNCTION_LINES
            if lines > limit:
                told.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    return told


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["aioaurora", "aioaurora.simulator"])
def test_public_names_are_sorted_and_documented(module):
    """What `__all__` lists is the public surface, each name with a sentence of its own."""
    public = importlib.import_module(module)
    names = [name for name in public.__all__ if name != "__version__"]

    assert names == sorted(names)
    assert [name for name in names if not _is_documented(getattr(public, name))] == []


def test_public_names_stand_in_the_reference():
    """Errors have a page that is made from the code; what else is ours has to be put on its page."""
    page = (ROOT / "docs/reference/api.md").read_text()
    ours = [name for name in aioaurora.__all__ if _is_ours(getattr(aioaurora, name))]

    assert [name for name in ours if not re.search(rf":: aioaurora\.{name}\b", page)] == []


def _is_ours(thing: Any) -> bool:
    return getattr(thing, "__module__", "").startswith("aioaurora") and thing not in vars(errors).values()


def _is_documented(thing: Any) -> bool:
    if not isinstance(thing, type):
        return bool(inspect.getdoc(thing))
    # A dataclass without a docstring is given its signature; an enum, its base's.
    doc = thing.__dict__.get("__doc__") or ""
    return bool(doc) and not doc.startswith(f"{thing.__name__}(")


# --- errors ---------------------------------------------------------------------------------------------------------

ERRORS = [
    thing
    for name, thing in vars(errors).items()
    if isinstance(thing, type) and issubclass(thing, errors.AioauroraError) and not name.startswith("_")
]
SAMPLES = {
    "detail": "no answer for 3.0 s",
    "epoch": 4,
    "errno": 2013,
    "instance": "db-1",
    "is_frozen": True,
    "made_in": 11,
    "outcome": errors.Outcome.UNKNOWN,
    "phase": "tls",
    "retry_after_s": 0.25,
    "sentence": "no writer of 'orders' within 20.0 s",
    "used_in": 12,
    "waited_s": 20.0,
    "waiting": 12,
    "what": "this cluster",
}


def test_the_drawn_error_tree_is_the_real_one():
    """The drawing at the top of errors.py is what people read."""
    drawn = _drawn_tree()
    real = {error.__name__: _drawn_parent(error, drawn) for error in ERRORS if error is not errors.AioauroraError}

    assert {name: parent for name, (parent, _) in drawn.items() if parent} == real
    for name, (_, also) in drawn.items():
        assert also in {base.__name__ for base in getattr(errors, name, object).__mro__} | {""}


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_errors_survive_pickle_and_copy(error, again):
    """Errors cross process pools and retry libraries; their facts must, too."""
    made = _made(error)

    copied = again(made)

    assert (type(copied), copied.args, str(copied)) == (type(made), made.args, str(made))
    assert vars(copied) == vars(made)
    assert copied.retryable == made.retryable


def _drawn_tree() -> dict[str, tuple[str, str]]:
    """Give each drawn error's parent in the drawing, and what it says to be also."""
    tree: dict[str, tuple[str, str]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if drawn := re.fullmatch(r"( {4,})([A-Z]\w+)(?: {2,}(?:also (\w+))?.*)?", line):
            depth, name = len(drawn[1]), drawn[2]
            above = [(d, n) for d, n in above if d < depth]
            tree[name] = (above[-1][1] if above else "", drawn[3] or "")
            above.append((depth, name))
    return tree


def _drawn_parent(error: type, drawn: dict[str, Any]) -> str:
    return next(base.__name__ for base in error.__mro__[1:] if base.__name__ in drawn)


def _made(error: type[errors.AioauroraError]) -> errors.AioauroraError:
    positional, named = [], {}
    for name, parameter in inspect.signature(error).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            named["waited_s"] = SAMPLES["waited_s"]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            named[name] = SAMPLES[name]
        else:
            positional.append(SAMPLES[name])
    return error(*positional, **named)


# --- modules --------------------------------------------------------------------------------------------------------


def test_every_module_says_what_it_tells():
    """The first line of a file is its theory."""
    modules = [module.name for module in pkgutil.walk_packages(aioaurora.__path__, "aioaurora.")]

    assert [name for name in modules if not importlib.import_module(name).__doc__] == []


# --- events ---------------------------------------------------------------------------------------------------------

EVENTS = [
    thing
    for thing in vars(events).values()
    if isinstance(thing, type) and issubclass(thing, events.Event) and thing is not events.Event
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_events_are_documented_and_named(event):
    """An operator greps for the name, and reads the sentence."""
    assert _is_documented(event)
    assert re.fullmatch(r"aioaurora\.[a-z]+\.[a-z_]+", event.name)
    assert event.__name__ in events.__all__


def test_event_names_are_unique():
    """One name, one meaning."""
    names = [event.name for event in EVENTS]

    assert sorted(names) == sorted(set(names))


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(lambda secret: config.from_kwargs(host="db.test", user="app", password=secret), id="keywords"),
        pytest.param(lambda secret: config.from_url(f"mysql://app:{secret}@db.test/shop"), id="url"),
        pytest.param(lambda secret: credentials.Credentials(user="app", password=secret), id="credentials"),
    ],
)
def test_no_secret_in_a_repr(holder):
    """A repr ends up in a log."""
    held = holder("hunter2")

    assert "hunter2" not in repr(held)
    assert "hunter2" not in str(held)


def test_no_secret_in_an_error():
    """A URL that is refused is quoted without its password."""
    with pytest.raises(errors.ConfigurationError) as caught:
        config.from_url("mysql://app:hunter2@db.test/shop?no_such_option=1")

    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)
