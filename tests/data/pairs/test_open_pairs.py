import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.pairs.open_pairs import open_pairs
from tests.data.pairs.lfw_folder import GOOD, write_lfw


def test_procedural_pairs_repeat_themselves():
    spec = "procedural:identities=12,images=3,seed=4,size=32"
    pairs, again = open_pairs(spec), open_pairs(spec)
    np.testing.assert_array_equal(pairs.pairs, again.pairs)
    assert len(pairs.same) == 72  # 12 identities with 3 mated pairs each, as many impostors
    assert pairs.image(0).shape == (32, 32, 3)
    assert len(open_pairs(spec, count=20).same) == 20
    assert isinstance(pairs.faces.dataset, ProceduralDataset)


def test_list_beside_or_inside_the_folder(tmp_path, monkeypatch):
    folder = tmp_path / "made"
    folder.mkdir()
    write_lfw(folder, GOOD)
    (folder / "pairs.txt").rename(folder / "inside.txt")
    assert len(open_pairs(f"{folder}:inside.txt").same) == 4
    (folder / "inside.txt").rename(tmp_path / "beside.txt")
    monkeypatch.chdir(tmp_path)
    assert len(open_pairs("made:beside.txt").same) == 4
    with pytest.raises(FacedistillError, match=r"cannot read .*none\.txt"):
        open_pairs("made:none.txt")


@pytest.mark.parametrize("source", ["nowhere", "no:where", "pairs.npy", "C:\\faces"])
def test_sources_that_are_none_are_refused_with_the_choice(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.npy").touch()
    with pytest.raises(FacedistillError, match=r"give a \.bin file, a folder"):
        open_pairs(source)
