"""What the directory of a ZIP archive says of its records, before any is read."""

from __future__ import annotations

import zipfile

_ENCRYPTED = 0x1
"""Bit of a record's flags."""

_FOLDER = 0x10
"""Bit of a record's attributes, from MS-DOS."""


def check_directory(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse records that PyTorch never writes, or that would take more memory than the file.

    What the directory calls a folder PyTorch does not read at all, and leaves memory as it was.

    Args:
        archive: Open.
        size: Bytes of the file.

    Raises:
        ValueError: If one is called a folder, is compressed or encrypted, has another's name or two
            sizes, or if all are together larger than the file.
    """
    entries = archive.infolist()
    for entry in entries:
        if entry.external_attr & _FOLDER:
            raise ValueError(f"{entry.filename[:80]} is called a folder")
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"record {entry.filename[:80]} is encrypted")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"record {entry.filename[:80]} is compressed, as PyTorch leaves none")
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("two of its records have one name")
    if sum(entry.file_size for entry in entries) > size:
        raise ValueError("its records are together larger than the file")
