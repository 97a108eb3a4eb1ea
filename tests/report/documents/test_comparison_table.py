import io
from dataclasses import replace

import numpy as np
from rich.console import Console

from facedistill.report.documents.comparison_table import crashes, print_comparison, to_markdown


def test_table_has_figures_differences_licences_and_crashes(rows):
    text = to_markdown("title", rows)
    assert "| row | seeds | accuracy % | less plain % | less fcd % | time a step |" in text
    mean = np.mean([run.measured["lfw"].report["accuracy"]["value"] for run in rows[0].runs])
    (line,) = [line for line in text.splitlines() if line.startswith("| plain")]
    assert f"| {100 * mean:.2f} (" in line
    assert "| 0 of 1, crashed | - |" in text
    assert "broken, seed 0: crashed: no bank" in text
    assert "fcd: teacher 🔴 **UNKNOWN**, training data CC-BY" in text
    assert "plain: training data CC-BY" in text
    alike = to_markdown("title", [rows[0], rows[1], replace(rows[0], name="third")])
    assert "- plain, third: training data CC-BY" in alike
    console = Console(file=io.StringIO(), width=100)
    print_comparison("title [/of] [b]bold", rows, console)
    assert "title [/of] [b]bold" in console.file.getvalue()
    assert crashes(rows)[0] in console.file.getvalue()
