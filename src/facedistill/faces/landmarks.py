"""Landmarks of a face: their units, their mirror images, and larger markups reduced to five.

Between rooms landmarks are fractions of the image's sides: (x + 0.5) / width, (y + 0.5) / height
where (x, y) are pixels and (0, 0) is the middle of the first pixel. Scaling an image leaves them as
they are, whatever its size. Pixels are for drawing and for `runtime.alignment`.
"""

from __future__ import annotations

import numpy as np

from facedistill.core.errors import FacedistillError

FIVE = 5
"""Points in the template's order: left eye, right eye, nose, left and right mouth corner as seen in
the image."""

Shape = tuple[int, ...]
"""Of an image: height and width first."""


def to_fractions(pixels: np.ndarray, shape: Shape) -> np.ndarray:
    """Return landmarks in pixels as fractions of an image's sides.

    Args:
        pixels: (..., P, 2), (x, y).
        shape: The image's, (height, width, ...).

    Returns:
        float32 (..., P, 2).
    """
    return ((np.asarray(pixels, np.float64) + 0.5) / _sides(shape)).astype(np.float32)


def to_pixels(fractions: np.ndarray, shape: Shape) -> np.ndarray:
    """Return landmarks in fractions of an image's sides as its pixels.

    Args:
        fractions: (..., P, 2), (x, y).
        shape: The image's, (height, width, ...).

    Returns:
        float64 (..., P, 2).
    """
    return np.asarray(fractions, np.float64) * _sides(shape) - 0.5


def _sides(shape: Shape) -> np.ndarray:
    return np.array([shape[1], shape[0]], np.float64)


def _swapped(points: int, *pairs: tuple[range, range]) -> tuple[int, ...]:
    order = list(range(points))
    for left, right in pairs:
        for a, b in zip(left, right, strict=True):
            order[a], order[b] = b, a
    return tuple(order)


_MIRRORED_68 = _swapped(
    68,
    (range(8), range(16, 8, -1)),  # jaw
    (range(17, 22), range(26, 21, -1)),  # brows
    (range(31, 33), range(35, 33, -1)),  # nostrils
    (range(36, 40), range(45, 41, -1)),  # upper lids and corners of the eyes
    (range(40, 42), range(47, 45, -1)),  # lower lids
    (range(48, 51), range(54, 51, -1)),  # outer lips, above
    (range(58, 60), range(56, 54, -1)),  # and below
    (range(60, 62), range(64, 62, -1)),  # inner lips, above
    (range(67, 68), range(65, 64, -1)),  # and below
)
_KEPT_OF_68 = (*range(17, 60), *range(61, 64), *range(65, 68))
"""The 49-point markup is that of 68 without jaw and inner mouth corners."""

_MIRRORED = {
    FIVE: (1, 0, 2, 4, 3),
    49: tuple(_KEPT_OF_68.index(_MIRRORED_68[point]) for point in _KEPT_OF_68),
    68: _MIRRORED_68,
    98: _swapped(
        98,
        (range(16), range(32, 16, -1)),  # jaw
        (range(33, 38), range(46, 41, -1)),  # brows, above
        (range(38, 42), range(50, 46, -1)),  # and below
        (range(55, 57), range(59, 57, -1)),  # nostrils
        (range(60, 65), range(72, 67, -1)),  # upper lids and corners of the eyes
        (range(65, 68), range(75, 72, -1)),  # lower lids
        (range(76, 79), range(82, 79, -1)),  # outer lips, above
        (range(86, 88), range(84, 82, -1)),  # and below
        (range(88, 90), range(92, 90, -1)),  # inner lips, above
        (range(95, 96), range(93, 92, -1)),  # and below
        (range(96, 97), range(97, 98)),  # pupils
    ),
}
_REDUCED = {
    FIVE: ((0,), (1,), (2,), (3,), (4,)),
    49: (tuple(range(19, 25)), tuple(range(25, 31)), (13,), (31,), (37,)),
    68: (tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
    98: ((96,), (97,), (54,), (76,), (82,)),
}
_EYES = {FIVE: (0, 1), 49: (19, 28), 68: (36, 45), 98: (60, 72)}
"""The two eyes of the template, and the outer corners of the larger markups."""
MARKUPS = tuple(sorted(_REDUCED))
"""Numbers of points whose meaning is known: 5, 49 and 68 (Multi-PIE, 300-W), 98 (WFLW)."""


def mirror(fractions: np.ndarray) -> np.ndarray:
    """Return the landmarks of the mirrored image: x from the other side, left and right exchanged.

    Args:
        fractions: (..., P, 2), P one of `MARKUPS`.

    Raises:
        FacedistillError: If P is another: which points are each other's mirror image is not known.
    """
    points = fractions.shape[-2]
    mirrored = np.array(fractions[..., _known(points, _MIRRORED), :])
    mirrored[..., 0] = 1 - mirrored[..., 0]
    return mirrored


def reduce_to_five(landmarks: np.ndarray) -> np.ndarray:
    """Return the five points of a markup: an eye is the mean of its contour, or its pupil.

    Args:
        landmarks: (..., P, 2), in any unit, P one of `MARKUPS`.

    Returns:
        (..., 5, 2).

    Raises:
        FacedistillError: If P is another.
    """
    groups = _known(landmarks.shape[-2], _REDUCED)
    return np.stack([landmarks[..., group, :].mean(axis=-2) for group in groups], axis=-2)


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Return how far apart the eyes are: inter-ocular, by which errors are divided.

    It is between the two eyes of five points, and between their outer corners in larger markups, as
    the tables of 300-W and WFLW have it.

    Args:
        landmarks: (..., P, 2), in any unit that is the same for x and y, P one of `MARKUPS`.

    Returns:
        (...).

    Raises:
        FacedistillError: If P is another.
    """
    left, right = _known(landmarks.shape[-2], _EYES)
    return np.linalg.norm(landmarks[..., left, :] - landmarks[..., right, :], axis=-1)


def _known(points: int, table: dict[int, tuple]) -> tuple:
    if points not in table:
        known = ", ".join(map(str, MARKUPS))
        raise FacedistillError(f"what {points} landmarks stand for is not known: {known} are")
    return table[points]
