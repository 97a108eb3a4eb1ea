"""What an ONNX graph takes: its one input, if faces can be given to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.session import Session

FLOATS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_TYPES = {**FLOATS, "tensor(uint8)": np.uint8}


@dataclass(frozen=True)
class GraphInput:
    """A graph's input.

    Attributes:
        name: Its name in the graph.
        dtype: float32, float16, float64 or uint8.
        batch: The fixed number of faces, or None where the graph declares any.
        side: The fixed side in pixels, or None.
        channels_last: Whether it is (batch, side, side, 3), else (batch, 3, side, side).
    """

    name: str
    dtype: type[np.generic]
    batch: int | None
    side: int | None
    channels_last: bool

    @property
    def raw(self) -> bool:
        """Whether it takes bytes as they are in an image."""
        return self.dtype is np.uint8

    def black(self, count: int, side: int) -> np.ndarray:
        """Return faces of zeros as the input takes them."""
        shape = (side, side, 3) if self.channels_last else (3, side, side)
        return np.zeros((count, *shape), self.dtype)


def read_input(session: Session) -> GraphInput:
    """Return what a graph takes.

    Raises:
        FacedistillError: If that is no batch of square images of three channels.
    """
    entry = _only_input(session)
    declared = list(entry.shape or ())
    shape = [size if isinstance(size, int) and size > 0 else None for size in declared]
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    if len(shape) != 4 or (shape[1] != 3 and not channels_last):
        raise FacedistillError(
            f"{session.path}: input {entry.name} is {declared}, neither (B, 3, H, W) nor "
            "(B, H, W, 3)"
        )
    if 0 in declared:
        raise FacedistillError(
            f"{session.path}: input {entry.name} is {declared}, which takes no faces at all: "
            "export the network again with a dynamic batch, or one of 1"
        )
    height, width = shape[1:3] if channels_last else shape[2:4]
    if height != width:
        raise FacedistillError(f"{session.path}: input {entry.name} is not square: {declared}")
    return GraphInput(entry.name, _TYPES[entry.type], shape[0], height, channels_last)


def _only_input(session: Session) -> Any:
    if len(session.inputs) != 1:
        names = ", ".join(entry.name for entry in session.inputs) or "none"
        raise FacedistillError(
            f"{session.path} must have one input, not {len(session.inputs)}: {names}"
        )
    entry = session.inputs[0]
    if entry.type not in _TYPES:
        raise FacedistillError(
            f"{session.path}: input {entry.name} is {entry.type}, which is neither float, half, "
            "double nor uint8"
        )
    return entry
