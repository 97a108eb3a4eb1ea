"""The paper's MobileFaceNet under the names conv1, conv2_dw, conv_23 ..., whoever trained it."""

from __future__ import annotations

from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    Stored,
    register,
    with_unit_affine,
)
from facedistill.runtime.input_spec import Color

_HEAD = "output_layer."


@register("mobilefacenet")
class MobileFaceNetLayout(Layout):
    """With the head beside the other layers."""

    trainers = "MobileFaceNet of FaceX-Zoo, InsightFace_Pytorch and others"
    feeds = "BGR; FaceX-Zoo (`state_dict`, `backbone.`) / 128"
    mark = "conv2_dw.conv.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this width."""
        std = 128.0 if place == "state_dict.backbone." else 127.5
        return _recognised(shapes, "", "BGR", std)


@register("mobilefacenet_output_layer")
class OutputLayerLayout(Layout):
    """With the head in a module of its own, whose last norm neither scales nor shifts."""

    trainers = "TFace and AdaDistill MobileFaceNet"
    feeds = "RGB"
    mark = f"{_HEAD}conv_6_dw.conv.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this width."""
        return _recognised(shapes, _HEAD, "RGB")

    def renamed(self, weights: Stored) -> Stored:
        """Put the head beside the other layers."""
        named = {key.removeprefix(_HEAD): tensor for key, tensor in weights.items()}
        return with_unit_affine(named, "bn")


def _recognised(shapes: Shapes, head: str, color: Color, std: float = 127.5) -> Recognised:
    arguments = {
        "embedding_size": shapes[f"{head}linear.weight"][0],
        "width": shapes["conv1.conv.weight"][0] / 64,
    }
    size = 16 * shapes[f"{head}conv_6_dw.conv.weight"][2]
    return Recognised("mobilefacenet", arguments, CustomaryInput(size, color, std))
