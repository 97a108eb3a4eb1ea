import json
from dataclasses import replace

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.packing import pack
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.statistics.table_rows import Row, RunResult
from facedistill.experiments import comparison_latency as latency_module
from facedistill.experiments.comparing import run_comparison
from facedistill.experiments.comparison_latency import EXPORTED, LATENCY, time_rows
from facedistill.export.bench.bench import BenchReport, BenchRow
from facedistill.export.bench.latency import Latency
from facedistill.export.bench.machine import this_machine
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.comparison import load_comparison, run_folder
from facedistill.report.documents.pareto_panels import pareto_panels
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin

VALIDATED = ["data.validation_identities=2", "data.validation_pairs=20"]


@pytest.fixture
def rows(tmp_path):
    """Two rows with weights, the first seed of one crashed, and one row without any."""
    for name, seed in (("small", 1), ("large", 0)):
        size = 4 if name == "small" else 8
        network = FaceNetwork.create("standin", InputSpec(size=32), embedding_size=size)
        save_model(network, run_folder(tmp_path, name, seed) / BEST)
    return [
        Row("small", "", [RunResult(0, "crashed"), RunResult(1)]),
        Row("gone", "", [RunResult(0, "crashed")]),
        Row("large", "", [RunResult(0), RunResult(1)]),
    ]


@pytest.fixture
def timed(monkeypatch):
    """Which files were timed; a file's time is its size."""
    asked = []

    def bench(paths, *, threads, batches):
        assert (threads, batches) == ([1], [1])
        asked.append([path.parent.parent.name for path in paths])
        rows = [
            BenchRow(str(path), path, "ONNX Runtime", 1, 1, latency, None, path.stat().st_size)
            for path in paths
            for latency in [Latency(np.full((10, 2), path.stat().st_size / 1000))]
        ]
        machine = replace(this_machine(), cpus=2, load=1.5)
        return BenchReport(machine, True, 20, rows)

    def export_network(network, path, overwrite):
        path.write_bytes(bytes(network.embedding_size))

    monkeypatch.setattr(latency_module, "bench", bench)
    monkeypatch.setattr(latency_module, "export_network", export_network)
    return asked


def costs(rows):
    return {row.name: (row.milliseconds and row.milliseconds.value, row.file_bytes) for row in rows}


def test_rows_get_the_time_and_size_of_their_first_finished_run(rows, tmp_path, timed):
    lines = []
    given = time_rows(rows, tmp_path, say=lines.append)
    assert costs(given) == {"small": (4, 4), "gone": (None, None), "large": (8, 8)}
    assert lines[0] == "latency: 2 networks take turns on one core"
    assert lines[1].startswith("the machine was busy")
    assert given[0].milliseconds.interval.over == "turns"
    assert [row.runs for row in given] == [row.runs for row in rows]
    assert timed == [["small", "large"]]
    assert (run_folder(tmp_path, "small", 1) / EXPORTED).exists()


def test_what_was_timed_is_read_until_weights_change(rows, tmp_path, timed):
    first = time_rows(rows, tmp_path, say=lambda line: None)
    assert time_rows(rows, tmp_path, say=lambda line: None) == first
    assert len(timed) == 1
    network = FaceNetwork.create("standin", InputSpec(size=32), embedding_size=16)
    save_model(network, run_folder(tmp_path, "small", 1) / BEST)
    again = time_rows(rows, tmp_path, say=lambda line: None)
    assert timed == [["small", "large"]] * 2  # All take turns again.
    assert costs(again) == {"small": (16, 16), "gone": (None, None), "large": (8, 8)}


@pytest.mark.parametrize("damage", ["{", "[]", "{}", "null", '{"weights": 1, "rows": 2}', "drop"])
def test_a_damaged_record_is_timed_anew(rows, tmp_path, timed, damage):
    first = time_rows(rows, tmp_path, say=lambda line: None)
    path = tmp_path / LATENCY
    if damage == "drop":
        document = json.loads(path.read_text())
        del document["rows"]["small"]["milliseconds"]["value"]
        damage = json.dumps(document)
    path.write_text(damage)
    assert time_rows(rows, tmp_path, say=lambda line: None) == first
    assert len(timed) == 2


def test_a_network_that_cannot_be_exported_has_no_time_and_is_named(
    rows, tmp_path, timed, monkeypatch
):
    def refuse(network, path, overwrite):
        if network.embedding_size == 4:
            raise FacedistillError("no such operator")
        path.write_bytes(bytes(8))

    monkeypatch.setattr(latency_module, "export_network", refuse)
    lines = []
    given = time_rows(rows, tmp_path, say=lines.append)
    assert costs(given) == {"small": (None, None), "gone": (None, None), "large": (8, 8)}
    assert "small: no latency: no such operator" in lines
    assert timed == [["large"]]
    # Without any there is nothing to time.
    other = tmp_path / "other"
    assert time_rows([replace(rows[1])], other, say=lines.append) == [rows[1]]
    assert len(timed) == 1


def test_the_shipped_ladder_runs_is_timed_and_drawn(tmp_path, timed):
    faces = open_dataset("procedural:identities=8,images=4,size=32")
    pack(faces, tmp_path / "faces", reencode=True)
    write_bin(PairSet.from_dataset(faces, 20, seed=0), tmp_path / "test.bin")
    settings = [
        f"data.train={tmp_path / 'faces'}",
        *VALIDATED,
        "student.input.size=32",
        "training.batch_size=8",
        "training.steps=1",
        "training.device=cpu",
    ]
    comparison = load_comparison(
        ["ladder"], settings=settings, pairs=[f"test={tmp_path / 'test.bin'}"]
    )
    small = {"settings": ["student.network=standin", "student.embedding_size=12"]}
    teacher = comparison.rows["teacher"].model_copy(update=small)
    comparison = comparison.model_copy(update={"rows": {**comparison.rows, "teacher": teacher}})
    rows = run_comparison(comparison, tmp_path / "out", jobs=0, say=lambda line: None)
    assert {row.name: row.errors for row in rows} == {name: {} for name in comparison.rows}
    assert timed == [list(comparison.rows)]
    parameters = [row.parameters for row in rows[1:]]
    assert parameters == sorted(set(parameters))
    assert [row.milliseconds.value for row in rows] == [12, 128, 128, 128, 128]
    assert {*rows[1].differences["test"]} == {"mobilefacenet-1.0"}
    panels = pareto_panels(rows)
    assert [len(panel.points) for panel in panels] == [5, 5]
    assert panels[0].cost.startswith("milliseconds")


@pytest.mark.parametrize("asked", [False, True])
def test_only_a_comparison_that_asks_for_it_is_timed(tmp_path, timed, asked):
    comparison = load_comparison(
        ["one=arcface", "other=arcface"],
        settings=[*standin.SETTINGS, "training.steps=1", *VALIDATED],
        latency=asked,
    )
    rows = run_comparison(comparison, tmp_path, jobs=0, say=lambda line: None)
    assert timed == ([["one", "other"]] if asked else [])
    assert all((row.milliseconds is not None) == asked for row in rows)
