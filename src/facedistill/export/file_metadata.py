"""What an exported file states about the network in it, alike for every target.

The document is JSON with these keys:

- `format`: 1. Keys may be added without it changing.
- `input`: `kind` (`uint8_nhwc_rgb` or `float32_nchw`), `size`, `color`, `mean`, `std`. For
  `uint8_nhwc_rgb` the caller always gives raw RGB, and color, mean and std only say what the file
  does inside. For `float32_nchw` the caller puts channels in `color`'s order and computes
  (pixel - mean) / std.
- `batch`: how many faces it takes at once; null for any number.
- `embedding_size`: D.
- `landmarks`: P; absent where there is no such output.
- `normalised`: whether embeddings leave the file with length 1.
- `precision`: of its arithmetic, `float32`, `float16` or `int8`.
- `thresholds`: least cosine similarity that accepts a pair by false accept rate, `{"1e-3": 0.31}`.
  They hold for the sum of the raw embeddings of an image and its mirror image, as validation
  measures it; of single images, mated pairs score a little lower. The raw embeddings of a
  normalised file are not to be had: measure its own with `evaluate --save-thresholds`.
- `licences`: `teacher` and `data`, null where unknown.
- `training_data`: what the network was trained on, null where unknown.
- `centred_on`: whose mean embedding the file subtracts, in proportion to the embedding's length
  (f - |f| m, each view by itself), before it normalises; null where it subtracts none.
- `name`, `architecture`, `teacher`, `recipe_hash`, `library_version`.

It is an entry `facedistill` of the file's own metadata where the format has such entries, and else
a file beside it whose name has `.json` added. ONNX, OpenVINO and LiteRT files end in a digest of
their bytes (`runtime.file_digest`), and are opened only with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.regular_files import read_regular
from facedistill.core.version import __version__
from facedistill.export.target import ExportOptions, InputKind
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.engine import FORMAT
from facedistill.runtime.header import parse_exported

Precision = Literal["float32", "float16", "int8"]

_KINDS: dict[InputKind, str] = {"uint8": "uint8_nhwc_rgb", "float": "float32_nchw"}


def exported_metadata(
    network: FaceNetwork, options: ExportOptions, *, precision: Precision = "float32"
) -> dict[str, Any]:
    """Return the document of an exported file; the module's docstring lists its keys.

    Args:
        network: What is exported.
        options: How.
        precision: Of the file's arithmetic.
    """
    about = network.metadata
    return {
        "format": FORMAT,
        "input": {"kind": _KINDS[options.input], **network.input.to_dict()},
        "batch": options.batch,
        "embedding_size": network.embedding_size,
        **({"landmarks": network.landmark_points} if network.landmark_head else {}),
        "normalised": options.normalise,
        "precision": precision,
        "thresholds": dict(about.thresholds),
        "licences": {"teacher": about.teacher_licence, "data": about.data_licence},
        "training_data": about.training_data,
        "centred_on": about.centred_on,
        "name": network.name,
        "architecture": network.architecture,
        "teacher": about.teacher,
        "recipe_hash": about.recipe_hash,
        "library_version": __version__,
    }


def write_beside(path: Path, document: dict[str, Any]) -> None:
    """Write the document beside the file at `path`: `student.param.json`."""
    _beside(path).write_text(json_text(document) + "\n", "utf-8")


def read_beside(path: Path) -> dict[str, Any] | None:
    """Return the document beside the file at `path`; None where there is none.

    Raises:
        FacedistillError: If the file itself is absent, or the document damaged.
    """
    if not path.exists():
        raise FacedistillError(f"{path} does not exist")
    beside = _beside(path)
    if not beside.exists():
        return None
    return parse_exported(read_regular(beside).decode("utf-8", "replace"), beside)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
