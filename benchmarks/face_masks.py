"""Face masks drawn a second on one core, beside decoding a 112x112 JPEG.

    python benchmarks/face_masks.py

Every mask is another one; drawing its parameters is counted. It is processor time, and the best of
several rounds counts: other work on the machine can only slow a round down.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np

from facedistill.faces.masks.face_mask import render_mask
from facedistill.faces.masks.mask_parameters import MaskParameters
from facedistill.faces.synthetic.procedural_face import procedural_face

FACES, ROUNDS = 300, 9


def rate(work: Callable[[int], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for index in range(FACES):
            work(index)
        best = min(best, time.process_time() - start)
    return FACES / best


def put_on(image: np.ndarray, landmarks: np.ndarray | None) -> Callable[[int], np.ndarray]:
    return lambda index: render_mask(
        image, MaskParameters.draw(np.random.default_rng(index)), landmarks
    )


def main() -> None:
    cv2.setNumThreads(1)
    image, _ = procedural_face(0, 0, 0)
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    decoding = rate(lambda _: cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    print(f"decode a 112x112 JPEG: {decoding:8.0f} images/s")
    for size in (64, 112, 224):
        image, landmarks = procedural_face(0, 0, 0, size)
        for where, points in (("template", None), ("landmarks", landmarks)):
            masks = rate(put_on(image, points))
            print(
                f"mask a {size}x{size} face, {where}: {masks:8.0f} faces/s, "
                f"{decoding / masks:.1f} decodes each"
            )


if __name__ == "__main__":
    main()
