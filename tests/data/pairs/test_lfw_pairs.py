import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.lfw_pairs import read_lfw
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.runtime.image_file import decode_image
from tests.data.pairs.lfw_folder import GOOD, write_lfw
from tests.data.pairs.listed_images import encoded_image


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_lfw_layout(tmp_path, suffix, separator):
    folder = write_lfw(tmp_path, GOOD, suffix, separator)
    pairs = open_pairs(folder)
    np.testing.assert_array_equal(pairs.same, [True, False, True, False])
    np.testing.assert_array_equal(pairs.folds, [0, 0, 1, 1])
    np.testing.assert_array_equal(pairs.pairs, [[0, 1], [0, 2], [3, 2], [4, 5]])
    np.testing.assert_array_equal(pairs.identities, [0, 0, 1, 1, 0, 2])
    np.testing.assert_array_equal(pairs.image(2), decode_image(encoded_image(12, suffix), "here"))
    assert len(pairs) == 6


def test_list_without_folds_is_cut_into_ten_of_both_kinds(tmp_path):
    same = [f"Ann {i} {j}" for i, j in ((1, 2), (1, 3), (2, 3))] + ["Bob_B 1 2"]
    different = [f"Ann {i} Bob_B {j}" for i in (1, 2, 3) for j in (1, 2)]
    folder = write_lfw(tmp_path, ["4", *same, *different[:4]])
    assert open_pairs(folder).folds is None
    (folder / "pairs.txt").write_text("\n".join(["12", *(same * 3), *(different * 2)]))
    pairs = open_pairs(folder)
    for fold in range(10):
        assert set(pairs.same[pairs.folds == fold]) == {True, False}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty"),
        (["ten 300"], "line 1: 'ten"),
        (["1 2 3"], "line 1"),
        (["-1"], "line 1"),
        (["0"], "promises no pairs"),
        (["9" * 30], "line 1"),
        (GOOD[:-1], "promises 4 pairs, there are 3"),
        ([*GOOD, "Ann 1 3"], "promises 4 pairs, there are 5"),
        (["1 1", "Ann 1", "Ann 1 Eve 1"], "line 2"),
        (["1 1", "Ann 1 2", "Ann 1 Eve 1 5"], "line 3"),
        (["1 1", "Ann 1 two", "Ann 1 Eve 1"], "line 2: 'two' is no number"),
        (["1 1", "Ann 1 2", "Ann 1 Eve 7"], "line 3: there is no image .*Eve_0007"),
        (["1 1", "Ann 1 2", "Ann 1 Zoe 1"], "line 3: there is no image .*Zoe"),
        (["1 1", "Ann 1 2", "Ann 1 ../Ann 1"], "line 3: '../Ann' is no identity's folder"),
        (["1 1", "Ann 1 2", "Ann 1 Ann 3"], "one identity in four fields"),
        (["2 1", *GOOD[1:3], "Ann 1 Bob_B 1", "Ann 3 Eve 1"], "fold 2 has 0 pairs of one identity"),
    ],
)
def test_wrong_lists_are_refused_with_their_line(tmp_path, lines, message):
    folder = write_lfw(tmp_path, lines)
    with pytest.raises(FacedistillError, match=message) as caught:
        read_lfw(folder, folder / "pairs.txt")
    assert "pairs.txt" in str(caught.value)


def test_list_that_is_no_text(tmp_path):
    (tmp_path / "pairs.txt").write_bytes(b"10 300\n\xff\xfe")
    with pytest.raises(FacedistillError, match="not UTF-8"):
        open_pairs(tmp_path)
