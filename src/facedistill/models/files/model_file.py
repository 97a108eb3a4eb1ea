"""Model files: one safetensors file with weights and everything needed to use them.

The header's entry `facedistill` is a JSON document: format version, architecture and arguments,
input specification, embedding size, number of landmarks (of a network that finds some),
`ModelMetadata`, and a checksum (see `tensor_file`). Nothing in the file is executed.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from facedistill.core.errors import FacedistillError, first_line
from facedistill.models.backbones.base import Backbone
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.files.signed_file import check_finite, checksum, write_tensors
from facedistill.models.heads.landmark_head import MAX_POINTS, LandmarkHead
from facedistill.models.registry import create_backbone
from facedistill.runtime.header import HEADER_KEY
from facedistill.runtime.input_spec import InputSpec

FORMAT_VERSION = 3
"""Files of version 1 have no checksum; those of 2 do not say what data the network learned from."""

_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}


def save_model(
    network: FaceNetwork, path: str | Path, *, metadata: ModelMetadata | None = None
) -> None:
    """Write `network` to `path` (.safetensors), replacing an old file only when all is written.

    Args:
        network: What to save; its weights are written in float32.
        path: Where to.
        metadata: What to say about it; the network's own metadata by default.

    Raises:
        FacedistillError: If a weight is not finite, the suffix is wrong or the write is refused.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise FacedistillError(f"cannot write {path}: a model file's name ends in .safetensors")
    tensors = {key: _stored(tensor) for key, tensor in network.weights().items()}
    check_finite(tensors, f"cannot write {path}")
    document = describe(network, metadata or network.metadata)
    write_tensors(path, document, tensors)


def describe(network: FaceNetwork, metadata: ModelMetadata) -> dict[str, Any]:
    """Return the JSON document that a model file carries about `network`."""
    return {
        "format_version": FORMAT_VERSION,
        "architecture": network.architecture,
        "arguments": network.arguments,
        "input": network.input.to_dict(),
        "embedding_size": network.embedding_size,
        **({"landmarks": network.landmark_points} if network.landmark_head else {}),
        "metadata": metadata.model_dump(),
    }


def load_model(path: str | Path) -> FaceNetwork:
    """Read a model file.

    Args:
        path: A .safetensors file written by `save_model`.

    Returns:
        The network on the CPU, in eval mode, with its metadata.

    Raises:
        FacedistillError: If the file is absent, damaged, not a facedistill model, of a newer
            format or of an unknown architecture, or if its weights are not exactly that
            architecture's, or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FacedistillError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            document = _read_document(path, file.metadata() or {})
            stated = document.pop("checksum", None)
            network = _empty_network(path, document)
            _check_layout(path, file, network)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FacedistillError(f"{path} is not a readable safetensors file: {error}") from None
    check_finite(tensors, f"{path} is damaged")
    # Files of version 1 have none; one that has is a later file whose version was damaged.
    required = document["format_version"] > 1 or stated is not None
    if required and stated != checksum(document, tensors):
        raise FacedistillError(
            f"{path} is damaged: its weights or header are not those written; get it again"
        )
    network.load_weights(tensors, assign=True)
    network.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


_OTHER_FILES = {
    "prompts": "prompts of a teacher and no network: give it as --prompts beside that teacher",
    "people": "a class head and no network: give the model file beside it, named without .head",
}
"""What else a run leaves, by a key of its header."""


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _read_document(path: Path, header: dict[str, str]) -> dict[str, Any]:
    text = header.get(HEADER_KEY)
    if text is None:
        raise FacedistillError(
            f"{path} is a safetensors file, but not a facedistill model: it names no architecture"
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise FacedistillError(f"{path} has a damaged facedistill header: not a JSON object")
    for key, said in _OTHER_FILES.items():
        if key in document:
            raise FacedistillError(f"{path} holds {said}")
    version = document.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise FacedistillError(
            f"{path} has format version {version!r}; this facedistill reads 1..{FORMAT_VERSION}"
        )
    return document


def _empty_network(path: Path, document: dict[str, Any]) -> FaceNetwork:
    """Build the network the document describes, without memory for its weights."""
    try:
        architecture, arguments = document["architecture"], document["arguments"]
        spec = InputSpec.from_dict(document["input"])
        metadata = ModelMetadata.model_validate(document["metadata"])
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            backbone = create_backbone(architecture, input_size=spec.size, **arguments)
            head = _empty_head(document, backbone)
    except FacedistillError as error:
        raise FacedistillError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        reason = first_line(error)
        raise FacedistillError(f"{path} has a damaged facedistill header: {reason}") from None
    if document.get("embedding_size") != backbone.embedding_size:
        raise FacedistillError(
            f"{path} says embedding size {document.get('embedding_size')!r}, "
            f"but its architecture gives {backbone.embedding_size}"
        )
    network = FaceNetwork(
        backbone,
        architecture=architecture,
        arguments=arguments,
        input=spec,
        metadata=metadata,
        landmark_head=head,
    )
    network.name = metadata.name or path.stem
    return network


def _empty_head(document: dict[str, Any], backbone: Backbone) -> LandmarkHead | None:
    if "landmarks" not in document:
        return None
    points = document["landmarks"]
    if type(points) is not int or not 1 <= points <= MAX_POINTS:
        raise TypeError(f"{points!r} landmarks")
    return LandmarkHead(backbone.embedding_size, points)


def _check_layout(path: Path, file: Any, network: FaceNetwork) -> None:
    """Compare names, shapes and types with the header before any weight is read."""
    wanted = network.weights()
    found = set(file.keys())
    for key in sorted(wanted.keys() - found):
        raise FacedistillError(f"{path} lacks weight {key} of {network.architecture}")
    for key in sorted(found - wanted.keys()):
        raise FacedistillError(f"{path} has weight {key}, which {network.architecture} has not")
    for key, tensor in wanted.items():
        stored = file.get_slice(key)
        shape = tuple(stored.get_shape())
        if shape != tuple(tensor.shape) or stored.get_dtype() != _DTYPES[tensor.dtype]:
            raise FacedistillError(
                f"{path}: weight {key} is {stored.get_dtype()} {shape}, but {network.architecture} "
                f"needs {_DTYPES[tensor.dtype]} {tuple(tensor.shape)}"
            )
