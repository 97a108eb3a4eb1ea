import struct

import cv2
import numpy as np
import pytest

from facedistill.runtime import image_header
from facedistill.runtime.image_header import PNG_START, read_header
from tests.runtime.test_image_file import encode, gradient, png_chunk, with_orientation


def tiff(orientation: int, order: str = ">") -> bytes:
    mark = b"MM\0*" if order == ">" else b"II*\0"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def test_a_png_whose_chunk_reaches_beyond_its_end_is_refused() -> None:
    png = encode(gradient(8, 8), ".png")
    at = png.index(b"IDAT") - 4
    for length in (0x7FFFFFFF, 0xFFFFFFFF, len(png)):
        damaged = png[:at] + struct.pack(">I", length) + png[at + 4 :]
        with pytest.raises(ValueError, match="reaches beyond its end"):
            read_header(damaged)
    # An end chunk within another chunk's data is none.
    hidden = png_chunk(b"tEXt", png_chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="no end chunk"):
        read_header(png[:33] + hidden)


def test_parts_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(image_header, "MAX_PARTS", 50)
    png = encode(gradient(8, 8), ".png")
    with pytest.raises(ValueError, match="more than 50 chunks"):
        read_header(png[:33] + 50 * png_chunk(b"teSt", b"") + png[33:])
    jpeg = encode(gradient(8, 8), ".jpg")
    with pytest.raises(ValueError, match="more than 50 segments"):
        read_header(jpeg[:2] + 50 * b"\xff\xfe\0\x02" + jpeg[2:])


def with_scans(jpeg: bytes, count: int) -> bytes:
    """The same progressive JPEG with its last scan `count` times more."""
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + count * jpeg[last:-2] + jpeg[-2:]


def test_scans_of_a_jpeg_are_bounded(monkeypatch) -> None:
    jpeg = encode(gradient(16, 16), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scans = jpeg.count(b"\xff\xda")
    assert read_header(with_scans(jpeg, image_header.MAX_SCANS - scans)) is not None
    with pytest.raises(ValueError, match="16 x 16 pixels has more than 100 scans"):
        read_header(with_scans(jpeg, image_header.MAX_SCANS - scans + 1))
    # What only looks like scans: in a comment before the end, or behind the end.
    comment = b"\xff\xfe" + struct.pack(">H", 402) + 200 * b"\xff\xda"
    assert read_header(jpeg[:-2] + comment + jpeg[-2:] + 400 * b"\xff\xda\0\2") is not None
    monkeypatch.setattr(image_header, "MAX_SCANNED", 16 * 16 * (scans - 1))
    with pytest.raises(ValueError, match=f"more than {scans - 1} scans"):
        read_header(jpeg)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_every_container(orientation: int) -> None:
    image = gradient(10, 20)
    jpeg = with_orientation(encode(image, ".jpg"), orientation)
    png = encode(image, ".png")
    png = png[:33] + png_chunk(b"eXIf", tiff(orientation)) + png[33:]
    webp = encode(image, ".webp")[12:]
    header = bytes([8, 0, 0, 0]) + (19).to_bytes(3, "little") + (9).to_bytes(3, "little")
    exif = tiff(orientation, "<")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + header + webp
    body += b"EXIF" + struct.pack("<I", len(exif)) + exif
    for data in (jpeg, png, b"RIFF" + struct.pack("<I", len(body)) + body):
        assert read_header(data) == (10, 20, orientation)
        turned = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert (turned.shape[:2] == (20, 10)) == (orientation >= 5)


@pytest.mark.parametrize("exif", [b"", b"MM", b"MM\0*\xff\xff\xff\xff", tiff(9), tiff(6)[:-8]])
def test_damaged_exif_states_nothing(exif: bytes) -> None:
    png = encode(gradient(4, 4), ".png")
    assert read_header(PNG_START + png[8:33] + png_chunk(b"eXIf", exif) + png[33:]) == (4, 4, 1)
