import numpy as np
import pytest

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
