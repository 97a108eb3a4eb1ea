"""EdgeFace, whose backbones are timm's EdgeNeXt."""

from __future__ import annotations

from typing import Any

from facedistill.models.backbones.timm_network import PREFIX
from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    Stored,
    register,
)

_WIDTHS = {
    (24, 168): "edgenext_xx_small",
    (32, 192): "edgenext_x_small",
    (48, 304): "edgenext_small",
    (80, 584): "edgenext_base",
}
"""timm's names by the channels at a network's beginning and end."""


@register("edgeface")
class EdgeFaceLayout(Layout):
    """EdgeNeXt, its linear layers factored or not."""

    trainers = "EdgeFace xxs, xs, s, base (needs `pip install 'facedistill[timm]'`)"
    feeds = "RGB"
    mark = "head.norm.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of these widths; the rank follows from a factored layer."""
        name = _WIDTHS[shapes["stem.0.weight"][0], shapes["head.norm.weight"][0]]
        arguments: dict[str, Any] = {"rank_ratio": None}
        if "head.fc.linear1.weight" in shapes:
            rank, inputs = shapes["head.fc.linear1.weight"]
            size = shapes["head.fc.linear2.weight"][0]
            arguments = {"rank_ratio": round(rank / min(inputs, size), 2)}
        else:
            size = shapes["head.fc.weight"][0]
        return Recognised(
            PREFIX + name, {"embedding_size": size, **arguments}, CustomaryInput(None, "RGB")
        )

    def renamed(self, weights: Stored) -> Stored:
        """Put timm's network where the backbone has it."""
        return {f"model.{key}": tensor for key, tensor in weights.items()}
