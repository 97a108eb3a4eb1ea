"""arcface_torch's Vision Transformers."""

from __future__ import annotations

import math

from facedistill.models.backbones.vit import SIZES
from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    count,
    register,
)


@register("vit")
class VitLayout(Layout):
    """Without a class token, with an embedding of all tokens side by side."""

    trainers = "arcface_torch vit_t, vit_s, vit_b"
    feeds = "RGB"
    mark = "feature.3.running_mean"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this depth and width."""
        width, _, patch, _ = shapes["patch_embed.proj.weight"]
        depth = count(shapes, "blocks.", ".norm1.weight")
        names = [name for name, sizes in SIZES.items() if sizes == (depth, width)]
        seen = patch * math.isqrt(shapes["pos_embed"][1])
        arguments = {"embedding_size": shapes["feature.2.weight"][0], "patch": patch}
        return Recognised(names[0], arguments, CustomaryInput(16 * math.ceil(seen / 16), "RGB"))
