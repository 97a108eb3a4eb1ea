import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import parse_procedural
from facedistill.data.labels import Subset
from facedistill.data.pairs.fold_faces import fold_faces, repeated_across_folds
from facedistill.data.pairs.pair_set import PairSet
from tests.data.images_in_memory import ImagesInMemory

FACES = parse_procedural("procedural:identities=20,images=2,size=64,seed=5")


def listed(pairs, same, folds, faces=FACES):
    return PairSet("listed", faces, np.array(pairs), np.array(same), np.array(folds))


def test_genuine_pairs_join_images_transitively():
    pairs = [(0, 1), (1, 2), (0, 3), (4, 5), (6, 7), (8, 9)]
    found = fold_faces(
        listed(pairs, [1, 1, 0, 0, 1, 0], [0, 0, 0, 1, 1, 1], Subset(FACES, range(10)))
    )
    alike = found.faces.labels[:, None] == found.faces.labels[None]
    joined = {(int(i), int(j)) for i, j in np.argwhere(np.triu(alike, 1))}
    assert joined == {(0, 1), (0, 2), (1, 2), (6, 7)}
    assert found.folds.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert found.faces.name == "listed"


def test_images_of_the_same_bytes_are_one():
    faces = Subset(FACES, [0, 1, 0, 2])
    found = fold_faces(listed([(0, 1), (2, 3)], [1, 1], [0, 0], faces))
    assert found.images.tolist() == [0, 1, 3]
    assert len(set(found.faces.labels.tolist())) == 1


def test_folds_that_share_an_image_are_refused():
    with pytest.raises(FacedistillError, match="an image of pair 1 is in folds 0 and 1"):
        fold_faces(listed([(0, 1), (1, 2)], [1, 0], [0, 1]))


def test_a_photo_in_two_folds_is_warned_of_though_stored_anew():
    photo = FACES[0].image
    again = cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)
    faces = ImagesInMemory([(32, 32)] * 4)
    faces.images = [photo, FACES[2].image, again, FACES[4].image]
    assert repeated_across_folds(faces, np.array([0, 0, 1, 1])) == [(0, 2)]
    assert repeated_across_folds(faces, np.array([0, 0, 0, 1])) == []
    with pytest.warns(UserWarning, match="1 pairs of images of different folds are nearly"):
        fold_faces(listed([(0, 1), (2, 3)], [0, 0], [0, 1], faces))
