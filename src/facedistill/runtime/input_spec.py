"""What a network wants to be fed, and what a user states of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from facedistill.core.errors import FacedistillError

Color = Literal["RGB", "BGR"]

_LARGEST_SIZE = 4096


@dataclass(frozen=True)
class InputSpec:
    """A network's input: side, colour order and normalisation.

    Attributes:
        size: Side of the square input in pixels.
        color: Order of the three channels the network was trained with.
        mean: Subtracted from pixels 0..255, in the network's own colour order.
        std: Divides the difference, in the network's own colour order.

    Raises:
        FacedistillError: If a value is out of range or of the wrong kind.
    """

    size: int = 112
    color: Color = "RGB"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    def __post_init__(self) -> None:
        whole = isinstance(self.size, int) and not isinstance(self.size, bool)
        if not whole or not 1 <= self.size <= _LARGEST_SIZE:
            raise FacedistillError(
                f"input size must be whole pixels in 1..{_LARGEST_SIZE}, not {self.size!r}"
            )
        if self.color not in ("RGB", "BGR"):
            raise FacedistillError(f"input color must be RGB or BGR, not {self.color!r}")
        object.__setattr__(self, "mean", _three_numbers("mean", self.mean))
        object.__setattr__(self, "std", _three_numbers("std", self.std))
        if min(self.std) <= 0:
            raise FacedistillError(f"input std must be positive, not {self.std}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; `from_dict` reads them back."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> InputSpec:
        """Build a spec from `to_dict`'s mapping; absent keys take their defaults.

        Raises:
            FacedistillError: If a key is unknown or a value is refused.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise FacedistillError(
                f"input specification has no key {unknown[0]!r}; its keys are {', '.join(known)}"
            )
        return cls(**values)


@dataclass(frozen=True)
class StatedInput:
    """What a user states of a foreign network's input; the rest is the network's.

    Attributes:
        size: Side of the square input in pixels.
        color: Order of the three channels the network was trained with.
        mean: Subtracted from pixels 0..255, in the network's own colour order.
        std: Divides the difference, in the network's own colour order.

    Raises:
        FacedistillError: If a value is out of range or of the wrong kind.
    """

    size: int | None = None
    color: Color | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        whole = self.over(InputSpec())
        for key in self.given():
            object.__setattr__(self, key, getattr(whole, key))

    @classmethod
    def of(cls, stated: InputSpec | StatedInput | None) -> StatedInput:
        """Return what is stated: all of a whole specification, nothing of None."""
        if isinstance(stated, InputSpec):
            return cls(stated.size, stated.color, stated.mean, stated.std)
        return stated or cls()

    def given(self) -> dict[str, Any]:
        """Return the values that are stated, by key."""
        stated = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in stated.items() if value is not None}

    def over(self, spec: InputSpec) -> InputSpec:
        """Return a specification with what is stated in the place of its own values."""
        return replace(spec, **self.given())


def _three_numbers(name: str, values: Any) -> tuple[float, float, float]:
    try:
        first, second, third = (float(value) for value in values)
    except (TypeError, ValueError):
        raise FacedistillError(f"input {name} must be three numbers, not {values!r}") from None
    if not all(map(math.isfinite, (first, second, third))):
        raise FacedistillError(f"input {name} must be finite, not {values!r}")
    return first, second, third
