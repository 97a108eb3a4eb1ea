import csv

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.identity_split import IdentitySplit
from facedistill.data.open import open_dataset
from facedistill.experiments.photos import photo_preparation
from facedistill.experiments.photos.found_faces import Choice, FaceOptions
from facedistill.experiments.photos.journal import COLUMNS, done_chunks, journal_folder
from facedistill.experiments.photos.photo_preparation import (
    crop_names,
    default_choice,
    open_photos,
    prepare_photos,
)
from tests.data.formats.test_video import write_video
from tests.runtime.spot_detector import SpotDetector, photo

LARGEST = FaceOptions(choice=Choice.LARGEST)


@pytest.fixture
def people(tmp_path):
    """Two photos of ann, one with a bystander; one of bob and one that is damaged; none of eve."""
    root = tmp_path / "photos"
    for name, content in {
        "ann/1.png": photo((10, 20, 100, 200)),
        "ann/2.png": photo((10, 20, 100, 200), (150, 70, 60, 240)),
        "bob/1.png": photo((30, 20, 90, 220)),
        "bob/2.png": photo((30, 20, 90, 220))[:-30],
        "eve/1.png": photo(),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_people_become_crops_and_every_decision_is_in_the_table(people, tmp_path):
    out = tmp_path / "faces"
    with pytest.warns(UserWarning, match="left") as said:
        summary = prepare_photos(
            open_photos(people), out, SpotDetector(), LARGEST, sheet=tmp_path / "sheet.png"
        )
    made = sorted(str(path.relative_to(out)) for path in out.glob("*/*"))
    assert made == ["ann/1.jpg", "ann/2.jpg", "bob/1.jpg"]
    assert (summary["photos"], summary["faces found"], summary["crops"]) == (5, 4, 3)
    assert summary["dropped, not the largest face"] == 1
    assert summary["dropped, cannot be read"] == summary["dropped, no face found"] == 1
    texts = [str(each.message) for each in said]
    assert any("1 photos cannot be read" in text and "bob/2.png" in text for text in texts)
    assert any("1 identities have no face left" in text and "eve/1.png" in text for text in texts)
    rows = table(tmp_path / "faces.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [row["crop"] for row in rows] == ["ann/1.jpg", "", "ann/2.jpg", "bob/1.jpg", "", ""]
    assert rows[1]["dropped"] == "not the largest face"
    assert float(rows[0]["left_eye_x"]) > 10
    assert (tmp_path / "sheet.png").exists()
    assert not journal_folder(out).exists()
    with pytest.raises(FacedistillError, match="--overwrite"):
        prepare_photos(open_photos(people), out, SpotDetector(), LARGEST)


@pytest.mark.filterwarnings("ignore")
def test_records_keep_what_the_crops_are(people, tmp_path):
    summary = prepare_photos(
        open_photos(people), tmp_path / "faces", SpotDetector(), LARGEST, as_records=True, workers=2
    )
    faces = open_dataset(tmp_path / "faces")
    assert faces.labels.tolist() == [0, 0, 1]
    assert summary["identities"] == 2
    assert faces[0].image.shape == (112, 112, 3)


@pytest.mark.filterwarnings("ignore")
def test_a_stopped_preparation_goes_on_where_it_was(people, tmp_path, monkeypatch):
    monkeypatch.setattr(photo_preparation, "CHUNK", 2)
    out, photos = tmp_path / "faces", open_photos(people)

    class Stops(SpotDetector):
        seen = 0

        def detect(self, image, **options):
            Stops.seen += 1
            if Stops.seen == 3:
                raise KeyboardInterrupt
            return super().detect(image, **options)

    with pytest.raises(KeyboardInterrupt):
        prepare_photos(photos, out, Stops(), LARGEST)
    assert done_chunks(out) == 1
    assert not out.exists()
    with pytest.raises(FacedistillError, match=r"unfinished work on other photos or with other"):
        prepare_photos(photos, out, SpotDetector(), FaceOptions())
    summary = prepare_photos(photos, out, Stops(), LARGEST)
    assert Stops.seen == 5  # bob/1 again, and eve; not ann's; one does not decode
    assert summary["crops"] == 3
    whole = tmp_path / "whole"
    prepare_photos(photos, whole, SpotDetector(), LARGEST)
    assert (tmp_path / "whole.csv").read_text() == (tmp_path / "faces.csv").read_text()
    for path in whole.glob("*/*"):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_photos_are_split_by_identity_at_once(tmp_path):
    for number in range(8):
        path = tmp_path / "photos" / f"person{number // 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo((10, 20, 90 + number, 200)))
    split = IdentitySplit.parse("identities=2")
    summary = prepare_photos(
        open_photos(tmp_path / "photos"), tmp_path / "out", SpotDetector(), LARGEST, split=split
    )
    assert (summary["train images"], summary["test images"]) == (4, 4)
    assert (tmp_path / "out.csv").exists()
    assert len(open_dataset(tmp_path / "out" / "test")) == 4


def test_no_face_at_all_is_an_error_with_the_reasons(people, tmp_path):
    strict = FaceOptions(min_size=150)
    with pytest.raises(FacedistillError, match=r"no face is taken of 5 photos.*smaller than 150"):
        prepare_photos(open_photos(people), tmp_path / "out", SpotDetector(), strict)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.csv").exists()


def test_all_faces_of_labelled_photos_are_doubted(people, tmp_path):
    photos = open_photos(people)
    assert default_choice(photos) == Choice.LARGEST
    with pytest.warns(UserWarning, match="all faces of 1 photos with several get the photo's"):
        summary = prepare_photos(photos, tmp_path / "out", SpotDetector(), FaceOptions())
    assert summary["crops"] == 4


def test_a_flat_folder_and_a_video_are_unlabelled(people, tmp_path):
    photos = open_photos(people / "ann")
    assert default_choice(photos) == Choice.ALL
    prepare_photos(photos, tmp_path / "flat", SpotDetector(), FaceOptions())
    names = sorted(path.name for path in (tmp_path / "flat").glob("*.jpg"))
    assert names == ["1-1.jpg", "2-1.jpg", "2-2.jpg"]
    assert (open_dataset(tmp_path / "flat").labels == -1).all()
    video = open_photos(write_video(tmp_path / "clip.avi"), every=4)
    assert crop_names(video) == ["clip-000000", "clip-000004", "clip-000008"]


def test_names_of_crops_differ(tmp_path):
    for name in ("ann/x.jpg", "ann/x.png", "ann/2020/y.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo())
    with pytest.warns(UserWarning, match="below the identities'"):
        names = crop_names(FolderDataset(tmp_path))
    assert sorted(names) == ["ann/2020-y", "ann/x-000000", "ann/x-000001"]
