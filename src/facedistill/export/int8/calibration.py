"""What a graph's values look like on faces: samples, means and extents of channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from facedistill.core.process import usable_cpus
from facedistill.core.progress import track
from facedistill.export.int8.onnx_graph import OnnxGraph

_BATCH = 4
_SAMPLES = 128  # elements of each value and face that ranges are chosen from
_TAIL = 0.0005  # share of a channel's elements that are beyond either end of its extent


@dataclass(frozen=True)
class Observation:
    """One value of a graph over all calibration faces.

    Attributes:
        samples: (N, S): elements drawn at random, the smallest and the largest, face by face.
        mean: Mean of each channel over places and faces.
    """

    samples: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class Extent:
    """How far the channels of a value reach, but for one element in two thousand at either end.

    Attributes:
        low: Of each channel, at most 0.
        high: Of each channel, at least 0.
    """

    low: np.ndarray
    high: np.ndarray


def observe(
    graph: OnnxGraph, values: Sequence[str], faces: np.ndarray, what: str
) -> dict[str, Observation]:
    """Run faces through a graph and watch some of its values.

    Args:
        graph: With one input and a dynamic batch.
        values: Names of float32 values (B, C, ...).
        faces: What the input takes, (N, ...).
        what: Label of the progress bar.
    """
    draw = np.random.default_rng(0)
    parts: dict[str, list[Observation]] = {name: [] for name in values}
    for found in _run(graph, values, faces, what):
        for name, value in found.items():
            parts[name].append(_observation(value, draw))
    return {
        name: Observation(
            np.concatenate([part.samples for part in seen]),
            np.concatenate([part.mean for part in seen]).mean(axis=0),
        )
        for name, seen in parts.items()
    }


def extents(
    graph: OnnxGraph, values: Sequence[str], faces: np.ndarray, what: str
) -> dict[str, Extent]:
    """Run faces through a graph and measure how far channels reach: the median over batches.

    Args:
        graph: As of `observe`.
        values: As of `observe`.
        faces: As of `observe`.
        what: As of `observe`.
    """
    ends: dict[str, list[np.ndarray]] = {name: [] for name in values}
    for found in _run(graph, values, faces, what):
        for name, value in found.items():
            ends[name].append(_ends(value))
    usual = {name: np.median(seen, axis=0) for name, seen in ends.items()}
    return {
        name: Extent(np.minimum(low, 0), np.maximum(high, 0)) for name, (low, high) in usual.items()
    }


def _observation(value: np.ndarray, draw: np.random.Generator) -> Observation:
    """Return what is seen of one batch, its means still face by face."""
    elements = value.reshape(len(value), -1)
    drawn = elements[:, draw.integers(elements.shape[1], size=_SAMPLES)]
    ends = elements.min(axis=1, keepdims=True), elements.max(axis=1, keepdims=True)
    return Observation(
        np.concatenate([drawn, *ends], axis=1),
        value.reshape(*value.shape[:2], -1).mean(axis=2),
    )


def _ends(value: np.ndarray) -> np.ndarray:
    """Return both ends of each channel in one batch, (2, C)."""
    channels = np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)
    count = channels.shape[1]
    beyond = int(_TAIL * count)
    ordered = np.partition(channels, [beyond, count - 1 - beyond], axis=1)
    return np.stack([ordered[:, beyond], ordered[:, count - 1 - beyond]])


def _run(
    graph: OnnxGraph, values: Sequence[str], faces: np.ndarray, what: str
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the values of batch after batch."""
    session = _session(graph, values)
    starts = range(0, len(faces), _BATCH)
    for start in track(starts, what, len(starts), "batches"):
        found = session.run(list(values), {graph.inputs[0]: faces[start : start + _BATCH]})
        yield dict(zip(values, found, strict=True))


def _session(graph: OnnxGraph, values: Sequence[str]) -> onnxruntime.InferenceSession:
    model = graph.model()
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in values
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = usable_cpus()
    # Threads that wait by spinning are many times slower where something else needs the processor.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
