"""Networks trained elsewhere: PyTorch checkpoints of the families this project knows.

A checkpoint says neither its architecture nor its input. The architecture, its depth, widths and
sizes follow from the names and shapes of the weights; the input has to be stated, or is the
family's custom, with a warning. Pickled code is never run.
"""

from __future__ import annotations

import math
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError, first_line
from facedistill.models.backbones.iresnet import BLOCKS as IRESNET_BLOCKS
from facedistill.models.backbones.swin import SIZES as SWIN_SIZES
from facedistill.models.backbones.timm_network import PREFIX
from facedistill.models.backbones.vit import SIZES as VIT_SIZES
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.runtime.input_spec import InputSpec, StatedInput

Shapes = Mapping[str, tuple[int, ...]]

_NESTS = ("state_dict", "state_dict_backbone", "model_state_dict", "model", "backbone", "network")
_PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.", "network.")
_FEWEST_MATCHED = 0.5


@dataclass(frozen=True)
class Recognised:
    """What the weights' names and shapes tell.

    Attributes:
        architecture: Name in the registry.
        arguments: The architecture's own, without `input_size`.
        size: Side of the input the weights were made for, or None if they fit any.
        color: The order of channels customary in the family, or None if there is no custom.
    """

    architecture: str
    arguments: dict[str, Any]
    size: int | None
    color: str | None


def load_foreign(
    path: str | Path,
    *,
    architecture: str | None = None,
    input: InputSpec | StatedInput | None = None,
    strict: bool = True,
) -> FaceNetwork:
    """Read a .pt, .pth or .ckpt checkpoint of a known family.

    The state dict may be nested under a customary name and its keys may carry the prefixes that
    DataParallel, compilation and wrapping modules add.

    Args:
        path: The checkpoint.
        architecture: What it must turn out to be; whatever it is, by default.
        input: What is known of the size, colour order and normalisation it was trained with. The
            default is 127.5 for mean and std and the family's colour order (InsightFace's iresnet,
            mbf and vit and EdgeFace: RGB; MobileFaceNet: BGR), with a warning.
        strict: Whether missing, surplus or misshapen weights are an error. If not they are a
            warning, and still an error where fewer than half of the network's weights match.

    Returns:
        The network on the CPU, in eval mode.

    Raises:
        FacedistillError: If the file does not load safely, its family is unknown or not the one
            asked for, or its weights do not fit.
    """
    path = Path(path)
    weights = _by_own_names(_read_weights(path))
    found = recognise({key: tuple(tensor.shape) for key, tensor in weights.items()})
    if found is None:
        raise FacedistillError(
            f"{path} is of no known family (edgeface, iresnet, mbf, mobilefacenet, resnet50, swin, "
            f"vit): its weights are {_some(weights)}"
        )
    if architecture not in (None, found.architecture):
        raise FacedistillError(f"{path} is a {found.architecture}, not a {architecture}")
    spec = _input(path, found, StatedInput.of(input))
    if found.size not in (None, spec.size):
        raise FacedistillError(f"{path} was made for images of side {found.size}, not {spec.size}")
    try:
        network = FaceNetwork.create(found.architecture, spec, **found.arguments)
    except FacedistillError as error:
        raise FacedistillError(f"{path}: {error}") from None
    if found.architecture.startswith(PREFIX):
        weights = {f"model.{key}": tensor for key, tensor in weights.items()}
    _fill(network, weights, path, strict)
    network.metadata = ModelMetadata(notes=f"imported from {path.name}")
    network.name = path.stem
    return network.eval()


