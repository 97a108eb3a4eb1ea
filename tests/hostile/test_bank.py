import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.distill.bank.bank import Bank, stack_keys
from tests.distill.conftest import Faces, embed_bank, info_of
from tests.hostile.mutations import MEMORY, attempt, bounded, hostile, mutations, tally

DIMENSION = 96


def embed(images):
    return images.reshape(len(images), -1)[:, :DIMENSION].astype(np.float32) - 127.5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bank of three shards, and what it holds: keys, and of each view embeddings and norms."""
    faces, folder = Faces(range(10)), tmp_path_factory.mktemp("bank")
    bank = embed_bank(embed, faces, folder, info=info_of(faces, dimension=DIMENSION))
    return folder, stack_keys([faces.key(i) for i in range(10)]), held(bank)


def held(bank):
    """Every row of the bank, each alone, or why it is refused."""
    rows = {}
    for row in range(len(bank)):
        for flipped in (False, True):
            ask = np.array([row]), np.array([flipped])
            try:
                rows[row, flipped] = bank.embeddings(*ask).tolist(), bank.norms(*ask).tolist()
            except FacedistillError as error:
                rows[row, flipped] = str(error)
    return rows


@hostile
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_every_row_is_its_images_own_or_refused(whole, tmp_path_factory, data):
    folder, keys, expected = whole
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = path.read_bytes()
    text = path.suffix == ".json"
    # Rows of keys and embeddings, which may be exchanged whole.
    rows = [] if text else [(at, at + 16) for at in range(128 + 16, len(content) - 32, 16)]
    damaged = data.draw(mutations(content, [] if text else [8, 9, 130], rows, text=text))
    copy = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    (copy / path.name).unlink()
    (copy / path.name).write_bytes(damaged.content)
    bank = attempt("bank", copy, lambda: Bank(copy), MEMORY)
    if bank is None:
        return
    assert bank.info.essence == Bank(folder).info.essence
    with bounded("bank", MEMORY):
        found = held(bank)
    refused = 0
    for place, right in expected.items():
        if found[place] != right:
            assert f"{copy}/rows-" in found[place]
            assert "is damaged" in found[place]
            refused += 1
    for row, key in enumerate(keys):
        try:
            place = bank.find(key[None])
        except FacedistillError as error:
            assert key.tobytes().hex() in str(error)  # noqa: PT017
            continue
        assert place == row or (isinstance(found[int(place[0]), False], str))
    tally["bank", "opened, damaged rows refused" if refused else "read right"] += 1
