"""Small RecordIO sets of every layout, and their records."""

import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facedistill.data.formats.recordio_records import MAGIC_BYTES
from facedistill.data.formats.recordio_writer import RecordIOWriter, frame_record


class Known(NamedTuple):
    """An image's record: where it and its label stand in the file, and their values."""

    start: int
    stop: int
    labels: tuple[int, int]
    content: bytes
    label: int


class RecordFile(NamedTuple):
    """A whole set: its two files, and its images by key."""

    rec: bytes
    idx: bytes
    images: dict[int, Known]
    frames: list[tuple[int, int]]
    names: bool
    """Whether keys outlive the index, because record 0 has the number of images."""

    @property
    def fields(self) -> list[int]:
        """Places in frames and headers."""
        return [at for start, _ in self.frames for at in range(start, start + 32)]


def encoded_images() -> list[bytes]:
    """Six files of two formats; some of one length, one with the magic word inside."""
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (6, 6, 6, 3), dtype=np.uint8)
    files = [cv2.imencode(".png", image)[1].tobytes() for image in noise[:3]]
    files += [cv2.imencode(".jpg", image)[1].tobytes() for image in noise[3:]]
    files[1] = files[1].ljust(-(-len(files[1]) // 4) * 4, b"\0") + MAGIC_BYTES + b"tail"
    files[2] = files[2].ljust(len(files[0]), b"\0")
    return files


LABELS = [0, 0, 0, 1, 1, 2]


def insightface(folder: Path) -> RecordFile:
    """What `prepare --pack` writes: record 0, six images, three identities."""
    with RecordIOWriter(folder, size=(6, 6)) as writer:
        for image, label in zip(encoded_images(), LABELS, strict=True):
            writer.write(image, label)
    return _known((folder / "train.rec").read_bytes(), (folder / "train.idx").read_bytes(), True)


def im2rec(folder: Path) -> RecordFile:
    """Images from key 0 on, in shuffled order, some with several labels."""
    keys, rec, idx = [3, 0, 5, 1, 4, 2], b"", ""
    for key in keys:
        label, image = LABELS[key], encoded_images()[key]
        if key % 2:
            payload = struct.pack("<IfQQ3f", 3, 0.0, key, 0, label, 0.5, 7) + image
        else:
            payload = struct.pack("<IfQQ", 0, label, key, 0) + image
        idx += f"{key}\t{len(rec)}\n"
        rec += frame_record(payload)
    return _known(rec, idx.encode(), False)


def _known(rec: bytes, idx: bytes, names: bool) -> RecordFile:
    table = [tuple(map(int, line.split())) for line in idx.decode().splitlines()]
    stops = [*(offset for _, offset in table[1:]), len(rec)]
    files, images = encoded_images(), {}
    for (key, start), stop in zip(table, stops, strict=True):
        number = key - 1 if names else key
        if 0 <= number < len(files):
            vector = int.from_bytes(rec[start + 8 : start + 12], "little")
            labels = (start + 8, start + (36 if vector else 16))
            images[key] = Known(start, stop, labels, files[number], LABELS[number])
    frames = [(start, stop) for (_, start), stop in zip(table, stops, strict=True)]
    return RecordFile(rec, idx, images, frames, names)
