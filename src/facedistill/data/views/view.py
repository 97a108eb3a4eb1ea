"""A data set seen in another way."""

from __future__ import annotations

from facedistill.data.dataset import FaceDataset


class View(FaceDataset):
    """The samples of a data set, in their order: files, labels and places are the original's.

    Args:
        source: The data set.
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

    def marks(self, index: int) -> bytes:
        """Return the original's."""
        return self.source.marks(index)

    def file_name(self, index: int) -> str:
        """Return the original's."""
        return self.source.file_name(index)

    def copy_name(self, index: int) -> str:
        """Return the original's."""
        return self.source.copy_name(index)
