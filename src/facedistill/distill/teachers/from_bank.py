"""The cached teacher: what a bank holds of it."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.teachers.base import Teacher, View
from facedistill.models.outputs import Outputs


class BankTeacher(Teacher):
    """The cached teacher: embeddings come from the bank, in microseconds.

    They are raw, of the length that the network gave them, as an online teacher's are.

    Args:
        bank: The bank.
        view: `same` teaches a mirrored image the flipped view and needs both in the bank;
            `clean` teaches every image the plain view, whatever augmentation did to it.

    Attributes:
        scale: Scale s of its logits s cos(f, prototype), had after `learn_prototypes`. A run sets
            it to that of the student's, so that both mean the same by a temperature.
    """

    def __init__(self, bank: Bank, view: View = "same") -> None:
        self.bank = bank
        self.view = view
        self.name = f"bank {bank.folder}"
        self.fingerprint = bank.info.teacher
        self.embedding_size = bank.info.dimension
        self.gives = frozenset({"embedding"})
        self.scale = 64.0
        self.prototypes: torch.Tensor | None = None

    def learn_prototypes(self, faces: FaceDataset) -> torch.Tensor:
        """Take the mean unit embedding of each identity as its class centre, to give logits.

        Args:
            faces: The training faces, labelled 0..M-1.

        Returns:
            The centres, float32 (M, D), computed on the first call.
        """
        if self.prototypes is None:
            rows = self.bank.rows_of(faces)
            self.prototypes = torch.from_numpy(self.bank.prototypes(rows, faces.labels))
            self.gives = self.gives | {"logits"}
        return self.prototypes

    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Look the batch up by its keys."""
        flipped = batch.flipped.cpu().numpy() if self.view == "same" else None
        rows = self.bank.find(batch.keys)
        embedding = torch.from_numpy(self.bank.raw_embeddings(rows, flipped))
        embedding = embedding.to(batch.labels.device, non_blocking=True)
        outputs = Outputs(embedding=embedding)
        if "logits" in needs:
            assert self.prototypes is not None
            self.prototypes = self.prototypes.to(embedding.device)
            with torch.autocast(embedding.device.type, enabled=False):
                outputs.logits = self.scale * F.normalize(embedding, dim=1) @ self.prototypes.T
        return outputs
