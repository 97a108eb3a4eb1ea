import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx.onnx_file import write
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.decision_thresholds import write_thresholds
from facedistill.runtime.face_limits import FaceLimits
from facedistill.runtime.gallery.enrolment import enrol_photos
from facedistill.runtime.gallery.fpir_threshold import SearchThreshold, search_threshold
from facedistill.runtime.gallery.gallery import Gallery, settings_of
from facedistill.runtime.gallery.gallery_file import GalleryFile, Template
from facedistill.runtime.gallery.identification import identify_photo
from facedistill.runtime.gallery.photo_clusters import LINKAGE_FPIR, cluster_photos
from facedistill.runtime.gallery.reembedding import reembed
from facedistill.runtime.image_file import encode_png
from facedistill.runtime.photo_faces import PhotoReader
from facedistill.runtime.photo_files import photos_by_identity
from facedistill.runtime.recogniser import Recogniser
from tests.runtime.spot_detector import SpotDetector, photo
from tests.runtime.student_input import SIDE, SPEC, faces

CROPS = PhotoReader(SIDE, None, FaceLimits())
PHOTOS = PhotoReader(SIDE, SpotDetector(), FaceLimits(min_size=20))


@pytest.fixture(scope="module")
def recogniser(student):
    return Recogniser.load(student[1], threads=1)


@pytest.fixture
def people(tmp_path):
    """Aligned crops of three identities, 3, 3 and 2."""
    for number, crop in enumerate(faces(8)):
        place = tmp_path / "people" / f"identity {number // 3}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode_png(crop))
    return tmp_path / "people"


def enrol(recogniser, people, **options):
    said = []
    path = people.parent / "g"
    with Gallery.open_or_make(path, recogniser, **options) as gallery:
        done = enrol_photos(gallery, photos_by_identity([people]), CROPS, said.append)
    return done, said, path


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_each_enrolled_face_is_its_own_best_candidate(recogniser, people, precision):
    done, _, path = enrol(recogniser, people, precision=precision)
    assert (done.identities, done.templates, done.refused) == (3, 8, 0)
    with Gallery.open(path, recogniser) as gallery:
        for number, candidates in enumerate(gallery.identify(recogniser.embed(faces(8)), 3)):
            assert candidates[0].name == f"identity {number // 3}"
            assert candidates[0].cosine == pytest.approx(1, abs=0.003)
            assert sorted(each.name for each in candidates) == [f"identity {i}" for i in range(3)]
            cosines = [each.cosine for each in candidates]
            assert cosines == sorted(cosines, reverse=True)


def test_enrolling_again_enrols_what_is_new(recogniser, people):
    enrol(recogniser, people)
    (people / "identity 2" / "new.png").write_bytes(encode_png(255 - faces(1)[0]))
    done, _, path = enrol(recogniser, people)
    assert (done.identities, done.templates, done.there) == (1, 1, 8)
    with GalleryFile(path) as file:
        assert [each.templates for each in file.identities()] == [3, 3, 3]


def test_one_face_under_two_names_is_doubted(recogniser, people):
    enrol(recogniser, people)
    again = people.parent / "again" / "twin"
    again.mkdir(parents=True)
    (again / "0.png").write_bytes((people / "identity 0" / "0.png").read_bytes())
    _, said, _ = enrol(recogniser, again.parent)
    assert any("resembles identity 0 (cosine 1.00" in line for line in said)


def test_a_face_unlike_the_others_of_its_identity_is_doubted(recogniser, tmp_path, monkeypatch):
    vectors = np.eye(32, dtype=np.float32)[[0, 0, 0, 1]]
    monkeypatch.setattr(Recogniser, "embed", lambda self, crops: vectors)
    monkeypatch.setattr(
        "facedistill.runtime.gallery.gallery.settings_of",
        lambda *_: type(settings_of(recogniser))("f", "small", 32),
    )
    folder = tmp_path / "people" / "anna"
    folder.mkdir(parents=True)
    for number, crop in enumerate(faces(4)):
        (folder / f"{number}.png").write_bytes(encode_png(crop))
    _, said, _ = enrol(recogniser, tmp_path / "people")
    (line,) = said
    assert "3.png, enrolled as anna, resembles none of the other photos" in line


