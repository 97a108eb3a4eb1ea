import pytest

from facedistill.core.errors import FacedistillError
from tests.cli.calling import call


def test_a_recipe_with_a_teacher_is_not_for_train(tmp_path):
    with pytest.raises(FacedistillError, match="use `facedistill distill`"):
        call("train", "fcd", "--out", tmp_path / "run")