def recognise(shapes: Shapes) -> Recognised | None:
    """Return what network has weights of these names and shapes, or None if none does."""
    for landmark, describe in _FAMILIES.items():
        if landmark in shapes:
            try:
                return describe(shapes)
            except (KeyError, IndexError, ZeroDivisionError):
                return None
    return None


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict, its prefixes stripped."""
    if not path.is_file():
        raise FacedistillError(f"{path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load leaks whatever its parsers raise on damaged files
        if isinstance(error, pickle.UnpicklingError) and re.search(
            "Unsupported|GLOBAL", str(error)
        ):
            raise FacedistillError(
                f"{path} holds more than tensors, and pickled code is never run; "
                f"save its state dict alone: torch.save(model.state_dict(), ...)"
            ) from None
        reason = first_line(error)
        raise FacedistillError(f"{path} is not a readable checkpoint: {reason}") from None
    weights = _strip(_unnest(content))
    if not weights:
        raise FacedistillError(f"{path} holds no state dict, only {type(content).__name__}")
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FacedistillError(f"{path}: weight {key} has values that are not finite")
    return weights


def _unnest(content: Any) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        inner = [content[name] for name in _NESTS if isinstance(content.get(name), Mapping)]
        if not inner:
            break
        content = inner[0]
    if not isinstance(content, Mapping):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _strip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take prefixes off; what lies beside a prefix (a classifier head, say) is left out."""
    while True:
        prefix = next((p for p in _PREFIXES if any(key.startswith(p) for key in weights)), None)
        if prefix is None:
            return weights
        weights = {
            key.removeprefix(prefix): tensor
            for key, tensor in weights.items()
            if key.startswith(prefix)
        }


