import warnings

import pytest

from facedistill.data.open import open_dataset
from facedistill.data.stored_orientation import warn_of_turned
from facedistill.evaluation.evaluate import open_protocol
from facedistill.experiments.build.training_data import split_data
from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.recipe.loading import load_recipe
from facedistill.runtime.image_file import encode_jpeg
from tests.runtime.test_image_file import with_orientation


def faces(folder, orientation):
    for identity in range(2):
        for photo in range(2):
            path = folder / f"identity{identity}" / f"{photo}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            encoded = encode_jpeg(procedural_face(0, identity, photo, 32)[0])
            last = identity == photo == 1
            path.write_bytes(with_orientation(encoded, orientation) if last else encoded)
    return folder


def training(folder):
    split_data(
        load_recipe(
            "arcface",
            [f"data.train={folder}", "data.licence=x", "data.validation_identities=0"],
        )
    )


READERS = [
    training,
    lambda folder: open_protocol(folder, all_pairs=True),
    lambda folder: warn_of_turned(open_dataset(folder)),
]


@pytest.mark.parametrize("read", READERS)
def test_images_that_are_not_turned_are_warned_of(tmp_path, read):
    with pytest.warns(UserWarning, match=r"1 of 4 images have an EXIF orientation.*--pack` turns"):
        read(faces(tmp_path, 6))


@pytest.mark.parametrize("read", READERS)
def test_upright_images_are_no_matter(tmp_path, read):
    faces(tmp_path, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(tmp_path)
    assert not [each for each in caught if "EXIF" in str(each.message)]


def test_damaged_images_are_for_others_to_name(tmp_path):
    faces(tmp_path, 6)
    (tmp_path / "identity0" / "0.jpg").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 of 4 images"):
        warn_of_turned(open_dataset(tmp_path))
