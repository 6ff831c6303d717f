"""The planted faults keep up with the code; `nox -s mutants` plants them."""

from __future__ import annotations

import pytest

from tests.core import mutants


@pytest.mark.parametrize(
    "mutant", mutants.MUTANTS, ids=lambda mutant: f"{mutant.module}: {mutant.text} -> {mutant.fault}"
)
def test_fault_can_be_planted(mutant):
    """Its text is in the module, and what comes out is Python."""
    compile(mutants.mutated(mutant), mutant.module, "exec")
