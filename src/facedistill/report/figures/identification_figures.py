"""Plots of identification: CMC, and rates among distractors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from facedistill.evaluation.protocols.distractors import DistractorRate
from facedistill.report.figures.plot_style import (
    colours,
    legend_of_many,
    plot_axes,
    whisker,
)


def draw_cmc(curves: Mapping[str, np.ndarray]) -> Figure:
    """Draw the share of mated searches whose mate is among the k best, over k.

    Args:
        curves: (K,) rates for k = 1..K by gallery.
    """
    with plot_axes() as (figure, (axes,)):
        for colour, (name, rates) in zip(colours(), curves.items(), strict=False):
            axes.plot(np.arange(1, len(rates) + 1), 100 * rates, label=name, color=colour)
        axes.set(xscale="log", xlabel="rank", ylabel="identification rate %")
        ranks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= max(map(len, curves.values()))]
        axes.set_xticks(ranks, [str(k) for k in ranks])
        axes.minorticks_off()
        legend_of_many(axes, curves, "lower right")
    return figure


def draw_distractors(rates: Sequence[DistractorRate]) -> Figure:
    """Draw identification rates over the number of distractors, one line a rank."""
    with plot_axes() as (figure, (axes,)):
        ranks = sorted({rate.rank for rate in rates})
        for colour, rank in zip(colours(), ranks, strict=False):
            own = [rate for rate in rates if rate.rank == rank]
            sizes = [rate.distractors for rate in own]
            axes.plot(
                sizes,
                [100 * rate.rate.value for rate in own],
                marker="o",
                markersize=4,
                color=colour,
                label=f"rank {rank}",
            )
            for rate in own:
                value = 100 * rate.rate.value
                whisker(axes, rate.distractors, value, rate.rate.interval, 100, colour)
        axes.set(xscale="log", xlabel="distractors", ylabel="identification rate %")
        sizes = sorted({rate.distractors for rate in rates})
        axes.set_xticks(sizes, [_short(size) for size in sizes])
        axes.minorticks_off()
        axes.legend(loc="best")
    return figure


def _short(count: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size and count % (size // 10) == 0:
            return f"{count / size:g} {unit}"
    return f"{count:,}"
