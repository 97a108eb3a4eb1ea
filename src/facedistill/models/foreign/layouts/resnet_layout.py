"""torchvision's ResNet-50."""

from __future__ import annotations

from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    count,
    register,
)


@register("resnet50")
class ResNetLayout(Layout):
    """ResNet-50 with a linear layer to the embedding."""

    trainers = "torchvision resnet50"
    feeds = "the input is asked for"
    mark = "layer1.0.conv3.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this width."""
        counts = [count(shapes, f"layer{stage}.", ".conv3.weight") for stage in (1, 2, 3, 4)]
        if counts != [3, 4, 6, 3]:
            return None
        arguments = {
            "embedding_size": shapes["fc.weight"][0],
            "width_divisor": 64 // shapes["conv1.weight"][0],
        }
        return Recognised("resnet50", arguments, CustomaryInput(None, None))
