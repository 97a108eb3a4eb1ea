import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.open import open_dataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.photographs import find_faces
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from tests.runtime.spot_detector import SpotDetector, photo


@pytest.fixture
def photos(tmp_path):
    for number in range(4):
        path = tmp_path / f"person{number // 2}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(photo((10 * number, 20, 90, 180 + 10 * number)))
    return FolderDataset(tmp_path)


def test_pairs_and_all_pairs_read_aligned_faces(photos):
    pairs = PairProtocol(PairSet("pairs", photos, [[0, 1], [0, 2]], [True, False]))
    find_faces(pairs, SpotDetector())
    assert pairs.pairset.image(1).shape == (112, 112, 3)
    everyone = AllPairsProtocol(photos)
    found = find_faces(everyone, SpotDetector())
    assert everyone.faces[3].image.shape == (112, 112, 3)
    assert found.said() == []


def test_other_protocols_say_that_they_take_no_photos():
    faces = open_dataset("procedural:identities=2,images=2,size=32,loose=1")
    with pytest.raises(FacedistillError, match="--detect; leave that out"):
        find_faces(LandmarkProtocol(faces), SpotDetector())
