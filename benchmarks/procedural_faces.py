"""Procedural faces a second on one core, beside decoding a 112x112 JPEG.

    python benchmarks/procedural_faces.py

Every face is of another identity, so nothing can be reused from one to the next. The best of
several rounds counts: other work on the machine can only slow a round down.
"""

import time
from collections.abc import Callable

import cv2

from facedistill.faces.synthetic.procedural_face import procedural_face

FACES, ROUNDS = 100, 7


def rate(work: Callable[[int], object], count: int) -> float:
    best = float("inf")
    for turn in range(ROUNDS):
        start = time.perf_counter()
        for index in range(turn * count, (turn + 1) * count):
            work(index)
        best = min(best, time.perf_counter() - start)
    return count / best


def main() -> None:
    cv2.setNumThreads(1)
    image, _ = procedural_face(0, 0, 0)
    _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    decoding = rate(lambda _: cv2.imdecode(encoded, cv2.IMREAD_COLOR), 1000)
    print(f"decode a 112x112 JPEG: {decoding:8.0f} images/s")
    for size in (112, 64):
        faces = rate(lambda index, size=size: procedural_face(0, index, 0, size), FACES)
        print(
            f"draw a {size}x{size} face: {faces:8.0f} faces/s, {decoding / faces:.0f} decodes each"
        )


if __name__ == "__main__":
    main()
