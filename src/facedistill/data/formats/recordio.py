"""RecordIO, the packed format of InsightFace's training sets (`train.rec`, `.idx`, `property`).

A file is a row of records `u32 magic, u32 (3 bits flag, 29 bits length), payload, zeros to 4
bytes`. A payload in which the magic word stands at a multiple of four is split there: its parts
carry the flags 1, 2.., 3 and the word between two parts is left out. A payload is
`<u32 n, f32 label, u64 id, u64 id2`, then n float labels if n > 0, then the image file.
`train.idx` names every record: `key TAB offset`; where ids are the keys, as packers write them,
one that differs is an error.

Two layouts are read. InsightFace: record 0 is no image but holds (number of images + 1, end), the
images are records 1..n, one record per identity follows. im2rec: images from key 0 on.
"""

from __future__ import annotations

from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.formats.recordio_headers import check_property, image_records, read_headers
from facedistill.data.formats.recordio_names import RecordNames
from facedistill.data.formats.recordio_records import (
    FRAME_SIZE,
    HEADER,
    MAGIC,
    MAX_LENGTH,
    START,
    join_record,
    open_records,
    read_index,
    vector_labels,
)
from facedistill.data.labels import check_labels
from facedistill.data.labels import relabel as renumber


class RecordIODataset(FaceDataset):
    """A RecordIO file with random access to its images.

    Opening reads the index and every record's header, no images: labels and the layout of the
    whole file are checked there. Samples come in the order of their keys.

    Args:
        path: A folder with `train.rec`, or a `.rec` file; `.idx` and `property` are looked for
            beside it. A missing `.idx` is rebuilt in memory, with a warning.
        relabel: Number the identities anew instead of refusing labels with holes.

    Raises:
        FacedistillError: If the files are missing, damaged or do not belong together.
    """

    kind = "RecordIO"
    stored = True

    def __init__(self, path: str | Path, *, relabel: bool = False) -> None:
        self.path = find_record_file(path)
        self.name = str(self.path)
        self.file = open_records(self.path)
        table = read_headers(self.file, *read_index(self.file))
        self.keys, self.offsets, labels = image_records(self.path, table)
        self.labels = renumber(labels)[0] if relabel else labels
        identities = check_labels(self.labels, self.name)
        check_property(self.path, identities)
        self.names = RecordNames(self.path, len(self.labels))

    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes of sample `index`."""
        offset = self.offsets.item(index)
        magic, length, vector = START.unpack(self.file.read(offset, START.size))
        if magic != MAGIC:
            raise FacedistillError(f"{self.where(index)}: the file changed while in use")
        if length <= MAX_LENGTH:
            labels = HEADER.size + 4 * vector
            return self.file.read(offset + FRAME_SIZE + labels, length - labels)
        payload, _ = join_record(self.file, offset)
        return payload[HEADER.size + 4 * vector_labels(payload) :]

    def where(self, index: int) -> str:
        """Return `file key K (offset O)`, and the image's name where it is known."""
        name = self.file_name(index)
        place = f"offset {self.offsets.item(index)}" + (f", {name}" if name else "")
        return f"{self.name} key {self.keys.item(index)} ({place})"

    def file_name(self, index: int) -> str:
        """Return what the image was called before it was packed; empty where that is not known."""
        return self.names.name(index)

    def close(self) -> None:
        """Close the file; it is opened again when next read."""
        self.file.close()


def find_record_file(path: str | Path) -> Path:
    """Return the `.rec` file that `path` (a folder or the file) stands for.

    Raises:
        FacedistillError: If there is none, or several in a folder without `train.rec`.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FacedistillError(f"{path}: no such file; give a .rec file or its folder")
        return path
    if (path / "train.rec").exists():
        return path / "train.rec"
    found = sorted(path.glob("*.rec"))
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:3]) or "none"
        raise FacedistillError(f"{path}: no train.rec (.rec files there: {names}); name the file")
    return found[0]


def _is_recordio(source: str) -> bool:
    path = Path(source)
    if path.is_dir():
        return any(path.glob("*.rec"))
    return path.suffix.lower() == ".rec" and path.is_file()


def _open(source: str, options: FormatOptions) -> RecordIODataset:
    return RecordIODataset(source, relabel=options.relabel)


register(
    Format(
        "recordio",
        "RecordIO",
        "A folder with `train.rec`, or a `.rec` file: the packed sets of InsightFace and im2rec.",
        recognises=_is_recordio,
        open=_open,
        order=20,
    )
)
