import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.runtime import image_file
from facedistill.runtime.image_file import (
    MAX_PIXELS,
    DamagedImage,
    decode_image,
    encode_jpeg,
    encode_png,
    image_size,
    read_image_file,
)

FORMATS = (".jpg", ".png", ".bmp", ".webp")


def gradient(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 3, columns * 2, rows + columns], axis=2).astype(np.uint8)


def encode(image: np.ndarray, suffix: str, *parameters: int) -> bytes:
    return cv2.imencode(suffix, image[..., ::-1], list(parameters))[1].tobytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_colours_and_size(suffix: str) -> None:
    image = gradient(20, 31)
    encoded = encode(image, suffix, *((cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()))
    decoded = decode_image(encoded, "x")
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert image_size(encoded, "x") == (20, 31) == decoded.shape[:2]
    np.testing.assert_allclose(decoded.astype(int), image.astype(int), atol=12)
    if suffix != ".jpg":
        np.testing.assert_array_equal(decoded, image)
    np.testing.assert_array_equal(decode_image(memoryview(encoded), "x"), decoded)


def test_lossy_webp_and_progressive_jpeg_sizes() -> None:
    image = gradient(23, 17)
    assert image_size(encode(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, 80), "x") == (23, 17)
    assert image_size(encode(image, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "x") == (23, 17)


@pytest.mark.parametrize("suffix", FORMATS)
def test_smallest_image(suffix: str) -> None:
    assert decode_image(encode(gradient(1, 1), suffix), "x").shape == (1, 1, 3)


def test_grey_files_have_three_channels() -> None:
    grey = gradient(8, 9)[..., 0]
    decoded = decode_image(cv2.imencode(".png", grey)[1].tobytes(), "x")
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))


def test_own_encoders_round_trip() -> None:
    image = gradient(16, 16)
    np.testing.assert_array_equal(decode_image(encode_png(image), "x"), image)
    assert abs(decode_image(encode_jpeg(image), "x").astype(int) - image).mean() < 3
    with pytest.raises(ValueError, match="uint8"):
        encode_png(image.astype(float))


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIIi", 1, 0x112, 3, 1, orientation, 0)
    exif = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def test_orientation_is_ignored_unless_asked() -> None:
    turned = with_orientation(encode(gradient(10, 20), ".jpg"), 6)
    assert decode_image(turned, "x").shape == (10, 20, 3)
    assert decode_image(turned, "x", upright=True).shape == (20, 10, 3)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_declaring(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + data + png_chunk(b"IEND", b"")


def jpeg_declaring(width: int, height: int) -> bytes:
    jpeg = encode(gradient(8, 8), ".jpg")
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


@pytest.mark.parametrize("declaring", [png_declaring, jpeg_declaring])
@pytest.mark.parametrize("size", [(50_000, 50_000), (8193, 8192), (0, 8)])
def test_declared_size_is_refused_before_decoding(declaring, size, monkeypatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(FacedistillError, match=r"^train\.rec key 3: .* declares"):
        decode_image(declaring(*size), "train.rec key 3")


def test_bmp_and_webp_bombs_are_refused() -> None:
    bmp = bytearray(encode(gradient(8, 8), ".bmp"))
    bmp[18:26] = struct.pack("<ii", 50_000, -50_000)
    with pytest.raises(FacedistillError, match="declares"):
        decode_image(bytes(bmp), "x")
    webp = bytearray(encode(gradient(8, 8), ".webp", cv2.IMWRITE_WEBP_QUALITY, 80))
    at = webp.index(b"\x9d\x01\x2a") + 3
    webp[at : at + 4] = struct.pack("<HH", 16_383, 16_383)
    with pytest.raises(FacedistillError, match="declares"):
        decode_image(bytes(webp), "x")


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_truncation_is_refused(suffix: str) -> None:
    encoded = encode(gradient(12, 12), suffix)
    for length in range(len(encoded)):
        with pytest.raises(FacedistillError, match=r"^the place: "):
            decode_image(encoded[:length], "the place")


def test_truncated_jpeg_is_refused_though_its_thumbnail_is_whole() -> None:
    thumbnail = b"Exif\x00\x00" + encode(gradient(8, 8), ".jpg")
    jpeg = encode(gradient(32, 32), ".jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg[:2] + segment + jpeg[2:]
    assert decode_image(whole, "x").shape == (32, 32, 3)
    with pytest.raises(FacedistillError, match="no end marker"):
        decode_image(whole[:-40], "x")


def test_image_files_are_regular_and_of_bounded_size(tmp_path, monkeypatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("/dev/zero")
    for name, kind in (("pipe.jpg", "a pipe"), ("link.jpg", "a device"), (".", "a folder")):
        with pytest.raises(DamagedImage, match=f"is {kind}, not a file"):
            read_image_file(tmp_path / name)
    (tmp_path / "large.jpg").write_bytes(bytes(9))
    monkeypatch.setattr(image_file, "MAX_BYTES", 8)
    with pytest.raises(DamagedImage, match="has 9 bytes, at most 8 are read"):
        read_image_file(tmp_path / "large.jpg")


def test_bytes_behind_the_image_are_allowed() -> None:
    for suffix in FORMATS:
        assert decode_image(encode(gradient(9, 9), suffix) + b"trailer", "x").shape == (9, 9, 3)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "zero bytes"),
        (b"GIF89a" + bytes(40), "a GIF file"),
        (b"II*\x00" + bytes(40), "a TIFF file"),
        (bytes(4) + b"ftypavif" + bytes(30), "an AVIF or HEIC file"),
        (b"<html>not found</html>", "starts with 3c 68 74 6d 6c"),
        (b"\xff\xd8\xff\xd9", "header"),
        (b"\xff\xd8\xff\xd0\xff\xff", "damaged"),
    ],
)
def test_other_data_is_refused_by_name(encoded: bytes, message: str) -> None:
    with pytest.raises(FacedistillError, match=f"^key 7: .*{message}"):
        decode_image(encoded, "key 7")


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_gives_an_image_or_a_clear_error(suffix, position, change) -> None:
    encoded = bytearray(encode(gradient(16, 16), suffix))
    encoded[position % len(encoded)] ^= change
    try:
        image = decode_image(bytes(encoded), "the place")
    except FacedistillError as error:
        assert str(error).startswith("the place: ")  # noqa: PT017
    else:
        assert image.dtype == np.uint8
        assert image.shape[0] * image.shape[1] <= MAX_PIXELS


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"BM", b"\x89PNG\r\n\x1a\n"])
)
def test_random_bytes_are_refused(noise: bytes, start: bytes) -> None:
    with pytest.raises(FacedistillError, match=r"^the place: "):
        decode_image(start + noise, "the place")
