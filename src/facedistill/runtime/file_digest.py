"""The digest at the end of an exported file: no byte is another than the one that was written.

Weights that have changed by a bit still run, and give other embeddings without a word. So an
exported file ends in a BLAKE2b digest of all that is before it, in a place that other readers of
the format pass over: the last entry of an ONNX file's metadata, a comment at the end of XML, the
comment of the ZIP archive behind a LiteRT model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from facedistill.core.errors import FacedistillError
from facedistill.core.other_content import check_is_weights
from facedistill.core.regular_files import open_regular

ENTRY = "facedistill-digest"
"""What the digest is called in a file."""

_DIGITS = 32
_BLOCK = 1 << 20
_KEY = ENTRY.encode()
# A protobuf message's field 14 (metadata_props): an entry of a key, field 1, and a value, field 2.
_ONNX = bytes([0x72, 4 + len(_KEY) + _DIGITS, 0x0A, len(_KEY)]) + _KEY + bytes([0x12, _DIGITS])
_AROUND = {
    ".onnx": (_ONNX, b""),
    ".xml": (b"<!-- " + _KEY + b" ", b" -->\n"),
    ".tflite": (_KEY + b" ", b""),
}
"""What stands before and behind the digits, by the suffix of files."""


def blank_ending(suffix: str) -> bytes:
    """Return the end of a file of that suffix whose digest is not known yet."""
    before, after = _AROUND[suffix.lower()]
    return before + bytes(_DIGITS) + after


def write_digest(path: Path, companions: Sequence[Path] = ()) -> None:
    """Fill in the digest of a file that ends in one, or in `blank_ending`; else append it.

    Args:
        path: The file.
        companions: Files that belong to it, of whose bytes the digest is too.
    """
    blank = blank_ending(path.suffix)
    if _digits_of(path) is None:
        with path.open("ab") as file:
            file.write(blank)
    place = path.stat().st_size - len(blank) + blank.index(bytes(_DIGITS))
    digits = _digest(path, place, companions)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(digits)


def check_digest(path: Path, companions: Sequence[Path] = ()) -> bool:
    """Return whether a file has a digest, which then is that of its bytes.

    Args:
        path: The file.
        companions: Files that belong to it; they need not be there if it has none.

    Raises:
        FacedistillError: If the digest is another, or a companion is absent.
    """
    digits = _digits_of(path)
    if digits is None:
        return False
    for companion in companions:
        if not companion.exists():
            raise FacedistillError(f"{companion}, which belongs to {path}, does not exist")
        check_is_weights(companion)
    place = path.stat().st_size - _DIGITS - len(_AROUND[path.suffix.lower()][1])
    if _digest(path, place, companions) != digits:
        files = " or ".join(str(file) for file in (path, *companions))
        raise FacedistillError(
            f"{files} is damaged, or was changed after its export: export it again"
        )
    return True


def require_digest(path: Path, whole: bool) -> None:
    """Refuse a file that carries facedistill's document and no digest.

    Args:
        path: The file.
        whole: What `check_digest` returned of it.
    """
    if whole:
        return
    raise FacedistillError(
        f"{path} has no digest at its end: it is damaged, was changed after its export, or comes "
        "from an older facedistill: export it again"
    )


def _digits_of(path: Path) -> bytes | None:
    """Return what stands in the digits' place; None where the file ends in no digest."""
    before, after = _AROUND[path.suffix.lower()]
    length = len(before) + _DIGITS + len(after)
    with open_regular(path) as file:
        file.seek(-min(length, path.stat().st_size), 2)
        end = file.read(length)
    digits = end[len(before) : len(before) + _DIGITS]
    return digits if end == before + digits + after and len(digits) == _DIGITS else None


def _digest(path: Path, place: int, companions: Sequence[Path]) -> bytes:
    """Return the digits, of all bytes but those at `place`."""
    digest = hashlib.blake2b(digest_size=_DIGITS // 2)
    with open_regular(path) as file:
        for block in _blocks(file, place):
            digest.update(block)
        file.seek(_DIGITS, 1)
        digest.update(file.read())
    for companion in companions:
        digest.update(companion.stat().st_size.to_bytes(8, "little"))
        with open_regular(companion) as file:
            for block in _blocks(file, companion.stat().st_size):
                digest.update(block)
    return digest.hexdigest().encode()


def _blocks(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (block := file.read(min(_BLOCK, length))):
        length -= len(block)
        yield block
