"""The cached teacher: what a bank holds of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.teachers.base import Network, Teacher, View
from facedistill.models.outputs import Outputs


class BankTeacher(Teacher):
    """The cached teacher: embeddings come from the bank, in microseconds.

    They are raw, of the length that the network gave them, as an online teacher's are. Logits are
    s cos(f, prototype), of the training identities' prototypes.

    Args:
        bank: The bank.
        view: `same` teaches a mirrored image the flipped view and needs both in the bank;
            `clean` teaches every image the plain view, whatever augmentation did to it.
        prototypes: float32 (M, D), each training identity's mean unit embedding; None for no
            logits. See `prototypes_of`.
        scale: s. A run gives that of the student's logits, so that both mean the same by a
            temperature.
        plain: The network that the bank was made with, where it is at hand, for what no bank holds.
    """

    def __init__(
        self,
        bank: Bank,
        view: View = "same",
        prototypes: torch.Tensor | None = None,
        scale: float = 64.0,
        plain: Network | None = None,
    ) -> None:
        self.bank = bank
        self.view = view
        self.prototypes, self.scale, self.plain = prototypes, scale, plain
        self.name = f"bank {bank.folder}"
        self.fingerprint = bank.info.teacher
        self.embedding_size = bank.info.dimension
        pixels = bank.info.pixels
        self.gives = frozenset(
            {
                "embedding",
                *([] if prototypes is None else ["logits"]),
                *({pixels.output, "feature_map"} if pixels else ()),
            }
        )
        self.channels = pixels.channels if pixels else None

    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Look the batch up by its keys."""
        flipped = batch.flipped.cpu().numpy() if self.view == "same" else None
        rows = self.bank.find(batch.keys)
        embedding = torch.from_numpy(self.bank.raw_embeddings(rows, flipped))
        embedding = embedding.to(batch.labels.device, non_blocking=True)
        outputs = Outputs(embedding=embedding)
        self._add_pixels(outputs, needs, rows, flipped)
        if "logits" in needs:
            assert self.prototypes is not None
            prototypes = self.prototypes.to(embedding.device)
            with torch.autocast(embedding.device.type, enabled=False):
                outputs.logits = self.scale * F.normalize(embedding, dim=1) @ prototypes.T
        return outputs

    def _add_pixels(
        self, outputs: Outputs, needs: Collection[str], rows: np.ndarray, flipped: np.ndarray | None
    ) -> None:
        layout = self.bank.info.pixels
        if layout is None or not {layout.output, "feature_map"} & set(needs):
            return
        assert outputs.embedding is not None
        stored = torch.from_numpy(self.bank.pixels(rows, flipped))
        pixels = stored.to(outputs.embedding.device, non_blocking=True).float()
        # A Transformer's tokens are the places of its map, row by row.
        if "tokens" in needs:
            outputs.tokens = pixels
        if "feature_map" in needs:
            outputs.feature_map = pixels.transpose(1, 2).unflatten(2, (layout.side, layout.side))

    @property
    def pixels(self) -> PixelFeatures | None:
        """Where its pixel features are; None where the bank keeps none."""
        layout = self.bank.info.pixels
        if layout is None:
            return None
        output: Literal["feature_map", "tokens"] = (
            "tokens" if layout.output == "tokens" else "feature_map"
        )
        return PixelFeatures(output, layout.channels, layout.side)


def prototypes_of(bank: Bank, faces: FaceDataset) -> torch.Tensor:
    """Return the mean unit embedding of each identity: the class centres of a bank's teacher.

    Args:
        bank: The bank.
        faces: The training faces, labelled 0..M-1.

    Returns:
        float32 (M, D) of length 1.

    Raises:
        FacedistillError: If an image is not in the bank, or an identity has no mean.
    """
    return torch.from_numpy(bank.prototypes(bank.rows_of(faces), faces.labels))
