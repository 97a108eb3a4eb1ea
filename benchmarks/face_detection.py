"""Faces found and errors of their landmarks, by the detector, its second look and a network.

    python benchmarks/face_detection.py LIST DETECTOR [--root FOLDER] [--landmarks MODEL] [--step 1]

LIST has images of one face each and their landmarks, as CelebA's does. Times are of this process's
CPU, with one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics.landmark_errors import normalised_errors
from facedistill.experiments.aligned_crops import look_again
from facedistill.faces.landmarks import to_pixels
from facedistill.models.files.open_network import open_network
from facedistill.runtime.detection import FaceDetector

LIMIT = 0.1
"""Error, over the distance of the eyes, from which on a face counts as failed."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list")
    parser.add_argument("detector", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--landmarks", type=Path)
    parser.add_argument("--step", type=int, default=1, help="take one image in so many")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    faces = open_dataset(given.list, root=given.root)
    detector = FaceDetector(given.detector)
    network = open_network(given.landmarks) if given.landmarks else None
    truth: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, float] = {}
    missed = 0

    def timed(name: str, look) -> np.ndarray:
        start = time.process_time()
        result = look()
        seconds[name] = seconds.get(name, 0) + time.process_time() - start
        return result

    for index in range(0, len(faces), given.step):
        sample = faces[index]
        image = sample.image
        seen = timed("search", lambda image=image: detector.detect(image))
        if not seen:
            missed += 1
            continue
        truth.append(to_pixels(sample.landmarks, image.shape))
        again = timed("second look", lambda image=image, face=seen[0]: detector.refine(image, face))
        found.setdefault("search", []).append(seen[0].landmarks)
        found.setdefault("second look", []).append(again.landmarks)
        if network is not None:
            points, _ = timed(
                "network",
                lambda image=image, face=again: look_again(
                    network, [image], face.landmarks[None], ["face"]
                ),
            )
            found.setdefault("network", []).append(points[0])
    print(f"{len(truth) + missed:,} images, {missed} without a face found")
    for name, points in found.items():
        errors = normalised_errors(np.stack(points), np.stack(truth)).mean(axis=1)
        print(
            f"{name:<12} NME {100 * errors.mean():5.2f} %  over {100 * LIMIT:g} %: "
            f"{100 * (errors > LIMIT).mean():4.1f} %  {1e3 * seconds[name] / len(truth):5.1f} ms"
        )


if __name__ == "__main__":
    main()
