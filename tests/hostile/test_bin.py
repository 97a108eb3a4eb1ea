import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.bin_pairs import read_bin
from tests.hostile.mutations import IMAGE_MEMORY, attempt, bounded, hostile, mutations, tally

SAME = [True, False, True]


def encoded_images() -> list[bytes]:
    """Six files of two formats, two of them longer than 255 bytes."""
    noise = np.random.default_rng(3).integers(0, 256, (6, 12, 12, 3), dtype=np.uint8)
    sizes, suffixes = [6, 12, 6, 6, 12, 6], [".png", ".jpg"] * 3
    return [
        cv2.imencode(suffix, image[:size, :size])[1].tobytes()
        for image, size, suffix in zip(noise, sizes, suffixes, strict=True)
    ]


def arrays() -> list[np.ndarray]:
    return [np.frombuffer(image, np.uint8) for image in encoded_images()]


WRITERS = {
    **{f"bytes {n}": pickle.dumps((encoded_images(), SAME), n) for n in (0, 2, 3, 4, 5)},
    **{f"arrays {n}": pickle.dumps((arrays(), SAME), n) for n in (2, 4)},
}
"""Files of every protocol; no image comes twice, so that each stands for itself."""


@hostile
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:.*repeat an earlier one", "ignore:invalid escape sequence")
def test_every_image_and_label_is_the_one_written_or_refused(tmp_path_factory, data):
    whole = WRITERS[data.draw(st.sampled_from(sorted(WRITERS)))]
    damaged = data.draw(mutations(whole, [*range(24), *range(labels_of(whole), len(whole))]))
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(damaged.content)
    opened = attempt(".bin", path, lambda: read_bin(path), IMAGE_MEMORY)
    if opened is None:
        return
    ends = set()
    # Each place has its own image, in part at least, or none.
    assert len(opened.pairs) == len(SAME)
    for place, (index, image) in enumerate(zip(opened.pairs.flat, encoded_images(), strict=True)):
        found = opened.faces.encoded(int(index))
        if found == image:
            ends.add("right")
            continue
        assert found not in encoded_images()
        try:
            with bounded(".bin", IMAGE_MEMORY):
                opened.image(int(index))
            ends.add("altered")
        except FacedistillError as error:
            named = f"{path} image {place}" in str(error)
            ends.add("refused" if named else f"refused without its place: {error}")
    assert ends <= {"right", "refused", "altered"}
    tally[".bin", "opened, damaged images refused" if "refused" in ends else "read right"] += 1
    if "altered" in ends:
        tally[".bin", "(of these with changed pixels)"] += 1
    if opened.same.tolist() != SAME:
        assert not damaged.intact(labels_of(whole), len(whole))
        tally[".bin", "(of these with a label changed by its own byte)"] += 1


def labels_of(whole: bytes) -> int:
    """Return where the last image ends and the labels begin."""
    last = encoded_images()[-1][-12:]
    text = last.decode("latin-1").encode()  # How protocol 2 writes bytes.
    return max(whole.rfind(end) + len(end) for end in (last, text))
