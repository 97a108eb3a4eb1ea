import pytest

from facedistill.core.errors import FacedistillError
from tests.cli.calling import assert_next, call, settings


def test_a_finished_run_is_not_repeated(story):
    before = (story / "student" / "best.safetensors").stat().st_mtime_ns
    faces, bank = f"data.train={story / 'faces'}", f"teacher.bank={story / 'bank'}"
    output = call("distill", "fcd", "--out", story / "student", *settings(faces, bank))
    assert "finished" in output
    assert_next(output)
    assert (story / "student" / "best.safetensors").stat().st_mtime_ns == before


def test_a_recipe_without_a_teacher_is_not_for_distill(tmp_path):
    with pytest.raises(FacedistillError, match="has no teacher"):
        call("distill", "arcface", "--out", tmp_path / "run")
