import numpy as np
import pytest

from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.views.upright import Upright
from facedistill.runtime.image_file import encode_jpeg


def tagged(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG file with an EXIF orientation tag written byte by byte."""
    entry = b"\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation, 0, 0])
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


@pytest.mark.parametrize(("orientation", "stored"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_only_the_orientation_of_a_photograph_changes(tmp_path, orientation, stored):
    upright = ProceduralDataset(1, 1, size=64)[0].image
    lying = np.rot90(upright, stored).copy()
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "a.jpg").write_bytes(tagged(encode_jpeg(lying, 100), orientation))
    photos = FolderDataset(tmp_path)
    turned = Upright(photos)
    assert np.abs(photos[0].image.astype(int) - lying).mean() < 5
    assert np.abs(turned[0].image.astype(int) - upright).mean() < 5
    assert (turned.key(0), turned.where(0), turned.copy_name(0)) == (
        photos.key(0), photos.where(0), "ann/a",
    )  # fmt: skip
    assert turned[0].key == turned.key(0)
    assert turned.labels.tolist() == [0]
