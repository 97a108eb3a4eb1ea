import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.roc import roc_curve, tar_at_far
from facedistill.report.figures import curves
from facedistill.report.figures.curves import roc_points, save_figure, series

RECORDS = [
    {"step": 10, "loss": 3.0, "lr": 0.1},
    {"step": 20, "loss": 2.0, "lr": 0.1},
    {"step": 20, "validation.accuracy": 0.8},
]


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def verifier(seed: int = 0, pairs: int = 400):
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 4 == 0
    return np.clip(rng.normal(np.where(same, 0.5, 0.0), 0.2), -1, 1), same


def test_series_takes_the_records_that_have_the_figure():
    steps, losses = series(RECORDS, "loss")
    assert steps.tolist() == [10, 20]
    assert losses.tolist() == [3.0, 2.0]
    steps, accuracies = series(RECORDS, "validation.accuracy")
    assert (steps.tolist(), accuracies.tolist()) == ([20], [0.8])
    assert len(series(RECORDS, "nothing")[0]) == 0


def test_roc_points_are_the_measured_operating_points():
    curve = roc_curve(*verifier())
    far, tar = roc_points(curve)
    assert far[0] == 1 / curve.impostors
    assert (far[-1], tar[-1]) == (1, 1)
    assert (np.diff(far) > 0).all()
    for rate, height in zip(far, tar, strict=True):
        assert height == tar_at_far(curve, rate).tar


def test_many_roc_points_are_thinned_but_stay_on_the_curve(monkeypatch):
    curve = roc_curve(*verifier())
    every = set(zip(*roc_points(curve), strict=True))
    monkeypatch.setattr(curves, "_CORNERS", 20)
    far, tar = roc_points(curve)
    assert 5 < len(far) <= 20
    assert (far[0], far[-1]) == (1 / curve.impostors, 1)
    assert set(zip(far, tar, strict=True)) <= every


def test_a_figure_is_a_png_of_its_size_and_nothing_else(tmp_path):
    save_figure(Figure(figsize=(6, 4.8)), tmp_path / "figure.png")
    assert png_size(tmp_path / "figure.png") == (600, 480)
    with pytest.raises(FacedistillError, match=r"ends in \.png"):
        save_figure(Figure(), tmp_path / "figure.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
