from dataclasses import replace

import numpy as np
import pytest

from facedistill.core.estimate import Estimate, Interval
from facedistill.evaluation.statistics.table_rows import Measured, Row, RunResult
from facedistill.report.documents.comparison_page import to_html, write_comparison
from facedistill.report.documents.comparison_table import (
    print_comparison,
    to_csv,
    to_dict,
    to_markdown,
)
from facedistill.report.documents.pareto_panels import PARETO, pareto_figure, pareto_panels


def row(name, parameters, value, figure="accuracy", **more):
    run = RunResult(0, None, {"lfw": Measured({figure: value})}, parameters, 10 * parameters)
    estimate = Estimate(value, Interval(value - 0.01, value + 0.01, "identities", 9))
    return Row(name, "", [run], figures={"lfw": {figure: estimate}}, **more)


def timed(milliseconds):
    return Estimate(milliseconds, Interval(0.9 * milliseconds, 1.1 * milliseconds, "turns", 10))


@pytest.fixture
def ladder():
    return [row("half", 500_000, 0.92), row("poor", 800_000, 0.90), row("whole", 10**6, 0.95)]


def texts(axes):
    return {text.get_text(): tuple(text.xy) for text in axes.texts}


def test_rows_are_drawn_over_time_and_size(ladder):
    figure = pareto_figure(ladder)
    macs, parameters = figure.axes
    assert macs.get_xlabel() == "multiply-adds a face, millions"
    assert parameters.get_xlabel() == "parameters, millions"
    assert macs.get_ylabel() == "accuracy %"
    wanted = {"half": (0.5, 92), "poor": (0.8, 90), "whole": (1, 95)}
    assert texts(parameters) == {name: pytest.approx(at) for name, at in wanted.items()}
    stairs = next(line for line in macs.lines if line.get_drawstyle() == "steps-post")
    assert stairs.get_xydata() == pytest.approx(np.array([[5, 92], [10, 95]]))
    colours = {text.get_text(): text.get_color() for text in macs.texts}
    assert colours["half"] == colours["whole"] != colours["poor"]


def test_timed_rows_are_drawn_over_milliseconds_and_bytes(ladder):
    half, poor, whole = ladder
    rows = [replace(half, milliseconds=timed(0.4), file_bytes=2_000_000), poor,
            replace(whole, milliseconds=timed(1.5), file_bytes=4_000_000)]  # fmt: skip
    time, size = pareto_figure(rows).axes
    assert time.get_xlabel() == "milliseconds a face, ONNX Runtime, one core"
    assert texts(time) == {"half": (0.4, 92), "whole": (1.5, 95)}
    assert texts(size) == {"half": (2, 92), "whole": (4, 95)}
    # Of a single one that could be timed nothing is to be seen.
    assert [panel.cost for panel in pareto_panels([half, poor, rows[2]])] == [
        "multiply-adds a face, millions", "parameters, millions",
    ]  # fmt: skip


def test_errors_are_better_the_less_they_are():
    rows = [row("a", 100, 0.05, "nme"), row("b", 200, 0.03, "nme"), row("c", 300, 0.04, "nme")]
    assert [panel.front().tolist() for panel in pareto_panels(rows)] == [[True, True, False]] * 2


def test_there_is_nothing_to_choose_between_networks_of_one_size(ladder):
    assert pareto_figure([row("a", 100, 0.9), row("b", 100, 0.8)]) is None
    assert pareto_figure([row("a", 100, 0.9), Row("b", "", [RunResult(0, "crashed")])]) is None
    assert pareto_figure([row("a", 100, 0.9), row("b", 200, float("nan"))]) is None
    both = [replace(each, figures={**each.figures, "own": each.figures["lfw"]}) for each in ladder]
    assert [panel.figure for panel in pareto_panels(both)] == [
        "lfw: accuracy %", "lfw: accuracy %", "own: accuracy %", "own: accuracy %",
    ]  # fmt: skip


def test_a_comparison_of_unlike_networks_has_the_figure_and_the_costs(ladder, tmp_path):
    ladder[0] = replace(ladder[0], milliseconds=timed(0.4), file_bytes=2_000_000)
    paths = write_comparison("ladder", ladder, tmp_path)
    assert paths[-1] == tmp_path / PARETO
    assert paths[-1].read_bytes().startswith(b"\x89PNG")
    assert "What networks are worth" in to_html("ladder", ladder)
    assert "| ms a face | file MB |" in to_markdown("ladder", ladder)
    assert "| 0.400 (0.360 to 0.440) | 2.00 |" in to_markdown("ladder", ladder)
    header, first, second, _ = to_csv(ladder).splitlines()
    columns = dict(zip(header.split(","), first.split(","), strict=True))
    assert [columns[f"milliseconds{end}"] for end in ("", " low", " high")] == [
        "0.4", "0.36000000000000004", "0.44000000000000006",
    ]  # fmt: skip
    assert len(second.split(",")) == len(header.split(","))
    document = to_dict("ladder", ladder)["rows"]
    assert document[0]["milliseconds"]["value"] == 0.4
    assert (document[1]["milliseconds"], document[1]["file_bytes"]) == (None, None)


def test_the_terminal_shows_what_a_face_takes(ladder, capsys):
    from rich.console import Console

    ladder[0] = replace(ladder[0], milliseconds=timed(0.4), file_bytes=2_000_000)
    print_comparison("ladder", ladder, Console(width=200))
    assert "0.400 (0.360 to 0.440)" in capsys.readouterr().out


def test_names_do_not_lie_on_each_other():
    alike = [row(f"method{i}", 100, 0.80 + 0.001 * i) for i in range(10)]
    figure = pareto_figure([*alike, row("teacher", 1000, 0.95), row("plain", 100, 0.70)])
    names = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(names) == ["method9", "plain", "teacher"]
