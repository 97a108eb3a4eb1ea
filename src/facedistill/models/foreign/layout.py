"""Layouts: how a public trainer names the weights of a network, and what network that is.

A checkpoint says neither its architecture nor its input. The architecture, its depth, widths and
sizes follow from the names and shapes of the weights; of the input, the layout knows what its
trainers feed. A layout is a class in a file of `layouts/`, registered under its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facedistill.core.registry import LAYOUTS as GROUP
from facedistill.core.registry import Registry
from facedistill.models.foreign.stored_tensor import StoredTensor
from facedistill.runtime.input_spec import Color, InputSpec

Shapes = Mapping[str, tuple[int, ...]]
Stored = dict[str, StoredTensor]

MEAN = 127.5
"""What every trainer known here subtracts from pixels 0..255."""


@dataclass(frozen=True)
class CustomaryInput:
    """What the trainers of a network feed it.

    Attributes:
        size: Side of the input the weights were made for, or None if they fit any.
        color: Order of the channels; None where it differs from trainer to trainer.
        std: What pixels are divided by, after `MEAN` is subtracted.
        usual_size: Side to assume where the weights fit any.
    """

    size: int | None
    color: Color | None
    std: float = 127.5
    usual_size: int = 112

    def spec(self) -> InputSpec:
        """Return it as a whole; RGB where the colour is not known."""
        size = self.size or self.usual_size
        return InputSpec(size, self.color or "RGB", (MEAN,) * 3, (self.std,) * 3)


@dataclass(frozen=True)
class Recognised:
    """What the weights' names and shapes tell.

    Attributes:
        architecture: Name in the registry.
        arguments: The architecture's own, without `input_size`.
        input: What its trainers feed it.
    """

    architecture: str
    arguments: dict[str, Any]
    input: CustomaryInput


class Layout(ABC):
    """One way to name weights.

    Attributes:
        trainers: Whose checkpoints have it, and what they are called there.
        feeds: What these trainers feed their networks, for people.
        mark: Name of a weight that every such network has.
    """

    trainers: str
    feeds: str
    mark: str

    @abstractmethod
    def recognise(self, shapes: Shapes, place: str) -> Recognised | None:
        """Return what network has weights of these names and shapes.

        Args:
            shapes: By name, the mark's among them, and perhaps others' weights beside.
            place: Where they are in the checkpoint, `state_dict.model.`; trainers of one layout
                differ there.

        Returns:
            None if no network of this layout has them. A `KeyError`, `IndexError`, `ValueError` or
            `ZeroDivisionError` says the same.

        Raises:
            FacedistillError: If it is such a network, but one that cannot be used.
        """

    def renamed(self, weights: Stored) -> Stored:
        """Return the weights under the architecture's own names, without what it does not keep."""
        return weights


LAYOUTS: Registry[type[Layout]] = Registry("layout", GROUP, "facedistill.models.foreign.layouts")


def register(name: str) -> Any:
    """Return a decorator that makes a layout known.

    Args:
        name: What its family of networks is called.
    """
    return LAYOUTS.register(name)


def count(shapes: Shapes, before: str, after: str) -> int:
    """Count the numbers that stand between `before` and `after` in the weights' names."""
    between = {
        key[len(before) : -len(after)]
        for key in shapes
        if key.startswith(before) and key.endswith(after)
    }
    return sum(text.isdigit() for text in between)


def with_unit_affine(weights: Stored, norm: str) -> Stored:
    """Return weights in which a batch norm without scale and shift has those that change nothing.

    Args:
        weights: By name.
        norm: Name of the batch norm.
    """
    mean = weights.get(f"{norm}.running_mean")
    if f"{norm}.weight" in weights or mean is None:
        return weights
    unit = {
        f"{norm}.weight": StoredTensor.filled(1.0, *mean.shape),
        f"{norm}.bias": StoredTensor.filled(0.0, *mean.shape),
    }
    return {**weights, **unit}
