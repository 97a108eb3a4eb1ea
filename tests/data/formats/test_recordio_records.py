import struct
from pathlib import Path

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from tests.data.formats.record_bytes import (
    INSIGHTFACE,
    MAGIC,
    frame,
    insightface,
    png,
    scalar,
    split,
    values,
    vector,
    write_records,
)


@pytest.mark.parametrize("places", [[8], [8, 12], [0, 40], [92]])
def test_split_records_are_joined_with_the_magic_word(tmp_path: Path, places: list[int]) -> None:
    content = bytearray(range(96))
    for place in places:
        content[place : place + 4] = MAGIC
    parts = scalar(1, bytes(content)).split(MAGIC)
    assert len(parts) == len(places) + 1
    labelled = vector([2, 5], bytes(content)).split(MAGIC)
    folder = write_records(tmp_path, [frame(scalar(0, png(1))), split(*parts), split(*labelled)])
    dataset = RecordIODataset(folder)
    assert dataset.labels.tolist() == [0, 1, 2]
    assert dataset.encoded(1) == dataset.encoded(2) == bytes(content)
    (folder / "train.idx").unlink()
    with pytest.warns(UserWarning, match="train.idx is missing"):
        assert RecordIODataset(folder).encoded(2) == bytes(content)


def test_magic_word_inside_the_header_is_split_too(tmp_path: Path) -> None:
    payload = struct.pack("<IfQI", 0, 0.0, 1, 7) + MAGIC + png(9)
    folder = write_records(tmp_path, [split(*payload.split(MAGIC))])
    assert values(RecordIODataset(folder)) == [(9, 0)]


def test_missing_index_is_rebuilt_in_memory(tmp_path: Path) -> None:
    folder = write_records(tmp_path, insightface())
    (folder / "train.idx").unlink()
    with pytest.warns(UserWarning, match=r"train\.idx is missing"):
        assert values(RecordIODataset(folder)) == INSIGHTFACE
    assert [file.name for file in folder.iterdir()] == ["train.rec"]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("0 0\n", "line 1"),
        ("0\t0\n1\tx\n", "line 2: .*not `key TAB offset`"),
        ("0\t0\n1\n", "line 2"),
        ("0\t0\n\n1\t40\n", "line 2"),
        ("0\t-1\n", "line 1"),
        ("0\t0\n1\t4\t0\n", "line 2"),
        ("", "line 1"),
        ("0\t0\n0\t40\n", "key 0 stands there more than once"),
        ("0\t0\n1\t36\n", r"key 0 \(offset 0\): .* ends at 40 but the next record begins at 36"),
        ("0\t0\n1\t41\n", r"key 0 \(offset 0\)"),
        ("0\t0\n1\t40\n2\t40\n", r"key 1 \(offset 40\)"),
        ("0\t0\n1\t40\n", r"key 1 \(offset 40\).* but the next record begins"),
        ("1\t40\n", "names no record at offset 0"),
        ("0\t0\n1\t99999999\n", r"key 0 \(offset 0\)"),
        ("0\t0\n1\t99999999999999999999999999\n", r"key 0 \(offset 0\)"),
    ],
)
def test_index_that_does_not_fit_is_refused(tmp_path: Path, index: str, message: str) -> None:
    folder = write_records(tmp_path, insightface())
    (folder / "train.idx").write_text(index)
    with pytest.raises(FacedistillError, match=f"{message}.*remove the .idx to have it rebuilt"):
        RecordIODataset(folder)


def test_index_with_windows_line_ends(tmp_path: Path) -> None:
    folder = write_records(tmp_path, insightface())
    index = folder / "train.idx"
    index.write_bytes(index.read_bytes().replace(b"\n", b"\r\n"))
    assert values(RecordIODataset(folder)) == INSIGHTFACE
