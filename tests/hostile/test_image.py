import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.runtime.image_file import MAX_PIXELS, decode_image, image_size
from tests.hostile.mutations import IMAGE_MEMORY, attempt, hostile, mutations, tally
from tests.runtime.test_image_file import png_chunk

NOISE = np.random.default_rng(11).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def encode(suffix, *options):
    return cv2.imencode(suffix, NOISE, options)[1].tobytes()


WHOLE = {
    "jpeg": encode(".jpg"),
    "progressive jpeg": encode(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "png": encode(".png"),
    "bmp": encode(".bmp"),
    "webp": encode(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
}


@hostile
@given(data=st.data())
def test_every_image_is_pixels_of_the_size_it_declares_or_refused(data):
    whole = WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))]
    damaged = data.draw(mutations(whole, range(32)))
    image = attempt("image", "key 7", lambda: decode_image(damaged.content, "key 7"), IMAGE_MEMORY)
    if image is None:
        return
    assert image.dtype == np.uint8
    assert image.shape == (*image_size(damaged.content, "key 7"), 3)
    same = np.array_equal(image, cv2.imdecode(np.frombuffer(whole, np.uint8), 1)[..., ::-1])
    tally["image", "read right" if same else "read with changed pixels"] += 1


def declaring(kind, width, height):
    """A few bytes that claim the largest image there may be."""
    data = bytearray(WHOLE[kind])
    if kind == "png":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return bytes(data[:8]) + png_chunk(b"IHDR", header) + bytes(data[33:])
    if kind == "bmp":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "webp":
        at = data.index(b"\x9d\x01\x2a") + 3
        data[at : at + 4] = struct.pack("<HH", width, height)
    else:
        at = data.index(b"\xff\xc2" if "progressive" in kind else b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("kind", sorted(WHOLE))
def test_the_largest_image_declared_takes_no_more_than_its_pixels(kind):
    encoded = declaring(kind, 8192, MAX_PIXELS // 8192)
    reader = f"largest {kind}"
    image = attempt(reader, "key 7", lambda: decode_image(encoded, "key 7"), IMAGE_MEMORY)
    if image is not None:
        assert image.shape == (MAX_PIXELS // 8192, 8192, 3)
        tally[reader, "decoded, what is missing in grey"] += 1
