"""Reading a RecordIO file against decoding the same images from memory, in one process.

    python benchmarks/recordio.py TRAIN_REC_OR_FOLDER [--images 5000] [--rounds 5]

Prints the time to open the file, both rates and their ratio. Both sides take turns at chunks of a
hundred images and each chunk counts with its best round, so that other work on the machine weighs
little. Reading includes the map, the record's header, the size check and the content key; the
reference is `cv2.imdecode` alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np

from facedistill.data.formats.recordio import RecordIODataset

CHUNK = 100


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decode(images: list[bytes]) -> list[np.ndarray]:
    return [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)

    opening = min(seconds(lambda: RecordIODataset(arguments.path)) for _ in range(3))
    dataset = RecordIODataset(arguments.path)
    indices = np.linspace(0, len(dataset) - 1, min(arguments.images, len(dataset))).astype(int)
    indices = indices.tolist()
    in_memory = [dataset.encoded(index) for index in indices]

    best = np.full((2, -(-len(indices) // CHUNK)), np.inf)
    for _ in range(arguments.rounds):
        for chunk in range(best.shape[1]):
            part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
            times = (
                seconds(lambda images=in_memory[part]: decode(images)),
                seconds(lambda numbers=indices[part]: [dataset[number] for number in numbers]),
            )
            best[:, chunk] = np.minimum(best[:, chunk], times)
    decoding, reading = len(indices) / best.sum(axis=1)
    print(f"opening  {len(dataset):,} images in {opening:.3f} s")
    print(f"decoding {decoding:,.0f} images/s from memory")
    print(f"reading  {reading:,.0f} images/s, ratio {reading / decoding:.3f}")


if __name__ == "__main__":
    main()
