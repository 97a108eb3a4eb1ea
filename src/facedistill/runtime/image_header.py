"""What an image file says of itself before it is decoded: its size, and how it is to be turned.

The parts of a file are walked by their lengths, as decoders walk them, and a file whose parts reach
beyond its end, or are so many that decoding them takes minutes, is refused here.
"""

from __future__ import annotations

import re
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"

MAX_PARTS = 100_000
"""Most segments of a JPEG, or chunks of a PNG; a PNG of 67 megapixels has up to 25,000."""
MAX_SCANS = 100
"""Most scans of a JPEG; progressive ones have about ten."""
MAX_SCANNED = 1 << 30
"""Most pixels of a JPEG times its scans: each scan goes over the whole image."""

_SOF = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
_SOS, _EOI, _APP1, _FILL = 0xFFDA, 0xFFD9, 0xFFE1, 0xFFFF
_TABLES = frozenset({0xFFC4, 0xFFCC, 0xFFDB, 0xFFDD, 0xFFFE, *range(0xFFE0, 0xFFF0)})
"""Markers that state the image's size; those that may come before: tables, APP0 to 15, comments."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""In entropy-coded data 0xff is followed by 0 or by the number of a restart."""
_MARKER_AND_LENGTH = Struct(">HH").unpack_from
_HEIGHT_AND_WIDTH = Struct(">HH").unpack_from
_PNG_SIZE = Struct(">II").unpack_from
_PNG_CHUNK = Struct(">I4s").unpack_from
_ORIENTATION = 0x112
_EXIF = b"Exif\0\0"


class ImageHeader(NamedTuple):
    """What an image file says of itself.

    Attributes:
        height: Rows as stored.
        width: Columns as stored.
        orientation: EXIF orientation, 1 to 8; 1, upright, where there is none.
    """

    height: int
    width: int
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader | None:
    """Read the header of a JPEG, PNG, BMP or WebP file; None of another format.

    Raises:
        ValueError: If the file is damaged, cut short, or would take minutes to decode.
    """
    try:
        if data.startswith(JPEG_START):
            return _jpeg_header(data)
        if data.startswith(PNG_START):
            return _png_header(data)
        if data.startswith(b"BM"):
            return _bmp_header(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp_header(data)
    except (StructError, IndexError) as error:
        raise ValueError("the header is cut short") from error
    return None


def _jpeg_header(data: bytes) -> ImageHeader:
    # Segments are walked, not searched: APP and DQT payloads may hold any two bytes.
    position, orientation = 2, 1
    for _ in range(MAX_PARTS):
        marker, length = _MARKER_AND_LENGTH(data, position)
        if marker == _APP1 and data.startswith(_EXIF, position + 4):
            orientation = _orientation(data[position + 4 + len(_EXIF) : position + 2 + length])
        if marker in _TABLES:
            position += 2 + length
        elif marker in _SOF:
            break
        elif marker == _FILL:
            position += 1
        else:
            raise ValueError("the JPEG's header is damaged: no frame header in its place")
    else:
        raise ValueError(f"the JPEG has more than {MAX_PARTS:,} segments")
    # In entropy-coded data 0xff is followed by 0, so an end marker there is a true one.
    if not data.endswith(JPEG_END) and data.find(JPEG_END, position) < 0:
        raise ValueError("the JPEG is cut short: it has no end marker")
    height, width = _HEIGHT_AND_WIDTH(data, position + 5)
    most = min(MAX_SCANS, max(1, MAX_SCANNED // max(1, height * width)))
    if _more_scans(data, position, most):
        raise ValueError(f"the JPEG of {width} x {height} pixels has more than {most} scans")
    return ImageHeader(height, width, orientation)


def _more_scans(data: bytes, position: int, most: int) -> bool:
    """Whether a JPEG has more than `most` scans from a segment on."""
    scans = 0
    for _ in range(MAX_PARTS):
        if position + 4 > len(data):
            return False
        marker, length = _MARKER_AND_LENGTH(data, position)
        if marker == _EOI:
            return False
        position += 2 + length
        if marker == _SOS:
            scans += 1
            if scans > most:
                return True
        # Decoders pass over what stands before the next marker, behind a scan or any segment.
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            return False
        position = found.start()
    return True


def _png_header(data: bytes) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise ValueError("the PNG's header is damaged")
    position, orientation = len(PNG_START), 1
    for _ in range(MAX_PARTS):
        if position + 12 > len(data):
            raise ValueError("the PNG is cut short: it has no end chunk")
        length, kind = _PNG_CHUNK(data, position)
        if position + 12 + length > len(data):
            raise ValueError("the PNG is cut short or damaged: a chunk reaches beyond its end")
        if kind == b"IEND":
            break
        if kind == b"eXIf":
            orientation = _orientation(data[position + 8 : position + 8 + length])
        position += 12 + length
    else:
        raise ValueError(f"the PNG has more than {MAX_PARTS:,} chunks")
    width, height = _PNG_SIZE(data, 16)
    return ImageHeader(height, width, orientation)


def _bmp_header(data: bytes) -> ImageHeader:
    header, offset = (int.from_bytes(data[at : at + 4], "little") for at in (14, 10))
    if len(data) < 26 or len(data) <= offset:
        raise ValueError("the BMP is cut short")
    if header == 12:  # The OS/2 header of 16-bit sizes.
        height, width = (int.from_bytes(data[at : at + 2], "little") for at in (20, 18))
        return ImageHeader(height, width)
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    return ImageHeader(abs(height), width)  # A negative height means rows from top to bottom.


def _webp_header(data: bytes) -> ImageHeader:
    if len(data) < 25 or len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ValueError("the WebP is cut short")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return ImageHeader(height, width, _webp_orientation(data))
    if chunk == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise ValueError("the WebP's header is damaged")
    return ImageHeader(height, width)


def _webp_orientation(data: bytes) -> int:
    position = 12
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            return 1
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data.startswith(b"EXIF", position):
            exif = data[position + 8 : position + 8 + length]
            return _orientation(exif.removeprefix(_EXIF))
        position += 8 + length + length % 2
    return 1


def _orientation(tiff: bytes) -> int:
    """Return the orientation that EXIF data states, 1 where it states none that there is."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = Struct(f"{order}I").unpack_from(tiff, 4)
        (count,) = Struct(f"{order}H").unpack_from(tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = Struct(f"{order}HHIH").unpack_from(tiff, entry)
            if tag == _ORIENTATION:
                return int(value) if 1 <= value <= 8 else 1
    except StructError:
        pass  # Damaged EXIF data states nothing.
    return 1
