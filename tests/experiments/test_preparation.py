import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.experiments.preparation import prepare_aligned
from facedistill.runtime.image_file import encode_jpeg, encode_png
from tests.data.views.coloured_spots import spots
from tests.data.views.test_upright import tagged
from tests.experiments.spot_finder import SpotFinder


def test_crops_of_a_folder_keep_their_names_and_two_of_one_name_are_refused(tmp_path):
    names = ["ann/x_1.jpg", "ann/x_2.png", "bob/x_1.jpeg"]
    for index, name in enumerate(names):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(encode_png(spots(3)[index].image))
    photos = FolderDataset(tmp_path / "photos")
    prepare_aligned(SpotFinder(), photos, tmp_path / "out")
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/*/*"))
    assert made == ["ann/x_1.jpg", "ann/x_2.jpg", "bob/x_1.jpg"]
    (tmp_path / "photos" / "ann" / "x_2.jpg").write_bytes(encode_png(spots(1)[0].image))
    with pytest.raises(FacedistillError, match=r"x_2\.jpg and .*x_2\.png would become one crop"):
        prepare_aligned(SpotFinder(), FolderDataset(tmp_path / "photos"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_photographs_are_turned_by_their_exif_orientation(tmp_path):
    lying = np.rot90(spots(1)[0].image)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(tagged(encode_jpeg(lying.copy(), 100), 6))
    summary = prepare_aligned(SpotFinder(), FolderDataset(tmp_path / "photos"), tmp_path / "out")
    assert summary["median misfit, pixels of 112"] < 2
