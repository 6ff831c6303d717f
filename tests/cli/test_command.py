"""The command line: what is refused, and what is said without the extra."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from aioaurora import __version__
from aioaurora.cli import app


def ran(*words):
    """Run the command line in this process."""
    return CliRunner().invoke(
        app, words, prog_name="aioaurora", env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "sqlite"], "choose from auto, mariadb, memory, dsn"),
        (["--mode", "flood"], "choose from graceful, crash, blackhole"),
        (["--promote-after", "0"], "more than 0"),
        (["--promote-after", "nan"], "more than 0"),
        (["--engine", "dsn"], "--engine dsn and --dsn URL go together"),
        (["--dsn", "mysql://root@127.0.0.1"], "--engine dsn and --dsn URL go together"),
        (["--clients", "1"], "Invalid value for '--clients'"),
        (["--instances", "1"], "Invalid value for '--instances'"),
        (["--svg", "/no/such/directory/a.svg"], "there is no such directory"),
        (["--url", "no url"], "write mysql://"),
        (["--url", "mysql://u@h/", "--svg", "a.svg"], "--svg has no meaning then"),
        (["--url", "mysql://u@h/", "--promote-after", "2"], "--promote-after has no meaning then"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_bad_usage_is_refused_with_what_to_write(words, sentence):
    """Status 2, before anything is started."""
    result = ran("drill", *words)

    assert result.exit_code == 2
    assert sentence in " ".join(re.sub(r"[│╭╮╯╰─]", " ", result.output).split())


def test_a_url_with_a_password_is_not_repeated():
    """It may end up in a terminal's scrollback."""
    result = ran("drill", "--url", "mysql://app:hunter2@orders.test/shop?no_such_option=1")

    assert result.exit_code == 2
    assert "hunter2" not in result.output


def test_the_version_is_printed():
    """The one that is installed."""
    result = ran("--version")

    assert (result.exit_code, result.output.split()) == (0, ["aioaurora", __version__])


def test_without_the_extra_it_says_what_to_install():
    """A traceback about typer helps nobody."""
    code = "import sys; sys.modules['typer'] = None; from aioaurora.cli import main; main()"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "pip install 'aioaurora[cli]'" in done.stderr
    assert "Traceback" not in done.stderr
