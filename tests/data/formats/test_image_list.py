import os
from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_list import ListDataset


def write(folder: Path, text: str | bytes, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    path = folder / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a b.jpg\t0\nd/c.jpg\t1\n",
        "a b.jpg,0\nd/c.jpg,1",
        "a b.jpg 0\nd/c.jpg 1\n",
        "path,label\r\na b.jpg, 0\r\nd/c.jpg, 1\r\n",
        "\ufeff# faces\na b.jpg\t0\n\n   \nd/c.jpg\t1\n",
        "7\t0.000000\ta b.jpg\n8\t1\td/c.jpg\n",
        "1\ta b.jpg\t0\n1\td/c.jpg\t1\n",
        "a b.jpg 0.0\nd/c.jpg 1.\n",
        'id,filename,split\n0,a b.jpg,train\n1,"d/c.jpg",train\n',
        "a b.jpg\t0\nd\\c.jpg\t1\n",
    ],
)
def test_separators(tmp_path: Path, text: str) -> None:
    dataset = ListDataset(write(tmp_path, text, "a b.jpg", "d/c.jpg"))
    assert [dataset.encoded(0), dataset.encoded(1)] == [b"a b.jpg", b"d/c.jpg"]
    assert dataset.labels.tolist() == [0, 1]


def test_root_and_places(tmp_path: Path) -> None:
    path = write(tmp_path, "# one\na.jpg 0\n", "images/a.jpg")
    dataset = ListDataset(path, root=tmp_path / "images")
    assert dataset.where(0) == f"{tmp_path / 'images' / 'a.jpg'} ({path} line 2)"


def test_labels_that_are_names_are_numbered_in_their_order(tmp_path: Path) -> None:
    dataset = ListDataset(write(tmp_path, "a zoe\nb ann\nc zoe\n", "a", "b", "c"))
    assert dataset.identity_names == ["ann", "zoe"]
    assert dataset.labels.tolist() == [1, 0, 1]


def test_unlabelled_and_relabelled(tmp_path: Path) -> None:
    assert ListDataset(write(tmp_path, "a -1\nb -1\n", "a", "b")).labels.tolist() == [-1, -1]
    path = write(tmp_path, "a 40\nb 7\n")
    with pytest.raises(FacedistillError, match=r"no image has label 0 .*--relabel"):
        ListDataset(path)
    assert ListDataset(path, relabel=True).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 0\na\n", "line 2: 'a' is not `path label`"),
        ("a 0\na\tzero\n", "line 1: label '0'; labels are all whole numbers .* or all names"),
        ("a 0.5\n", "line 1"),
        ("a 0\na zero\na 1\n", "line 2: label 'zero'"),
        ("a -2\n", "line 1: label '-2'; labels are all whole numbers from 0"),
        ('path,label\n"a,0\n', "line 2"),
        ("path,label\na,b,0\n", "line 2"),
        ("a 99999999999999999999\n", "line 1"),
        ("\t0\n", "line 1"),
        ("a\0b\t0\n", "line 1"),
        ("\na 0\nmissing.jpg 0\n", "line 3: no such file: .*missing.jpg"),
        ("a 0\n" + 300 * "x" + " 0\n", "line 2: no such file: .*xxx"),
        ("a 0\n\x1b[2J\u2028x 0\n", r"line 2: no such file: .*\\x1b\[2J\\u2028x"),
        (b"a 0\n\xff\xfe 0\n", "not UTF-8 text"),
        ("", "no images"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(FacedistillError, match=rf"list\.txt.*{message}"):
        ListDataset(write(tmp_path, text, "a"))


def test_pipes_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a 0\n")
    os.mkfifo(tmp_path / "a")
    with pytest.raises(FacedistillError, match=r"list\.txt line 1: .*/a is a pipe, not a file"):
        ListDataset(path)


def test_missing_list(tmp_path: Path) -> None:
    with pytest.raises(FacedistillError, match="cannot read"):
        ListDataset(tmp_path / "none.txt")


def test_negative_labels_are_not_renumbered(tmp_path: Path) -> None:
    with pytest.raises(FacedistillError, match="line 2: label '-10'"):
        ListDataset(write(tmp_path, "a 3\na -10\n", "a"), relabel=True)


def test_all_missing_files_of_a_list_are_named_at_once_and_passed_over_where_asked(tmp_path):
    faces = tmp_path / "faces.txt"
    for name in "ac":
        (tmp_path / f"{name}.png").write_bytes(b"x")
    faces.write_text("a.png 0\nb.png 1\nc.png 2\nd.png 2\n")
    with pytest.raises(FacedistillError, match=r"2 lines that name no such file \(.*--root") as all:
        ListDataset(faces)
    assert [line.split(": ")[0][-6:] for line in all.value.details] == ["line 2", "line 4"]
    with pytest.warns(UserWarning, match=r"left out: 2 lines .*first: .*faces\.txt line 2"):
        dataset = ListDataset(faces, skip=True)
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.where(1).endswith("c.png (" + str(faces) + " line 3)")
