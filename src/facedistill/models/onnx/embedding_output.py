"""Which of an ONNX graph's outputs is the embedding, and how many faces the graph takes at once.

What a graph declares of its outputs is often missing, and sometimes wrong: a batch that is declared
dynamic may be written into a Reshape. So two faces are run, and where that fails one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.models.onnx.graph_input import FLOATS, GraphInput
from facedistill.runtime.session import Session

Shapes = Mapping[str, tuple[int, ...]]

_NAMES = ("embedding", "embeddings", "feature", "features", "feat", "emb", "fc1")
"""What networks call their embedding; an earlier name goes before a later one."""

_USUAL_STEP, _LARGEST_USUAL = 32, 4096
"""An embedding's size is a multiple of the one, up to the other; few numbers of classes are."""

_FEW = 8
"""Faces of a fixed batch; more are not run only to see the shapes that the graph declares."""

_SHOWN = 10
"""Outputs that a message names."""


@dataclass(frozen=True)
class EmbeddingOutput:
    """Where a graph gives its embedding.

    Attributes:
        name: Of the output.
        size: D.
        batch: Faces that the graph takes at once; None for any number.
    """

    name: str
    size: int
    batch: int | None

    def rows(self, given: np.ndarray, count: int) -> np.ndarray:
        """Return the output for `count` faces as float32 (count, D)."""
        return np.asarray(given, np.float32).reshape(count, self.size)


def find_embedding(
    session: Session, entry: GraphInput, side: int, wanted: str | None = None
) -> EmbeddingOutput:
    """Find a graph's embedding, with a warning where it is a choice among several.

    Args:
        session: The graph, open.
        entry: What it takes.
        side: Of the faces, in pixels.
        wanted: Name of the output; found by name and shape by default.

    Raises:
        FacedistillError: If the graph does not run on a face, has no such output, or several that
            nothing tells apart.
    """
    names = [output.name for output in session.outputs]
    if wanted is not None and wanted not in names:
        raise FacedistillError(f"{session.path} has no output {wanted!r}; it has {_some(names)}")
    if entry.batch is not None:
        shapes = _shapes(session, entry, entry.batch, side)
        return _chosen(session, shapes, entry.batch, wanted, entry.batch)
    try:
        shapes = _shapes(session, entry, 2, side)
    except FacedistillError:
        shapes = {}
    if _candidates(shapes, 2, wanted):
        return _chosen(session, shapes, 2, wanted, None)
    try:
        shapes = _shapes(session, entry, 1, side)
    except FacedistillError as error:
        if entry.side is not None:
            raise
        raise FacedistillError(
            f"{error}; the graph does not say its size: state the one it was made for (--size, or "
            "teacher.input.size in a recipe)"
        ) from None
    found = _chosen(session, shapes, 1, wanted, 1)
    warnings.warn(
        f"{session.path} takes one face at a time, though it declares any number: it runs slower "
        "than a network exported with a dynamic batch",
        stacklevel=4,
    )
    return found


def _shapes(session: Session, entry: GraphInput, count: int, side: int) -> Shapes:
    """Return the shapes of the outputs of floats for so many faces."""
    floats = [output for output in session.outputs if output.type in FLOATS]
    declared = {output.name: tuple(output.shape or ()) for output in floats}
    known = all(
        shape and all(isinstance(size, int) and size > 0 for size in shape)
        for shape in declared.values()
    )
    if not declared or (count > _FEW and known):
        return declared
    given = session.run(list(declared), entry.black(count, side))
    return {name: np.shape(each) for name, each in zip(declared, given, strict=True)}


def _candidates(shapes: Shapes, count: int, wanted: str | None) -> dict[str, int]:
    """Return the sizes of the outputs that have one vector a face, by name."""
    sizes = {name: _row_size(shape, count) for name, shape in shapes.items()}
    return {
        name: size
        for name, size in sizes.items()
        if size is not None and (name == wanted if wanted else size > 1)
    }


def _row_size(shape: tuple[int, ...], count: int) -> int | None:
    """Return D of (count, D), with axes of 1 anywhere behind, or of (D) for one face."""
    if count == 1 and len(shape) == 1:
        return shape[0] or None
    if len(shape) < 2 or shape[0] != count:
        return None
    size = prod(shape[1:])
    return size if size and size == max(shape[1:]) else None


def _chosen(
    session: Session, shapes: Shapes, count: int, wanted: str | None, batch: int | None
) -> EmbeddingOutput:
    sizes = _candidates(shapes, count, wanted)
    described = _some([f"{name} {shape}" for name, shape in shapes.items()]) or "none of floats"
    if not sizes:
        what = f"output {wanted!r} is not" if wanted else "no output is"
        raise FacedistillError(
            f"{session.path}: {what} an embedding (batch, D); for {count} faces its outputs are "
            f"{described}"
        )
    name = next(iter(sizes)) if len(sizes) == 1 else _likeliest(sizes)
    if name is None:
        raise FacedistillError(
            f"{session.path} has {len(sizes)} outputs that could be the (batch, D) embedding: "
            f"name one with --output, or teacher.output in a recipe: {described}"
        )
    if len(sizes) > 1:
        warnings.warn(
            f"{session.path} has the outputs {described}: taking {name} for the embedding; name "
            "another with --output, or teacher.output in a recipe",
            stacklevel=5,
        )
    return EmbeddingOutput(name, sizes[name], batch)


def _some(names: Sequence[str]) -> str:
    """Return the first few of a graph's outputs, for a message."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _likeliest(sizes: Mapping[str, int]) -> str | None:
    """Return the one output whose name, or else size, is that of an embedding; None if unclear."""
    exact = {name.lower(): name for name in sizes}
    for known in _NAMES:
        if known in exact:
            return exact[known]
    for known in _NAMES:
        named = [name for name in sizes if known in re.split(r"[^a-z0-9]+", name.lower())]
        if len(named) == 1:
            return named[0]
    usual = [n for n, size in sizes.items() if size % _USUAL_STEP == 0 and size <= _LARGEST_USUAL]
    return usual[0] if len(usual) == 1 else None