def _by_own_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what Swin checkpoints hold beside weights; name timm's as Microsoft's are."""
    if _SWIN not in weights:
        return weights
    # timm counts the patch merging to the stage after it.
    late = any(key.startswith("layers.3.downsample.") for key in weights)
    renamed = {}
    for key, tensor in weights.items():
        if key.endswith(("relative_position_index", "attn_mask")):
            continue
        stage, inside, rest = key.removeprefix("layers.").partition(".downsample.")
        if late and inside and stage.isdigit():
            key = f"layers.{int(stage) - 1}.downsample.{rest}"
        renamed[key] = tensor
    return renamed


def _input(path: Path, found: Recognised, stated: StatedInput) -> InputSpec:
    """Return what the network is fed: what is stated, and else what is customary."""
    if found.color is None and not stated.given():
        raise FacedistillError(
            f"{path} is a {found.architecture}, whose input has no custom: state size, color, mean "
            f"and std"
        )
    size, color = found.size or InputSpec.size, found.color or InputSpec.color
    spec = InputSpec.from_dict({"size": size, "color": color})
    if not stated.given():
        warnings.warn(
            f"{path} does not say what it is fed: assuming {spec.color}, (x - 127.5) / 127.5, as "
            f"is customary for {found.architecture}; state its input if that is wrong",
            stacklevel=3,
        )
    return stated.over(spec)


def _fill(network: FaceNetwork, weights: dict[str, Tensor], path: Path, strict: bool) -> None:
    wanted = network.backbone.state_dict()
    # Checkpoints older than PyTorch 0.4.1 do not count batches, and nothing here reads the count.
    missing = [k for k in wanted.keys() - weights.keys() if not k.endswith("num_batches_tracked")]
    surplus = weights.keys() - wanted.keys()
    common = wanted.keys() & weights.keys()
    misshapen = [key for key in common if wanted[key].shape != weights[key].shape]
    trouble = "; ".join(
        f"{len(keys)} {name}: {_some(keys)}"
        for name, keys in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen))
        if keys
    )
    matched = (len(common) - len(misshapen)) / len(wanted)
    report = f"{path} does not fit {network.architecture}: {trouble}"
    if trouble and (strict or matched < _FEWEST_MATCHED):
        raise FacedistillError(report)
    if trouble:
        warnings.warn(f"{report}; the rest is initialised at random", stacklevel=3)
    fitting = {key: weights[key] for key in common - set(misshapen)}
    network.backbone.load_state_dict(fitting, strict=False)


def _iresnet(shapes: Shapes) -> Recognised:
    counts = tuple(_count(shapes, f"layer{stage}.", ".conv1.weight") for stage in (1, 2, 3, 4))
    names = [name for name, blocks in IRESNET_BLOCKS.items() if blocks == counts]
    last = shapes["bn2.weight"][0]
    side = math.isqrt(shapes["fc.weight"][1] // last)
    arguments = {
        "embedding_size": shapes["fc.weight"][0],
        "width": shapes["conv1.weight"][0] / 64,
    }
    return Recognised(names[0], arguments, 16 * side, "RGB")


def _mbf(shapes: Shapes) -> Recognised:
    grouped = len(shapes.get("layers.1.layers.0.weight", ())) == 4
    first = 1 if grouped else _count(shapes, "layers.1.layers.", ".layers.0.layers.0.weight")
    rest = (_count(shapes, f"layers.{i}.layers.", ".layers.0.layers.0.weight") for i in (3, 5, 7))
    arguments = {
        "embedding_size": shapes["features.layers.2.weight"][0],
        "scale": shapes["layers.0.layers.0.weight"][0] // 64,
        "blocks": (first, *rest),
    }
    large = {"scale": 4, "blocks": (2, 8, 12, 4)}
    name = "mbf_large" if {**arguments, **large} == arguments else "mbf"
    return Recognised(name, arguments, 16 * shapes["features.layers.0.layers.0.weight"][2], "RGB")


def _mobilefacenet(shapes: Shapes) -> Recognised:
    arguments = {
        "embedding_size": shapes["linear.weight"][0],
        "width": shapes["conv1.conv.weight"][0] / 64,
    }
    return Recognised("mobilefacenet", arguments, 16 * shapes["conv_6_dw.conv.weight"][2], "BGR")


def _resnet50(shapes: Shapes) -> Recognised:
    arguments = {
        "embedding_size": shapes["fc.weight"][0],
        "width_divisor": 64 // shapes["conv1.weight"][0],
    }
    return Recognised("resnet50", arguments, None, None)


def _swin(shapes: Shapes) -> Recognised:
    depths = tuple(_count(shapes, f"layers.{stage}.blocks.", ".norm1.weight") for stage in range(4))
    channels, _, patch, _ = shapes["patch_embed.proj.weight"]
    size = shapes["linear.weight"][0] if "linear.weight" in shapes else None
    if depths == (2, 2, 4, 0):
        return Recognised("swin_nano", {"embedding_size": size or 512}, None, None)
    names = [name for name, sizes in SWIN_SIZES.items() if sizes == (depths, channels)]
    return Recognised(names[0], {"embedding_size": size or 512, "patch": patch}, None, None)


def _vit(shapes: Shapes) -> Recognised:
    width, _, patch, _ = shapes["patch_embed.proj.weight"]
    depth = _count(shapes, "blocks.", ".norm1.weight")
    names = [name for name, sizes in VIT_SIZES.items() if sizes == (depth, width)]
    seen = patch * math.isqrt(shapes["pos_embed"][1])
    arguments = {"embedding_size": shapes["feature.2.weight"][0], "patch": patch}
    return Recognised(names[0], arguments, 16 * math.ceil(seen / 16), "RGB")


def _edgeface(shapes: Shapes) -> Recognised:
    widths = (shapes["stem.0.weight"][0], shapes["head.norm.weight"][0])
    names = [name for name, sizes in _EDGENEXT.items() if sizes == widths]
    arguments: dict[str, Any] = {"rank_ratio": None}
    if "head.fc.linear1.weight" in shapes:
        rank, inputs = shapes["head.fc.linear1.weight"]
        last = shapes["head.fc.linear2.weight"][0]
        arguments = {"rank_ratio": round(rank / min(inputs, last), 2)}
    else:
        last = shapes["head.fc.weight"][0]
    return Recognised(PREFIX + names[0], {"embedding_size": last, **arguments}, None, "RGB")


_EDGENEXT = {
    "edgenext_xx_small": (24, 168),
    "edgenext_x_small": (32, 192),
    "edgenext_small": (48, 304),
    "edgenext_base": (80, 584),
}
"""Channels of EdgeFace's backbones at their beginning and end."""

_SWIN = "layers.0.blocks.0.attn.relative_position_bias_table"

_FAMILIES: dict[str, Callable[[Shapes], Recognised]] = {
    "layer1.0.prelu.weight": _iresnet,
    "conv_sep.layers.0.weight": _mbf,
    "conv2_dw.conv.weight": _mobilefacenet,
    "layer1.0.conv3.weight": _resnet50,
    _SWIN: _swin,
    "head.norm.weight": _edgeface,
    "feature.3.running_mean": _vit,
}
"""For each family a weight that no other family has, and how to read its arguments."""


def _count(shapes: Shapes, before: str, after: str) -> int:
    """Count the numbers that stand between `before` and `after` in the weights' names."""
    between = {
        key[len(before) : -len(after)]
        for key in shapes
        if key.startswith(before) and key.endswith(after)
    }
    return sum(text.isdigit() for text in between)


def _some(keys: Iterable[str], most: int = 3) -> str:
    keys = sorted(keys)
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")
