"""Whether the records of a RecordIO file are still those that were written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.formats.npy import NpyFile
from facedistill.data.formats.recordio import RecordIODataset, find_record_file
from facedistill.data.formats.recordio_records import join_record, open_records, read_index
from facedistill.data.sample import KEY_BYTES
from facedistill.runtime.image_file import decode_image


class BadRecord(NamedTuple):
    """A record that is not what was written: its key, its offset in bytes and what is wrong."""

    key: int
    offset: int
    reason: str


def verify_records(path: str | Path) -> list[BadRecord]:
    """Read every record and find those that are not as they were written.

    With the checksums that `RecordIOWriter` leaves beside the file, any changed byte of a header,
    label or image is found; without them, images that do not decode.

    Args:
        path: A folder with `train.rec`, or a `.rec` file.

    Returns:
        The bad records, in the order of the file; empty where all is well.

    Raises:
        FacedistillError: If the files do not belong together.
    """
    path = find_record_file(path)
    checksums = checksum_file(path)
    if checksums.exists():
        return _verify_checksums(path, checksums)
    dataset = RecordIODataset(path, relabel=True)
    bad = []
    for index in track(range(len(dataset)), f"verifying {path.name}", len(dataset), "images"):
        try:
            decode_image(dataset.encoded(index), "the image")
        except FacedistillError as error:
            bad.append(BadRecord(int(dataset.keys[index]), int(dataset.offsets[index]), str(error)))
    return bad


def _verify_checksums(path: Path, checksums: Path) -> list[BadRecord]:
    file = open_records(path)
    keys, offsets = read_index(file)
    expected = _read_checksums(checksums, len(offsets))
    bad = []
    for row in track(range(len(offsets)), f"verifying {path.name}", len(offsets), "records"):
        try:
            payload, _ = join_record(file, int(offsets[row]))
            if record_checksum(payload) == expected[row].tobytes():
                continue
            reason = "its bytes differ from those written"
        except ValueError as error:
            reason = str(error)
        bad.append(BadRecord(int(keys[row]), int(offsets[row]), reason))
    return bad


def _read_checksums(path: Path, records: int) -> np.ndarray:
    try:
        table = NpyFile(path)
    except (OSError, ValueError) as error:
        raise FacedistillError(
            f"{path}: not a checksum file ({error}); remove it or pack again"
        ) from error
    if table.dtype != np.uint8 or table.shape != (records, KEY_BYTES):
        raise FacedistillError(
            f"{path}: checksums {table.shape} for {records:,} records; it belongs to another file, "
            "remove it or pack again"
        )
    return table[:]


def checksum_file(path: Path) -> Path:
    """Return where the checksums of a `.rec` file lie: uint8 (records, 16) in file order."""
    return path.with_suffix(".checksums.npy")


def record_checksum(payload: bytes) -> bytes:
    """Return the 16-byte BLAKE2b digest of a whole payload: header, labels and image."""
    return hashlib.blake2b(payload, digest_size=KEY_BYTES).digest()
