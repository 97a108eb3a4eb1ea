from pathlib import Path

import numpy as np
import pytest

from facedistill.export.bench.bench import BenchReport, BenchRow
from facedistill.export.bench.latency import Latency
from facedistill.export.bench.machine import Machine
from facedistill.report.documents.bench_table import bench_dict, bench_text

MACHINE = Machine("a processor", 2, 4_000_000_000, "Linux", 0.1, {"torch": "2.13"})


def row(name, engine, batch, milliseconds, megabytes, size):
    latency = Latency(np.full((10, 2), milliseconds / 1000))
    return BenchRow(name, Path(name), engine, 1, batch, latency, megabytes * 1_000_000, size)


@pytest.fixture
def report():
    rows = [
        row("best.safetensors", "PyTorch", 1, 8, 1, 4000),
        row("best.onnx", "ONNX Runtime", 1, 2, 4, 3000),
        row("best.safetensors", "PyTorch", 3, 24, 3, 4000),
        row("best.onnx", "ONNX Runtime", 3, 6, 12, 3000),
    ]
    return BenchReport(MACHINE, True, 20, rows)


def test_ratios_are_over_the_first_row_of_each_table(report):
    rows = bench_dict(report)["rows"]
    assert [row["median_milliseconds"]["value"] for row in rows] == [8, 2, 24, 6]
    assert [row["ratios"]["memory"] for row in rows] == [1, 4, 1, 4]
    assert [row["ratios"]["file"] for row in rows] == [1, 0.75, 1, 0.75]
    assert rows[0]["ratios"]["time"] == 1
    time = rows[3]["ratios"]["time"]
    interval = time["interval"]
    assert (time["value"], interval["low"], interval["over"]) == (0.25, 0.25, "turns")


def test_text_has_the_machine_and_a_table_for_each_batch(report):
    text = bench_text(report)
    assert MACHINE.line() in text
    assert "1 thread, 1 face at a time:" in text
    assert "1 thread, 3 faces at a time:" in text
    cells = "6.000 (6.000 to 6.000) | 6.000 | 500 | 0.250 (0.250 to 0.250)"
    assert f"| best.onnx | ONNX Runtime | {cells} |" in text
