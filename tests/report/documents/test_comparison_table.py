import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from facedistill.evaluation.statistics.table_rows import Truth, assemble
from facedistill.report.documents.comparison_table import (
    best_row,
    crashes,
    print_comparison,
    to_dict,
    to_markdown,
)


def test_table_has_figures_differences_licences_and_crashes(rows):
    text = to_markdown("title", rows)
    assert "| row | seeds | accuracy % | less plain % | less fcd % | time a step |" in text
    mean = np.mean([run.measured["lfw"].report["accuracy"]["value"] for run in rows[0].runs])
    line = next(line for line in text.splitlines() if line.startswith("| plain"))
    assert f"| {100 * mean:.2f} (" in line
    assert "| 0 of 1, crashed | - |" in text
    assert "broken, seed 0: crashed: no bank" in text
    assert "fcd: teacher 🔴 **UNKNOWN**, training data CC-BY" in text
    assert "plain: training data CC-BY" in text
    (paired,) = [line for line in text.splitlines() if line.startswith("| fcd | plain | 2 |")]
    gains = [
        b.measured["lfw"].report["accuracy"]["value"]
        - a.measured["lfw"].report["accuracy"]["value"]
        for a, b in zip(rows[0].runs, rows[1].runs, strict=True)
    ]
    least = rows[1].seed_differences["lfw"]["plain"]["accuracy"].least
    assert f"| {100 * np.mean(gains):+.2f} (" in paired
    assert paired.endswith(f"; least {100 * least:.2f} |")
    alike = to_markdown("title", [rows[0], rows[1], replace(rows[0], name="third")])
    assert "- plain, third: training data CC-BY" in alike
    console = Console(file=io.StringIO(), width=100)
    print_comparison("title [/of] [b]bold", rows, console)
    assert "title [/of] [b]bold" in console.file.getvalue()
    assert crashes(rows)[0] in console.file.getvalue()
    assert "paired by seed" in console.file.getvalue()
    narrow = Console(file=io.StringIO(), width=80)
    print_comparison("title", rows, narrow)
    shown = narrow.file.getvalue().splitlines()
    assert max(map(len, shown)) <= 80
    assert any(f"{100 * mean:.2f} (" in line for line in shown)  # On one line, not folded.
    assert any(line.startswith("Not shown for want of width") for line in shown)
    assert best_row(rows).name == "fcd"
    assert to_dict("title", rows)["rows"][1]["seed_differences"]["lfw"]["plain"]["accuracy"][
        "least_difference"
    ] == pytest.approx(least)


def test_rows_of_one_seed_have_no_differences_by_seed(rows):
    alone = assemble(
        [replace(row, runs=row.runs[:1]) for row in rows],
        {"lfw": Truth(np.ones(40, bool))},
        ["plain"],
    )
    assert "Paired by seed" not in to_markdown("title", alone)
