"""What is believed of a cluster, and done about it, as scenario files tell it: see scenes.py for how to read them."""

from __future__ import annotations

import pytest

from tests.core import scenes


@pytest.mark.parametrize("scene", scenes.scenes(), ids=lambda scene: f"{scene.path.parent.name}/{scene.path.stem}")
def test_scenario_holds(scene):
    """Each file of scenarios/topology and scenarios/failover names its cases."""
    scenes.play(scene)


def test_scenarios_have_titles_of_their_own():
    """A title is what a reader looks for."""
    titles = [scene.content["title"] for scene in scenes.scenes()]

    assert len(titles) == len(set(titles)) >= 30
