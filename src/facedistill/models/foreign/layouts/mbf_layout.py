"""arcface_torch's mbf and mbf_large."""

from __future__ import annotations

from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    count,
    register,
)

_LARGE = {"scale": 4, "blocks": (2, 8, 12, 4)}


@register("mbf")
class MbfLayout(Layout):
    """The network that InsightFace calls MobileFaceNet."""

    trainers = "arcface_torch mbf, mbf_large"
    feeds = "RGB"
    mark = "conv_sep.layers.0.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network with as many bottlenecks."""
        inside = ".layers.0.layers.0.weight"
        grouped = len(shapes.get("layers.1.layers.0.weight", ())) == 4
        first = 1 if grouped else count(shapes, "layers.1.layers.", inside)
        rest = (count(shapes, f"layers.{index}.layers.", inside) for index in (3, 5, 7))
        arguments = {
            "embedding_size": shapes["features.layers.2.weight"][0],
            "scale": shapes["layers.0.layers.0.weight"][0] // 64,
            "blocks": (first, *rest),
        }
        name = "mbf_large" if {**arguments, **_LARGE} == arguments else "mbf"
        size = 16 * shapes["features.layers.0.layers.0.weight"][2]
        return Recognised(name, arguments, CustomaryInput(size, "RGB"))
