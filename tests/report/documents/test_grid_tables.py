from dataclasses import replace

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.statistics.table_rows import Row, RunResult
from facedistill.recipe.grid import GridRecipe
from facedistill.report.documents.grid_tables import grid_tables, write_grids


def row(name, value, figure="accuracy"):
    interval = Interval(value - 0.01, value + 0.01, "seeds", 2)
    figures = {"lfw": {"faces": Estimate(9.0, None), figure: Estimate(value, interval)}}
    return Row(name, "", [RunResult(0)], figures=figures)


GRID = GridRecipe(
    recipe="fcd",
    axes={"divisor": {"2": [], "4": []}, "init": {"scratch": []}, "target": {"none": [], "kd": []}},
    teacher="big",
)


def test_a_table_for_every_choice_of_the_first_axis(tmp_path):
    rows = [
        row("big", 0.97),
        row("s-2-scratch-none", 0.9),
        row("s-2-scratch-kd", 0.95),
        row("s-4-scratch-none", 0.8),
        Row("s-4-scratch-kd", "", [RunResult(0, "out of memory")]),
        row("other", 0.1),
    ]
    wanted = """\
### s: accuracy in %, divisor 2

| init / target | none | kd |
| --- | ---: | ---: |
| teacher (big) | 97.00 (96.00 to 98.00) | - |
| scratch | 90.00 (89.00 to 91.00) | 95.00 (94.00 to 96.00) |

### s: accuracy in %, divisor 4

| init / target | none | kd |
| --- | ---: | --- |
| teacher (big) | 97.00 (96.00 to 98.00) | - |
| scratch | 80.00 (79.00 to 81.00) | failed |
"""
    assert grid_tables("s", GRID, rows) == wanted
    assert write_grids({"s": GRID}, rows, tmp_path).read_text() == wanted


def test_the_error_of_landmarks_comes_before_accuracy_and_one_axis_is_a_list():
    grid = GridRecipe(recipe="landmarks", axes={"divisor": {"2": [], "4": []}})
    assert (
        grid_tables("a", grid, [row("a-2", 0.05, "nme"), row("a-4", 0.06, "nme")])
        == """\
### a: nme in %

| divisor | nme |
| --- | ---: |
| 2 | 5.00 (4.00 to 6.00) |
| 4 | 6.00 (5.00 to 7.00) |
"""
    )


def test_rows_that_are_not_there_are_dashes():
    grid = GridRecipe(recipe="fcd", axes={"init": {"scratch": []}, "target": {"none": []}})
    assert "| scratch | - |" in grid_tables("s", grid, [])


def test_a_cell_of_which_a_seed_crashed_is_marked():
    grid = GridRecipe(recipe="fcd", axes={"init": {"x": []}, "target": {"none": [], "kd": []}})
    done, broken = row("s-x-none", 0.9), Row("s-x-kd", "", [RunResult(0), RunResult(1, "nan")])
    done = replace(done, runs=[RunResult(0), RunResult(1, "out of memory"), RunResult(2)])
    cells = "| x | 90.00 (89.00 to 91.00) (2 of 3, crashed) | - (1 of 2, crashed) |"
    assert cells in grid_tables("s", grid, [done, broken])
