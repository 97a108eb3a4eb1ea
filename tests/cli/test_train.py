import pytest

from facedistill.core.errors import FacedistillError
from tests.cli.calling import call


def test_a_recipe_with_a_teacher_is_not_for_train(tmp_path):
    with pytest.raises(FacedistillError, match="use `facedistill distill`"):
        call("train", "fcd", "--out", tmp_path / "run")


def test_a_shipped_recipe_without_faces_is_refused(tmp_path):
    with pytest.raises(FacedistillError, match=r"say what to train on, --set data\.train=FACES"):
        call("train", "arcface", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
