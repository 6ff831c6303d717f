"""SQLAlchemy's own pytest plug-in, which runs its dialect compliance suite."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")  # Before it is imported.

from sqlalchemy.dialects.mysql import provision  # noqa: E402, F401 - It says how to use a MySQL; found by a dialect's package.
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403 - As its documentation has it.
