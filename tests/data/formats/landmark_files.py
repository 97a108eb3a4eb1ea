from pathlib import Path

import cv2
import numpy as np

from facedistill.data.formats.landmark_list import (
    FIVE_NAMES,
)

ROW = "1.png 30 40 70 42 50 60 35 80 65 79"
HEADER = " ".join(FIVE_NAMES)
CROP = np.array([[30.5, 40], [70, 42], [50, 60], [35, 80], [65, 79.25]])


def write_images(folder: Path, names, shape=(112, 112)) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    images = {name: rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for name in names}
    for name, image in images.items():
        cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return images


def list_text(rows: dict[str, np.ndarray], header=FIVE_NAMES) -> str:
    lines = [f"{name} {' '.join(map(str, points.ravel()))}" for name, points in rows.items()]
    return "\n".join([str(len(rows)), " ".join(header), *lines]) + "\n"
