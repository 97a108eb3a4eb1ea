"""Learning identities from labels: margin softmax with trainable class centres."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Classifier, Loss, Setting, objective
from facedistill.models.comparison_embedding import embedding_of
from facedistill.models.heads.margin import create_head
from facedistill.models.outputs import Outputs


@objective("margin_softmax")
class MarginSoftmax(Classifier):
    """Cross-entropy over identities with a margin on each sample's own class, mean over the batch.

    Sources: ArcFace (Deng et al., CVPR 2019), CosFace (Wang et al., CVPR 2018), AdaFace (Kim et
    al., CVPR 2022); see `facedistill.models.heads.margin`.

    Args:
        setting: Facts about the run.
        head: `arcface`, `cosface`, `adaface`, `combined` or `softmax`.
        label_smoothing: Share of the target spread over all classes, 0 to 1.
        **options: The head's own: scale, m, sub_centres, gradient, ...
    """

    needs = frozenset({"student.embedding"})

    def __init__(
        self,
        setting: Setting,
        *,
        head: str = "arcface",
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}, it must be in 0..1")
        identities = setting.require_labels("margin_softmax")
        self.head = create_head(head, setting.student_size, identities, **options)
        self.label_smoothing = label_smoothing

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of the batch classified right in spite of the margin."""
        logits = self.head(embedding_of(student), batch.labels)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        return loss, {"accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return (B, M) scale times cosine, without margin."""
        return self.head.logits(embedding)
