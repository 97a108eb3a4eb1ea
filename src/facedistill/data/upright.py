"""Photographs turned as their EXIF tags ask."""

from __future__ import annotations

from facedistill.data.decode import decode_image
from facedistill.data.sample import FaceDataset, Sample


class Upright(FaceDataset):
    """A view of a data set in which each photograph stands as its camera says; keys stay.

    Everything else takes images as they are stored, which is right for crops and for coordinates
    that count their pixels. Samples have no landmarks here.
    """

    def __init__(self, source: FaceDataset) -> None:
        self.source = source
        self.name, self.labels = source.name, source.labels

    def encoded(self, index: int) -> bytes:
        """Return the original file's bytes."""
        return self.source.encoded(index)

    def where(self, index: int) -> str:
        """Return the place in the original."""
        return self.source.where(index)

    def copy_name(self, index: int) -> str:
        """Return the original's."""
        return self.source.copy_name(index)

    def key(self, index: int) -> bytes:
        """Return the original's key."""
        return self.source.key(index)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample, turned."""
        image = decode_image(self.encoded(index), self.where(index), upright=True)
        return Sample(image, self.labels.item(index), self.key(index))
