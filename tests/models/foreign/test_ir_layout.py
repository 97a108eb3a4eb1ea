import pytest
import torch
import torch.nn.functional as F

from facedistill.core.errors import FacedistillError
from facedistill.models.foreign.foreign_weights import load_foreign
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

STEM, STAGES, SIDE, SIZE = 16, (16, 32, 64, 128), 32, 12
RGB32 = InputSpec(size=SIDE)


def squeeze(name, channels):
    return conv(f"{name}.fc1", channels, channels // 16, 1) | conv(
        f"{name}.fc2", channels // 16, channels, 1
    )


def plain_unit(name, inputs, outputs):
    """AdaFace, TFace and CVLface."""
    name = f"{name}.res_layer"
    return (
        norm(f"{name}.0", inputs)
        | conv(f"{name}.1", inputs, outputs)
        | norm(f"{name}.2", outputs)
        | {f"{name}.3.weight": (outputs,)}
        | conv(f"{name}.4", outputs, outputs)
        | norm(f"{name}.5", outputs)
    )


def se_unit(name, inputs, outputs):
    """TFace's IR_SE."""
    return plain_unit(name, inputs, outputs) | squeeze(f"{name}.res_layer.se_block", outputs)


def deep_unit(name, inputs, outputs):
    """IR-152 and IR-200, whose outputs are four times as wide."""
    inner, name = outputs // 4, f"{name}.res_layer"
    return (
        norm(f"{name}.0", inputs)
        | conv(f"{name}.1", inputs, inner, 1)
        | norm(f"{name}.2", inner)
        | {f"{name}.3.weight": (inner,)}
        | conv(f"{name}.4", inner, inner)
        | norm(f"{name}.5", inner)
        | {f"{name}.6.weight": (inner,)}
        | conv(f"{name}.7", inner, outputs, 1)
        | norm(f"{name}.8", outputs)
    )


def zoo_unit(name, inputs, outputs):
    """FaceX-Zoo's, without a batch norm before the activation."""
    name = f"{name}.res_layer"
    return (
        norm(f"{name}.0", inputs)
        | conv(f"{name}.1", inputs, outputs)
        | {f"{name}.2.weight": (outputs,)}
        | conv(f"{name}.3", outputs, outputs)
        | norm(f"{name}.4", outputs)
    )


def zoo_se_unit(name, inputs, outputs):
    return zoo_unit(name, inputs, outputs) | squeeze(f"{name}.res_layer.5", outputs)


