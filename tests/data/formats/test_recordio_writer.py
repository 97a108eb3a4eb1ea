import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_writer import RecordIOWriter, frame_record

MAGIC = struct.pack("<I", 0xCED7230A)
IMAGES = [(b"first", 0), (b"second image", 0), (b"third" * 50, 1)]


def pack(folder: Path, images: list[tuple[bytes, int]]) -> Path:
    with RecordIOWriter(folder, size=(112, 96)) as writer:
        for encoded, label in images:
            writer.write(encoded, label)
    return folder


def read_naively(data: bytes) -> bytes:
    """Read one record word by word, as the format's description says."""
    payload, at = b"", 0
    while True:
        magic, length = struct.unpack_from("<II", data, at)
        assert magic == 0xCED7230A
        flag, length = length >> 29, length & 0x1FFFFFFF
        payload += data[at + 8 : at + 8 + length]
        at += 8 + (length + 3) // 4 * 4
        if flag in (0, 3):
            assert at == len(data)
            return payload
        payload += MAGIC


@settings(deadline=None)
@given(st.lists(st.sampled_from([MAGIC, MAGIC[:2], b"x", b"word", b"\0"]), max_size=20))
def test_framing_round_trips_and_hides_magic_words(pieces: list[bytes]) -> None:
    payload = b"".join(pieces)
    framed = frame_record(payload)
    assert read_naively(framed) == payload
    words = [framed[at : at + 4] for at in range(0, len(framed), 4)]
    payload_words = [payload[at : at + 4] for at in range(0, len(payload), 4)]
    # Readers find records by the magic word: one for each part, none inside a part.
    assert words.count(MAGIC) == payload_words.count(MAGIC) + 1
    assert framed.count(MAGIC) >= words.count(MAGIC)


def test_framing_by_hand() -> None:
    assert frame_record(b"abcde") == MAGIC + b"\x05\0\0\0abcde\0\0\0"
    assert frame_record(b"abcd" + MAGIC + b"e") == (
        MAGIC + b"\x04\0\0\x20abcd" + MAGIC + b"\x01\0\0\x60e\0\0\0"
    )
    assert frame_record(b"a" + MAGIC) == MAGIC + b"\x05\0\0\0a" + MAGIC + b"\0\0\0"


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    images = [*IMAGES, (b"1234" + MAGIC * 2 + b"tail", 2)]
    dataset = RecordIODataset(pack(tmp_path / "new", images))
    assert [dataset.encoded(i) for i in range(4)] == [encoded for encoded, _ in images]
    assert dataset.labels.tolist() == [0, 0, 1, 2]
    assert (tmp_path / "new" / "property").read_text() == "3,112,96\n"
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == [
        "property",
        "train.checksums.npy",
        "train.idx",
        "train.rec",
    ]


def test_unlabelled_images(tmp_path: Path) -> None:
    dataset = RecordIODataset(pack(tmp_path, [(b"a", -1), (b"b", -1)]))
    assert dataset.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([(b"a", 1)], "label 1 after -1"),
        ([(b"a", 0), (b"a", 2)], "label 2 after 0"),
        ([(b"a", 0), (b"a", 1), (b"a", 0)], "label 0 after 1"),
        ([(b"a", -1), (b"a", 0)], "label 0 after -1"),
        ([(b"a", 0), (b"a", -1)], "label -1 after 0"),
        ([(b"", 0)], "0 bytes"),
    ],
)
def test_wrong_order_is_refused_and_leaves_nothing(tmp_path: Path, images, message: str) -> None:
    with pytest.raises(FacedistillError, match=message):
        pack(tmp_path, images)
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_old_files(tmp_path: Path) -> None:
    pack(tmp_path, IMAGES)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with suppress(KeyboardInterrupt), RecordIOWriter(tmp_path, size=(1, 1)) as writer:
        writer.write(b"other", 0)
        raise KeyboardInterrupt
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FacedistillError, match="cannot write"):
        pack(tmp_path / "file", IMAGES)
