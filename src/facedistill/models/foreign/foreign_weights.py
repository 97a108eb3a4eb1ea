"""Networks trained elsewhere: checkpoints of the families this project knows.

What network a checkpoint holds follows from its weights (`layout.py`); the input has to be stated,
or is the family's custom, with a warning. Pickled code is never run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.files.signed_file import check_finite
from facedistill.models.foreign.contents import open_contents
from facedistill.models.foreign.layout import MEAN, Stored
from facedistill.models.foreign.search import Found, find_network, some
from facedistill.models.foreign.stored_tensor import StoredTensor
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec, StatedInput

_FEWEST_MATCHED = 0.5


class UnstatedInput(FacedistillError):
    """A checkpoint whose input must be stated before it can be used."""


def load_foreign(
    path: str | Path,
    *,
    architecture: str | None = None,
    input: InputSpec | StatedInput | None = None,
    strict: bool = True,
) -> FaceNetwork:
    """Read a checkpoint of a known family: .pt, .pth, .ckpt, .pth.tar or plain .safetensors.

    The state dict may be nested, and its keys may carry whatever prefix; class heads, optimisers
    and settings beside it are left out.

    Args:
        path: The checkpoint.
        architecture: What it must turn out to be; whatever it is, by default.
        input: What is known of the size, colour order and normalisation it was trained with. The
            default is what the family's trainers feed it, with a warning if nothing is stated.
        strict: Whether missing, surplus or misshapen weights are an error. If not they are a
            warning, and still an error where fewer than half of the network's weights match.

    Returns:
        The network on the CPU, in eval mode.

    Raises:
        UnstatedInput: If the family has no custom and the colour order is not stated.
        FacedistillError: If the file does not load safely, its family is unknown or not the one
            asked for, or its weights do not fit.
    """
    path = Path(path)
    with open_contents(path) as content:
        found = find_network(content, path)
        name, arguments = found.recognised.architecture, found.recognised.arguments
        if architecture not in (None, name):
            raise FacedistillError(f"{path} is a {name}, not a {architecture}")
        spec = _input(path, found, StatedInput.of(input))
        size = found.recognised.input.size
        if size not in (None, spec.size):
            raise FacedistillError(f"{path} was made for images of side {size}, not {spec.size}")
        network = _empty_network(path, found, spec)
        weights = _fitting(network, found, path, strict)
        if len(weights) < len(network.weights()):
            network = FaceNetwork.create(name, spec, **arguments)
        _fill(network, weights, path)
    network.metadata = ModelMetadata(notes=f"imported from {path.name}")
    network.name = Path(path.stem).stem if path.suffix == ".tar" else path.stem
    return network.eval()


def _input(path: Path, found: Found, stated: StatedInput) -> InputSpec:
    """Return what the network is fed: what is stated, and else what is customary."""
    recognised = found.recognised
    if recognised.input.color is None and stated.color is None:
        raise UnstatedInput(
            f"{path} is of the family {recognised.architecture}, whose trainers do not agree on "
            "the order of colours: state --color RGB or BGR, or teacher.input.color in a recipe "
            f"(what they feed: {found.layout.feeds})"
        )
    try:
        spec = stated.over(recognised.input.spec())
    except FacedistillError as error:
        raise FacedistillError(f"{path}: {error}") from None
    if not stated.given():
        warnings.warn(
            f"{path} does not say what it is fed: assuming {spec.color}, (x - {MEAN}) / "
            f"{spec.std[0]}, as is customary for {recognised.architecture}; state its input if "
            "that is wrong",
            stacklevel=3,
        )
    return spec


def _empty_network(path: Path, found: Found, spec: InputSpec) -> FaceNetwork:
    """Build the network without memory for its weights."""
    name, arguments = found.recognised.architecture, found.recognised.arguments
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            backbone = create_backbone(name, input_size=spec.size, **arguments)
    except FacedistillError as error:
        raise FacedistillError(f"{path}: {error}") from None
    return FaceNetwork(backbone, architecture=name, arguments=arguments, input=spec)


def _fitting(network: FaceNetwork, found: Found, path: Path, strict: bool) -> Stored:
    """Return the weights that fit, all of them unless that may be otherwise."""
    wanted = network.weights()
    weights = found.layout.renamed(found.weights)
    for key, kind in found.odd.items():
        if key in wanted:
            raise FacedistillError(f"{path}: weight {key} is {kind}: save plain tensors")
    heads = _class_heads(weights, wanted, network.embedding_size)
    weights = {key: tensor for key, tensor in weights.items() if _first(key) not in heads}
    # Checkpoints older than PyTorch 0.4.1 do not count batches, and nothing here reads the count.
    counts = {key: tensor for key, tensor in wanted.items() if key.endswith("num_batches_tracked")}
    missing = wanted.keys() - weights.keys() - counts.keys()
    surplus = weights.keys() - wanted.keys()
    common = wanted.keys() & weights.keys()
    misshapen = {key for key in common if not _alike(weights[key], wanted[key])}
    trouble = "; ".join(
        f"{len(keys)} {what}: {some(keys)}"
        for what, keys in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen))
        if keys
    )
    report = f"{path} does not fit {network.architecture}: {trouble}"
    if trouble and (strict or len(common) - len(misshapen) < _FEWEST_MATCHED * len(wanted)):
        raise FacedistillError(report)
    if trouble:
        warnings.warn(f"{report}; the rest is initialised at random", stacklevel=3)
    fitting = {key: weights[key] for key in common - misshapen}
    # More than the file holds: many names of one storage.
    if sum(tensor.size for tensor in fitting.values()) > 2 * path.stat().st_size:
        raise FacedistillError(f"{path} describes more weights than it holds")
    return {**{key: StoredTensor.filled(0.0) for key in counts}, **fitting}


def _class_heads(weights: Stored, wanted: Mapping[str, Tensor], size: int) -> set[str]:
    """Return the modules beside the network that map embeddings of this size to classes."""
    own = {_first(key) for key in wanted}
    return {
        _first(key)
        for key, tensor in weights.items()
        if _first(key) not in own and len(tensor.shape) == 2 and size in tensor.shape
    }


def _first(key: str) -> str:
    return key.partition(".")[0]


def _alike(stored: StoredTensor, wanted: Tensor) -> bool:
    same_kind = stored.dtype.is_floating_point == wanted.is_floating_point()
    return stored.shape == tuple(wanted.shape) and same_kind


def _fill(network: FaceNetwork, weights: Stored, path: Path) -> None:
    wanted = network.weights()
    tensors = {key: tensor.read() for key, tensor in weights.items()}
    check_finite(tensors, str(path))
    cast = {key: tensor.to(wanted[key].dtype).contiguous() for key, tensor in tensors.items()}
    network.load_weights({**wanted, **cast}, assign=True)
    network.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
