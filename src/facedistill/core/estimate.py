"""A figure with its 95 % interval, and the one way in which it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LEVEL = 0.95
"""Every interval covers this share."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        over: What was resampled or repeated: `identities`, `pairs`, `faces`, `seeds` or `turns`.
        units: How many of them there are.
    """

    low: float
    high: float
    over: str
    units: int

    def text(self, digits: int = 4, *, scale: float = 1.0, signed: bool = False) -> str:
        """Return both ends, say `0.9680 to 0.9781`.

        Args:
            digits: Decimals.
            scale: Multiplies both; 100 for percent.
            signed: Whether positive numbers carry a plus, as in differences.
        """
        low, high = (_number(scale * end, digits, signed) for end in (self.low, self.high))
        return f"{low} to {high}"

    def percent(self, digits: int = 2, *, signed: bool = False) -> str:
        """Return both ends of a share in percent, say `96.80 to 97.81`."""
        return self.text(digits, scale=100, signed=signed)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval.

    Attributes:
        value: The figure.
        interval: Its interval, None where it cannot be known (a single seed).
    """

    value: float
    interval: Interval | None = None

    def text(
        self, digits: int = 4, *, scale: float = 1.0, unit: str = "", signed: bool = False
    ) -> str:
        """Return the figure and, where there is one, its interval: `0.9735 (0.9680 to 0.9781)`.

        Args:
            digits: Decimals.
            scale: Multiplies everything; 100 for percent.
            unit: Stands behind the figure, with its space.
            signed: Whether positive numbers carry a plus, as in differences.
        """
        value = _number(scale * self.value, digits, signed) + unit
        if self.interval is None:
            return value
        return f"{value} ({self.interval.text(digits, scale=scale, signed=signed)})"

    def percent(self, digits: int = 2, *, signed: bool = False) -> str:
        """Return a share in percent: `97.35 % (96.80 to 97.81)`."""
        return self.text(digits, scale=100, unit=" %", signed=signed)

    def to_dict(self) -> dict[str, Any]:
        """Return `value` and `interval` (or None) as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Estimate:
        """Return what `to_dict` wrote.

        Args:
            document: `value`, and `interval` or None.
        """
        interval = document.get("interval")
        return cls(float(document["value"]), Interval(**interval) if interval else None)


def _number(value: float, digits: int, signed: bool) -> str:
    return f"{value:{'+' if signed else ''}.{digits}f}"
