import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.data.pairs.lfw_pairs import read_lfw
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally

IDENTITIES = ["Ann_Lee", "Bob", "Eve_Röhl"]
LISTS = {
    "folds": "2\t1\nAnn_Lee\t1\t2\nBob\t1\tEve_Röhl\t2\nBob\t1\t2\nAnn_Lee\t2\tBob\t2\n",
    "one fold": "2\nAnn_Lee 1 2\nBob 2 1\nBob 1 Eve_Röhl 2\nEve_Röhl 1 Ann_Lee 2\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    for number, name in enumerate(IDENTITIES):
        (folder / name).mkdir()
        for image in (1, 2):
            pixels = np.full((4, 4, 3), 10 * number + image, np.uint8)
            file = folder / name / f"{name}_{image:04d}.png"
            file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return folder


@hostile
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:.*repeat an earlier one")
def test_every_pair_is_the_one_its_line_names_or_the_list_is_refused(folder, data):
    whole = LISTS[data.draw(st.sampled_from(sorted(LISTS)))].encode()
    stops = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    lines = list(zip([0, *stops], stops, strict=False))
    damaged = data.draw(mutations(whole, records=lines, text=True))
    path = folder / "pairs.txt"
    path.write_bytes(damaged.content)
    opened = attempt("pairs.txt", folder, lambda: read_lfw(folder, path), MEMORY)
    if opened is None:
        return
    text = damaged.content.decode("utf-8-sig").replace("\r", "\n")
    expected_pairs = [line.split() for line in text.split("\n") if line.strip()][1:]
    assert len(opened.pairs) == len(expected_pairs)
    for (left, right), same, fields in zip(opened.pairs, opened.same, expected_pairs, strict=True):
        name, first, *other, second = fields
        assert same == (not other)
        for index, identity, number in ((left, name, first), (right, *(other or [name]), second)):
            expected = 10 * IDENTITIES.index(identity) + int(number)
            assert opened.image(int(index))[0, 0, 0] == expected
    tally["pairs.txt", "read right"] += 1
