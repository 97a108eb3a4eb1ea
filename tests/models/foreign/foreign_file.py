"""Checkpoints as other trainers write them: names and shapes as they have them, random values."""

import warnings

import torch

from facedistill.models.foreign.foreign_weights import load_foreign

Weights = dict[str, torch.Tensor]


def conv(name, inputs, outputs, kernel=3, groups=1, bias=False):
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    shapes = {f"{name}.weight": (outputs, inputs // groups, *sides)}
    return shapes | ({f"{name}.bias": (outputs,)} if bias else {})


def linear(name, inputs, outputs, bias=True):
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name, channels, affine=True):
    shapes = {f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)}
    shapes |= {f"{name}.num_batches_tracked": ()}
    return shapes | (layer_norm(name, channels) if affine else {})


def layer_norm(name, channels):
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def random_weights(shapes) -> Weights:
    """Values that all matter."""
    weights = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            weights[key] = torch.empty(shape).uniform_(0.5, 1.5)
        elif len(shape) > 1:
            weights[key] = torch.nn.init.xavier_normal_(torch.empty(shape))
        else:
            weights[key] = torch.randn(shape) * 0.2 + (0.6 if key.endswith("weight") else 0.0)
    return weights


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {prefix + key: tensor for key, tensor in weights.items()}


def opened(path, content, **options):
    """The network of a checkpoint, and what its input was assumed to be aloud."""
    torch.save(content, path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = load_foreign(path, **options)
    return network, " ".join(str(each.message) for each in caught)


def assert_equals_by_hand(network, images, by_hand, weights, *arguments):
    """Compare a network's embeddings with those that `by_hand(weights, *arguments, images)` gives.

    In double precision nothing but the structure can differ: rounding stays below 1e-13 of sums of
    some thousand terms, so a layer in the wrong place or an epsilon of another size is seen.
    """
    images = images.double()
    doubles = {key: w.double() if w.is_floating_point() else w for key, w in weights.items()}
    with torch.no_grad():
        given = network.backbone.double()(images)
    torch.testing.assert_close(given, by_hand(doubles, *arguments, images), rtol=1e-9, atol=1e-9)
