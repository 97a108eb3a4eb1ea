import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.experiments.build.training_data import (
    check_identities,
    create_order,
    open_test_set,
    split_data,
)
from facedistill.recipe.loading import load_recipe
from tests.engine.standin import tiny_recipe
from tests.experiments.landmark_recipe import landmark_recipe as recipe


def test_images_are_split_off_where_faces_have_no_labels():
    faces, held_out = split_data(recipe("data.validation_identities=0", "data.validation_images=8"))
    assert (len(faces), len(held_out)) == (22, 8)
    keys = {faces.key(i) for i in range(22)} | {held_out.key(i) for i in range(8)}
    assert len(keys) == 30
    with pytest.raises(FacedistillError, match="set one of them to 0"):
        split_data(recipe("data.validation_images=8", "data.validation_identities=4"))
    with pytest.warns(UserWarning, match=r"30 images, data\.validation_images is 30: 6 are split"):
        _, few = split_data(recipe("data.validation_identities=0", "data.validation_images=30"))
    assert len(few) == 6
    with pytest.raises(FacedistillError, match="validation_images is for landmark networks"):
        split_data(recipe("data.validation_images=8", "student.landmarks=null"))


class _OneProcess:
    process_index, num_processes = 0, 1


def arcface_recipe(identities, images, *settings):
    faces = f"procedural:identities={identities},images={images},size=16"
    given = [f"data.train={faces}", "data.licence=own", *settings]
    return load_recipe("arcface", given)


def test_as_many_identities_and_pairs_are_split_off_as_are_wanted():
    wanted = arcface_recipe(8, 4, "data.validation_identities=3", "data.validation_pairs=20")
    training, validation = split_data(wanted)
    assert (len(training), len(validation.same)) == (20, 20)


@pytest.mark.parametrize(
    ("identities", "share", "split_off", "said"),
    [
        (60, 0.1, 6, None),
        (60, 0.05, 5, "60 identities, data.validation_identities is 0.05 or 3 of them: 5 are"),
        (8, 0.1, 4, "0.1 or 1 of them: 4 are"),
        (4, 0.99, 2, "0.99 or 4 of them: 2 are"),
        (3, 0.5, 0, "data.validation_identities is 0.5 or 2 of them: none is split off"),
    ],
)
def test_a_share_of_the_identities_is_split_off(identities, share, split_off, said, recwarn):
    settings = [f"data.validation_identities={share}", "data.validation_pairs=20"]
    training, _ = split_data(arcface_recipe(identities, 2, *settings))
    assert len(np.unique(training.labels)) == identities - split_off
    messages = [str(warning.message) for warning in recwarn if "pairs" not in str(warning.message)]
    assert len(messages) == (said is not None)
    assert said is None or said in messages[0]


@pytest.mark.parametrize(
    ("identities", "images", "split_off", "pairs", "keys"),
    [
        (
            12,
            3,
            2,
            12,
            ["validation_identities is 40: 2", "data.validation_pairs is 3,000: 12"],
        ),
        (3, 3, 0, 0, ["data.validation_identities is 40: none"]),
        (8, 1, 0, 0, ["data.validation_identities is 40: 2", "are trained on, the last weights"]),
    ],
)
def test_a_small_set_is_served_with_warnings(identities, images, split_off, pairs, keys, recwarn):
    training, validation = split_data(arcface_recipe(identities, images))
    assert len(training) == (identities - split_off) * images
    assert (len(validation.same) if validation else 0) == pairs
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == len(keys)
    for message, key in zip(messages, keys, strict=True):
        assert key in message


def test_a_batch_is_no_larger_than_the_set():
    small = arcface_recipe(8, 4, "data.validation_identities=0", "training.accumulate=3")
    training, _ = split_data(small)
    with pytest.warns(UserWarning, match=r"32 images .*training\.batch_size\): 30 are taken"):
        assert create_order(small, training, _OneProcess()).batch_size == 30
    single = arcface_recipe(1, 1, "data.validation_identities=0")
    with pytest.raises(FacedistillError, match=r"training\.batch_size 128 is larger"):
        create_order(single, split_data(single)[0], _OneProcess())


def test_a_batch_of_whole_identities_is_no_larger_than_the_set():
    small = arcface_recipe(9, 3, "data.validation_identities=0", "data.images_per_person=2")
    training, _ = split_data(small)
    with pytest.warns(UserWarning, match=r"9 identities .*training\.batch_size\).*: 18 are taken"):
        assert create_order(small, training, _OneProcess()).batch_size == 18
    single = arcface_recipe(1, 3, "data.validation_identities=0", "data.images_per_person=2")
    with pytest.raises(FacedistillError, match=r"training\.batch_size 128 is larger"):
        create_order(single, split_data(single)[0], _OneProcess())


class _Learning:
    needs = frozenset({"student.embedding", "run.identities"})


class _Imitating:
    needs = frozenset({"student.embedding", "teacher.embedding"})


@pytest.mark.parametrize(
    ("identities", "images", "reason"),
    [(1, 3, "all 3 images are of one identity"), (3, 1, "every identity has one image")],
)
def test_labels_that_tell_nothing_apart_are_refused_where_they_are_learned(
    identities, images, reason
):
    faces = open_dataset(f"procedural:identities={identities},images={images},size=16")
    with pytest.raises(FacedistillError, match=f"{reason}, and objective 'arc' learns"):
        check_identities(faces, {"fcd": _Imitating(), "arc": _Learning()})
    check_identities(faces, {"fcd": _Imitating()})
    check_identities(open_dataset("procedural:identities=2,images=2"), {"arc": _Learning()})


def test_all_pairs_of_folds_that_share_images_are_refused_before_training(tmp_path):
    faces = open_dataset("procedural:identities=4,images=2,size=16")
    pairs = np.array([(0, 1), (2, 3)] * 5)
    pairs[5:] = [(0, 4), (2, 5), (0, 6), (2, 7), (1, 4)]
    write_bin(PairSet("x", faces, pairs, np.ones(10, bool)), tmp_path / "x.bin")
    recipe = tiny_recipe(f"evaluation.x={{pairs: {tmp_path / 'x.bin'}, all_pairs: true}}")
    with pytest.raises(FacedistillError, match="or all_pairs: true"):
        open_test_set(recipe, recipe.evaluation["x"])
