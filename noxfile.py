"""What there is to run, and what CI runs: `nox` alone runs it all, `nox -l` lists it.

A Python that is missing is named and passed over; under AIOAURORA_REQUIRE_ALL=1, as in CI, that is a failure, as is a
missing mariadbd. Of those with `allow_parallel`, three run at a time, for they wait as well; what measures runs alone.
"""

from __future__ import annotations

import os

import nox

PYTHONS = ("3.11", "3.12", "3.13")
PROJECT = nox.project.load_toml("pyproject.toml")
# The packages that integrations are for, at the oldest version that their extra allows.
OLDEST = {
    extra: PROJECT["project"]["optional-dependencies"][extra][0].partition(",")[0].replace(">=", "==")
    for extra in ("fastapi", "otel", "sqlalchemy")
}
OLDEST["otel-sdk"] = OLDEST["otel"].replace("-api", "-sdk")

nox.needs_version = ">=2026.10"
nox.options.parallel = 3
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = os.environ.get("AIOAURORA_REQUIRE_ALL") == "1"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "layers", "tests", "types", "aiomysql-suite", "oldest", "docs", "system"]


def _install(session: nox.Session, *groups: str, project: str = "-e.", also: tuple[str, ...] = ()) -> None:
    """Install the project and dependency groups: read here, for pip learnt `--group` only in 25.1.

    What is imported is compiled then; all that is installed would take as long as the installation.
    """
    wanted = [need for group in groups for need in nox.project.dependency_groups(PROJECT, group)]
    session.install("--quiet", "--no-compile", *wanted, *also, *([project] if project else []))


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Read the code as ruff does: all its rules, and the format."""
    _install(session, "lint", project="")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check", *session.posargs)


@nox.session(allow_parallel=True)
def types(session: nox.Session) -> None:
    """Check the types within (mypy), and that every public name has one (pyright)."""
    _install(session, "types", also=("nox",))
    session.run("mypy", *session.posargs)
    session.run("pyright", "--verifytypes", "aioaurora", "--ignoreexternal")


@nox.session(allow_parallel=True)
def layers(session: nox.Session) -> None:
    """See that imports point down."""
    _install(session, "layers", project="")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})


@nox.session(python=PYTHONS, allow_parallel=True)
def tests(session: nox.Session) -> None:
    """Test all but `tests/system`; properties are searched for long on the oldest Python, and tried on the others.

    Fleets are reckoned on the oldest alone. The Pythons between the oldest and the newest are spared what stands on no
    event loop, and the simulator's own.
    """
    _install(session, "tests")
    env = {} if session.python == PYTHONS[0] else {"AIOAURORA_HYPOTHESIS": "brief"}
    spared = ["system"] + (["fleet"] if session.python != PYTHONS[0] else [])
    spared += ["cli", "contract", "core", "simulator"] if session.python in PYTHONS[1:-1] else []
    session.run("pytest", *(session.posargs or ["tests", *[f"--ignore=tests/{each}" for each in spared]]), env=env)


@nox.session
def system(session: nox.Session) -> None:
    """Test against real servers, on real time: first and alone what measures; the rest mostly waits, four at a time."""
    _install(session, "system")
    if session.posargs:
        session.run("pytest", *session.posargs)
    else:
        session.run("pytest", "tests/system", "-m", "alone")
        session.run("pytest", "tests/system", "-m", "not alone", "-n", "4", "--dist", "worksteal")


@nox.session(name="aiomysql-suite", allow_parallel=True)
@nox.parametrize("pymysql", ["PyMySQL==1.1.3", "PyMySQL"], ids=["oldest", "newest"])
def aiomysql_suite(session: nox.Session, pymysql: str) -> None:
    """Run aiomysql's own tests with our Connection in its place, on the oldest and newest PyMySQL that we allow."""
    _install(session, "aiomysql-suite", also=(pymysql,))
    session.run("python", "tests/aiomysql_suite/run.py", *session.posargs)


@nox.session(allow_parallel=True)
def oldest(session: nox.Session) -> None:
    """Test what is for other packages on the oldest of them that we allow; `tests` and `system` have the newest."""
    _install(session, "tests", also=tuple(OLDEST.values()))
    names = ["tests/fastapi", "tests/test_otel.py", "tests/test_otel_documents.py"]
    names += ["tests/test_sqlalchemy.py", "tests/test_sqlalchemy_units.py"]
    session.run("pytest", *(session.posargs or names))


@nox.session(name="sqlalchemy-suite")
@nox.parametrize("sqlalchemy", [OLDEST["sqlalchemy"], "sqlalchemy"], ids=["oldest", "newest"])
def sqlalchemy_suite(session: nox.Session, sqlalchemy: str) -> None:
    """Run SQLAlchemy's dialect compliance suite over ours beside aiomysql's: five minutes. Not part of CI."""
    _install(session, "sqlalchemy-suite", also=(sqlalchemy,))
    session.run("python", "tests/sqlalchemy_suite/run.py", *session.posargs)


@nox.session(allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning fails."""
    _install(session, "docs", project="-e.[cli,fastapi,otel,simulator,sqlalchemy,testing]")
    session.run("sphinx-build", "-q", "-n", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything and write docs/reference/performance.md: 25 to 30 minutes, `-- --quick` seven. Not in CI.

    `-- driver`, `pool`, `imports` or `failover` measures one part; `-- page` makes the page again. `-- fleet` reckons
    failovers of fleets, and writes docs/explanation/scale.md's figures.
    """
    parts = {"driver", "failover", "fleet", "imports", "page", "pool"}
    name, *rest = session.posargs if set(session.posargs[:1]) & parts else ["whole", *session.posargs]
    _install(session, "tests" if name in {"driver", "fleet", "page"} else "system")
    session.run("python", f"tests/benchmarks/{name}.py", *rest, env={"PYTHONPATH": "."} if name == "fleet" else None)


@nox.session
def chaos(session: nox.Session) -> None:
    """Break a cluster in every way at once under clients that write: `--seeds 1..20 --minutes 1`, `--failovers 200`.

    CI runs a slice of it in `system`.
    """
    _install(session, "tests")
    session.run("python", "-m", "tests.chaos.run", *session.posargs)


@nox.session
def shop(session: nox.Session) -> None:
    """Load the example shop, that over SQLAlchemy, and both without us: five minutes. Not in CI."""
    _install(session, "system")
    session.run("python", "tests/benchmarks/shop.py", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant faults into the core and see that its tests find each: fifteen minutes; or into the modules that are named.

    Not part of CI.
    """
    _install(session, "tests")
    session.run("python", "tests/core/mutants.py", *session.posargs)


@nox.session
def changes(session: nox.Session) -> None:
    """Write docs/changelog.md from docs/changelog.d; `nox -s changes -- --draft` only shows it."""
    _install(session, "changes")
    session.run("towncrier", "build", *session.posargs)
