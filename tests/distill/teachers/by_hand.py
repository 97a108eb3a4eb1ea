"""A teacher that pixels are enough for, and a batch for it."""

import numpy as np
import torch

from facedistill.data.batch import Batch
from facedistill.distill.bank.bank import stack_keys
from facedistill.models.outputs import Outputs
from tests.distill.conftest import DIMENSION

INDICES = [7, 2, 2, 9]
FLIPPED = [True, False, True, False]


def batch_of(faces, clean=False):
    samples = [faces[i] for i in INDICES]
    plain = np.stack([sample.image for sample in samples])
    flipped = np.array(FLIPPED)
    seen = np.where(flipped[:, None, None, None], plain[:, :, ::-1], plain)
    return Batch(
        images=torch.from_numpy(seen),
        labels=torch.tensor([sample.label for sample in samples]),
        flipped=torch.from_numpy(flipped),
        keys=stack_keys([sample.key for sample in samples]),
        clean=torch.from_numpy(plain) if clean else None,
    )


class ByHand(torch.nn.Module):
    """The teacher of the bank as a network that can be asked."""

    name, fingerprint, embedding_size = "by hand", "f" * 32, DIMENSION
    gives = frozenset({"embedding"})

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.drop = torch.nn.Dropout(0.9)

    def forward(self, images, needs=("embedding",)):
        flat = images.flatten(1).float()[:, :DIMENSION] - 127.5
        return Outputs(embedding=self.drop(self.scale * flat))
