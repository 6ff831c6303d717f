"""The model of a fleet foresees what a small fleet does, and what it says of large ones follows from the rules."""

from __future__ import annotations

import dataclasses

import pytest

from tests.fleet.model import foreseen
from tests.fleet.seen import peak, when
from tests.fleet.small import Size, failed_over
from tests.fleet.world import DEFAULTS, Fleet, Rules

# Of moments, and of counts: dice fall differently, and some of what happens by the way is left out.
MOMENTS, COUNTS = {"rel": 0.05, "abs": 0.1}, {"rel": 0.2, "abs": 15}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "size",
    [
        Size(processes=3, connections=1, logins_per_s=0.6),  # As 1,000 at 200 a second.
        Size(processes=4, connections=2, logins_per_s=4.0),
    ],
    ids=["crowded", "easy"],
)
async def test_the_model_foresees_what_a_small_fleet_does(monkeypatch, size):
    """Moments within 5 % and a tenth of a second, counts within 20 % and 15."""
    processes, wanted = size.processes, size.processes * size.connections

    seen = await failed_over(size, monkeypatch)

    model = foreseen(
        Fleet(
            processes=processes,
            connections=size.connections,
            logins_per_s=size.logins_per_s,
            noticed_within_s=0.0,
        )
    )
    for share in (0.5, 0.95, 1.0):
        assert when(seen.found, processes, share) == pytest.approx(when(model.found, processes, share), **MOMENTS)
        assert when(seen.served, processes, share) == pytest.approx(when(model.served, processes, share), **MOMENTS)
        assert when(seen.opened, wanted, share) == pytest.approx(when(model.opened, wanted, share), **MOMENTS)
    assert len(seen.log_ins["db-2"]) == len(model.log_ins["db-2"]) == processes + wanted
    for name in ("db-2", "db-3"):
        assert len(seen.dials[name]) == pytest.approx(len(model.dials[name]), **COUNTS)
        assert peak(seen.dials[name]) == pytest.approx(peak(model.dials[name]), **COUNTS)
        assert len(seen.questions[name]) == pytest.approx(len(model.questions[name]), **COUNTS)
        assert peak(seen.questions[name]) == pytest.approx(peak(model.questions[name]), **COUNTS)
    assert not [name for name, moments in seen.dials.items() if moments and name.startswith("orders")]
    assert peak(seen.look_ups["all"]) == pytest.approx(peak(model.look_ups["host 0"]), **COUNTS)


def test_a_fleet_is_back_as_soon_as_the_writer_can_let_it_in():
    """A hundred processes with 20 connections each: 2,100 log-ins at 200 a second, and none in vain."""
    seen = foreseen(Fleet(processes=100))

    assert when(seen.opened, 2000) == pytest.approx(2100 / 200, abs=0.1)
    assert seen.wasted["db-2"] == 0
    assert peak(seen.log_ins["db-2"]) <= 2 * 200


def test_a_fleet_that_fills_a_writer_is_back_within_its_own_patience():
    """As 2,500 processes at 200 a second: their first log-ins take 12.5 s, less than `stall_timeout`."""
    seen = foreseen(Fleet(processes=250, connections=2, logins_per_s=20.0))

    assert when(seen.opened, 500) == pytest.approx(750 / 20, rel=0.02)
    assert seen.wasted["db-2"] == 0


def test_without_the_rules_it_never_comes_back():
    """Log-ins that are given up and begun anew at once keep the writer busy for nobody."""
    fleet = Fleet(processes=100, connections=2, logins_per_s=20.0, lasting=60.0)

    seen = foreseen(fleet, Rules(stands_in_line=False, backs_off=False))

    assert len(seen.opened) < 20
    assert peak([at for at in seen.log_ins["db-2"] if at >= 30.0]) > 50


def test_a_large_fleet_is_spared_by_its_settings():
    """`docs/explanation/scale.md` says which."""
    config = dataclasses.replace(DEFAULTS, search_interval=0.4, stall_timeout=24.0)
    seen = foreseen(Fleet(processes=400, connections=1, logins_per_s=20.0, config=config))

    assert when(seen.opened, 400) == pytest.approx(800 / 20, rel=0.02)
    assert peak(seen.questions["db-3"]) <= 400 / 0.4 * 1.2


def test_a_resolver_that_drops_delays_by_half_a_second():
    """The address that was known serves meanwhile: 500 processes behind one interface ask for more than it lets by."""
    seen = foreseen(Fleet(processes=500, connections=1, processes_per_host=500, promote_after=0.1))

    assert peak(seen.look_ups["host 0"]) > 1024
    assert when(seen.found, 500) <= 500 / 200 + 0.6
