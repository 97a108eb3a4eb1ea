import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_list import read_pair_list
from tests.data.pairs.lfw_folder import GOOD, write_lfw

PATHS = [f"{name}/{name}_000{number}.jpg" for name, number in (("Ann", 1), ("Ann", 2), ("Eve", 1))]


@pytest.mark.parametrize(
    "lines",
    [
        [f"{PATHS[0]} {PATHS[1]} 1", f"{PATHS[0]} {PATHS[2]} 0"],
        [f"{PATHS[0]}\t{PATHS[1]}\tTrue", f"{PATHS[0]}\t{PATHS[2]}\tFalse"],
        [f"{PATHS[0]};{PATHS[1]};1", f"{PATHS[0]}; {PATHS[2]}; 0"],
        ["left,right,same", f"{PATHS[0]},{PATHS[1]},1.0", f"{PATHS[0]}, {PATHS[2]}, 0"],
        [f"1 {PATHS[0]} {PATHS[1]}", f"0 {PATHS[0]} {PATHS[2]}".replace("/", "\\")],
        ["Ann 1 2", "Ann 1 Eve 1"],
        ["name,imagenum1,imagenum2,", "Ann,1,2,", "Ann,1,Eve,1"],
        ["1 1", "Ann 1 2", "Ann 1 Eve 1"],
    ],
)
def test_every_layout_gives_the_same_pairs(tmp_path, lines):
    folder = write_lfw(tmp_path, GOOD)
    (folder / "own.csv").write_text("\n".join(lines))
    pairs = open_pairs(folder / "own.csv")
    assert pairs.pairs.tolist() == [[0, 1], [0, 2]]
    assert pairs.same.tolist() == [True, False]
    assert pairs.image_names == PATHS


def test_a_folder_with_a_table_of_pairs(tmp_path):
    folder = write_lfw(tmp_path, GOOD)
    (folder / "pairs.txt").rename(folder / "pairs.csv")
    assert len(open_pairs(folder).same) == 4
    (folder / "pairs.csv").unlink()
    with pytest.raises(FacedistillError, match=r"no pairs\.txt or pairs\.csv there; .*--all-pairs"):
        open_pairs(folder)


def test_repeated_pairs_keep_images_of_their_own(tmp_path):
    lines = ["Ann 1 2", "Ann 1 Eve 1", "", "Ann 2 1", "Ann 3 3"]
    folder = write_lfw(tmp_path, lines)
    with pytest.warns(UserWarning, match=r"pairs\.txt: 2 of 4 pairs repeat .*first line 4\)"):
        pairs = read_pair_list(folder, folder / "pairs.txt")
    assert pairs.pairs.tolist() == [[0, 1], [0, 2], [3, 4], [5, 6]]
    np.testing.assert_array_equal(pairs.image(4), pairs.image(0))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Ann 1 2", "Ann 1 Bob_B"], "line 2: 'Bob_B' is no number"),
        ([f"{PATHS[0]} {PATHS[1]} 1", f"{PATHS[0]} {PATHS[1]}"], "line 2: .* is no pair"),
        ([f"{PATHS[0]} {PATHS[1]} 2"], "line 1: .* is no pair"),
        (["ten 300", *GOOD[1:]], "line 1: 'ten 300' is neither"),
        ([f"{PATHS[0]} none.jpg 1"], "line 1: no such file: .*none.jpg"),
        (["left right same"], "no pairs there"),
    ],
)
def test_other_lines_are_refused(tmp_path, lines, message):
    folder = write_lfw(tmp_path, lines, separator=" ")
    with pytest.raises(FacedistillError, match=message):
        read_pair_list(folder, folder / "pairs.txt")
