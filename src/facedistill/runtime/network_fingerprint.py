"""Which network an exported file holds, whatever else the file says of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.core.protobuf import fields_of
from facedistill.core.regular_files import read_regular
from facedistill.runtime.input_spec import InputSpec

_GRAPH = 7
"""Field of an ONNX file."""


def network_fingerprint(path: Path, spec: InputSpec) -> str:
    """Return a hex digest over an ONNX file's graph, with its weights, and its input.

    Thresholds that are written into the file later leave it as it is: embeddings are the same.

    Args:
        path: The file.
        spec: How it is fed.

    Raises:
        FacedistillError: If it is no ONNX file.
    """
    digest = hashlib.blake2b(json.dumps(spec.to_dict()).encode(), digest_size=16)
    try:
        for graph in fields_of(read_regular(path), _GRAPH):
            digest.update(graph)
    except ValueError as error:
        raise FacedistillError(f"{path} is not an ONNX file, or is damaged: {error}") from None
    return digest.hexdigest()
