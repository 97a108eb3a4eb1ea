"""Model files: one signed file with weights and everything needed to use them.

The document (see `signed_file`) says format version, architecture and arguments, input
specification, embedding size, number of landmarks (of a network that finds some), that embeddings
are centred (where they are; the mean is then the tensor `centre`) and `ModelMetadata`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from facedistill.core.errors import FacedistillError, first_line
from facedistill.models.backbones.base import Backbone
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.files.run_weights import best_of
from facedistill.models.files.signed_file import MODEL, open_signed, write_signed
from facedistill.models.heads.landmark_head import MAX_POINTS, LandmarkHead
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec


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
    write_signed(path, describe(network, metadata or network.metadata), tensors)


def describe(network: FaceNetwork, metadata: ModelMetadata) -> dict[str, Any]:
    """Return the JSON document that a model file carries about `network`."""
    return {
        "format_version": MODEL.version,
        "architecture": network.architecture,
        "arguments": network.arguments,
        "input": network.input.to_dict(),
        "embedding_size": network.embedding_size,
        **({"landmarks": network.landmark_points} if network.landmark_head else {}),
        **({} if network.centre is None else {"centred": True}),
        "metadata": metadata.model_dump(),
    }


def load_model(path: str | Path) -> FaceNetwork:
    """Read a model file.

    Args:
        path: A .safetensors file written by `save_model`, or a run's folder.

    Returns:
        The network on the CPU, in eval mode, with its metadata.

    Raises:
        FacedistillError: If the file is absent, damaged, not a facedistill model, of another
            format or of an unknown architecture, or if its weights are not exactly that
            architecture's, or not finite.
    """
    path = best_of(path)
    with open_signed(path, MODEL) as file:
        network = _empty_network(path, file.document)
        file.check_layout(network.weights(), network.architecture)
        tensors = file.read()
    network.load_weights(tensors, assign=True)
    network.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return first_line(error)


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
            centre = _empty_centre(document, backbone)
    except FacedistillError as error:
        raise FacedistillError(f"{path}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        reason = _reason(error)
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
        centre=centre,
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


def _empty_centre(document: dict[str, Any], backbone: Backbone) -> Tensor | None:
    if "centred" not in document:
        return None
    if document["centred"] is not True:
        raise TypeError(f"centred {document['centred']!r}")
    return torch.empty(backbone.embedding_size)
