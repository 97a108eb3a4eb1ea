"""What a Core ML package computes, operator by operator, where Core ML does not run."""

import numpy as np
import torch
import torch.nn.functional as F


class Program:
    """A written package, of which nothing but its files is used."""

    def __init__(self, path):
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.models.utils import load_spec

        specification = load_spec(str(path))
        weights = path / "Data" / "com.apple.CoreML" / "weights"
        program = load(specification, specification.specificationVersion, str(weights))
        self.block = program.functions["main"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Compute the embedding of one input (1, 3, S, S).

        Values that the program has in float16 are rounded to it after each operator.
        """
        values = {next(iter(self.block.inputs)): torch.from_numpy(image)}
        for operator in self.block.operations:
            if operator.op_type == "const":
                continue
            given = {name: _value(each, values) for name, each in operator.inputs.items()}
            (output,) = operator.outputs
            result = _OPERATORS[operator.op_type](**given)
            rounded = "fp16" in str(output.dtype)
            values[output.name] = result.half().float() if rounded else result
        return values[self.block.outputs[0].name].numpy()


def _value(entry, values):
    """Return a tensor, or a constant as Python has it."""
    if entry is None:
        return None
    if entry.name in values:
        return values[entry.name]
    constant = entry.val
    if isinstance(constant, np.ndarray) and constant.dtype in (np.float16, np.float32):
        return torch.from_numpy(constant.astype(np.float32))
    return constant


def _conv(x, weight, strides, pad, dilations, groups, pad_type, bias=None):
    top, bottom, left, right = pad if pad_type == "custom" else (0, 0, 0, 0)
    assert pad_type in ("custom", "valid")
    padded = F.pad(x, (left, right, top, bottom))
    return F.conv2d(padded, weight, bias, tuple(strides), 0, tuple(dilations), int(groups))


_OPERATORS = {
    "cast": lambda x, dtype: x,
    "identity": lambda x: x,
    "conv": _conv,
    "prelu": lambda x, alpha: F.prelu(x, alpha),
    "leaky_relu": lambda x, alpha: F.leaky_relu(x, float(alpha)),
    "add": lambda x, y: x + torch.as_tensor(y),
    "sub": lambda x, y: x - torch.as_tensor(y),
    "mul": lambda x, y: x * torch.as_tensor(y),
    "real_div": lambda x, y: x / torch.as_tensor(y),
    "linear": lambda x, weight, bias=None: F.linear(x, weight, bias),
    "reshape": lambda x, shape: x.reshape(tuple(shape)),
    "maximum": lambda x, y: torch.maximum(x, torch.as_tensor(y)),
    "expand_dims": lambda x, axes: x[(..., *[None] * len(axes))],
    "squeeze": lambda x, axes: x.squeeze(tuple(axes)),
    "reduce_l2_norm": lambda x, axes, keep_dims: x.norm(dim=tuple(axes), keepdim=bool(keep_dims)),
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "batch_norm": lambda x, mean, variance, gamma, beta, epsilon: F.batch_norm(
        x, mean, variance, gamma, beta, eps=float(epsilon)
    ),
}
