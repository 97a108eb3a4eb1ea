"""Templates: all faces of an identity in one set of media, pooled into one embedding.

A template's embedding is the sum over its media of the mean embedding over the medium's faces (a
photo has one or more, a video many), made a unit vector once, at the end. What a face contributes
is a choice of three, which moves TAR at FAR 1e-6 by points, so every figure names its `Variant`.
This is the protocol of InsightFace's IJB evaluation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.formats.npy import Rows

_ROWS_AT_ONCE = 32_768
_CELLS_AT_ONCE = 4_000_000  # similarities held at a time, 32 MB
_WORTH_A_MATRIX = 32  # a cell of a matrix product costs this much less than a gathered pair


@dataclass(frozen=True)
class Variant:
    """What a face contributes to its template.

    Attributes:
        norm: Keep the embedding's length, which says how clear the face is; else a unit vector.
        detector: Times the detector's score.
        flip: Plain and mirrored image's embedding added (raw); else the plain one alone.
    """

    norm: bool = True
    detector: bool = True
    flip: bool = True

    @property
    def name(self) -> str:
        """`N1D1F1`, as in InsightFace's eval_ijbc, where N1 keeps the norm.

        The same letters in ijb_evals mean the opposite by N: its N1 makes unit vectors.
        """
        return f"N{self.norm:d}D{self.detector:d}F{self.flip:d}"

    @classmethod
    def parse(cls, name: str) -> Variant:
        """Return the variant called `name`.

        Raises:
            FacedistillError: If it is not written like N1D0F1.
        """
        match = re.fullmatch(r"N([01])D([01])F([01])", name.upper())
        if match is None:
            raise FacedistillError(
                f"no variant {name!r}: write N1D1F1, with 0 for each of norm as quality (N), "
                "detector score (D) and flip (F) that is not wanted"
            )
        return cls(*(digit == "1" for digit in match.groups()))


MOST = Variant()
"""All three: InsightFace's own choice."""

VARIANTS = tuple(Variant(*choice) for choice in itertools.product((True, False), repeat=3))
"""All eight."""


def parse_variants(names: Sequence[str]) -> tuple[Variant, ...]:
    """Return the variants called so; `all` stands for all eight.

    Raises:
        FacedistillError: If a name is not written like N1D0F1.
    """
    if "all" in names:
        return VARIANTS
    return tuple(Variant.parse(name) for name in names)


@dataclass(frozen=True)
class Templates:
    """Pooled embeddings.

    Attributes:
        ids: int64 (T,), ascending.
        embeddings: float64 (T, D), unit vectors.
    """

    ids: np.ndarray
    embeddings: np.ndarray

    def rows(self, ids: np.ndarray, place: str) -> np.ndarray:
        """Return the rows of templates by id.

        Args:
            ids: Integers, any shape.
            place: Where the ids are from, for the message.

        Returns:
            int64, same shape.

        Raises:
            FacedistillError: If a template has no media.
        """
        return template_rows(self.ids, ids, place)


def template_rows(known: np.ndarray, ids: np.ndarray, place: str) -> np.ndarray:
    """Return where templates stand among the known ones.

    Args:
        known: (T,) ids, ascending, each once.
        ids: Ids to look up, any shape.
        place: Where they are from, for the message.

    Raises:
        FacedistillError: If one is not known.
    """
    ids = np.asarray(ids)
    span = int(known[-1]) - int(known[0]) + 1
    if span <= 64 * len(known) + 1_000_000:  # a table: twenty times faster than bisection
        table = np.full(span, -1, np.int64)
        table[known - known[0]] = np.arange(len(known))
        inside = (ids >= known[0]) & (ids <= known[-1])
        rows = table[np.where(inside, ids - known[0], 0)]
        rows[~inside] = -1
    else:
        rows = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        rows[known[rows] != ids] = -1
    if rows.size and rows.min() < 0:
        lost = ids[rows < 0]
        raise FacedistillError(
            f"{place}: template {lost[0]} has no media ({len(np.unique(lost)):,} such templates): "
            "the list of templates and media must name every template"
        )
    return rows


def pool_templates(
    embeddings: Rows,
    templates: np.ndarray,
    media: np.ndarray,
    *,
    variant: Variant = MOST,
    flipped: Rows | None = None,
    detector_scores: np.ndarray | None = None,
) -> Templates:
    """Pool the faces' embeddings into templates.

    Embeddings are read once, in blocks, and may be in a file; the arithmetic is float64.

    Args:
        embeddings: (N, D) floats of the plain images, not normalised.
        templates: (N,) integers, each face's template.
        media: (N,) integers, each face's medium. One medium may serve several templates.
        variant: What a face contributes.
        flipped: (N, D) embeddings of the mirrored images.
        detector_scores: (N,), not negative.

    Raises:
        FacedistillError: If arrays do not fit each other, the variant needs what is not given, an
            embedding is not finite or has no direction, or a template cancels out.
    """
    from scipy import sparse  # only here: the options of an evaluation are read without SciPy

    flipped, weights = _check_faces(embeddings, templates, media, variant, flipped, detector_scores)
    ids, template = np.unique(templates, return_inverse=True)
    weights = weights / _faces_of_medium(template, media)
    pooled = np.zeros((len(ids), embeddings.shape[1]))
    starts = range(0, len(templates), _ROWS_AT_ONCE)
    for start in track(starts, f"pooling {variant.name}", total=len(starts), unit="blocks"):
        block = slice(start, start + _ROWS_AT_ONCE)
        rows = np.asarray(embeddings[block], dtype=np.float64)
        if flipped is not None:
            rows = rows + flipped[block]
        lengths = _lengths(rows, start)
        share = weights[block] if variant.norm else weights[block] / lengths
        touched, place = np.unique(template[block], return_inverse=True)
        spread = sparse.csr_array(
            (share, (place, np.arange(len(rows)))), shape=(len(touched), len(rows))
        )
        pooled[touched] += spread @ rows
    return Templates(ids, _unit(pooled, ids))


