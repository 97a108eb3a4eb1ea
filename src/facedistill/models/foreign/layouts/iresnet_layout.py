"""arcface_torch's r18 to r200, which many trainers copy."""

from __future__ import annotations

import math

from facedistill.models.backbones.iresnet import BLOCKS, STRIDE
from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    count,
    register,
)


@register("iresnet")
class IResNetLayout(Layout):
    """InsightFace's ResNets."""

    trainers = "arcface_torch r18, r34, r50, r100, r200; AdaDistill and CVLface iresnet"
    feeds = "RGB"
    mark = "layer1.0.prelu.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network whose stages have as many units."""
        counts = tuple(count(shapes, f"layer{stage}.", ".conv1.weight") for stage in (1, 2, 3, 4))
        names = [name for name, blocks in BLOCKS.items() if blocks == counts]
        size, flat = shapes["fc.weight"]
        side = math.isqrt(flat // shapes["bn2.weight"][0])
        arguments = {"embedding_size": size, "width": shapes["conv1.weight"][0] / 64}
        return Recognised(names[0], arguments, CustomaryInput(STRIDE * side, "RGB"))
