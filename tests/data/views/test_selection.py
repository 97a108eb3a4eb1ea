import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.views.selection import evenly_spaced


@pytest.mark.parametrize(("count", "places"), [(3, [0, 2, 4]), (6, range(6)), (99, range(6))])
def test_images_come_from_all_over_the_set(count, places):
    faces = ProceduralDataset(3, 2, size=24)
    expected = [faces[place].image for place in places]
    np.testing.assert_array_equal(evenly_spaced(faces, count, 24), expected)


def test_images_are_scaled():
    faces = ProceduralDataset(3, 2, size=24)
    assert evenly_spaced(faces, 2, 16).shape == (2, 16, 16, 3)


class Damaged(ProceduralDataset):
    """Every image but those of `whole` does not decode."""

    whole = (1,)

    def __getitem__(self, index):
        if index not in self.whole:
            raise FacedistillError(f"image {index} does not decode")
        return super().__getitem__(index)


def test_damaged_images_are_left_out_where_that_is_asked():
    faces = Damaged(3, 1, size=24)
    shown = evenly_spaced(faces, 3, 24, skip_damaged=True)
    np.testing.assert_array_equal(shown, [faces[1].image])
    with pytest.raises(FacedistillError, match="image 0 does not decode"):
        evenly_spaced(faces, 3, 24)
    faces.whole = ()
    with pytest.raises(FacedistillError, match=r"no image of .* decodes"):
        evenly_spaced(faces, 3, 24, skip_damaged=True)
