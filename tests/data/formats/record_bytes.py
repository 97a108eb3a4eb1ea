"""RecordIO files made byte by byte, independently of the writer."""

import struct
from pathlib import Path

import cv2
import numpy as np

from facedistill.data.formats.recordio import RecordIODataset

MAGIC = struct.pack("<I", 0xCED7230A)


def png(value: int) -> bytes:
    return cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))[1].tobytes()


def scalar(label: float, content: bytes, number: int = 0) -> bytes:
    return struct.pack("<IfQQ", 0, label, number, 0) + content


def vector(labels: list[float], content: bytes = b"", number: int = 0) -> bytes:
    head = struct.pack("<IfQQ", len(labels), 0.0, number, 0)
    return head + struct.pack(f"<{len(labels)}f", *labels) + content


def frame(payload: bytes, flag: int = 0) -> bytes:
    head = MAGIC + struct.pack("<I", flag << 29 | len(payload))
    return head + payload + bytes(-len(payload) % 4)


def split(*parts: bytes) -> bytes:
    flags = [1] + [2] * (len(parts) - 2) + [3]
    return b"".join(frame(part, flag) for part, flag in zip(parts, flags, strict=True))


def write_records(folder: Path, records: list[bytes], keys: list[int] | None = None) -> Path:
    offsets = np.cumsum([0, *map(len, records)]).tolist()
    pairs = zip(keys or range(len(records)), offsets, strict=False)
    folder.mkdir(exist_ok=True)
    (folder / "train.rec").write_bytes(b"".join(records))
    (folder / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in pairs))
    return folder


def insightface() -> list[bytes]:
    """Three images of two identities, then one record for each identity."""
    return [
        frame(vector([4, 6])),
        frame(scalar(0, png(10), 1)),
        frame(scalar(0, png(20), 2)),
        frame(scalar(1, png(30), 3)),
        frame(vector([1, 3], number=4)),
        frame(vector([3, 4], number=5)),
    ]


def values(dataset: RecordIODataset) -> list[tuple[int, int]]:
    samples = (dataset[index] for index in range(len(dataset)))
    return [(int(sample.image[0, 0, 0]), sample.label) for sample in samples]


# What `values` gives for `insightface`.
INSIGHTFACE = [(10, 0), (20, 0), (30, 1)]


def change(records: list[bytes], row: int, at: int, new: bytes) -> list[bytes]:
    record = records[row]
    return [*records[:row], record[:at] + new + record[at + len(new) :], *records[row + 1 :]]
