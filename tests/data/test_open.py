import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.image_list import ListDataset
from facedistill.data.formats.landmark_list import FIVE_NAMES
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.labels import Subset
from facedistill.data.open import dataset_summary, open_dataset
from facedistill.data.packing import pack
from facedistill.faces.landmarks import to_pixels


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for name, value in (("ann/1.png", 1), ("ann/2.png", 2), ("bob/1.png", 1)):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.full((8, 6, 3), value, np.uint8)
        (tmp_path / "faces" / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return tmp_path / "faces"


def test_every_kind_opens(faces: Path, tmp_path: Path) -> None:
    pack(open_dataset(faces), tmp_path / "packed")
    (tmp_path / "list.csv").write_text("path,label\nfaces/ann/1.png,0\n")
    for source, kind in (
        (faces, FolderDataset),
        (str(faces / "ann"), FolderDataset),
        (tmp_path / "packed", RecordIODataset),
        (tmp_path / "packed" / "train.rec", RecordIODataset),
        (tmp_path / "list.csv", ListDataset),
        ("procedural:identities=2,images=2,size=16", ProceduralDataset),
    ):
        assert type(open_dataset(source)) is kind


def test_relabel_reaches_the_readers(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("faces/ann/1.png 4\nfaces/bob/1.png 9\n")
    with pytest.raises(FacedistillError, match="--relabel"):
        open_dataset(tmp_path / "list.txt")
    assert open_dataset(tmp_path / "list.txt", relabel=True).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lfw.bin", "", "verification pairs.*facedistill evaluate MODEL lfw.bin"),
        ("train.idx", "", "give the .rec file"),
        ("model.onnx", "", "a model"),
        ("archive.zip", "", "give a folder of images"),
        ("marks.txt", "2\nx y\na.jpg " + "1.5 " * 10 + "\n", "points' names must be"),
    ],
)
def test_other_files_say_where_they_belong(tmp_path: Path, name, content, message) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(FacedistillError, match=message):
        open_dataset(tmp_path / name)


def test_missing_path_proposes_the_nearest(faces: Path) -> None:
    with pytest.raises(FacedistillError, match=r"faecs: no such .*did you mean 'faces'\?"):
        open_dataset(faces.parent / "faecs")
    with pytest.raises(FacedistillError, match=r"faecs/ann: no such .*did you mean 'faces'\?"):
        open_dataset(faces.parent / "faecs" / "ann")
    with pytest.raises(FacedistillError, match="no such file or folder; check the name"):
        open_dataset(faces / "quite-another")


def test_real_landmark_list_is_recognised(real_data: Path) -> None:
    faces = open_dataset(real_data / "landmarks112" / "list_landmarks_test.txt")
    assert dataset_summary(faces)["kind"] == "images with landmarks"
    assert len(faces) == 1000
    points = to_pixels(faces[0].landmarks, faces[0].image.shape)
    np.testing.assert_allclose(points[[0, 4]], [[47.03, 29.21], [71.85, 62.16]], atol=1e-4)
    assert len(open_dataset(real_data / "landmarks112" / "img")) == 6500


def test_summary(faces: Path) -> None:
    summary = dataset_summary(open_dataset(faces))
    assert summary == {
        "name": str(faces),
        "kind": "image folder",
        "images": 3,
        "identities": 2,
        "images_per_identity": {"min": 1, "median": 1.5, "max": 2},
        "sampled": 3,
        "sizes": {"6x8": 3},
        "mean_bytes": summary["mean_bytes"],
        "duplicates": 1,
        "duplicates_across_identities": 1,
    }
    assert 50 < summary["mean_bytes"] < 200
    json.dumps(summary)


def test_summary_of_unlabelled_and_subset(faces: Path) -> None:
    summary = dataset_summary(Subset(open_dataset(faces / "ann"), [0]))
    assert (summary["kind"], summary["identities"]) == ("Subset", 0)
    assert summary["images_per_identity"] is None


def test_summary_tells_images_that_two_identities_share_from_others(faces: Path) -> None:
    (faces / "ann" / "3.png").write_bytes((faces / "ann" / "2.png").read_bytes())
    summary = dataset_summary(open_dataset(faces))
    assert summary["duplicates"] == 2
    assert summary["duplicates_across_identities"] == 1


def test_summary_of_landmarks_has_their_number(tmp_path: Path) -> None:
    lines = "1\n" + " ".join(FIVE_NAMES) + "\na.png 10 10 20 10 15 15 11 20 19 20\n"
    (tmp_path / "list.txt").write_text(lines)
    image = open_dataset("procedural:identities=1,images=1,size=32").encoded(0)
    (tmp_path / "a.png").write_bytes(image)
    assert dataset_summary(open_dataset(tmp_path / "list.txt"))["landmarks"] == 5
