"""Photographs turned as their EXIF tags ask."""

from __future__ import annotations

from facedistill.data.sample import Sample, content_key
from facedistill.data.views.view import View
from facedistill.runtime.image_file import decode_image


class Upright(View):
    """A view of a data set in which each photograph stands as its camera says.

    Everything else takes images as they are stored, which is right for crops and for coordinates
    that count their pixels. Samples have no landmarks here.
    """

    def __getitem__(self, index: int) -> Sample:
        """Return the sample, turned."""
        encoded = self.encoded(index)
        image = decode_image(encoded, self.where(index), upright=True)
        return Sample(image, self.labels.item(index), content_key(encoded))
