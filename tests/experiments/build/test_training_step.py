import pytest

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.experiments.build import training_step
from facedistill.recipe.loading import load_recipe
from tests.engine.standin import SETTINGS


def test_what_does_not_suit_is_refused_before_any_objective_is_built(monkeypatch):
    """To build one may mean a pass over all faces, which is no time to find a mistake after."""
    built = []
    monkeypatch.setattr(
        training_step, "create_objective", lambda name, *_, **__: built.append(name)
    )
    recipe = load_recipe(
        "arcface", [*SETTINGS, "objectives.triplet={weight: 1}", "data.images_per_person=null"]
    )
    contexts = {None: RunContext(8, None, 8)}
    with pytest.raises(FacedistillError, match="'triplet' compares images of one identity"):
        training_step._objectives(recipe, contexts)
    assert built == []
