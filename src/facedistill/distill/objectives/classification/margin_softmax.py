"""Learning identities from labels: margin softmax with trainable class centres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Artifact, Classifier, Loss
from facedistill.distill.objectives.classification.sharded_head import ShardedHead, margin_head
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import objective
from facedistill.models.heads.class_head import ClassHead, head_path, save_head
from facedistill.models.heads.margin import MarginHead
from facedistill.models.outputs import Outputs, embedding_of


@objective("margin_softmax")
class MarginSoftmax(Classifier):
    """Cross-entropy over identities with a margin on each sample's own class, mean over the batch.

    Sources: ArcFace (Deng et al., CVPR 2019), CosFace (Wang et al., CVPR 2018), AdaFace (Kim et
    al., CVPR 2022); see `facedistill.models.heads.margin`.

    Args:
        context: What it may ask of the run.
        head: `arcface`, `cosface`, `adaface`, `combined` or `softmax`.
        label_smoothing: Share of the target spread over all classes, 0 to 1.
        sharded: Divide the classes among the processes of the run, for more identities than one
            device holds. Soft targets (`kd`, `gkd`) need the scores of all and do without it.
        sample_rate: Share of the classes in the softmax of a step, above 0 to 1: those of the batch
            and others drawn anew. Below 1 it needs `sharded`, also in one process.
        **options: The head's own: scale, m, sub_centres, gradient, ...
    """

    needs = frozenset({"student.embedding", "run.identities", "run.faces"})

    def __init__(
        self,
        context: RunContext,
        *,
        head: str = "arcface",
        label_smoothing: float = 0.0,
        sharded: bool = False,
        sample_rate: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}, it must be in 0..1")
        identities = context.require_identities()
        self.head = margin_head(
            head, context.student_size, identities, sharded, sample_rate, **options
        )
        self.gives_logits = not sharded
        self.label_smoothing = label_smoothing
        self.faces = context.faces

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of the batch classified right in spite of the margin."""
        if isinstance(self.head, ShardedHead):
            loss, right = self.head(embedding_of(student), batch.labels, self.label_smoothing)
            return loss, {"accuracy": right}
        logits = self.head(embedding_of(student), batch.labels)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        return loss, {"accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def artifacts(self) -> Sequence[Artifact]:
        """Return the class head: what soft targets of the student come from later."""
        if self.faces is None:
            return ()
        margin = self.head.whole() if isinstance(self.head, ShardedHead) else self.head
        head = ClassHead(margin, self.faces.fingerprint, self.faces.name)
        return (Artifact("class head", lambda path, net: save_head(head, head_path(path), net)),)

    @property
    def scale(self) -> float:
        """What the logits multiply cosines by."""
        return self.head.scale

    def logits(self, embedding: torch.Tensor) -> torch.Tensor:
        """Return (B, M) scale times cosine, without margin."""
        assert isinstance(self.head, MarginHead), "a sharded head gives no logits"
        return self.head.logits(embedding)
