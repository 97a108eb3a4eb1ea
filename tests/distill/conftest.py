import cv2
import numpy as np
import pytest
import torch

from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank import writing
from facedistill.distill.bank.format import BankInfo
from facedistill.models.outputs import Outputs

DIMENSION = 6


class Faces(FaceDataset):
    """Random images in memory; equal seeds give equal images."""

    def __init__(self, seeds, labels=None, size=8, name="faces"):
        self.seeds, self.size, self.name = list(seeds), size, name
        self.labels = np.zeros(len(self.seeds), np.int64) if labels is None else np.asarray(labels)

    def encoded(self, index):
        rng = np.random.default_rng(self.seeds[index])
        image = rng.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        return cv2.imencode(".png", image)[1].tobytes()

    def where(self, index):
        return f"{self.name} image {index}"


def embed(images):
    """A teacher by hand: some pixels, so that plain and mirrored differ."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat[:, :DIMENSION] - 127.5


def embed_bank(embed, *arguments, **options):
    """Fill a bank with what a function of arrays gives."""

    def network(images, needs):
        assert needs == {"embedding"}
        return Outputs(embedding=torch.from_numpy(embed(images.numpy())))

    return writing.embed_bank(network, *arguments, **options)


def info_of(faces, **changes):
    fields = {
        "teacher": "f" * 32,
        "teacher_name": "strong.onnx",
        "dataset": faces.fingerprint,
        "dataset_name": faces.name,
        "count": len(faces),
        "dimension": DIMENSION,
        "rows": 4,
    }
    return BankInfo(**{**fields, **changes})


@pytest.fixture
def faces():
    return Faces(range(10), labels=[0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
