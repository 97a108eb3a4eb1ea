import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset


def png(value: int) -> bytes:
    return cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))[1].tobytes()


def write(root: Path, files: dict[str, int]) -> Path:
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(value))
    return root


def test_identities_are_sorted_folders(tmp_path: Path) -> None:
    root = write(tmp_path, {"zoe/b.PNG": 1, "ann/2.png": 2, "ann/10.png": 3, "zoe/a.png": 4})
    for other in ("notes.txt", ".hidden.png", "ann/._1.png", "ann/readme.md"):
        (root / other).write_text("no image")
    (root / ".cache").mkdir()
    with pytest.warns(UserWarning, match=r"2 files left out \(1 \.\w+, 1 \.\w+\); images"):
        dataset = FolderDataset(root)
    assert dataset.identity_names == ["ann", "zoe"]
    assert dataset.files == ["ann/10.png", "ann/2.png", "zoe/a.png", "zoe/b.PNG"]
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert [dataset[i].image[0, 0, 0] for i in range(4)] == [3, 2, 4, 1]
    assert dataset.where(0) == str(root / "ann/10.png")
    assert pickle.loads(pickle.dumps(dataset))[2].label == 1


def test_suffixes_of_jpeg_are_read_and_other_formats_counted(tmp_path: Path) -> None:
    names = ["a/1.jfif", "a/2.JPE", "a/3.gif", "a/4.tiff", "a/5.heic", "a/6.heic", "a/Thumbs"]
    with pytest.warns(UserWarning, match=r"5 files left out \(2 \.heic, .*1 file without suffix"):
        dataset = FolderDataset(write(tmp_path, dict.fromkeys(names, 1)))
    assert dataset.files == ["a/1.jfif", "a/2.JPE"]


def test_images_in_folders_below_an_identity_are_its_own(tmp_path: Path) -> None:
    names = ["a/1.png", "a/left/2.png", "a/left/far/3.png", "b/left/4.png", "b/left/note.txt"]
    root = write(tmp_path, dict.fromkeys(names, 1))
    (root / "a" / "again").symlink_to(root / "a", target_is_directory=True)
    below = r"3 images in 3 folders below the identities' \(first a/left\)"
    others = r"2 files left out \(1 .*, 1 .*\)"
    with pytest.warns(UserWarning, match=below), pytest.warns(UserWarning, match=others):
        dataset = FolderDataset(root)
    assert dataset.files == ["a/1.png", "a/left/2.png", "a/left/far/3.png", "b/left/4.png"]
    assert dataset.labels.tolist() == [0, 0, 0, 1]


def test_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    dataset = FolderDataset(write(tmp_path, {"b.png": 1, "a.png": 2}))
    assert dataset.files == ["a.png", "b.png"]
    assert dataset.labels.tolist() == [-1, -1]
    assert dataset.identity_names == []


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ({}, [], "no images there"),
        ({"a/1.png": 1}, ["empty"], "empty: the identity has no images .*remove it"),
        ({"a/1.png": 1, "2.png": 1}, [], r"2\.png: the image lies beside folders.*--skip"),
        ({"train/a/1.png": 1}, [], "did you mean .*train?"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, files, folders, message: str) -> None:
    write(tmp_path, files)
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(FacedistillError, match=message):
        FolderDataset(tmp_path)


def test_all_faults_of_a_folder_are_named_at_once_and_passed_over_where_asked(tmp_path) -> None:
    write(tmp_path, {"a/1.png": 1, "c/2.png": 2, "stray.png": 3, "d/note.txt": 4})
    (tmp_path / "b").mkdir()
    with pytest.raises(FacedistillError, match=r": 1 images beside .*, 2 identities w") as all:
        FolderDataset(tmp_path)
    assert [line.split(":")[0].rpartition("/")[2] for line in all.value.details] == [
        *("stray.png", "b", "d")
    ]
    with (
        pytest.warns(UserWarning, match=r"left out: 1 images beside .*stray\.png"),
        pytest.warns(UserWarning, match=r"left out: 2 identities without images, first: .*/b:"),
        pytest.warns(UserWarning, match=r"1 files left out"),
    ):
        dataset = FolderDataset(tmp_path, skip=True)
    assert (dataset.files, dataset.identity_names) == (["a/1.png", "c/2.png"], ["a", "c"])
    assert dataset.labels.tolist() == [0, 1]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    dataset = FolderDataset(write(tmp_path, {"a/1.png": 1, "a/2.png": 1}))
    (tmp_path / "a/1.png").unlink()
    (tmp_path / "a/2.png").write_bytes(b"")
    with pytest.raises(FacedistillError, match=r"cannot read .*a/1\.png: No such file"):
        dataset[0]
    with pytest.raises(FacedistillError, match=r"a/2\.png: the image has zero bytes"):
        dataset[1]
    with pytest.raises(FacedistillError, match=r"cannot read .*none"):
        FolderDataset(tmp_path / "none")
