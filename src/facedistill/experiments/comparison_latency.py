"""What a comparison's networks cost on a device: exported to ONNX, timed in turns, kept on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate
from facedistill.core.json_text import json_text
from facedistill.core.progress import Say, track
from facedistill.core.regular_files import read_regular_text
from facedistill.evaluation.statistics.table_rows import Row
from facedistill.experiments.measurement import model_hash
from facedistill.export.bench.bench import bench
from facedistill.export.bench.machine import Machine
from facedistill.export.export import export_network
from facedistill.models.files.model_file import load_model
from facedistill.models.files.run_weights import BEST
from facedistill.recipe.comparison import run_folder

LATENCY = "latency.json"
"""What was timed, in the comparison's folder; delete it to time again."""

EXPORTED = "best.onnx"
"""A run's best weights as an ONNX file, beside them."""

Cost = tuple[Estimate, int]
"""Milliseconds a face on one core, and bytes of the ONNX file."""


def time_rows(rows: Sequence[Row], out: str | Path, *, say: Say = print) -> list[Row]:
    """Time the network of every row's first finished run: ONNX Runtime, one core, one face.

    All are timed together, in turns, unless that was done before with these very weights. A network
    that cannot be exported stays without a time, and a line names the reason.

    Args:
        rows: A comparison's.
        out: Its folder.
        say: Takes a line about what goes on.

    Returns:
        The rows with `milliseconds` and `file_bytes`.
    """
    finished = [row for row in rows if row.finished]
    runs = {row.name: run_folder(Path(out), row.name, row.finished[0].seed) for row in finished}
    weights = {name: model_hash(folder) for name, folder in runs.items()}
    costs = _read(Path(out) / LATENCY, weights)
    if costs is None:
        files = _exported(runs, say)
        say(f"latency: {len(files)} networks take turns on one core")
        costs, machine = _timed(files) if files else ({}, None)
        if machine and (doubt := machine.doubt()):
            say(doubt)
        _write(Path(out) / LATENCY, weights, costs, machine)
    return [
        replace(row, milliseconds=costs[row.name][0], file_bytes=costs[row.name][1])
        if row.name in costs
        else row
        for row in rows
    ]


def _exported(runs: Mapping[str, Path], say: Say) -> dict[str, Path]:
    files = {}
    for name, folder in track(runs.items(), "exporting", total=len(runs), unit="networks"):
        try:
            export_network(load_model(folder / BEST), folder / EXPORTED, overwrite=True)
        except FacedistillError as error:
            say(f"{name}: no latency: {error}")
            continue
        files[name] = folder / EXPORTED
    return files


def _timed(files: Mapping[str, Path]) -> tuple[dict[str, Cost], Machine]:
    report = bench(list(files.values()), threads=[1], batches=[1])
    costs = {}
    for name, row in zip(files, report.rows, strict=True):
        costs[name] = (row.latency.milliseconds, row.file_bytes)
    return costs, report.machine


def _write(
    path: Path, weights: Mapping[str, str], costs: Mapping[str, Cost], machine: Machine | None
) -> None:
    document = {
        "machine": machine.to_dict() if machine else None,
        "weights": dict(weights),
        "rows": {
            name: {"milliseconds": asdict(milliseconds), "file_bytes": size}
            for name, (milliseconds, size) in costs.items()
        },
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json_text(document) + "\n", "utf-8")


def _read(path: Path, weights: Mapping[str, str]) -> dict[str, Cost] | None:
    """What was timed of these very weights; None where that is to be done."""
    try:
        document = json.loads(read_regular_text(path))
        if document["weights"] != weights:
            return None
        return {
            name: (_estimate(**row["milliseconds"]), int(row["file_bytes"]))
            for name, row in document["rows"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # It is timed anew.


def _estimate(value: float, interval: Mapping[str, float] | None) -> Estimate:
    return Estimate.from_dict({"value": value, "interval": interval})
