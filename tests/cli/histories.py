"""Hand-made histories: what clients believed in one failover, to be judged."""

from __future__ import annotations

import dataclasses
from typing import Any

from aioaurora.cli.drill.judge import Scene
from aioaurora.cli.drill.ledger import Attempt, Connect, Ledger, Side, Step, Told

FAULT_AT, PROMOTED_AT, ENDED_AT = 100.0, 103.0, 105.0


def attempt(told: Told = Told.DONE, **changes: Any) -> Attempt:
    """Make an acknowledged autocommit write of our first client, a little after the promotion."""
    usual = Attempt(
        side=Side.OURS,
        client=0,
        unit=1,
        rows=("ours-0-1-1-0",),
        began_at=103.04,
        ended_at=103.05,
        told=told,
        step=Step.WRITE,
        error="" if told is Told.DONE else "ConnectionLost",
    )
    return dataclasses.replace(usual, **changes)


def failed_connect(**changes: Any) -> Connect:
    """Make a connect of a plain client that failed after the fault."""
    usual = Connect(side=Side.PLAIN, client=0, began_at=100.5, ended_at=101.0, error="OperationalError 2003")
    return dataclasses.replace(usual, **changes)


def scene(**changes: Any) -> Scene:
    """Make a crash, noticed at once, with one client of each kind, after which all that is stored is one row."""
    usual = Scene(
        mode="crash",
        promote_after_s=3.0,
        old_writer="db-1",
        new_writer="db-2",
        began_at=98.0,
        fault_at=FAULT_AT,
        promoted_at=PROMOTED_AT,
        ended_at=ENDED_AT,
        clients=1,
        held=frozenset({"ours-0-1-1-0"}),
        wrong_roles={Side.OURS: 0, Side.PLAIN: 0},
        peak_connects={Side.OURS: 2, Side.PLAIN: 1},
        suspected_at=100.01,
        in_flight={Side.OURS: 1, Side.PLAIN: 1},
        in_transaction={Side.OURS: 1, Side.PLAIN: 1},
    )
    return dataclasses.replace(usual, **changes)


def ledger(*attempts: Attempt, connects: tuple[Connect, ...] = ()) -> Ledger:
    """Put a history together."""
    return Ledger(list(attempts), list(connects))
