"""The graph that is exported: a network between what may be put before and behind it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from facedistill.models.centring import centred
from facedistill.models.face_network import FaceNetwork


class ExportedGraph(nn.Module):
    """What goes into the file: preprocessing, the backbone, centring, normalisation.

    Preprocessing and normalisation are optional, and embeddings of a network that has no centre are
    not centred.
    """

    def __init__(self, network: FaceNetwork, *, preprocessing: bool, normalise: bool) -> None:
        super().__init__()
        self.preprocess = network.preprocess if preprocessing else nn.Identity()
        self.backbone = network.backbone
        self.landmark_head = network.landmark_head
        self.centre: Tensor | None
        self.register_buffer("centre", network.centre)
        self.normalise = normalise

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        return ["embedding", "landmarks"] if self.landmark_head else ["embedding"]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return float32 embeddings (B, D) and, of a network with such a head, landmarks."""
        embedding: Tensor = self.backbone(self.preprocess(image)).float()
        given = embedding if self.centre is None else centred(embedding, self.centre)
        given = F.normalize(given) if self.normalise else given
        return (given, self.landmark_head(embedding)) if self.landmark_head else (given,)
