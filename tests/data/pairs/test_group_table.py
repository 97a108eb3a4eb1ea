import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.group_table import pair_groups, read_groups
from facedistill.data.pairs.open_pairs import open_pairs

FACES = "procedural:identities=6,images=4,size=32"


def table(tmp_path, text):
    path = tmp_path / "groups.csv"
    path.write_text(text, encoding="utf-8")
    return read_groups(path)


def test_attributes_are_read_and_empty_cells_are_unknown(tmp_path):
    groups = table(tmp_path, "\ufeffidentity, sex ,age\n0,f,young\n1, m,\n\n2,,old\n")
    assert groups.key == "identity"
    assert groups.attributes == {"sex": {"0": "f", "1": "m"}, "age": {"0": "young", "2": "old"}}


def test_identities_give_each_pair_its_groups(tmp_path):
    pairset = open_pairs(FACES, count=20)
    groups = table(tmp_path, "identity,sex\n0,f\n1,m\n2,f\n3,m\n")
    codes, names = pair_groups(pairset, groups, "sex")
    assert names == ["f", "m"]
    expected = np.array([0, 1, 0, 1, -1, -1])[pairset.identities[pairset.pairs]]
    np.testing.assert_array_equal(codes, expected)


def test_images_of_a_bin_have_their_position_as_name(tmp_path):
    pairset = open_pairs(FACES, count=10)
    write_bin(pairset, tmp_path / "a.bin")
    packed = open_pairs(tmp_path / "a.bin")
    first = packed.pairs[0]
    groups = table(tmp_path, "image,sex\n0,f\n1,m\n")
    codes, _ = pair_groups(packed, groups, "sex")
    assert codes[0].tolist() == [0, 1]
    assert (codes[~np.isin(packed.pairs, first)] == -1).all()
    with pytest.raises(FacedistillError, match="whose first column is `image`"):
        pair_groups(packed, table(tmp_path, "identity,sex\n0,f\n"), "sex")


def test_identities_of_lfw_have_the_names_of_their_folders(tmp_path):
    for name in ("Ann", "Bob"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "faces" / name / f"{name}_{number:04}.jpg").touch()
    (tmp_path / "pairs.txt").write_text("1\nAnn 1 2\nAnn 1 Bob 2\n")
    pairset = open_pairs(f"{tmp_path / 'faces'}:{tmp_path / 'pairs.txt'}")
    assert pairset.identity_names == ["Ann", "Ann", "Bob"]
    assert pairset.image_names == ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0002.jpg"]
    codes, _ = pair_groups(pairset, table(tmp_path, "identity,sex\nBob,m\n"), "sex")
    assert codes.tolist() == [[-1, -1], [-1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must be like"),
        ("person,sex\n1,f\n", "first line must be like"),
        ("identity\n1\n", "first line must be like"),
        ("identity,sex,sex\n1,f,f\n", "first line must be like"),
        ("identity,sex\n1,f,x\n", "line 2: 3 cells"),
        ("identity,sex\n1,f\n1,m\n", "line 3: identity 1 comes twice"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, text, message):
    with pytest.raises(FacedistillError, match=message):
        table(tmp_path, text)


def test_absent_and_foreign_tables_are_refused(tmp_path):
    with pytest.raises(FacedistillError, match="cannot read"):
        read_groups(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"identity,sex\n\xff,f\n")
    with pytest.raises(FacedistillError, match="UTF-8"):
        read_groups(tmp_path / "b.csv")
    with pytest.raises(FacedistillError, match=r"knows no identity of .* it has Ann"):
        pair_groups(open_pairs(FACES, count=10), table(tmp_path, "identity,sex\nAnn,f\n"), "sex")
