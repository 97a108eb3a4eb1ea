import torch
import torch.nn.functional as F

from facedistill.runtime.input_spec import InputSpec
from tests.models.foreign.foreign_file import (
    assert_equals_by_hand,
    conv,
    linear,
    norm,
    opened,
    random_weights,
)

SIZE, WIDTH = 12, 4
"""Length of the embedding; the public channels by those here."""


def c(channels):
    return channels // WIDTH


def block(name, inputs, outputs, kernel=1):
    return conv(f"{name}.conv", inputs, outputs, kernel) | norm(f"{name}.bn", outputs)


def branch(name, inputs, *steps):
    """(outputs, kernel) of convolutions one after the other; one alone has no number."""
    shapes = {}
    for place, (outputs, kernel) in enumerate(steps):
        inside = f"{name}.{place}" if len(steps) > 1 else name
        shapes |= block(inside, inputs, outputs, kernel)
        inputs = outputs
    return shapes


def split_unit(name, channels, inner, side):
    shapes = branch(f"{name}.branch0", channels, (inner, 1))
    row, column = (1, side), (side, 1)
    shapes |= branch(f"{name}.branch1", channels, (inner, 1), (inner, row), (inner, column))
    return shapes | conv(f"{name}.conv2d", 2 * inner, channels, 1, bias=True)


def public_shapes(classes):
    shapes = block("conv2d_1a", 3, c(32), 3) | block("conv2d_2a", c(32), c(32), 3)
    shapes |= block("conv2d_2b", c(32), c(64), 3) | block("conv2d_3b", c(64), 16)
    shapes |= block("conv2d_4a", 16, c(192), 3) | block("conv2d_4b", c(192), c(256), 3)
    first, second, third = c(256), c(896), c(1792)
    for place in range(5):
        name, inner = f"repeat_1.{place}", c(32)
        shapes |= branch(f"{name}.branch0", first, (inner, 1))
        shapes |= branch(f"{name}.branch1", first, (inner, 1), (inner, 3))
        shapes |= branch(f"{name}.branch2", first, (inner, 1), (inner, 3), (inner, 3))
        shapes |= conv(f"{name}.conv2d", 3 * inner, first, 1, bias=True)
    shapes |= branch("mixed_6a.branch0", first, (c(384), 3))
    shapes |= branch("mixed_6a.branch1", first, (c(192), 1), (c(192), 3), (c(256), 3))
    for place in range(10):
        shapes |= split_unit(f"repeat_2.{place}", second, c(128), 7)
    shapes |= branch("mixed_7a.branch0", second, (c(256), 1), (c(384), 3))
    shapes |= branch("mixed_7a.branch1", second, (c(256), 1), (c(256), 3))
    shapes |= branch("mixed_7a.branch2", second, (c(256), 1), (c(256), 3), (c(256), 3))
    for name in (*(f"repeat_3.{place}" for place in range(5)), "block8"):
        shapes |= split_unit(name, third, c(192), 3)
    shapes |= linear("last_linear", third, SIZE, bias=False) | norm("last_bn", SIZE)
    return shapes | linear("logits", SIZE, classes)


def by_hand(w, x):
    def normed(name, y):
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(w[f"{name}.{key}"] for key in keys), eps=1e-3)

    def block(name, x, stride=1, pad=True):
        kernel = w[f"{name}.conv.weight"]
        around = (kernel.shape[2] // 2, kernel.shape[3] // 2) if pad else 0
        return F.relu(normed(f"{name}.bn", F.conv2d(x, kernel, None, stride, around)))

    def branch(name, x, halving):
        if f"{name}.conv.weight" in w:
            return block(name, x, 2 if halving else 1, not halving)
        places = [n for n in range(3) if f"{name}.{n}.conv.weight" in w]
        for place in places:
            last = halving and place == places[-1]
            x = block(f"{name}.{place}", x, 2 if last else 1, not last)
        return x

    def branches(name, x, halving=False):
        names = [f"{name}.branch{n}" for n in range(3)]
        names = [each for each in names if any(key.startswith(f"{each}.") for key in w)]
        return [branch(each, x, halving) for each in names]

    def unit(name, x, scale):
        mixed = torch.cat(branches(name, x), 1)
        return x + scale * F.conv2d(mixed, w[f"{name}.conv2d.weight"], w[f"{name}.conv2d.bias"])

    x = block("conv2d_2a", block("conv2d_1a", x, 2, False), 1, False)
    x = F.max_pool2d(block("conv2d_2b", x), 3, 2)
    x = block("conv2d_4a", block("conv2d_3b", x), 1, False)
    x = block("conv2d_4b", x, 2, False)
    for stage, count, scale in (("repeat_1", 5, 0.17), ("repeat_2", 10, 0.1), ("repeat_3", 5, 0.2)):
        if stage != "repeat_1":
            reduction = {"repeat_2": "mixed_6a", "repeat_3": "mixed_7a"}[stage]
            x = torch.cat([*branches(reduction, x, halving=True), F.max_pool2d(x, 3, 2)], 1)
        for place in range(count):
            x = F.relu(unit(f"{stage}.{place}", x, scale))
    x = unit("block8", x, 1.0).mean((2, 3))
    return normed("last_bn", F.linear(x, w["last_linear.weight"]))


def test_equals_the_network_by_hand(tmp_path):
    weights = random_weights(public_shapes(classes=9))
    network, warning = opened(tmp_path / "vggface2.pt", weights)
    assert network.architecture == "inception_resnet"
    assert network.arguments == {"embedding_size": SIZE, "width": 1 / WIDTH}
    assert network.input == InputSpec(160, "RGB", std=(128.0,) * 3)
    assert "assuming RGB, (x - 127.5) / 128.0" in warning
    images = torch.randn(2, 3, 96, 96)
    assert_equals_by_hand(network, images, by_hand, weights)
