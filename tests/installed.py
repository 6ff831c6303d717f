"""What `mariadb-install-db` makes, made once for many simulated clusters: that is most of their start."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from aioaurora.simulator.mariadb import MariadbEngine

if TYPE_CHECKING:
    import pathlib

    import pytest


def install_once(monkeypatch: pytest.MonkeyPatch, kept: pathlib.Path) -> None:
    """Have each engine copy the data directory in `kept`, which is the first one's, before its server's first start."""
    install = MariadbEngine._install

    async def copy(engine: MariadbEngine, installer: str) -> None:
        folder = engine._own_folder()
        if kept.exists():
            (folder / "tmp").mkdir()
            shutil.copytree(kept, folder / "data")
        else:
            await install(engine, installer)
            shutil.copytree(folder / "data", kept)

    monkeypatch.setattr(MariadbEngine, "_install", copy)
