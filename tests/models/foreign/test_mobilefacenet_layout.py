import pytest
import torch
import torch.nn.functional as F

from facedistill.runtime.input_spec import InputSpec
from tests.models.backbones.network_by_hand import batch_norm
from tests.models.backbones.network_by_hand import conv as convolved
from tests.models.foreign.foreign_file import (
    assert_equals_by_hand,
    conv,
    linear,
    norm,
    opened,
    prefixed,
    random_weights,
)

SIDE, SIZE = 32, 12
STAGES = {"conv_3": 4, "conv_4": 6, "conv_5": 2}
NARROW, WIDE, LAST = 16, 32, 512
"""A quarter of the public widths, but for the last convolution."""


def linear_block(name, inputs, outputs, kernel=1, groups=1):
    return conv(f"{name}.conv", inputs, outputs, kernel, groups) | norm(f"{name}.bn", outputs)


def conv_block(name, inputs, outputs, kernel=1, groups=1):
    shapes = linear_block(name, inputs, outputs, kernel, groups)
    return shapes | {f"{name}.prelu.weight": (outputs,)}


def depth_wise(name, inputs, outputs, inner):
    return (
        conv_block(f"{name}.conv", inputs, inner)
        | conv_block(f"{name}.conv_dw", inner, inner, 3, inner)
        | linear_block(f"{name}.project", inner, outputs)
    )


def public_shapes(head):
    """TFace's and AdaDistill's with `head` "output_layer.", without scale in the last norm."""
    shapes = conv_block("conv1", 3, NARROW, 3) | conv_block("conv2_dw", NARROW, NARROW, 3, NARROW)
    shapes |= depth_wise("conv_23", NARROW, NARROW, 2 * NARROW)
    shapes |= depth_wise("conv_34", NARROW, WIDE, 4 * NARROW)
    shapes |= depth_wise("conv_45", WIDE, WIDE, 4 * WIDE)
    for stage, count in STAGES.items():
        width, inner = (NARROW, 2 * NARROW) if stage == "conv_3" else (WIDE, 2 * WIDE)
        for place in range(count):
            shapes |= depth_wise(f"{stage}.model.{place}", width, width, inner)
    shapes |= conv_block("conv_6_sep", WIDE, LAST)
    shapes |= linear_block(f"{head}conv_6_dw", LAST, LAST, SIDE // 16, LAST)
    shapes |= linear(f"{head}linear", LAST, SIZE, bias=False)
    return shapes | norm(f"{head}bn", SIZE, affine=not head)


def by_hand(w, head, x):
    def block(name, x, stride=1, pad=None):
        y = batch_norm(w, f"{name}.bn", convolved(w, f"{name}.conv", x, stride, pad))
        slope = w.get(f"{name}.prelu.weight")
        return y if slope is None else F.prelu(y, slope)

    def unit(name, x, stride):
        y = block(f"{name}.conv_dw", block(f"{name}.conv", x), stride)
        y = block(f"{name}.project", y)
        return x + y if stride == 1 else y

    x = block("conv2_dw", block("conv1", x, 2))
    for halving, stage in zip(("conv_23", "conv_34", "conv_45"), STAGES, strict=True):
        x = unit(halving, x, 2)
        for place in range(STAGES[stage]):
            x = unit(f"{stage}.model.{place}", x, 1)
    x = block(f"{head}conv_6_dw", block("conv_6_sep", x), pad=0).flatten(1)
    y = F.linear(x, w[f"{head}linear.weight"])
    mean, var = w[f"{head}bn.running_mean"], w[f"{head}bn.running_var"]
    return F.batch_norm(y, mean, var, w.get(f"{head}bn.weight"), w.get(f"{head}bn.bias"), eps=1e-5)


@pytest.mark.parametrize(("head", "color"), [("output_layer.", "RGB"), ("", "BGR")])
def test_equals_the_network_by_hand(tmp_path, head, color):
    weights = random_weights(public_shapes(head))
    network, warning = opened(tmp_path / "mfn.pth", weights)
    assert network.architecture == "mobilefacenet"
    assert network.arguments == {"embedding_size": SIZE, "width": 0.25}
    assert network.input == InputSpec(SIDE, color)
    assert f"assuming {color}" in warning
    images = torch.randn(2, 3, SIDE, SIDE)
    assert_equals_by_hand(network, images, by_hand, weights, head)


def test_facex_zoo_divides_by_128(tmp_path):
    weights = random_weights(public_shapes(""))
    content = {"state_dict": prefixed(weights, "backbone."), "epoch": 3}
    network, _ = opened(tmp_path / "mfn.pt", content)
    assert network.input == InputSpec(SIDE, "BGR", std=(128.0,) * 3)
