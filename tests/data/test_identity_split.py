import json

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import parse_procedural
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.identity_split import IdentitySplit, write_split
from facedistill.data.labels import Subset
from facedistill.data.sample import content_key
from tests.data.images_in_memory import ImagesInMemory

FACES = parse_procedural("procedural:identities=12,images=2,size=64,seed=5")


def keys_by_label(faces):
    keys = {}
    for index in range(len(faces)):
        keys.setdefault(faces.labels.item(index), set()).add(content_key(faces.encoded(index)))
    return {frozenset(each) for each in keys.values()}


def test_two_sets_share_no_identity_and_lose_no_image(tmp_path):
    report = write_split(FACES, tmp_path / "out", IdentitySplit(3, seed=1))
    train, test = (RecordIODataset(tmp_path / "out" / side) for side in ("train", "test"))
    assert (report["test identities"], report["train identities"]) == (3, 9)
    assert (report["test images"], report["genuine pairs of test"]) == (6, 3)
    assert (report["in both"], report["nearly in both"]) == (0, 0)
    parts = keys_by_label(train), keys_by_label(test)
    assert parts[0] | parts[1] == keys_by_label(FACES)
    assert not parts[0] & parts[1]
    assert json.loads((tmp_path / "out" / "split.json").read_text())["seed"] == 1
    for seed, same in ((1, True), (2, False)):
        write_split(FACES, tmp_path / "again", IdentitySplit(3, seed), overwrite=True)
        again = keys_by_label(RecordIODataset(tmp_path / "again" / "test"))
        assert (again == parts[1]) == same


def test_a_small_set_is_served_with_warnings(tmp_path):
    with pytest.warns(UserWarning, match="12 identities, --split identities is 600: the test .* 2"):
        assert write_split(FACES, tmp_path / "a", IdentitySplit(600))["test identities"] == 2
    with (
        pytest.warns(UserWarning, match="identities is 0.1 or 0 of them: the test set gets 2"),
        pytest.warns(UserWarning, match="all 2 images are of one identity"),
    ):
        write_split(Subset(FACES, range(6)), tmp_path / "b", IdentitySplit(0.1))
    assert RecordIODataset(tmp_path / "b" / "train").labels.tolist() == [0, 0]
    with pytest.warns(UserWarning, match="no identity of the test set has two images"):
        write_split(Subset(FACES, range(0, 24, 2)), tmp_path / "c", IdentitySplit(3))


def test_data_that_cannot_be_split_is_refused(tmp_path):
    unlabelled = Subset(FACES, range(4), np.full(4, -1))
    with pytest.raises(FacedistillError, match=r"has no labels, so nothing says .* folder per"):
        write_split(unlabelled, tmp_path / "out", IdentitySplit(2))
    with pytest.raises(FacedistillError, match="has 2 identities: a test set needs two"):
        write_split(Subset(FACES, range(4)), tmp_path / "out", IdentitySplit(1))
    assert not (tmp_path / "out").exists()


def test_only_a_split_is_overwritten(tmp_path):
    out = tmp_path / "out"
    write_split(FACES, out, IdentitySplit(3))
    with pytest.raises(FacedistillError, match="is not empty"):
        write_split(FACES, out, IdentitySplit(4))
    assert write_split(FACES, out, IdentitySplit(4), overwrite=True)["test identities"] == 4
    (out / "mine.txt").touch()
    with pytest.raises(FacedistillError, match="or holds more than that, so nothing"):
        write_split(FACES, out, IdentitySplit(5), overwrite=True)
    assert len(RecordIODataset(out / "test")) == 8


def test_photos_on_both_sides_are_counted_and_warned_of(tmp_path):
    own, shared, stored_anew = ([FACES[i].image for i in each] for each in (range(6), [6], [8]))
    faces = ImagesInMemory([(32, 32)] * 18)
    jpeg = [
        cv2.imdecode(cv2.imencode(".jpg", stored_anew[0], [cv2.IMWRITE_JPEG_QUALITY, q])[1], 1)
        for q in range(70, 94, 4)
    ]
    faces.images, faces.labels = own + shared * 6 + jpeg, np.arange(18) % 6
    match = "2 images of the test set are in the training set too, and 2 more are nearly the same"
    with pytest.warns(UserWarning, match=match):
        report = write_split(faces, tmp_path / "out", IdentitySplit(2))
    assert (report["in both"], report["nearly in both"]) == (2, 2)


@pytest.mark.parametrize(
    "text", ["600", "people=3", "identities=", "identities=0", "identities=2.5"]
)
def test_a_split_that_says_nothing_is_refused(text):
    with pytest.raises(FacedistillError, match="identities=600, or their share"):
        IdentitySplit.parse(text)
    assert IdentitySplit.parse("identities=7", 2) == IdentitySplit(7, 2)
    assert IdentitySplit.parse("identities=0.1").wanted == 0.1
