from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset_format import FORMATS, Format, recognised
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.open import dataset_summary, open_dataset


def test_formats_are_tried_in_their_order(tmp_path: Path) -> None:
    assert recognised("procedural:identities=2,images=2").name == "procedural"
    assert recognised(str(tmp_path)).name == "image_folder"
    (tmp_path / "a.pts").touch()
    assert recognised(str(tmp_path)).name == "pts_folder"
    (tmp_path / "train.rec").touch()
    assert recognised(str(tmp_path)).name == "recordio"
    (tmp_path / "faces.csv").write_text("path,label\n")
    assert recognised(str(tmp_path / "faces.csv")).name == "image_list"
    assert recognised(str(tmp_path / "none.csv")) is None


def test_each_says_what_it_is_and_what_its_data_sets_are_called() -> None:
    assert all(text.endswith(".") for text in FORMATS.descriptions().values())
    titles = {entry.title for _, entry in FORMATS.items()}
    assert dataset_summary(open_dataset("procedural:identities=2,images=2"))["kind"] in titles


def test_another_format_comes_before_the_folder(monkeypatch, tmp_path: Path) -> None:
    class Cameras(FolderDataset):
        kind = "camera's folder"

    (tmp_path / "camera.ini").touch()
    entry = Format(
        "camera",
        "camera's folder",
        "A camera's folder.",
        recognises=lambda source: (Path(source) / "camera.ini").is_file(),
        open=lambda source, options: Cameras(source),
    )
    FORMATS.names()
    monkeypatch.setitem(FORMATS._entries, "camera", entry)
    assert recognised(str(tmp_path)) is entry
    with pytest.raises(FacedistillError, match="no images there"):
        open_dataset(tmp_path)
