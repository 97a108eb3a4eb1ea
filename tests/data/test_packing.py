from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.landmark_list import FIVE_NAMES, read_landmark_list
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_verification import verify_records
from facedistill.data.labels import Subset
from facedistill.data.packing import pack
from facedistill.runtime.image_file import encode_jpeg
from tests.runtime.test_image_file import with_orientation


def write_faces(root: Path, side: int = 8, **sides: int) -> FolderDataset:
    rng = np.random.default_rng(0)
    for name in ("ann/1.jpg", "ann/2.png", "bob/1.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        side_here = sides.get(name.replace("/", "_").split(".")[0], side)
        image = rng.integers(0, 256, (side_here, side_here, 3), np.uint8)
        (root / name).write_bytes(cv2.imencode(Path(name).suffix, image)[1].tobytes())
    return FolderDataset(root)


def test_folder_to_record_file_keeps_every_byte(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces")
    summary = pack(source, tmp_path / "packed")
    packed = RecordIODataset(tmp_path / "packed")
    assert [packed.encoded(i) for i in range(3)] == [source.encoded(i) for i in range(3)]
    assert [packed.key(i) for i in range(3)] == [source.key(i) for i in range(3)]
    np.testing.assert_array_equal(packed.labels, source.labels)
    assert summary == {
        "path": str(tmp_path / "packed" / "train.rec"),
        "images": 3,
        "identities": 2,
        "reencoded": 0,
        "turned": 0,
        "size": "8x8",
        "bytes": (tmp_path / "packed" / "train.rec").stat().st_size,
    }
    assert verify_records(tmp_path / "packed") == []


def test_landmarks_that_stay_behind_are_named_in_a_warning(tmp_path: Path) -> None:
    write_faces(tmp_path / "faces")
    names, rows = ["ann/1.jpg", "ann/2.png", "bob/1.jpg"], " 1 2 5 2 3 4 2 6 5 6"
    lines = ["3", " ".join(FIVE_NAMES), *(name + rows for name in names)]
    (tmp_path / "faces" / "list.txt").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match=r"list\.txt: RecordIO holds .* the landmarks stay behind"):
        pack(read_landmark_list(tmp_path / "faces" / "list.txt"), tmp_path / "packed")


def test_records_come_sorted_by_identity(tmp_path: Path) -> None:
    source = Subset(write_faces(tmp_path / "faces"), [2, 0, 1], labels=np.array([1, 0, 1]))
    pack(source, tmp_path / "packed")
    packed = RecordIODataset(tmp_path / "packed")
    assert packed.labels.tolist() == [0, 1, 1]
    assert [packed.key(i) for i in range(3)] == [source.key(i) for i in (1, 0, 2)]


def test_unlabelled_images_pack(tmp_path: Path) -> None:
    write_faces(tmp_path / "faces")
    pack(FolderDataset(tmp_path / "faces" / "ann"), tmp_path / "packed")
    assert RecordIODataset(tmp_path / "packed").labels.tolist() == [-1, -1]


def test_procedural_faces_pack_without_loss(tmp_path: Path) -> None:
    source = ProceduralDataset(2, 1, size=32)
    pack(source, tmp_path / "packed")
    packed = RecordIODataset(tmp_path / "packed")
    np.testing.assert_array_equal(packed[1].image, source[1].image)


def test_differing_sizes_are_refused_or_resized(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces", bob_1=16)
    with pytest.raises(FacedistillError, match=r"bob/1\.jpg: 16 x 16 .* has 8 x 8; give --size"):
        pack(source, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
    summary = pack(source, tmp_path / "packed", size=8)
    packed = RecordIODataset(tmp_path / "packed")
    assert summary["reencoded"] == 1
    assert packed.encoded(1) == source.encoded(1)
    assert {packed[i].image.shape for i in range(3)} == {(8, 8, 3)}


def test_oblong_images_are_not_distorted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "1.png"), np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(FacedistillError, match="6 x 8 pixels cannot become 8 x 8"):
        pack(FolderDataset(tmp_path), tmp_path / "packed", size=8)


def test_reencode(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces")
    sizes = [
        pack(source, tmp_path / str(quality), quality=quality, reencode=True)
        for quality in (30, 95)
    ]
    assert [summary["reencoded"] for summary in sizes] == [3, 3]
    assert sizes[0]["bytes"] < sizes[1]["bytes"]
    assert RecordIODataset(tmp_path / "30").encoded(1).startswith(b"\xff\xd8")
    with pytest.raises(FacedistillError, match="quality 0"):
        pack(source, tmp_path / "0", quality=0)


def test_existing_output_is_kept_unless_overwritten(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces")
    pack(source, tmp_path / "packed")
    with pytest.raises(FacedistillError, match=r"packed is not empty; .*--overwrite"):
        pack(source, tmp_path / "packed")
    pack(Subset(source, [0]), tmp_path / "packed", overwrite=True)
    assert len(RecordIODataset(tmp_path / "packed")) == 1


def test_what_a_killed_packing_left_is_no_output(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / ".train-0123456789abcdef.rec").write_bytes(b"half")
    pack(source, tmp_path / "packed")
    assert len(RecordIODataset(tmp_path / "packed")) == 3
    (tmp_path / "file").touch()
    with pytest.raises(FacedistillError, match="file is not empty"):
        pack(source, tmp_path / "file")


def test_damaged_image_stops_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces")
    file = tmp_path / "faces" / "bob" / "1.jpg"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(FacedistillError, match=r"bob/1\.jpg: the JPEG is cut short"):
        pack(source, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_one_identity_alone_is_warned_of(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="all 2 images are of one identity"):
        pack(ProceduralDataset(1, 2, size=16), tmp_path / "packed")


def test_workers_write_the_same_file(tmp_path: Path) -> None:
    source = ProceduralDataset(2, 20, size=16)
    for workers in (0, 2):
        pack(source, tmp_path / str(workers), reencode=True, workers=workers)
    files = [(tmp_path / folder / "train.rec").read_bytes() for folder in ("0", "2")]
    assert files[0] == files[1]


def test_an_error_in_a_worker_names_the_image(tmp_path: Path) -> None:
    source = write_faces(tmp_path / "faces", bob_1=16)
    with pytest.raises(FacedistillError, match=r"bob/1\.jpg: 16 x 16"):
        pack(source, tmp_path / "packed", workers=1)
    assert not (tmp_path / "packed").exists()


def test_images_with_an_exif_orientation_are_turned(tmp_path: Path) -> None:
    wide = np.zeros((8, 8, 3), np.uint8)
    wide[:, :4] = 255
    (tmp_path / "one").mkdir()
    jpeg = with_orientation(encode_jpeg(wide, 100), 6)
    (tmp_path / "one" / "1.jpg").write_bytes(jpeg)
    summary = pack(FolderDataset(tmp_path / "one"), tmp_path / "packed")
    assert (summary["turned"], summary["reencoded"]) == (1, 1)
    packed = RecordIODataset(tmp_path / "packed")[0].image
    np.testing.assert_allclose(packed.astype(int), wide.transpose(1, 0, 2), atol=20)
