"""Drawn faces as a data set: identities without any person, for demonstrations and tests."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.sample import KEY_BYTES, Sample
from facedistill.faces.landmarks import to_fractions
from facedistill.faces.synthetic.procedural_face import PROCEDURAL_VERSION, procedural_face
from facedistill.runtime.image_file import encode_png

PREFIX = "procedural:"
MAX_IMAGES = 1 << 26
"""Most images of one set; only their labels are held in memory."""
MAX_DIFFICULTY = 1.5
_FRACTIONS = ("difficulty", "loose")
"""Options of a specification that may be no whole numbers."""
_WHOLE = {"identities": 1, "images": 1, "seed": 0, "size": 16, "first_identity": 0}
"""Whole-number options of a specification and the least value of each."""


class ProceduralDataset(FaceDataset):
    """Faces drawn on demand; the same arguments give the same pixels everywhere.

    Args:
        identities: How many identities.
        images_per_identity: How many images of each.
        seed: Which world of identities.
        size: Side of the square images in pixels.
        difficulty: How much the images of an identity differ, 0 to 1.5.
        first_identity: Number of the first identity, for sets of disjoint identities of one seed.
        loose: How loosely the faces are cut out, 0 (aligned) to 1.

    Raises:
        FacedistillError: If an argument is out of range.
    """

    kind = "procedural faces"

    def __init__(
        self,
        identities: int,
        images_per_identity: int,
        *,
        seed: int = 0,
        size: int = 112,
        difficulty: float = 1.0,
        first_identity: int = 0,
        loose: float = 0.0,
    ) -> None:
        self.identities, self.images_per_identity = identities, images_per_identity
        self.seed, self.size = seed, size
        self.difficulty, self.first_identity = float(difficulty), first_identity
        self.loose = float(loose)
        self.name = (
            f"{PREFIX}identities={identities},images={images_per_identity},seed={seed},"
            f"size={size},difficulty={self.difficulty:g},first_identity={first_identity}"
        )
        if loose:
            self.name += f",loose={self.loose:g}"
        self._check()
        self.labels = np.repeat(np.arange(identities), images_per_identity)

    def _check(self) -> None:
        values = (self.identities, self.images_per_identity, self.seed, self.size)
        limits = zip(_WHOLE.items(), (*values, self.first_identity), strict=True)
        for (key, least), value in limits:
            if value < least:
                raise FacedistillError(f"{self.name}: {key} must be at least {least}")
        if self.size > 1024:
            raise FacedistillError(f"{self.name}: size must be at most 1024")
        if not 0 <= self.difficulty <= MAX_DIFFICULTY:
            raise FacedistillError(f"{self.name}: difficulty must be 0 to {MAX_DIFFICULTY}")
        if not 0 <= self.loose <= 1:
            raise FacedistillError(f"{self.name}: loose must be 0 to 1")
        if self.identities * self.images_per_identity > MAX_IMAGES:
            raise FacedistillError(f"{self.name}: more than {MAX_IMAGES:,} images")

    def _place(self, index: int) -> tuple[int, int]:
        """Return (identity in the world, number of its image) of sample `index`."""
        identity = self.labels.item(index)
        return self.first_identity + identity, index % self.images_per_identity

    def face(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw sample `index`: (uint8 RGB (size, size, 3), landmarks (5, 2) in pixels)."""
        identity, image = self._place(index)
        return procedural_face(
            self.seed, identity, image, self.size, self.difficulty, loose=self.loose
        )

    def encoded(self, index: int) -> bytes:
        """Draw sample `index` and return it as a PNG file."""
        return encode_png(self.face(index)[0])

    def where(self, index: int) -> str:
        """Return which face of which identity it is."""
        identity, image = self._place(index)
        return f"{PREFIX} identity {identity} image {image} (seed {self.seed})"

    def key(self, index: int) -> bytes:
        """Return the key of sample `index`: a hash of what determines the drawing, not of pixels.

        It therefore differs from the key of the same image once packed into a file.
        """
        parts = (PROCEDURAL_VERSION, self.seed, *self._place(index), self.size, self.difficulty)
        text = "procedural " + " ".join(map(repr, parts))
        if self.loose:
            text += f" loose {self.loose!r}"
        return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`, drawn, with its exact landmarks."""
        image, pixels = self.face(index)
        landmarks = to_fractions(pixels, image.shape)
        return Sample(image, self.labels.item(index), self.key(index), landmarks)


def parse_procedural(text: str) -> ProceduralDataset:
    """Read a specification such as `procedural:identities=600,images=20,seed=1,size=64`.

    Args:
        text: `procedural:` and comma-separated `key=value`: identities and images (required),
            seed, size, first_identity, difficulty, loose.

    Returns:
        The data set.

    Raises:
        FacedistillError: If a key is unknown, missing or given twice, or a value is no number.
    """
    options: dict[str, Any] = {}
    for part in text.removeprefix(PREFIX).split(","):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in _WHOLE and key not in _FRACTIONS:
            hint = did_you_mean(key, [*_WHOLE, *_FRACTIONS])
            raise FacedistillError(f"{text}: unknown option {key!r}; {hint}")
        if key in options:
            raise FacedistillError(f"{text}: {key} is given twice")
        try:
            options[key] = int(value) if key in _WHOLE else float(value)
        except ValueError as error:
            kind = "a whole number" if key in _WHOLE else "a number"
            raise FacedistillError(f"{text}: {key} must be {kind}, not {value!r}") from error
    for key in ("identities", "images"):
        if key not in options:
            raise FacedistillError(f"{text}: {key} is missing, e.g. {key}=20")
    return ProceduralDataset(options.pop("identities"), options.pop("images"), **options)


def _is_procedural(source: str) -> bool:
    return source.startswith(PREFIX)


def _open(source: str, options: FormatOptions) -> ProceduralDataset:
    return parse_procedural(source)


register(
    Format(
        "procedural",
        "procedural faces",
        f"`{PREFIX}identities=600,images=20`: faces drawn by a program, of no real person.",
        recognises=_is_procedural,
        open=_open,
        landmarks=lambda source: _is_procedural(source) and parse_procedural(source).loose > 0,
        order=10,
    )
)
