import pytest

from facedistill.core.errors import FacedistillError
from facedistill.recipe.named_pairs import named_pairs, with_all_pairs


def test_a_set_is_called_by_its_name_or_its_file():
    sources = ["own=a/lfw.bin", "b/cfp.bin", "procedural:identities=9,images=2"]
    assert named_pairs(sources) == {
        "own": "a/lfw.bin", "cfp": "b/cfp.bin", "procedural": "procedural:identities=9,images=2",
    }  # fmt: skip
    with pytest.raises(FacedistillError, match="two sets of pairs are called 'lfw'"):
        named_pairs(["a/lfw.bin", "b/lfw.bin"])


def test_all_pairs_of_every_set_stand_first():
    sets = {"lfw": "lfw.bin", "own": {"pairs": "own.bin", "groups": "g.csv", "mask": "one"}}
    every = with_all_pairs(sets)
    assert list(every) == ["lfw, all pairs", "own, all pairs", "lfw", "own"]
    assert every["own, all pairs"] == {"pairs": "own.bin", "mask": "one", "all_pairs": True}
    assert with_all_pairs({"x": {"pairs": "x.bin", "all_pairs": True}}).keys() == {"x"}
    with pytest.raises(FacedistillError, match="--all-pairs goes with pairs"):
        with_all_pairs({})
