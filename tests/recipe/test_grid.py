from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.comparison import load_comparison, plan, shipped_comparisons

GRID = """
rows:
  teacher: {recipe: arcface, seeds: [0]}
grids:
  start:
    recipe: arcface
    settings: ["student.arguments.width=<width>"]
    axes: {width: {"0.5": , "0.25": }}
  student:
    recipe: fcd
    settings: ["student.arguments.width=<width>", "teacher={model: '${teacher}', licence: own}"]
    axes:
      width: {"0.5": , "0.25": }
      init:
        scratch:
        label: ["student.init=${start-<width>}"]
      target:
        none: ["objectives.fcd.weight=0.5"]
        mrd: ["objectives.mrd={weight: 2}"]
    teacher: teacher
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / "grid.yaml").write_text(text)
        return str(tmp_path / "grid.yaml")

    return write


def test_a_grid_is_a_row_for_every_combination(write, tmp_path):
    comparison = load_comparison([write(GRID)], seeds=[0, 1])
    assert len(comparison.rows) == 1 + 2 + 2 * 2 * 2
    trials = {(trial.row, trial.seed): trial for trial in plan(comparison, tmp_path)}
    assert len(trials) == 1 + 2 * 10
    trial = trials["student-0.25-label-mrd", 1]
    assert trial.recipe.student.arguments == {"width": 0.25}
    assert trial.recipe.student.init == str(tmp_path / "runs" / "start-0.25" / "seed-1")
    assert trial.recipe.teacher.model == str(tmp_path / "runs" / "teacher" / "seed-0")
    assert trial.recipe.objectives["mrd"].weight == 2
    assert set(trial.after) == {trials["start-0.25", 1].folder, trials["teacher", 0].folder}
    plain = trials["student-0.5-scratch-none", 0].recipe
    assert plain.student.init is None
    assert plain.objectives["fcd"].weight == 0.5
    # What others start from comes before them.
    order = list(trials)
    assert order.index(("start-0.25", 1)) < order.index(("student-0.25-label-mrd", 1))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<width>", "<with>", "no axis 'with': did you mean 'width'"),
        ("teacher: teacher", "teacher: techer", "grids.student.teacher: no row 'techer': did you"),
        ("teacher: {recipe", "start-0.5: {recipe", "there is a row 'start-0.5' already"),
        ('{width: {"0.5": , "0.25": }}', "{width: {}}", "axis width has no choice"),
        ('{width: {"0.5": , "0.25": }}', "{}", "grids.start.axes"),
        ("${start-<width>}", "${start-<init>}", "needs row 'start-label'"),
        ("teacher: teacher", "techer: teacher", "unknown key 'grids.student.techer': did you"),
    ],
)
def test_what_is_no_grid_is_refused(write, tmp_path, old, new, reason):
    with pytest.raises(FacedistillError) as caught:
        plan(load_comparison([write(GRID.replace(old, new))]), tmp_path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_comparison_without_rows_is_refused(write):
    with pytest.raises(FacedistillError, match="it has no rows"):
        load_comparison([write("grids: {}")])


@pytest.mark.parametrize("name", ["grid_alignment", "grid_verification"])
def test_the_shipped_grids_are_the_papers(name, tmp_path):
    assert name in shipped_comparisons()
    comparison = load_comparison([name])
    task = name.removeprefix("grid_")
    grid = comparison.grids[task]
    assert list(grid.axes["divisor"]) == ["2", "4", "8"]
    assert list(grid.axes["init"]) == ["scratch", "label", "distilled"]
    assert list(grid.axes["target"]) == [
        "none", "task_output", "task_hidden", "class_hidden", "class_soft",
    ]  # fmt: skip
    trials = {trial.row: trial.recipe for trial in plan(comparison, tmp_path)}
    assert len(trials) == 2 + 3 + 6 + 45
    for cell in grid.cells():
        recipe = trials["-".join((task, *cell))]
        assert recipe.student.arguments == {"width_divisor": int(cell[0])}
        assert (recipe.student.init is None) == (cell[1] == "scratch")
        assert (recipe.teacher is None) == (cell[2] == "none")
        start = {"label": f"label-{cell[0]}", "distilled": f"distilled-from_label-{cell[0]}"}
        if cell[1] != "scratch":
            assert Path(recipe.student.init).parent.name == start[cell[1]]
        if cell[2] != "none":
            teacher = "classification" if cell[2].startswith("class") else task
            assert Path(recipe.teacher.model).parent.name == f"{teacher}_teacher"
        output = {"verification": "fcd", "alignment": "landmark_imitation"}[task]
        added = {"none": set(), "task_output": {output}, "class_soft": {"kd"}}
        own = {"verification": "triplet", "alignment": "landmark_regression"}[task]
        assert set(recipe.objectives) == {own} | added.get(cell[2], {"hidden_layer"})
        if cell[2] == "class_soft":
            assert recipe.objectives["kd"].arguments == {"own_head": True}
        assert recipe.student.landmarks == (5 if task == "alignment" else None)
    students = {row: trials[row] for row in trials if row.startswith(("label-", "distilled-"))}
    assert {row: recipe.student.init is not None for row, recipe in students.items()} == {
        row: "from_label" in row for row in students
    }
