"""Vision Transformers of arcface_torch and CVLface."""

from __future__ import annotations

import math

from facedistill.core.errors import FacedistillError
from facedistill.models.backbones.vit import SIZES
from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    Stored,
    count,
    register,
)
from facedistill.models.foreign.stored_tensor import StoredTensor

_HEADS = {(24, 3): 16}
"""Attention heads, which no shape tells, by blocks and width of the perceptron; else 8."""


@register("vit")
class VitLayout(Layout):
    """Without a class token, with an embedding of all tokens side by side."""

    trainers = "arcface_torch vit_t, vit_s, vit_b, vit_l; CVLface ViT small and base (not KP-RPE)"
    feeds = "RGB"
    mark = "feature.3.running_mean"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this depth and width."""
        width, _, patch, _ = shapes["patch_embed.proj.weight"]
        depth = count(shapes, "blocks.", ".norm1.weight")
        names = [name for name, sizes in SIZES.items() if sizes == (depth, width)]
        if any(".rpe_" in key or key.startswith("keypoint_linear") for key in shapes):
            raise FacedistillError(
                "it is a Transformer with KP-RPE, which is fed landmarks beside the image: no "
                "network here takes them; its ONNX export with the image alone opens"
            )
        ratio = shapes["blocks.0.mlp.fc1.weight"][0] // width
        arguments = {
            "embedding_size": shapes["feature.2.weight"][0],
            "patch": patch,
            "heads": _HEADS.get((depth, ratio), 8),
            "mlp_ratio": ratio,
        }
        seen = patch * math.isqrt(shapes["pos_embed"][1])
        return Recognised(names[0], arguments, CustomaryInput(16 * math.ceil(seen / 16), "RGB"))

    def renamed(self, weights: Stored) -> Stored:
        """Add what takes the places of tokens left out in training, where there is none."""
        width = weights["pos_embed"].shape[-1]
        return {"mask_token": StoredTensor.filled(0.0, 1, 1, width), **weights}
