"""Encoded image files to arrays and back, with the door checked before anything is allocated.

The size a file declares is read from its header before the decoder sees it, so that a few bytes
claiming 50,000 x 50,000 pixels cost nothing; files that end early are refused rather than filled
with grey, as JPEG decoders do.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError

MAX_PIXELS = 1 << 26
"""Largest image decoded: 67 megapixels, which is 201 MB as RGB; a crop has 12,544."""

JPEG_QUALITY = 95
"""Of crops that are encoded anew, 1 to 100."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_OTHER_FORMATS = {
    b"GIF8": "a GIF",
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000",
    b"v/1\x01": "an OpenEXR",
    b"8BPS": "a Photoshop",
    b"%PDF": "a PDF",
    b"\x93NUMPY": "a NumPy",
    b"PK\x03\x04": "a ZIP",
}
_JPEG_FRAMES = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC}
_JPEG_SEGMENTS = frozenset({0xFFC4, 0xFFCC, 0xFFDB, 0xFFDD, 0xFFFE, *range(0xFFE0, 0xFFF0)})
"""Markers that say the image's size; those that may come before: tables, APP0 to 15, comments."""
_MARKER_AND_LENGTH = Struct(">HH").unpack_from
_HEIGHT_AND_WIDTH = Struct(">HH").unpack_from
_PNG_SIZE = Struct(">II").unpack_from
_RGB = cv2.IMREAD_COLOR_RGB
_RGB_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(encoded: bytes | memoryview, where: str, *, upright: bool = False) -> np.ndarray:
    """Decode a JPEG, PNG, BMP or WebP file held in memory.

    Args:
        encoded: The file's bytes.
        where: The image's place, for messages.
        upright: Turn the image as its EXIF orientation asks (photos). Crops are taken as stored.

    Returns:
        uint8 RGB, shape (H, W, 3), C-contiguous; grey files have three equal channels, alpha is
        dropped and 16-bit files are reduced to 8 bits.

    Raises:
        FacedistillError: If the bytes are empty, cut short, of another format, declare more than
            `MAX_PIXELS` or do not decode.
    """
    if not isinstance(encoded, bytes):
        encoded = bytes(encoded)
    image_size(encoded, where)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), _RGB if upright else _RGB_AS_STORED)
    except cv2.error as error:
        raise FacedistillError(_damaged(where, str(error.err))) from error
    if image is None:
        raise FacedistillError(_damaged(where, "the image does not decode"))
    return image


def image_size(encoded: bytes, where: str) -> tuple[int, int]:
    """Read the size an image file declares, without decoding it.

    Args:
        encoded: The bytes of a JPEG, PNG, BMP or WebP file.
        where: The image's place, for messages.

    Returns:
        (height, width) in pixels, as stored (EXIF orientation is ignored).

    Raises:
        FacedistillError: If the bytes are empty, cut short, of another format or declare more
            than `MAX_PIXELS`.
    """
    try:
        if encoded.startswith(_JPEG_START):
            height, width = _jpeg_size(encoded)
        elif encoded.startswith(_PNG_START):
            height, width = _png_size(encoded)
        elif encoded.startswith(b"BM"):
            height, width = _bmp_size(encoded)
        elif encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
            height, width = _webp_size(encoded)
        else:
            raise FacedistillError(_unknown(encoded, where))
    except (StructError, IndexError) as error:
        raise FacedistillError(_damaged(where, "the header is cut short")) from error
    except ValueError as error:
        raise FacedistillError(_damaged(where, str(error))) from error
    pixels = height * width
    if not 0 < pixels <= MAX_PIXELS:
        raise FacedistillError(
            f"{where}: the image declares {width} x {height} pixels, outside 1 to {MAX_PIXELS:,}; "
            "replace or remove it"
        )
    return height, width


def encode_png(image: np.ndarray) -> bytes:
    """Encode uint8 RGB (H, W, 3) without loss."""
    return _encode(image, ".png", [])


def encode_jpeg(image: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Encode uint8 RGB (H, W, 3) as JPEG of `quality` 1 to 100."""
    return _encode(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(image: np.ndarray, suffix: str, parameters: list[int]) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")
    done, buffer = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape} as {suffix}")
    return buffer.tobytes()


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # Segments are walked, not searched: APP and DQT payloads may hold any two bytes.
    position = 2
    while True:
        marker, length = _MARKER_AND_LENGTH(data, position)
        if marker in _JPEG_SEGMENTS:
            position += 2 + length
        elif marker in _JPEG_FRAMES:
            break
        elif marker == 0xFFFF:  # A fill byte before the marker.
            position += 1
        else:
            raise ValueError("the JPEG's header is damaged: no frame header in its place")
    # In entropy-coded data 0xff is followed by 0, so an end marker there is a true one.
    if not data.endswith(_JPEG_END) and data.find(_JPEG_END, position) < 0:
        raise ValueError("the JPEG is cut short: it has no end marker")
    height, width = _HEIGHT_AND_WIDTH(data, position + 5)
    return height, width


def _png_size(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError("the PNG's header is damaged")
    if not data.endswith(_PNG_END) and _PNG_END not in data:
        raise ValueError("the PNG is cut short: it has no end chunk")
    width, height = _PNG_SIZE(data, 16)
    return height, width


def _bmp_size(data: bytes) -> tuple[int, int]:
    header, offset = (int.from_bytes(data[at : at + 4], "little") for at in (14, 10))
    if len(data) < 26 or len(data) <= offset:
        raise ValueError("the BMP is cut short")
    if header == 12:  # The OS/2 header of 16-bit sizes.
        return int.from_bytes(data[20:22], "little"), int.from_bytes(data[18:20], "little")
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
    return abs(height), width  # A negative height means rows from top to bottom.


def _webp_size(data: bytes) -> tuple[int, int]:
    if len(data) < 25 or len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ValueError("the WebP is cut short")
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif chunk == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise ValueError("the WebP's header is damaged")
    return height, width


def _unknown(encoded: bytes, where: str) -> str:
    if not encoded:
        return f"{where}: the image has zero bytes; replace or remove it"
    kind = next((name for start, name in _OTHER_FORMATS.items() if encoded.startswith(start)), None)
    if kind is None and encoded[4:8] == b"ftyp":
        kind = "an AVIF or HEIC"
    found = f"is {kind} file" if kind else f"starts with {encoded[:8].hex(' ')}"
    return f"{where}: not a JPEG, PNG, BMP or WebP image (it {found}); convert or remove it"


def _damaged(where: str, reason: str) -> str:
    return f"{where}: {reason}; replace or remove the image"