def public_shapes(unit, units, *, affine=False, widening=1):
    shapes = conv("input_layer.0", 3, STEM) | norm("input_layer.1", STEM)
    shapes |= {"input_layer.2.weight": (STEM,)}
    inputs, place = STEM, 0
    for count, width in zip(units, STAGES, strict=True):
        for _ in range(count):
            outputs, name = width * widening, f"body.{place}"
            if inputs != outputs:
                shapes |= conv(f"{name}.shortcut_layer.0", inputs, outputs, 1)
                shapes |= norm(f"{name}.shortcut_layer.1", outputs)
            shapes |= unit(name, inputs, outputs)
            inputs, place = outputs, place + 1
    shapes |= norm("output_layer.0", inputs)
    shapes |= linear("output_layer.3", inputs * (SIDE // 16) ** 2, SIZE)
    return shapes | norm("output_layer.4", SIZE, affine)


def by_hand(w, units, x):
    x = F.prelu(
        batch_norm(w, "input_layer.1", convolved(w, "input_layer.0", x)), w["input_layer.2.weight"]
    )
    starts = {0, *(sum(units[:n]) for n in (1, 2, 3))}
    for place in range(sum(units)):
        stride = 2 if place in starts else 1
        unit, y = f"body.{place}", x
        layers = [f"{unit}.res_layer.{layer}" for layer in range(9)]
        layers = [name for name in layers if f"{name}.weight" in w]
        last = max(name for name in layers if w[f"{name}.weight"].ndim == 4)
        for name in layers:
            if f"{name}.running_mean" in w:
                y = batch_norm(w, name, y)
            elif w[f"{name}.weight"].ndim == 4:
                y = convolved(w, name, y, stride if name == last else 1)
            else:
                y = F.prelu(y, w[f"{name}.weight"])
        for name in (f"{unit}.res_layer.se_block", f"{unit}.res_layer.5"):
            if f"{name}.fc1.weight" in w:
                squeezed = F.relu(convolved(w, f"{name}.fc1", F.adaptive_avg_pool2d(y, 1)))
                y = y * torch.sigmoid(convolved(w, f"{name}.fc2", squeezed))
        if f"{unit}.shortcut_layer.0.weight" in w:
            short = f"{unit}.shortcut_layer"
            x = y + batch_norm(w, f"{short}.1", convolved(w, f"{short}.0", x, stride))
        else:
            x = y + F.max_pool2d(x, 1, stride)
    flat = batch_norm(w, "output_layer.0", x).flatten(1)
    y = F.linear(flat, w["output_layer.3.weight"], w["output_layer.3.bias"])
    mean, var = w["output_layer.4.running_mean"], w["output_layer.4.running_var"]
    scale, shift = w.get("output_layer.4.weight"), w.get("output_layer.4.bias")
    return F.batch_norm(y, mean, var, scale, shift, eps=1e-5)


KINDS = [
    (plain_unit, {}, {"squeeze": False, "inner_norm": True, "bottleneck": False}),
    (se_unit, {}, {"squeeze": True, "inner_norm": True, "bottleneck": False}),
    (deep_unit, {"widening": 4}, {"squeeze": False, "inner_norm": True, "bottleneck": True}),
    (zoo_unit, {"affine": True}, {"squeeze": False, "inner_norm": False, "bottleneck": False}),
    (zoo_se_unit, {"affine": True}, {"squeeze": True, "inner_norm": False, "bottleneck": False}),
]


@pytest.mark.parametrize(("unit", "options", "arguments"), KINDS)
def test_equals_the_network_by_hand(tmp_path, unit, options, arguments):
    units = (2, 1, 2, 1)
    weights = random_weights(public_shapes(unit, units, **options))
    network, _ = opened(tmp_path / "ir.pth", weights, input=RGB32)
    assert network.architecture == "ir"
    expected = {"embedding_size": SIZE, "units": units, "width": STEM / 64, **arguments}
    assert network.arguments == expected
    images = torch.randn(2, 3, SIDE, SIDE)
    assert_equals_by_hand(network, images, by_hand, weights, units)


def lightning(weights):
    return {"state_dict": prefixed(weights, "model."), "pytorch-lightning_version": "1.4"}


def cvlface(weights):
    return prefixed(weights, "model.net.")


def facex_zoo(weights):
    return {"state_dict": prefixed(weights, "backbone."), "epoch": 3}


@pytest.mark.parametrize(
    ("unit", "wrap", "color", "std"),
    [
        (plain_unit, lightning, "BGR", 127.5),
        (plain_unit, cvlface, "RGB", 127.5),
        (zoo_unit, facex_zoo, "BGR", 128.0),
    ],
)
def test_its_trainer_tells_what_it_is_fed(tmp_path, unit, wrap, color, std):
    weights = random_weights(public_shapes(unit, (1, 1, 1, 1)))
    network, warned = opened(tmp_path / "ir.ckpt", wrap(weights))
    assert network.input == InputSpec(SIDE, color, std=(std,) * 3)
    assert f"assuming {color}, (x - 127.5) / {std}" in warned


def test_the_colour_is_asked_for_where_trainers_differ(tmp_path):
    torch.save(random_weights(public_shapes(plain_unit, (1, 1, 1, 1))), tmp_path / "ir.pth")
    with pytest.raises(FacedistillError, match=r"state --color RGB or BGR.*AdaFace .* BGR"):
        load_foreign(tmp_path / "ir.pth")


def test_a_network_without_its_last_norm_is_refused(tmp_path):
    weights = random_weights(public_shapes(plain_unit, (1, 1, 1, 1)))
    del weights["output_layer.4.running_mean"]
    torch.save(weights, tmp_path / "ir.pth")
    with pytest.raises(FacedistillError, match=r"3 missing: output_layer\.4\.bias"):
        load_foreign(tmp_path / "ir.pth", input=RGB32)


@pytest.mark.parametrize("lost", ["body.1.res_layer.1.weight", "output_layer.3.weight"])
def test_half_a_network_is_of_no_family(tmp_path, lost):
    weights = random_weights(public_shapes(plain_unit, (1, 1, 1, 1)))
    del weights[lost]
    if lost.startswith("body"):
        weights = {key: t for key, t in weights.items() if not key.startswith("body.1.")}
    torch.save(weights, tmp_path / "ir.pth")
    with pytest.raises(FacedistillError, match="no known family"):
        load_foreign(tmp_path / "ir.pth", input=RGB32)
