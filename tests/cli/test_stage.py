"""Who does what when the writer goes."""

from __future__ import annotations

import asyncio

import pytest

from aioaurora.cli.drill.ledger import Side
from aioaurora.cli.drill.stage import Posture, Stage, postures


@pytest.mark.parametrize("clients", [2, 3, 8, 9])
def test_at_least_half_wait_for_a_statement_and_one_sits_in_a_transaction(clients):
    """DECISIONS 34."""
    given = postures(clients)

    waiting = [each for each in given if each in {Posture.WAITING, Posture.WAITING_INSIDE}]
    assert len(given) == clients
    assert 2 * len(waiting) >= clients
    assert given.count(Posture.SITTING) == 1


def test_those_who_wait_have_rows_to_wait_for():
    """Each its own, and other ones at every fault: a row that was stored cannot be inserted again."""
    stage = Stage()

    stage.call((Side.OURS, Side.PLAIN), 4)
    first = stage.contested_by(Side.OURS)
    stage.call((Side.OURS, Side.PLAIN), 4)

    assert len(first) == len(set(first)) == 2
    assert set(first).isdisjoint(stage.contested_by(Side.OURS))
    assert set(stage.contested_by(Side.PLAIN)).isdisjoint(stage.contested_by(Side.OURS))


async def test_the_call_is_over_when_everybody_stands():
    """Those who go on writing are not waited for."""
    stage = Stage()
    stage.call((Side.OURS,), 3)
    waiting = asyncio.create_task(stage.all_taken(60.0))

    for client in range(3):
        await asyncio.sleep(0.1)
        assert not waiting.done()
        stage.stand(Side.OURS, client, stage.take(Side.OURS, client))
    await waiting

    assert stage.count(Side.OURS, Posture.WAITING, Posture.WAITING_INSIDE) == 2
    assert stage.count(Side.PLAIN, *Posture) == 0


async def test_those_who_are_late_are_not_waited_for():
    """A client may be stuck in a connect."""
    stage = Stage()
    stage.call((Side.OURS,), 2)

    await stage.all_taken(4.0)

    assert asyncio.get_running_loop().time() == pytest.approx(4.0)
    assert stage.take(Side.OURS, 0) is Posture.WRITING
