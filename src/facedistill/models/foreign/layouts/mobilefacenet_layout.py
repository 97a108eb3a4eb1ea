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

_HEAD = "output_layer."


@register("mobilefacenet")
class MobileFaceNetLayout(Layout):
    """With the head beside the other layers."""

    trainers = "FaceX-Zoo, InsightFace_Pytorch and their kin: MobileFaceNet"
    feeds = "BGR"
    mark = "conv2_dw.conv.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this width."""
        return _recognised(shapes, "", CustomaryInput(None, "BGR"))


@register("mobilefacenet_output_layer")
class OutputLayerLayout(Layout):
    """With the head in a module of its own, whose last norm neither scales nor shifts."""

    trainers = "TFace and AdaDistill MobileFaceNet"
    feeds = "RGB"
    mark = f"{_HEAD}conv_6_dw.conv.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network of this width."""
        return _recognised(shapes, _HEAD, CustomaryInput(None, "RGB"))

    def renamed(self, weights: Stored) -> Stored:
        """Put the head beside the other layers."""
        named = {key.removeprefix(_HEAD): tensor for key, tensor in weights.items()}
        return with_unit_affine(named, "bn")


def _recognised(shapes: Shapes, head: str, custom: CustomaryInput) -> Recognised:
    arguments = {
        "embedding_size": shapes[f"{head}linear.weight"][0],
        "width": shapes["conv1.conv.weight"][0] / 64,
    }
    size = 16 * shapes[f"{head}conv_6_dw.conv.weight"][2]
    return Recognised("mobilefacenet", arguments, CustomaryInput(size, custom.color))
