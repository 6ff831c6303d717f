"""The claims of claims.toml, the mark of the tests that hold them, and the page that lists them."""

from __future__ import annotations

import pathlib
import tomllib
from collections.abc import Callable
from typing import Any, TypeVar

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "assumptions.md"
WRITE = "python -m tests.contract.claims"
ARTICLE = (
    "Why is my connection redirected to the reader instance when I try to connect to my Amazon Aurora writer endpoint?"
)
KNOWN = {
    "article": "the article",
    "aws": "AWS",
    "mysql": "MySQL",
    "peer": "others' code",
    "assumed": "assumed",
}
_HEAD = f"""\
# What is assumed of Aurora

Nothing here has met a real Aurora yet.
The simulator plays one, and this page lists what it takes for granted, and how that is known.
*Assumed* means that no public page says so: it is how clients in use behave, or was chosen as the harder case.

Each line is held against the simulator by a test in `tests/contract`, over the engines `memory` and `mariadb`.
A recording of a real cluster that shows otherwise is the most welcome contribution there is.

<!-- Made from tests/contract/claims.toml by `{WRITE}`; a test keeps it so. -->
"""
_ROOMS = {
    "innodb-read-only": "Who is who",
    "row-columns": "The rows of replica_host_status",
    "read-only-error": "What readers refuse",
    "target-drops": "A failover, and what is like one",
    "cluster-alias": "Names",
    "certificates": "Log-ins and sessions",
}

F = TypeVar("F", bound=Callable[..., Any])


def loaded() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The claims by name, and the sources' addresses."""
    data = tomllib.loads((HERE / "claims.toml").read_text(encoding="utf-8"))
    return data["claim"], data["sources"]


CLAIMS, SOURCES = loaded()


def holds(*names: str) -> Callable[[F], F]:
    """Mark a test that holds the simulator to these claims."""
    missing = [name for name in names if name not in CLAIMS]
    if missing:
        raise LookupError(f"not in claims.toml: {', '.join(missing)}")
    return lambda test: test


def held() -> dict[str, list[str]]:
    """The tests that hold each claim, read from their files."""
    found: dict[str, list[str]] = {name: [] for name in CLAIMS}
    for path in sorted(HERE.glob("test_*.py")):
        names: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("@holds("):
                names = [name.strip('" ') for name in line[7:-1].split(",")]
            elif line.startswith(("async def test", "def test")):
                for name in names:
                    found[name].append(line.partition("def ")[2].partition("(")[0])
                names = []
    return found


def page() -> str:
    """What docs/explanation/assumptions.md says."""
    lines = [_HEAD]
    lines.append(
        f"The article is AWS's *{ARTICLE}*\n"
        f"Of {len(CLAIMS)} claims, {_count('article')} stand in it, "
        f"{_count('aws')} on other pages of AWS, {_count('mysql')} in MySQL's, "
        f"{_count('peer')} in code or trackers of others; {_count('assumed')} are assumed.\n"
    )
    for name, claim in CLAIMS.items():
        if name in _ROOMS:
            lines.append(f"## {_ROOMS[name]}\n\n| Claim | Known from | Doubt |\n| --- | --- | --- |")
        source = KNOWN[claim["known"]]
        if "source" in claim:
            source = f"[{source}]({SOURCES[claim['source']]})"
        lines.append(f"| {claim['says']} | {source} | {claim.get('doubt', '')} |")
        following = list(CLAIMS)[list(CLAIMS).index(name) + 1 :]
        if following and following[0] in _ROOMS:
            lines.append("")
    return "\n".join(lines) + "\n"


def _count(known: str) -> int:
    return sum(claim["known"] == known for claim in CLAIMS.values())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
