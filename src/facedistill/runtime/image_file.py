"""Encoded image files to arrays and back, with the door checked before anything is allocated.

The size a file declares is read from its header before the decoder sees it, so that a few bytes
claiming 50,000 x 50,000 pixels cost nothing; files that end early are refused rather than filled
with grey, as JPEG decoders do.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import read_regular
from facedistill.runtime.image_header import ImageHeader, read_header

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp")

MAX_PIXELS = 1 << 26
"""Largest image decoded: 67 megapixels, which is 201 MB as RGB; a crop has 12,544."""

MAX_BYTES = 1 << 29
"""Largest image file read."""

JPEG_QUALITY = 95
"""Of crops that are encoded anew, 1 to 100."""

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
_RGB = cv2.IMREAD_COLOR_RGB
_RGB_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION


class DamagedImage(FacedistillError):
    """An image that cannot be read or does not decode."""


def read_image_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        DamagedImage: If it is no regular file, is larger than `MAX_BYTES`, or the operating system
            does not give it.
    """
    try:
        return read_regular(path, MAX_BYTES)
    except FacedistillError as error:
        raise DamagedImage(str(error)) from error


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
        DamagedImage: If the bytes are empty, cut short, of another format, declare more than
            `MAX_PIXELS` or do not decode.
    """
    if not isinstance(encoded, bytes):
        encoded = bytes(encoded)
    image_size(encoded, where)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), _RGB if upright else _RGB_AS_STORED)
    except cv2.error as error:
        raise DamagedImage(_damaged(where, str(error.err))) from error
    if image is None:
        raise DamagedImage(_damaged(where, "the image does not decode"))
    return image


def image_size(encoded: bytes, where: str) -> tuple[int, int]:
    """Read the size an image file declares, without decoding it.

    Args:
        encoded: The bytes of a JPEG, PNG, BMP or WebP file.
        where: The image's place, for messages.

    Returns:
        (height, width) in pixels, as stored (EXIF orientation is ignored).

    Raises:
        DamagedImage: If the bytes are empty, cut short, of another format or declare more
            than `MAX_PIXELS`.
    """
    return header_of(encoded, where)[:2]


def header_of(encoded: bytes, where: str) -> ImageHeader:
    """Read what an image file says of itself, without decoding it.

    Args:
        encoded: The bytes of a JPEG, PNG, BMP or WebP file.
        where: The image's place, for messages.

    Raises:
        DamagedImage: See `image_size`.
    """
    try:
        header = read_header(encoded)
    except ValueError as error:
        raise DamagedImage(_damaged(where, str(error))) from error
    if header is None:
        raise DamagedImage(_unknown(encoded, where))
    if not 0 < header.height * header.width <= MAX_PIXELS:
        raise DamagedImage(
            f"{where}: the image declares {header.width} x {header.height} pixels, outside 1 to "
            f"{MAX_PIXELS:,}; replace or remove it"
        )
    return header


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
