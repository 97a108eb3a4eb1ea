"""Identification: whose face is it, among a gallery of identities?

Closed set: the probe's identity is in the gallery, and the figure is the share of probes whose mate
is among the k best (the CMC curve). Open set: the probe's identity may be absent, and a search must
then come back empty. At a stated false positive identification rate (FPIR, the share of non-mated
probes that find someone) the figure is the true positive identification rate (TPIR), the share of
mated probes that find their mate, at rank 1 and above the threshold.

Galleries are compared in blocks, so a million entries cost as little memory as ten thousand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate, Interval
from facedistill.core.progress import track
from facedistill.data.formats.npy import Rows
from facedistill.evaluation.metrics.roc import far_name
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters

RANKS = (1, 5, 10)
FPIRS = (1e-3, 1e-2, 1e-1)

ThresholdRule = Literal["ijb_evals", "exact"]
"""How the threshold for a FPIR is set: see `open_set`."""

_GALLERY_ROWS = 16_384
_PROBE_ROWS = 1_024


@dataclass(frozen=True)
class Matches:
    """What each probe finds in one gallery.

    Attributes:
        mated: bool (P,), whether the probe's identity is in the gallery.
        mate: float64 (P,), cosine of the identity's best entry; NaN where not mated.
        rival: float64 (P,), highest cosine of another identity; -inf where there is none.
        rank: int64 (P,), one more than the number of other identities' entries that score at
            least as high as the mate: ties count against the mate. 0 where not mated.
        entries: Number of gallery entries.
    """

    mated: np.ndarray
    mate: np.ndarray
    rival: np.ndarray
    rank: np.ndarray
    entries: int


def search_gallery(
    probes: np.ndarray,
    probe_identities: np.ndarray,
    gallery: Rows,
    gallery_identities: np.ndarray,
    *,
    device: torch.device | str = "cpu",
    gallery_rows: int = _GALLERY_ROWS,
) -> Matches:
    """Compare every probe with every gallery entry by cosine, in blocks.

    Arithmetic is float64 where probes or gallery are, else float32. Embeddings need not be
    normalised, and the gallery may be in a file: it is read once. Memory beyond the arguments
    is about that of the probes plus `gallery_rows` x (D + 1,024) numbers. Scores that differ by
    less than the arithmetic's rounding may be ordered either way.

    Args:
        probes: (P, D) floats.
        probe_identities: (P,) integers.
        gallery: (G, D) floats.
        gallery_identities: (G,) integers; an identity may have several entries.
        device: Where the products are computed.
        gallery_rows: Gallery entries compared at a time.

    Raises:
        FacedistillError: If shapes do not fit, or an embedding is not finite or all zero.
    """
    probe_identities, gallery_identities = (
        np.asarray(probe_identities),
        np.asarray(gallery_identities),
    )
    _check_set("probe", probes, probe_identities)
    _check_set("gallery", gallery, gallery_identities)
    if probes.shape[1] != gallery.shape[1]:
        raise FacedistillError(
            f"probes have {probes.shape[1]} dimensions, the gallery {gallery.shape[1]}: "
            "both must come from one network"
        )
    kind = np.result_type(probes.dtype, gallery.dtype, np.float32)
    units = unit_rows(probes, kind)
    searcher, entry = _mate_entries(probe_identities, gallery_identities)
    mate = _mate_scores(units, gallery, searcher, entry)
    asked = torch.from_numpy(units).to(device)
    mates = torch.from_numpy(mate.astype(kind)).to(device)
    rival = torch.full((len(units),), -math.inf, dtype=asked.dtype, device=device)
    better = torch.zeros(len(units), dtype=torch.int64, device=device)
    starts = range(0, len(gallery), gallery_rows)
    for start in track(starts, "searching the gallery", total=len(starts), unit="blocks"):
        block = gallery_block(gallery, start, gallery_rows, kind)
        others = torch.from_numpy(block).to(device)
        own = slice(*np.searchsorted(entry, (start, start + len(block))))
        _compare(asked, others, mates, rival, better, searcher[own], entry[own] - start)
    mated = np.isfinite(mate)
    return Matches(
        mated=mated,
        mate=mate,
        rival=rival.cpu().numpy().astype(np.float64),
        rank=np.where(mated, better.cpu().numpy() + 1, 0),
        entries=len(gallery),
    )


def gallery_block(gallery: Rows, start: int, rows: int, kind: np.dtype) -> np.ndarray:
    """Return entries `start` and following as unit vectors.

    Raises:
        FacedistillError: If one is not finite or all zero.
    """
    try:
        return unit_rows(gallery[start : start + rows], kind)
    except FacedistillError as error:
        raise FacedistillError(f"gallery, counted from entry {start:,}: {error}") from None


def _compare(
    probes: torch.Tensor,
    others: torch.Tensor,
    mates: torch.Tensor,
    rival: torch.Tensor,
    better: torch.Tensor,
    searcher: np.ndarray,
    column: np.ndarray,
) -> None:
    """Update the best rival and the number of better entries by one block of the gallery."""
    order = np.argsort(searcher, kind="stable")
    searcher, column = searcher[order], column[order]
    for start in range(0, len(probes), _PROBE_ROWS):
        rows = slice(start, min(start + _PROBE_ROWS, len(probes)))
        scores = probes[rows] @ others.T
        own = slice(*np.searchsorted(searcher, (rows.start, rows.stop)))
        scores[torch.from_numpy(searcher[own] - start), torch.from_numpy(column[own])] = -math.inf
        best = scores.amax(dim=1)
        torch.maximum(rival[rows], best, out=rival[rows])
        # Most searches of a good network meet no entry better than the mate: count only for others.
        beaten = torch.nonzero(best >= mates[rows]).flatten()
        counts = (scores[beaten] >= mates[rows][beaten, None]).sum(dim=1)
        better[rows.start + beaten] += counts


def _check_set(what: str, embeddings: Rows, identities: np.ndarray) -> None:
    if embeddings.ndim != 2 or not len(embeddings) or not embeddings.shape[1]:
        raise FacedistillError(f"{what} embeddings have shape {embeddings.shape}: give (N, D)")
    if identities.shape != (len(embeddings),) or not np.issubdtype(identities.dtype, np.integer):
        raise FacedistillError(
            f"{what}: identities are {identities.dtype} {identities.shape} for "
            f"{len(embeddings):,} embeddings: give one integer each"
        )


def _mate_entries(
    probe_identities: np.ndarray, gallery_identities: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return (probe, entry) of all entries of the probes' own identities, ascending by entry."""
    order = np.argsort(gallery_identities, kind="stable")
    ordered = gallery_identities[order]
    first = np.searchsorted(ordered, probe_identities, side="left")
    counts = np.searchsorted(ordered, probe_identities, side="right") - first
    probe = np.repeat(np.arange(len(probe_identities)), counts)
    offset = np.arange(len(probe)) - np.repeat(np.cumsum(counts) - counts, counts)
    entry = order[first[probe] + offset]
    by_entry = np.argsort(entry, kind="stable")
    return probe[by_entry], entry[by_entry]


