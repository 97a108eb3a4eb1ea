"""The threshold of a search among N, from thresholds of pairs.

A probe of nobody in the gallery finds somebody when one of N comparisons with strangers passes. If
they are independent, the false positive identification rate is FPIR = 1 - (1 - FAR)^N, with FAR
the false accept rate of one comparison; as they are not quite, the true rate is somewhat lower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from facedistill.core.errors import FacedistillError

FPIR = 0.01
"""Rate that is taken where none is asked for."""


@dataclass(frozen=True)
class SearchThreshold:
    """What a candidate must reach.

    Attributes:
        cosine: Least cosine similarity.
        source: Where it comes from, in words.
        beyond: Whether it lies beyond all that was measured: a straight line was drawn on.
    """

    cosine: float
    source: str
    beyond: bool = False

    @classmethod
    def given(cls, cosine: float) -> SearchThreshold:
        """Return the threshold that a user gives.

        Raises:
            FacedistillError: If it is not a cosine.
        """
        if not -1 <= cosine <= 1:
            raise FacedistillError(f"threshold {cosine:g} is not a cosine: take -1 to 1")
        return cls(cosine, "given")


def pair_rate(fpir: float, entries: int) -> float:
    """Return the FAR of one comparison at which a search among N has that FPIR.

    Args:
        fpir: False positive identification rate, between 0 and 1.
        entries: N, at least 1.

    Raises:
        FacedistillError: If the rate is none.
    """
    if not 0 < fpir < 1:
        raise FacedistillError(f"a FPIR of {fpir:g} is not between 0 and 1")
    return -math.expm1(math.log1p(-fpir) / max(1, entries))


def search_threshold(
    thresholds: Mapping[str, float], entries: int, fpir: float = FPIR
) -> SearchThreshold | None:
    """Return the threshold of a search, drawn between those of the rates that were measured.

    Between two measured rates it lies on a straight line over log FAR. Beyond the strictest the
    line through the two strictest is drawn on. The tail of impostor scores falls faster than that,
    so the line lies high; but thresholds measured on few pairs, from which it starts, err as well.

    Args:
        thresholds: Least cosine that accepts a pair, by FAR, as files carry them.
        entries: How many the gallery has.
        fpir: False positive identification rate.

    Returns:
        The threshold; None where fewer than two are known.

    Raises:
        FacedistillError: If the rate is none.
    """
    far = pair_rate(fpir, entries)
    # A stricter rate cannot have a lower threshold: what measuring left of that is levelled.
    known = sorted(((float(rate), cosine) for rate, cosine in thresholds.items()), reverse=True)
    points: list[tuple[float, float]] = []
    for rate, cosine in known:
        if rate > 0:
            lowest = points[-1][1] if points else -1.0
            points.append((math.log(rate), max(cosine, lowest)))
    if len(points) < 2:
        return None
    goal = math.log(far)
    places = range(len(points) - 1)
    place = next((each for each in places if points[each + 1][0] <= goal), len(points) - 2)
    (x, y), (x2, y2) = points[place : place + 2]
    cosine = y + (y2 - y) * (goal - x) / (x2 - x)
    if goal > points[0][0]:
        cosine = points[0][1]  # Nothing looser was measured.
    text = f"FPIR {fpir:g} among {entries:,}: FAR {far:.1e}"
    return SearchThreshold(min(cosine, 1.0), text, beyond=goal < points[-1][0])
