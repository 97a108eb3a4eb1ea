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


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("epochs=3", "did you mean 'training.epochs'?"),
        ("epoch=3", "did you mean 'training.epochs'?"),
        ("training.lr=0.1", "did you mean 'optimizer.lr'?"),
        ("validation_identities=3", "did you mean 'data.validation_identities'?"),
        ("student.width=0.5", "give 'student.arguments.width'"),
    ],
)
def test_a_key_that_belongs_elsewhere_is_named_by_its_whole_path(write_recipe, setting, meant):
    assert meant in refused(write_recipe(FULL), setting)


@pytest.mark.parametrize(
    ("setting", "end"),
    [
        ("optimizer.lr=fast", 'not "fast"'),
        ("training.batch_size=[1]", "not [1]"),
        ("training.epochs=-1", "not -1"),
        (f"training.epochs={'x' * 99}", f'not "{"x" * 59}...'),
    ],
)
def test_a_wrong_value_is_shown_as_it_was_typed(write_recipe, setting, end):
    assert refused(write_recipe(FULL), setting).endswith(end)