def _mate_scores(
    units: np.ndarray, gallery: Rows, searcher: np.ndarray, entry: np.ndarray
) -> np.ndarray:
    mate = np.full(len(units), -np.inf)
    for start in range(0, len(searcher), _GALLERY_ROWS):
        block = slice(start, start + _GALLERY_ROWS)
        entries, place = np.unique(entry[block], return_inverse=True)
        own = unit_rows(gallery[entries], units.dtype)[place]
        np.maximum.at(mate, searcher[block], np.einsum("pd,pd->p", units[searcher[block]], own))
    return np.where(np.isneginf(mate), np.nan, mate)


@dataclass(frozen=True)
class OpenSetPoint:
    """What a gallery search does at a stated false positive identification rate.

    Attributes:
        target: The rate asked for.
        non_mated: Number of probes whose identity is absent.
        fpir: The actual rate; None if not measurable.
        tpir: Share of mated probes found at rank 1 above the threshold; None if not measurable.
        threshold: A candidate must score above this; None if not measurable.
        reason: Why it is not measurable, else None.
    """

    target: float
    non_mated: int
    fpir: float | None = None
    tpir: Estimate | None = None
    threshold: float | None = None
    reason: str | None = None


def cmc(matches: Matches, ranks: int) -> np.ndarray:
    """Return the share of mated probes whose mate is among the k best, for k = 1..ranks.

    Raises:
        FacedistillError: If no probe is mated.
    """
    found = matches.rank[matches.mated]
    if not len(found):
        raise FacedistillError("no probe's identity is in the gallery: there is no rank to measure")
    return np.cumsum(np.bincount(np.minimum(found, ranks + 1), minlength=ranks + 2)[1:-1]) / len(
        found
    )


