"""Teachers whose outputs are computed from pixels, a batch for them, and damaged faces."""

import numpy as np
import torch

from facedistill.data.batch import Batch
from facedistill.distill.bank.bank import stack_keys
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import DIMENSION, Faces, embed

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


class Raw:
    """A teacher by hand that is no torch module: means of colour over quarters, some pixels."""

    name, fingerprint, embedding_size = "raw", "a" * 32, 6
    gives = frozenset({"embedding", "feature_map"})
    input = InputSpec(size=8)

    def __call__(self, images, needs=("embedding",)):
        quarters = (
            (images - 100.0).permute(0, 3, 1, 2).double().unflatten(3, (2, 4)).unflatten(2, (2, 4))
        )
        return Outputs(
            embedding=torch.from_numpy(embed(images.numpy())),
            feature_map=quarters.mean(dim=(3, 5)),
        )


class Corrupt(Faces):
    """Faces of which the first `bad` images do not decode."""

    bad = 1

    def encoded(self, index):
        return b"gone" if index < self.bad else super().encoded(index)
