import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.loading import load_recipe, shipped_recipes
from facedistill.recipe.training_length import training_length


def length(steps_per_epoch, *settings):
    return training_length(load_recipe("fcd", settings).training, steps_per_epoch)


@pytest.mark.parametrize(
    ("settings", "steps_per_epoch", "expected"),
    [
        ([], 10, (2000, 100)),  # a small set is repeated
        ([], 100, (2000, 100)),
        ([], 101, (2020, 101)),
        (["training.evaluate_every=2"], 10, (2000, 200)),
        (["training.evaluate_steps=7"], 10, (2000, 7)),
        (["training.epochs=2"], 10, (20, 10)),
        (["training.epochs=0.01"], 10, (1, 10)),
        (["training.steps=3"], 10, (3, 10)),
        (["training.steps=4000"], 10, (4000, 200)),
        (["training.steps=3", "training.epochs=2"], 10, (3, 10)),
    ],
)
def test_steps_win_over_epochs_and_auto_has_enough_steps(settings, steps_per_epoch, expected):
    assert length(steps_per_epoch, *settings) == expected


@pytest.mark.parametrize("epochs", ["0", "-1", "fast", "yes", "[auto]"])
def test_a_length_is_a_number_or_auto(epochs):
    with pytest.raises(FacedistillError, match=r"epochs: give a number above 0 or auto, not"):
        length(10, f"training.epochs={epochs}")


@pytest.mark.parametrize("name", sorted({*shipped_recipes()} - {"demo"}))
def test_shipped_recipes_choose_their_length(name):
    assert load_recipe(name).training.epochs == "auto"


def test_recipes_that_are_compared_augment_alike():
    plain = load_recipe("arcface").data.augmentation
    assert not plain.flip_only
    for name in ("fcd", "coupleface", "coupleface_unlabelled", "kd", "rkd", "ekd"):
        recipe = load_recipe(name)
        assert recipe.data.augmentation == plain
        assert recipe.teacher.view == "clean"
