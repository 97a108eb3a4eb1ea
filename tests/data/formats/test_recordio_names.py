import pytest

from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_names import names_file, write_names
from facedistill.data.labels import Subset
from facedistill.data.open import open_dataset
from facedistill.data.packing import pack
from facedistill.data.pairs.pair_set import PairSet
from facedistill.runtime.image_file import encode_png
from tests.data.images_in_memory import images_in_memory

NAMES = ["ann/b.png", "ann/ü.png", "bob/1.png", "bob/2.png"]


@pytest.fixture
def photos(tmp_path):
    images = images_in_memory(len(NAMES)).images
    for name, image in zip(NAMES, images, strict=False):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(encode_png(image))
    return FolderDataset(tmp_path / "photos")


def test_packed_photos_keep_their_names(photos, tmp_path):
    pack(photos, tmp_path / "packed")
    packed = open_dataset(tmp_path / "packed")
    assert [packed.file_name(index) for index in range(4)] == NAMES
    assert packed.where(2).endswith(", bob/1.png)")
    assert Subset(packed, [3]).file_name(0) == "bob/2.png"
    assert set(PairSet.from_dataset(packed, 2, seed=0).image_names) <= set(NAMES)
    pack(packed, tmp_path / "again")
    assert (tmp_path / "again" / "train.names").read_text("utf-8").splitlines() == NAMES
    pack(images_in_memory(4), tmp_path / "again", overwrite=True)
    assert not (tmp_path / "again" / "train.names").exists()


def test_a_list_keeps_the_paths_that_it_has(photos, tmp_path):
    rows = ["photos/ann/b.png\t0", "photos/bob/1.png\t1"]
    (tmp_path / "list.txt").write_text("\n".join(rows))
    listed = open_dataset(tmp_path / "list.txt")
    assert [listed.file_name(index) for index in (0, 1)] == ["photos/ann/b.png", "photos/bob/1.png"]


def test_names_that_do_not_fit_are_said_once_and_left_out(photos, tmp_path):
    pack(photos, tmp_path / "packed")
    write_names(tmp_path / "packed" / "train.rec", ["a", "b\nc"])
    assert names_file(tmp_path / "packed" / "train.rec").read_text() == "a\nb c\n"
    packed = RecordIODataset(tmp_path / "packed")
    with pytest.warns(UserWarning, match=r"train\.names has 2 lines for 4 images"):
        assert packed.file_name(0) == ""
    assert packed.where(0).endswith(")")
    assert "," not in packed.where(0)