def open_set(
    matches: Matches,
    identities: np.ndarray,
    fpirs: Sequence[float] = FPIRS,
    *,
    rule: ThresholdRule = "ijb_evals",
    resamples: int = 1000,
    seed: int = 0,
) -> list[OpenSetPoint]:
    """Return the true positive identification rates at false positive identification rates.

    The threshold is one of the n non-mated probes' highest scores, and only what scores above it
    counts. Rule `ijb_evals` takes the highest but floor(n FPIR) - 1, so that one probe fewer than
    allowed comes through, as published IJB figures do; rule `exact` takes the highest but
    floor(n FPIR), which uses the allowance up. Below 1 / n nothing is measurable.

    Args:
        matches: A search.
        identities: (P,) the probes' identities, which the interval resamples.
        fpirs: The rates asked for.
        rule: How the threshold is set.
        resamples: Bootstrap resamples of the mated probes' identities, at the threshold found; 0
            for no interval.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If no probe is mated, none is non-mated, or the rule is unknown.
    """
    if rule not in get_args(ThresholdRule):
        raise FacedistillError(
            f"unknown rule {rule!r}: take {' or '.join(get_args(ThresholdRule))}"
        )
    non_mated = np.sort(matches.rival[~matches.mated])[::-1]
    if not len(non_mated) or len(non_mated) == len(matches.mated):
        missing = "non-mated" if not len(non_mated) else "mated"
        raise FacedistillError(f"no probe is {missing}: the open set needs both kinds")
    return [
        _open_set_point(matches, identities, non_mated, fpir, rule, resamples, seed)
        for fpir in fpirs
    ]


def _open_set_point(
    matches: Matches,
    identities: np.ndarray,
    non_mated: np.ndarray,
    target: float,
    rule: ThresholdRule,
    resamples: int,
    seed: int,
) -> OpenSetPoint:
    if not 0 < target <= 1:
        raise FacedistillError(f"a FPIR of {target} is not above 0 and at most 1")
    count = len(non_mated)
    if rule == "ijb_evals":
        allowed = int(count * target)  # rounding as there: 0.29 of 100 is 28
    else:
        allowed = int(np.searchsorted(np.arange(1, count + 1) / count, target, side="right"))
    if allowed < 1:
        return OpenSetPoint(
            target,
            count,
            reason=f"not measurable: FPIR {far_name(target)} needs "
            f"{math.ceil(round(1 / target, 6)):,} non-mated probes, there are {count:,}",
        )
    if rule == "ijb_evals":
        threshold = non_mated[allowed - 1]
    else:
        threshold = non_mated[allowed] if allowed < count else np.nextafter(-1.0, -2.0)
    mated = matches.mated
    hits = (matches.mate > matches.rival)[mated] & (matches.mate[mated] > threshold)
    interval: Interval | None = None
    if resamples:
        interval = bootstrap_clusters(hits, identities[mated], resamples=resamples, seed=seed)
    return OpenSetPoint(
        target,
        count,
        fpir=float((non_mated > threshold).mean()),
        tpir=Estimate(float(hits.mean()), interval),
        threshold=float(threshold),
    )
