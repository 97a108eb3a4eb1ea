import struct
from pathlib import Path

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio_verification import verify_records
from tests.data.formats.record_bytes import change, insightface, write_records
from tests.data.formats.test_recordio_writer import IMAGES, pack


def test_verify_finds_every_changed_bit(tmp_path: Path) -> None:
    path = pack(tmp_path, IMAGES) / "train.rec"
    assert verify_records(tmp_path) == []
    whole = path.read_bytes()
    offsets = [int(line.split("\t")[1]) for line in (tmp_path / "train.idx").open()]
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        record = int(np.searchsorted(offsets, position, side="right")) - 1
        offset = offsets[record]
        (length,) = struct.unpack_from("<I", whole, offset + 4)
        is_padding = position >= offset + 8 + length
        expected = [] if is_padding else [(record, offset)]
        assert [(bad.key, bad.offset) for bad in verify_records(tmp_path)] == expected


def test_verify_refuses_checksums_of_another_file(tmp_path: Path) -> None:
    pack(tmp_path, IMAGES)
    checksums = (tmp_path / "train.checksums.npy").read_bytes()
    pack(tmp_path, IMAGES[:1])
    (tmp_path / "train.checksums.npy").write_bytes(checksums)
    with pytest.raises(FacedistillError, match=r"checksums.npy: .*another file"):
        verify_records(tmp_path)
    for content in (b"", b"nonsense", checksums[:-1]):
        (tmp_path / "train.checksums.npy").write_bytes(content)
        with pytest.raises(FacedistillError, match="not a checksum file"):
            verify_records(tmp_path)


def test_verify_without_checksums_decodes(tmp_path: Path) -> None:
    records = insightface()
    folder = write_records(tmp_path, change(records, 2, 40, b"\0\0\0\0"))
    (bad,) = verify_records(folder)
    assert (bad.key, bad.offset) == (2, len(records[0]) + len(records[1]))
    assert verify_records(write_records(tmp_path, records)) == []