def _faces_of_medium(template: np.ndarray, media: np.ndarray) -> np.ndarray:
    """Return, for each face, how many faces its template has of its medium."""
    kinds, medium = np.unique(media, return_inverse=True)
    _, group, faces = np.unique(
        template * len(kinds) + medium, return_inverse=True, return_counts=True
    )
    return faces[group]


def _check_faces(
    embeddings: Rows,
    templates: np.ndarray,
    media: np.ndarray,
    variant: Variant,
    flipped: Rows | None,
    detector_scores: np.ndarray | None,
) -> tuple[Rows | None, np.ndarray]:
    """Return the mirrored embeddings, if the variant wants them, and each face's weight."""
    count = len(templates)
    if embeddings.ndim != 2 or len(embeddings) != count or not count:
        raise FacedistillError(
            f"embeddings have shape {embeddings.shape}, but the protocol lists {count:,} faces: "
            "give one row per face, in the protocol's order"
        )
    if np.shape(media) != np.shape(templates):
        raise FacedistillError(f"{count:,} templates, but {len(media):,} media: give one per face")
    weights = np.ones(count)
    if variant.detector:
        if detector_scores is None:
            raise FacedistillError(
                f"variant {variant.name} needs detector scores, and there are none: take "
                f"{Variant(variant.norm, False, variant.flip).name}"
            )
        weights = np.asarray(detector_scores, dtype=np.float64)
        wrong = ~(np.isfinite(weights) & (weights >= 0)) if weights.shape == (count,) else [True]
        if np.any(wrong):
            raise FacedistillError(
                f"detector score of face {int(np.argmax(wrong))} is missing, negative or no number"
            )
    if not variant.flip:
        return None, weights
    if flipped is None:
        raise FacedistillError(
            f"variant {variant.name} needs the mirrored images' embeddings, and there are none: "
            f"take {Variant(variant.norm, variant.detector, False).name}"
        )
    if flipped.shape != embeddings.shape:
        raise FacedistillError(
            f"mirrored embeddings have shape {flipped.shape}, plain ones {embeddings.shape}"
        )
    return flipped, weights


def _lengths(rows: np.ndarray, start: int) -> np.ndarray:
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(wrong):
        what = "is all zero" if lengths[wrong[0]] == 0 else "is not finite"
        raise FacedistillError(
            f"embedding of face {start + wrong[0]} {what}: check the network's weights and input"
        )
    return lengths


def _unit(pooled: np.ndarray, ids: np.ndarray) -> np.ndarray:
    lengths = np.sqrt(np.einsum("td,td->t", pooled, pooled))
    if not lengths.all():
        raise FacedistillError(
            f"the faces of template {ids[int(np.argmin(lengths))]} cancel out or all have "
            "detector score 0: it has no embedding"
        )
    pooled /= lengths[:, None]
    return pooled


def row_similarities(embeddings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine of many pairs of the same few unit vectors.

    Lists like IJB-C's 15.7 million pairs compare a few thousand templates with some thousands of
    others, so blocks of the full matrix are multiplied and the pairs asked for are read off;
    sparse lists are gathered pair by pair. Both are float64 and differ in the last bit.

    Args:
        embeddings: float64 (T, D), unit vectors.
        pairs: (P, 2) integers, rows of `embeddings`.

    Returns:
        float64 (P,) in [-1, 1].
    """
    left, right = pairs[:, 0], pairs[:, 1]
    lefts, rights = _used(left, len(embeddings)), _used(right, len(embeddings))
    if len(lefts) * len(rights) > _WORTH_A_MATRIX * len(pairs):
        return _gathered(embeddings, left, right)
    columns = np.zeros(len(embeddings), np.int64)
    columns[rights] = np.arange(len(rights))
    others = np.ascontiguousarray(embeddings[rights].T)
    order = np.argsort(left)
    bounds = np.searchsorted(left, np.append(lefts, len(embeddings)), sorter=order)
    scores = np.empty(len(pairs))
    step = max(1, _CELLS_AT_ONCE // len(rights))
    starts = range(0, len(lefts), step)
    for start in track(starts, "comparing templates", total=len(starts), unit="blocks"):
        rows = lefts[start : start + step]
        asked = order[bounds[start] : bounds[start + len(rows)]]
        matrix = embeddings[rows] @ others
        scores[asked] = matrix[np.searchsorted(rows, left[asked]), columns[right[asked]]]
    return np.clip(scores, -1.0, 1.0, out=scores)


def _used(rows: np.ndarray, count: int) -> np.ndarray:
    return np.flatnonzero(np.bincount(rows, minlength=count))


def _gathered(embeddings: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    scores = np.empty(len(left))
    for start in range(0, len(left), _ROWS_AT_ONCE):
        block = slice(start, start + _ROWS_AT_ONCE)
        scores[block] = np.einsum("pd,pd->p", embeddings[left[block]], embeddings[right[block]])
    return np.clip(scores, -1.0, 1.0, out=scores)
