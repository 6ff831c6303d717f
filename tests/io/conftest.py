"""What several tests of `_io` stand on."""

from __future__ import annotations

import pytest

from aioaurora._io.resolver import Resolver
from tests.io.answers import Answers


@pytest.fixture
def dns():
    """Who is asked."""
    return Answers(db_test="10.0.0.1", ro_test="10.0.0.2")


@pytest.fixture
def heard():
    """Events, as they come."""
    return []


@pytest.fixture
async def resolver(dns, heard):
    """A resolver of its answers."""
    made = Resolver(source=dns, emit=heard.append, cluster="orders")
    yield made
    await made.close()
