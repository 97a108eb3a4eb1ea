"""Which files are networks, by their names."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = (".pt", ".pth", ".ckpt", ".pth.tar")
"""Of PyTorch's checkpoints."""

NETWORKS = (".safetensors", ".onnx", *CHECKPOINTS)
"""Of all files that open as a network."""


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file is named like a PyTorch checkpoint."""
    return str(path).lower().endswith(CHECKPOINTS)


def is_network(path: str | Path) -> bool:
    """Whether a file is named like a network."""
    return str(path).lower().endswith(NETWORKS)
