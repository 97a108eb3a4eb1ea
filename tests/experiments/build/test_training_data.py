import pytest

from facedistill.core.errors import FacedistillError
from facedistill.experiments.build.training_data import split_data
from tests.engine import standin  # noqa: F401 - registers a tiny network
from tests.experiments.landmark_recipe import landmark_recipe as recipe


def test_images_are_split_off_where_faces_have_no_labels():
    faces, held_out = split_data(recipe("data.validation_identities=0", "data.validation_images=8"))
    assert (len(faces), len(held_out)) == (22, 8)
    keys = {faces.key(i) for i in range(22)} | {held_out.key(i) for i in range(8)}
    assert len(keys) == 30
    with pytest.raises(FacedistillError, match="set one of them to 0"):
        split_data(recipe("data.validation_images=8", "data.validation_identities=4"))
    with pytest.raises(FacedistillError, match="cannot set 30 images apart"):
        split_data(recipe("data.validation_identities=0", "data.validation_images=30"))
    with pytest.raises(FacedistillError, match="validation_images is for landmark networks"):
        split_data(recipe("data.validation_images=8", "student.landmarks=null"))
