"""Where and with what it was measured; nothing that names a host, a person or a path."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess

import aioaurora
from aioaurora.simulator.mariadb import mariadbd_path

PACKAGES = {
    "aiomysql": "aiomysql",
    "PyMySQL": "PyMySQL",
    "aiodns": "aiodns",
    "AWS Advanced Python Wrapper": "aws-advanced-python-wrapper",
}


def today() -> str:
    """The day, in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def described() -> str:
    """How many cores of what, and the system."""
    cores = os.cpu_count() if not hasattr(os, "sched_getaffinity") else len(os.sched_getaffinity(0))
    is_virtual = ", virtual" if " hypervisor" in _cpuinfo() else ""
    return f"{cores} cores of {_cpu()}{is_virtual}; {_system()}"


def versions() -> dict[str, str]:
    """Each name with its version, as far as it is installed."""
    told = {platform.python_implementation(): platform.python_version(), "aioaurora": aioaurora.__version__}
    for name, package in PACKAGES.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            told[name] = importlib.metadata.version(package)
    return told | {"MariaDB": _mariadb()}


def load() -> float:
    """How many processes wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def _cpu() -> str:
    if found := re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE):
        return found[1].strip()
    return platform.processor() or platform.machine()


def _cpuinfo() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _system() -> str:
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{platform.system()} {platform.release()}"


def _mariadb() -> str:
    server = mariadbd_path()
    if server is None:
        return "none"
    told = subprocess.run([server, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = re.search(r"\d+\.\d+\.\d+", told)
    return found[0] if found else told.strip()
