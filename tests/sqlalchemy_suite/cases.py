"""SQLAlchemy's dialect compliance suite, as a dialect's own tests have it."""

from __future__ import annotations

from sqlalchemy.testing import suite
from sqlalchemy.testing.suite import *  # noqa: F403 - As its documentation has it.


class ServerSideCursorsTest(suite.ServerSideCursorsTest):
    """SQLAlchemy's, which knows by name how its own dialects say it."""

    def _is_server_side(self, cursor):
        return cursor.server_side