def test_photos_that_are_not_good_enough_are_named_and_not_enrolled(recogniser, tmp_path):
    folder = tmp_path / "people" / "anna"
    folder.mkdir(parents=True)
    (folder / "empty.png").write_bytes(photo())
    (folder / "small.png").write_bytes(photo((5, 5, 12, 200)))
    (folder / "doubtful.png").write_bytes(photo((5, 5, 60, 100)))
    (folder / "damaged.png").write_bytes(photo((5, 5, 60, 250))[:-40])
    (folder / "two.png").write_bytes(photo((5, 5, 60, 250), (150, 20, 40, 200)))
    said = []
    with Gallery.open_or_make(tmp_path / "g", recogniser) as gallery:
        pairs = photos_by_identity([tmp_path / "people"])
        done = enrol_photos(gallery, pairs, PHOTOS, said.append)
    assert (done.templates, done.refused, done.empty) == (1, 4, ())
    for part in (
        "empty.png: no face",
        "small.png: smaller than 20 pixels: 12",
        "doubtful.png: no f",
    ):
        assert any(part in line for line in said), part
    assert any("damaged.png" in line for line in said)
    assert any("two.png has 2 faces: the largest is enrolled" in line for line in said)


def test_faces_of_a_photo_are_identified_or_left_unknown(recogniser, people):
    _, _, path = enrol(recogniser, people)
    with Gallery.open(path, recogniser) as gallery:
        limit = gallery.threshold(0.01)
        assert limit.source.startswith("FPIR 0.01 among 8: FAR 1.3e-03")
        (face,), _ = identify_photo(gallery, people / "identity 1" / "4.png", CROPS, limit)
        assert face.name == "identity 1"
        never = SearchThreshold(1.01, "given")
        (face,), _ = identify_photo(gallery, people / "identity 1" / "4.png", CROPS, never)
        assert face.to_dict()["identity"] is None
        assert "not in the gallery; most similar identity 1" in face.line()
        (face,), _ = identify_photo(gallery, people / "identity 1" / "4.png", CROPS, None)
        assert face.name is None
        assert "most similar identity 1" in face.line()


def test_another_network_is_refused_and_crops_are_embedded_anew(recogniser, people, tmp_path):
    _, _, kept = enrol(recogniser, people, crops=True)
    other = FaceNetwork.create("standin", SPEC, embedding_size=24).eval()
    write(other, tmp_path / "other.onnx", ExportOptions())
    newer = Recogniser.load(tmp_path / "other.onnx", threads=1)
    with pytest.raises(FacedistillError, match=r"another network .* `facedistill gallery reembed"):
        Gallery.open(kept, newer)
    assert reembed(kept, newer) == 8
    with Gallery.open(kept, newer) as gallery:
        found = gallery.identify(newer.embed(faces(8)), 1)
        assert [each[0].name for each in found] == [f"identity {i // 3}" for i in range(8)]
    with pytest.raises(FacedistillError, match="embeddings of another network"):
        Gallery.open(kept, recogniser)


def test_without_kept_crops_nothing_is_embedded_anew(recogniser, people):
    _, _, path = enrol(recogniser, people)
    with pytest.raises(FacedistillError, match="keeps no crops"):
        reembed(path, recogniser)
    with pytest.raises(FacedistillError, match="leave out --keep-crops"):
        enrol(recogniser, people, crops=True)


def test_thresholds_written_later_leave_the_gallery_its_network(student, people, tmp_path):
    path = tmp_path / "student.onnx"
    path.write_bytes(student[1].read_bytes())
    _, _, gallery = enrol(Recogniser.load(path), people)
    write_thresholds(path, {"1e-4": 0.6})
    with Gallery.open(gallery, Recogniser.load(path)) as opened:
        assert opened.threshold(1e-4).cosine > 0.6


def test_clusters_are_folders_of_crops(recogniser, tmp_path):
    album = tmp_path / "album"
    for place, crop in (("a", 0), ("a", 1), ("b", 0)):
        path = album / place / f"{crop}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(faces(2)[crop]))
    paths = sorted(album.rglob("*.png"))
    done = cluster_photos(
        paths, tmp_path / "out", recogniser, CROPS, print, threshold=0.99999
    )  # fmt: skip
    assert done.sizes == [2, 1]
    assert sorted(str(each.relative_to(tmp_path / "out")) for each in tmp_path.glob("out/*/*")) == [
        "001/0-1-2.png", "001/0-1.png", "002/1-1.png",
    ]  # fmt: skip


def test_clusters_of_a_handful_have_the_threshold_of_a_hundred(recogniser, people):
    paths = sorted(people.rglob("*.png"))
    done = cluster_photos(paths, people.parent / "out", recogniser, CROPS, print)
    assert done.threshold == search_threshold(recogniser.thresholds, 100, LINKAGE_FPIR)
    assert sum(done.sizes) == done.faces == 8


def test_a_name_that_does_not_print_enrols_nothing(recogniser, people, tmp_path):
    with Gallery.open_or_make(tmp_path / "g", recogniser) as gallery:
        row = recogniser.embed(faces(1))[0]
        with pytest.raises(FacedistillError, match="cannot name an identity"):
            gallery.add("a\x1bb", [Template(b"x", row)])
        assert len(gallery) == 0
