import pickle

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset, parse_procedural
from facedistill.faces.landmarks import to_pixels
from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.runtime.image_file import decode_image


def test_samples_are_the_faces_drawn() -> None:
    dataset = ProceduralDataset(2, 3, seed=5, size=32, difficulty=0.5, first_identity=10)
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    image, landmarks = procedural_face(5, 11, 1, 32, 0.5)
    sample = dataset[4]
    np.testing.assert_array_equal(sample.image, image)
    np.testing.assert_array_equal(dataset.face(4)[1], landmarks)
    np.testing.assert_allclose(to_pixels(sample.landmarks, image.shape), landmarks, atol=1e-5)
    np.testing.assert_array_equal(decode_image(dataset.encoded(4), "x"), image)
    assert (sample.label, sample.key) == (1, dataset.key(4))
    assert "identity 11 image 1" in dataset.where(4)
    with pytest.raises(IndexError):
        dataset[6]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[4].image, image)


def test_keys_name_the_face_whatever_the_set() -> None:
    base = ProceduralDataset(2, 2, size=16)
    assert len({base.key(i) for i in range(4)}) == 4
    assert ProceduralDataset(9, 2, size=16, first_identity=1).key(0) == base.key(2)
    for changed in ({"seed": 1}, {"size": 17}, {"difficulty": 0.5}, {"first_identity": 1}):
        assert ProceduralDataset(2, 2, **{"size": 16, **changed}).key(0) != base.key(0)
    assert len(base.key(0)) == 16
    loose = [ProceduralDataset(2, 2, size=16, loose=share).key(0) for share in (0.0, 0.5, 1.0)]
    assert len(set(loose)) == 3
    assert loose[0] == base.key(0)


def test_specification_is_read_and_is_the_name() -> None:
    text = "procedural:identities=6, images=2, seed=1, size=64, difficulty=0.5, first_identity=3"
    dataset = parse_procedural(text)
    assert dataset.name == text.replace(" ", "")
    assert parse_procedural(dataset.name).fingerprint == dataset.fingerprint
    assert len(parse_procedural("procedural:identities=6,images=2")) == 12
    loose = parse_procedural("procedural:identities=6,images=2,loose=0.5")
    assert parse_procedural(loose.name).fingerprint == loose.fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("identitys=6,images=2", "unknown option 'identitys'; did you mean 'identities'?"),
        ("identities=6", "images is missing"),
        ("", "unknown option ''; known: "),
        ("identities=6,images=two", "images must be a whole number, not 'two'"),
        ("identities=6,images=2,difficulty=x", "difficulty must be a number"),
        ("identities=6,images=2,difficulty=nan", "difficulty must be 0 to 1.5"),
        ("identities=6,images=2,loose=1.5", "loose must be 0 to 1"),
        ("identities=6,images=2,images=2", "images is given twice"),
        ("identities=0,images=2", "identities must be at least 1"),
        ("identities=6,images=2,seed=-1", "seed must be at least 0"),
        ("identities=6,images=2,size=8", "size must be at least 16"),
        ("identities=6,images=2,size=5000", "size must be at most 1024"),
        ("identities=999999999,images=999999999", "more than"),
    ],
)
def test_wrong_specifications_are_refused(text: str, message: str) -> None:
    with pytest.raises(FacedistillError, match=f"^procedural:.*{message}"):
        parse_procedural(f"procedural:{text}")
