"""Networks in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(network: object) -> Iterator[None]:
    """Put every module of a network in evaluation mode, and each back as it was, frozen ones too.

    Args:
        network: What is no torch module, an ONNX network say, has no mode and is left alone.
    """
    modules = list(network.modules()) if isinstance(network, nn.Module) else []
    modes = [module.training for module in modules]
    if isinstance(network, nn.Module):
        network.eval()
    try:
        yield
    finally:
        for module, training in zip(modules, modes, strict=True):
            module.training = training
