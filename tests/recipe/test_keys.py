import pytest

from tests.recipe.full_recipe import FULL, refused


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optimiser", "optimizer"),
        ("data.trian", "train"),
        ("data.augmentation.rotatoin", "rotation"),
        ("teacher.banck", "bank"),
        ("teacher.input.colour", "color"),
        ("student.input.sise", "size"),
        ("student.argument", "arguments"),
        ("optimizer.lrr", "lr"),
        ("schedule.warm_up", "warmup"),
        ("training.batchsize", "batch_size"),
    ],
)
def test_an_unknown_key_names_its_place_and_the_nearest(write_recipe, key, nearest):
    message = refused(write_recipe(FULL), f"{key}=1")
    assert f"unknown key '{key}'" in message
    assert f"did you mean '{nearest}'" in message
