import numpy as np
import pytest

from facedistill.evaluation.statistics.table_rows import Measured, Row, RunResult, Truth, assemble


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    truth = Truth(np.arange(40) % 2 == 0)

    def result(seed, share):
        right = rng.random(40) < share
        records = [
            {"step": step, "epoch": 0.1, "lr": 0.1, "loss": 5 / step, "fcd": 4 / step}
            | ({"validation.accuracy": share} if step % 2 == 0 else {})
            for step in range(1, 7)
        ]
        report = {"accuracy": {"value": float(right.mean()), "interval": None}}
        return RunResult(seed, None, {"lfw": Measured(report, right)}, 1000, 5000, 0.1, records)

    made = [
        Row("plain", "name: arcface", [result(0, 0.6), result(1, 0.7)], None, "CC-BY"),
        Row("fcd", "name: <fcd> & co", [result(0, 0.9), result(1, 0.8)], "unknown", "CC-BY"),
        Row("broken", "name: x", [RunResult(0, "no bank <b>here</b>")], "MIT", "unknown"),
    ]
    return assemble(made, {"lfw": truth}, ["plain", "fcd"])
