"""Writing decision thresholds into a file that holds a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.files.run_weights import best_of
from facedistill.runtime.file_digest import ENTRY, check_digest, require_digest, write_digest
from facedistill.runtime.header import (
    HEADER_KEY,
    check_thresholds,
    parse_exported,
    stated_thresholds,
)


def write_thresholds(path: str | Path, thresholds: Mapping[str, float]) -> dict[str, float]:
    """Replace a network's decision thresholds at the false accept rates given; others stay.

    Weights are untouched, and the file is either the old one or the whole new one.

    Args:
        path: A model file (.safetensors), a run's folder, or an ONNX file that this package
            exported.
        thresholds: Least cosine similarity that accepts a pair, by false accept rate:
            `{"1e-3": 0.31}`.

    Returns:
        All thresholds that the file now has.

    Raises:
        FacedistillError: If there are none, one is not a cosine, or the file is something else.
    """
    path = check_carries_thresholds(path)
    if not thresholds:
        raise FacedistillError(f"no threshold to write into {path}: no rate was measurable")
    try:
        check_thresholds(thresholds)
    except ValueError as error:
        raise FacedistillError(f"threshold {error}") from error
    if path.suffix.lower() == ".onnx":
        return _write_onnx(path, thresholds)
    network = load_model(path)
    merged = {**network.metadata.thresholds, **thresholds}
    metadata = network.metadata.model_copy(update={"thresholds": merged})
    save_model(network, path, metadata=metadata)
    return merged


def check_carries_thresholds(path: str | Path) -> Path:
    """Return the file that thresholds would be written into.

    Raises:
        FacedistillError: If it is of a kind that has no place for them.
    """
    path = best_of(path)
    if path.suffix.lower() not in (".safetensors", ".onnx"):
        raise FacedistillError(
            f"{path} cannot carry thresholds: give a .safetensors model file or an exported .onnx"
        )
    return path


def _write_onnx(path: Path, thresholds: Mapping[str, float]) -> dict[str, float]:
    try:
        whole = check_digest(path)
        with open_regular(path) as file:
            model = onnx.load(file, load_external_data=False)
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    except DecodeError:
        raise FacedistillError(f"{path} is not an ONNX file, or is damaged") from None
    carried = [entry for entry in model.metadata_props if entry.key == HEADER_KEY]
    if not carried:
        raise FacedistillError(
            f"{path} was not exported by facedistill, so it has no place for thresholds"
        )
    require_digest(path, whole)
    document = parse_exported(carried[0].value, path)
    merged = {**stated_thresholds(document, path), **thresholds}
    carried[0].value = json.dumps({**document, "thresholds": merged})
    others = [entry for entry in model.metadata_props if entry.key != ENTRY]
    onnx.helper.set_model_props(model, {entry.key: entry.value for entry in others})
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
        write_digest(temporary)
    return merged
