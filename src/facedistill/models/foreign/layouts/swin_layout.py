"""Swin Transformers of Microsoft, timm and FaceX-Zoo."""

from __future__ import annotations

import math

from facedistill.models.backbones.swin import SIZES
from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    Stored,
    count,
    register,
)

_FLAT = "output_layer.2.weight"
_OUTPUT = {"output_layer.0": "norm", "output_layer.2": "linear", "output_layer.3": "bn"}
"""What FaceX-Zoo calls the last layers, and what they are here."""

MARK = "layers.0.blocks.0.attn.relative_position_bias_table"


@register("swin")
class SwinLayout(Layout):
    """Swin-T, -S and -B, with a linear layer to the embedding or without."""

    trainers = "FaceX-Zoo Swin-T, Swin-S, Swin-B; Microsoft's and timm's with an embedding layer"
    feeds = "FaceX-Zoo BGR / 128; of others the input is asked for"
    mark = MARK

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of these depths and this width."""
        depths = tuple(count(shapes, f"layers.{n}.blocks.", ".norm1.weight") for n in range(4))
        channels, _, patch, _ = shapes["patch_embed.proj.weight"]
        if _FLAT in shapes:
            return _facex_zoo(shapes, (depths, channels), patch)
        size = shapes["linear.weight"][0] if "linear.weight" in shapes else 512
        custom = CustomaryInput(None, None)
        if depths == (2, 2, 4, 0):
            return Recognised("swin_nano", {"embedding_size": size}, custom)
        names = [name for name, sizes in SIZES.items() if sizes == (depths, channels)]
        return Recognised(names[0], {"embedding_size": size, "patch": patch}, custom)

    def renamed(self, weights: Stored) -> Stored:
        """Leave out what is kept beside weights; name timm's as Microsoft's are."""
        # timm counts the patch merging to the stage after it.
        late = any(key.startswith("layers.3.downsample.") for key in weights)
        named = {}
        for key, tensor in weights.items():
            if key.endswith(("relative_position_index", "attn_mask")):
                continue
            stage, inside, rest = key.removeprefix("layers.").partition(".downsample.")
            if late and inside and stage.isdigit():
                key = f"layers.{int(stage) - 1}.downsample.{rest}"
            layer, dot, rest = key.rpartition(".")
            named[f"{_OUTPUT.get(layer, layer)}{dot}{rest}"] = tensor
        return named


def _facex_zoo(shapes: Shapes, sizes: tuple[tuple[int, ...], int], patch: int) -> Recognised:
    size, flat = shapes[_FLAT]
    side = math.isqrt(flat // shapes["output_layer.0.weight"][0])
    name = next(name for name in SIZES if SIZES[name] == sizes)
    arguments = {"embedding_size": size, "patch": patch, "flat": True}
    return Recognised(name, arguments, CustomaryInput(8 * side * patch, "BGR", std=128.0))
