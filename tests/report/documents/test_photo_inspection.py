import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.report.documents.photo_inspection import describe_photos
from tests.runtime.spot_detector import SpotDetector, photo

PHOTOS = {
    "1": photo((10, 20, 100, 200)),
    "2": photo((150, 60, 90, 220), (10, 20, 60, 250)),
    "3": photo(),
    "4": photo((10, 20, 100, 200))[:-30],
}


def test_a_sample_of_photos_is_described_by_its_faces(tmp_path):
    photos, sheet = tmp_path / "photos", tmp_path / "sheet.png"
    photos.mkdir()
    for name, content in PHOTOS.items():
        (photos / f"{name}.png").write_bytes(content)
    described = describe_photos(FolderDataset(photos), SpotDetector(), sheet)
    counts = ("with one face", "with several", "without a face", "that do not decode")
    assert [described[key] for key in counts] == [1, 1, 1, 1]
    assert described["largest face, median pixels"] == 95
    assert sheet.exists()


def test_without_a_face_there_is_no_sheet(tmp_path):
    (tmp_path / "3.png").write_bytes(PHOTOS["3"])
    with pytest.raises(FacedistillError, match="no face is found, so there is no sheet"):
        describe_photos(FolderDataset(tmp_path), SpotDetector(), tmp_path / "sheet.png")
    assert "its score, median" not in describe_photos(FolderDataset(tmp_path), SpotDetector())
