"""`body.N.res_layer.*`: IR and IR-SE of AdaFace, TFace, CVLface, face.evoLVe and FaceX-Zoo."""

from __future__ import annotations

import itertools
import math
import re

from facedistill.models.foreign.layout import (
    CustomaryInput,
    Layout,
    Recognised,
    Shapes,
    Stored,
    register,
    with_unit_affine,
)

_STRIDE = 16
_NORM = "output_layer.4"


@register("ir")
class IrLayout(Layout):
    """IR-18 to IR-200."""

    trainers = (
        "AdaFace ir_18, ir_50, ir_101; TFace IR and IR_SE; CVLface ir50, ir101; FaceX-Zoo ResNet-ir"
    )
    feeds = (
        "AdaFace (a Lightning file, `model.`) BGR, CVLface (`net.`) RGB, FaceX-Zoo (`backbone.`) "
        "BGR / 128; elsewhere the colour is asked for"
    )
    mark = "body.0.res_layer.1.weight"

    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return the network; units are told apart by the layers they have."""
        widths = list(_unit_widths(shapes))
        units = tuple(len(list(group)) for _, group in itertools.groupby(widths))
        if len(units) != 4:
            return None
        # After the first convolution stands a batch norm, whose mean is kept, or an activation.
        inner_norm = "body.0.res_layer.2.running_mean" in shapes
        bottleneck = shapes[self.mark][2] == 1
        size, flat = shapes["output_layer.3.weight"]
        arguments = {
            "embedding_size": size,
            "units": units,
            "width": shapes["input_layer.0.weight"][0] / 64,
            "bottleneck": bottleneck,
            "squeeze": any(key.endswith(".fc1.weight") for key in shapes),
            "inner_norm": inner_norm,
        }
        side = math.isqrt(flat // shapes["output_layer.0.weight"][0])
        return Recognised("ir", arguments, _fed(_STRIDE * side, inner_norm, place))

    def renamed(self, weights: Stored) -> Stored:
        """Name FaceX-Zoo's channel weighing as the others do; give the last norm its scale."""
        named = {
            re.sub(r"\.res_layer\.\d+\.fc([12])\.", r".res_layer.se_block.fc\1.", key): tensor
            for key, tensor in weights.items()
        }
        return with_unit_affine(named, _NORM)


def _unit_widths(shapes: Shapes) -> list[int]:
    """Return the channels that each unit ends with."""
    units: dict[int, dict[int, int]] = {}
    for key, shape in shapes.items():
        match = re.fullmatch(r"body\.(\d{1,4})\.res_layer\.(\d)\.weight", key)
        if match and len(shape) == 4:
            units.setdefault(int(match[1]), {})[int(match[2])] = shape[0]
    if sorted(units) != list(range(len(units))):
        return []
    return [units[index][max(units[index])] for index in sorted(units)]


def _fed(size: int, inner_norm: bool, place: str) -> CustomaryInput:
    if not inner_norm and "backbone." in place:
        return CustomaryInput(size, "BGR", std=128.0)
    if inner_norm and place.endswith("net."):
        return CustomaryInput(size, "RGB")
    if inner_norm and place == "state_dict.model.":
        return CustomaryInput(size, "BGR")
    return CustomaryInput(size, None)
