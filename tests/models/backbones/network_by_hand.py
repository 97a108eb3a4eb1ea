"""Networks computed by hand from a state dict, as references for the modules."""

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def batch_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.batch_norm(
        x,
        w[f"{name}.running_mean"],
        w[f"{name}.running_var"],
        w[f"{name}.weight"],
        w[f"{name}.bias"],
        eps=1e-5,
    )


def conv(w: Weights, name: str, x: Tensor, stride: int = 1, pad: int | None = None) -> Tensor:
    kernel = w[f"{name}.weight"]
    groups = x.shape[1] // kernel.shape[1]
    return F.conv2d(
        x, kernel, None, stride, kernel.shape[2] // 2 if pad is None else pad, 1, groups
    )


def randomise(network) -> Weights:
    """Give every weight and statistic a value that matters; return the state dict."""
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim > 1:
            torch.nn.init.xavier_normal_(value)
        elif value.is_floating_point():
            value.normal_(0.6 if key.endswith("weight") else 0.0, 0.2)
    return state
