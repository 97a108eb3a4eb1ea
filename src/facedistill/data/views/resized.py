"""Crops scaled to one side on reading."""

from __future__ import annotations

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.sample import Sample
from facedistill.data.views.view import View
from facedistill.runtime.alignment import scale_square


class Resized(View):
    """A view of a data set whose square crops are scaled to one side on reading; keys stay."""

    def __init__(self, source: FaceDataset, size: int) -> None:
        super().__init__(source)
        self.size = size

    def key(self, index: int) -> bytes:
        """Return the original's key."""
        return self.source.key(index)

    def __getitem__(self, index: int) -> Sample:
        """Return the sample, its image shrunk by area averaging or enlarged bilinearly.

        Raises:
            FacedistillError: If the crop is not square: scaling would distort the face.
        """
        return self.scaled(index, self.source[index])

    def scaled(self, index: int, sample: Sample) -> Sample:
        """Return what is sample `index` of the original as it is in this view.

        Raises:
            FacedistillError: See `__getitem__`.
        """
        height, width = sample.image.shape[:2]
        if height != width:
            raise FacedistillError(
                f"{self.where(index)} is {width} x {height}, and only square crops are scaled "
                f"(here to {self.size}): align the faces first"
            )
        if height == self.size:
            return sample
        return sample._replace(image=scale_square(sample.image, self.size))

    def if_decodable(self, index: int) -> Sample | None:
        """Return the sample as `__getitem__` does, or None where the original does not decode.

        Raises:
            FacedistillError: If the crop is not square.
        """
        try:
            sample = self.source[index]
        except FacedistillError:
            return None
        return self.scaled(index, sample)
