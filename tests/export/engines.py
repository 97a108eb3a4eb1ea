"""Engines for processes to open: each does one thing wrong, or none."""

import os
import signal
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError


class Engine:
    """Writes down how it was opened and called, and holds memory by the size of a batch."""

    batch = None
    megabytes_a_face = 20

    def __init__(self, path, *, threads):
        self.path = Path(path)
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        self.note(f"threads {threads} cpus {cpus} gpus {os.environ['CUDA_VISIBLE_DEVICES']!r}")
        print("output of a runtime")

    def note(self, line):
        with self.path.open("a") as file:
            file.write(line + "\n")

    def embed(self, images):
        assert images.dtype == np.uint8
        held = np.ones((len(images) * self.megabytes_a_face, 1_000_000), np.uint8)
        self.note(f"embed {images.shape}")
        return held[:, :4].astype(np.float32)


class Refusing(Engine):
    def __init__(self, path, *, threads):
        raise FacedistillError(f"{path} is damaged")


class Broken(Engine):
    def embed(self, images):
        raise ValueError("shape\nof things")


class Dying(Engine):
    def embed(self, images):
        os.kill(os.getpid(), signal.SIGKILL)
