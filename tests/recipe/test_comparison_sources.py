import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.comparison import load_comparison, plan
from facedistill.recipe.comparison_sources import require_given_faces, require_sources

CHAINED = """
rows:
  teacher: {recipe: arcface}
  student: {recipe: fcd, settings: ["teacher.bank=null", "teacher.model=${teacher}"]}
"""


def required(comparison, folder):
    require_sources(comparison, plan(comparison, folder))


def test_every_row_is_looked_at_before_the_first_runs(tmp_path):
    with pytest.raises(FacedistillError, match=r"row fcd: bank: no such file or folder"):
        required(load_comparison(["arcface", "fcd"]), tmp_path)
    with pytest.raises(FacedistillError, match=r"^none\.bin: no such file or folder"):
        required(load_comparison(["arcface"], pairs=["none.bin"]), tmp_path)


def test_what_one_row_makes_for_another_need_not_be_there_yet(tmp_path):
    path = tmp_path / "chained.yaml"
    path.write_text(CHAINED)
    required(load_comparison([str(path)]), tmp_path)


def test_recipes_named_on_the_command_line_are_given_faces(tmp_path):
    def given(sources, settings=()):
        comparison = load_comparison(sources, settings=settings)
        require_given_faces(comparison, plan(comparison, tmp_path), sources)

    with pytest.raises(FacedistillError, match=r"recipe fcd: .*data\.train=FACES"):
        given(["demo", "own=fcd"])
    given(["arcface", "own=fcd"], ["data.train=faces"])
    path = tmp_path / "chained.yaml"
    path.write_text(CHAINED)
    given([str(path)])
