"""Writing RecordIO as InsightFace lays it out, byte for byte what mxnet writes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.data.formats.recordio_names import write_names
from facedistill.data.formats.recordio_records import (
    FIRST,
    FRAME,
    HEADER,
    LAST,
    MAGIC,
    MAGIC_BYTES,
    MAX_LABEL,
    MAX_LENGTH,
    MIDDLE,
    WHOLE,
)
from facedistill.data.formats.recordio_verification import checksum_file, record_checksum
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import KEY_BYTES


class RecordIOWriter:
    """Writes `train.rec`, `train.idx`, `property` and checksums into a folder.

    A context manager: the files appear, whole, when the block ends; a block that fails leaves
    nothing behind. Record 0 holds (number of images + 1, end); images follow as records 1..n,
    sorted by identity; then one record per identity with the range of its images.

    Args:
        folder: Where to write; created if missing, files of the same names are replaced.
        size: (height, width) of the images, for `property`.
    """

    def __init__(self, folder: str | Path, *, size: tuple[int, int]) -> None:
        self.path = Path(folder) / "train.rec"
        self.size = size
        self._offsets: list[int] = []
        self._names: list[str] = []
        self._checksums: list[bytes] = []
        self._starts: list[int] = []
        self._label = UNLABELLED
        self._stack = ExitStack()
        self._targets: dict[str, Path] = {}
        self._file: BinaryIO

    def __enter__(self) -> Self:
        try:
            # Renamed in the reverse order: the .rec, by which readers find the set, comes last.
            for name in ("train.rec", "train.idx", "property", checksum_file(self.path).name):
                target = self.path.with_name(name)
                self._targets[name] = self._stack.enter_context(atomic_path(target))
            self._file = self._targets["train.rec"].open("wb")
        except BaseException:
            self._stack.close()
            raise
        self._stack.enter_context(self._file)
        self._append(_summary(0, 0, 0))  # In its final length; filled in at the end.
        return self

    def write(self, encoded: bytes, label: int, name: str = "") -> None:
        """Append an image file.

        Args:
            encoded: The file's bytes, stored as they are.
            label: Its identity: 0 first, then the same or the next one; or -1 for all images.
            name: Its path as its owner knows it, for `train.names`; empty for none.

        Raises:
            FacedistillError: If identities come out of order, or the image is empty or too long.
        """
        if label != self._label:
            if label != self._label + 1 or (label == 0 and len(self._offsets) > 1):
                raise FacedistillError(
                    f"{self.path}: label {label} after {self._label}; write images sorted by "
                    "identity, without holes"
                )
            if label >= MAX_LABEL:
                raise FacedistillError(f"{self.path}: RecordIO holds at most {MAX_LABEL} labels")
            self._starts.append(len(self._offsets))
            self._label = label
        if not encoded or len(encoded) > MAX_LENGTH - HEADER.size:
            raise FacedistillError(
                f"{self.path}: an image of {len(encoded):,} bytes does not fit into a record"
            )
        self._append(HEADER.pack(0, label, len(self._offsets), 0) + encoded)
        self._names.append(name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        if kind is None:
            try:
                self._finish()
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        return self._stack.__exit__(kind, error, traceback)

    def _append(self, payload: bytes) -> None:
        self._offsets.append(self._file.tell())
        self._checksums.append(record_checksum(payload))
        self._file.write(frame_record(payload))

    def _finish(self) -> None:
        images_end = len(self._offsets)
        for start, end in zip(self._starts, [*self._starts[1:], images_end], strict=False):
            self._append(_summary(len(self._offsets), start, end))
        summary = _summary(0, images_end, len(self._offsets))
        self._checksums[0] = record_checksum(summary)
        self._file.seek(0)
        self._file.write(frame_record(summary))
        with self._targets["train.idx"].open("w", newline="\n") as index:
            index.writelines(f"{key}\t{offset}\n" for key, offset in enumerate(self._offsets))
        height, width = self.size
        self._targets["property"].write_text(f"{len(self._starts)},{height},{width}\n")
        table = np.frombuffer(b"".join(self._checksums), np.uint8).reshape(-1, KEY_BYTES)
        np.save(self._targets[checksum_file(self.path).name], table, allow_pickle=False)
        write_names(self.path, self._names)


def frame_record(payload: bytes) -> bytes:
    """Return a payload as it stands in the file: framed, split at magic words, padded."""
    parts, begin = [], 0
    hit = payload.find(MAGIC_BYTES)
    while hit >= 0:
        if hit % 4 == 0:
            parts.append(payload[begin:hit])
            begin = hit + 4
        hit = payload.find(MAGIC_BYTES, begin if hit % 4 == 0 else hit + 1)
    parts.append(payload[begin:])
    flags = [FIRST, *[MIDDLE] * (len(parts) - 2), LAST] if len(parts) > 1 else [WHOLE]
    framed = b"".join(
        FRAME.pack(MAGIC, flag << 29 | len(part)) + part
        for flag, part in zip(flags, parts, strict=True)
    )
    return framed + bytes(-len(framed) % 4)


def _summary(key: int, start: int, end: int) -> bytes:
    """Return the payload of a record that holds the range `start`..`end` instead of an image."""
    return HEADER.pack(2, 0.0, key, 0) + np.array([start, end], "<f4").tobytes()
