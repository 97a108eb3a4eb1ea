"""A teacher's mapping learns from the teacher alone: what it maps must still tell identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss
from facedistill.distill.objectives.cross_architecture.mapping import Mapping, MappingOptions
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.teacher_stage import StageLength, TeacherStage
from facedistill.models.outputs import Outputs, embedding_of


class MappingStage(TeacherStage):
    """Centres, projections and self-attention of a teacher, and a head that gives its embedding.

    With z_l the mapped local features as they are compared, g = W sum_l p_l * z_l + a the head's
    answer (p_l a weight for each centre and channel), f the teacher's embedding and v = z as one
    vector, the loss is, mean over the batch,

        1 - cos(g_i, f_i)  +  relations * mean_{j != i} (cos(v_i, v_j) - cos(u_i, u_j))^2 / s

    with u the embeddings less their mean over the batch, as v is without one, and s the mean of
    cos(u_i, u_j)^2 over those pairs, so that 1 is the error of features that are all at right
    angles. The head makes the features keep what the embedding says. The relations
    make them keep little else, since what is compared with the student is their distance, of which
    a head knows nothing: of a good teacher, features that learn by the head alone tell identities
    much worse than its embedding does.

    Neither is known to be the paper's, which is not known to have such a stage: that the mapping
    learns first, by what, and for how long is this project's.

    Args:
        options: Of the mapping.
        pixels: Where the teacher's pixel features are.
        embedding_size: E of the teacher.
        saliency: Map of the teacher, for `position: saliency`.
        relations: Weight of the second term.
        length: How it trains.
        given: A file to take it from instead.
    """

    noun = "mapping"

    def __init__(
        self,
        options: MappingOptions,
        pixels: PixelFeatures,
        embedding_size: int,
        saliency: torch.Tensor | None,
        *,
        relations: float,
        length: StageLength,
        given: Path | None = None,
    ) -> None:
        super().__init__()
        self.options, self.pixels, self.relations = options, pixels, relations
        self.length, self.given = length, given
        self.needs = frozenset({"embedding", pixels.output})
        # Its weights depend on its own seed, not on the run's: all runs share what it learns.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(length.seed)
            self.centres = options.new_centres(saliency)
            self.local = options.new_local(pixels, saliency)
            self.attention = options.new_attention()
            self.pool = nn.Parameter(torch.full((options.centres, options.width), 1.0))
            self.head = nn.Linear(options.width, embedding_size)

    def essence(self) -> dict[str, Any]:
        """Return the options that decide its shape and what it learns to do."""
        return {
            **self.options.to_dict(),
            "channels": self.pixels.channels,
            "side": self.pixels.side,
            "relations": self.relations,
        }

    def forward(self, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, and how far the head's answer and the relations are off."""
        embedding = at_least_float32(embedding_of(teacher))
        with torch.autocast(embedding.device.type, enabled=False):
            z = self.mapping(self._pixels(teacher), self.options.normalise).z
            answer = self.head((z * self.pool).mean(dim=1))
            off = 1 - F.cosine_similarity(answer, embedding).mean()
            centred = embedding - embedding.mean(dim=0)
            error = relation_error(z.flatten(1), centred)
            parts = {"embedding": off.detach(), "relations": error.detach()}
            return off + self.relations * error, parts

    @property
    def mapping(self) -> Mapping:
        """The parts that are compared with a student's; the head is not one."""
        return Mapping(self.centres, self.local, self.attention)

    def _pixels(self, teacher: Outputs) -> torch.Tensor:
        return at_least_float32(self.pixels.rows(teacher))


def relation_error(features: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of two sets' cosines, as a share of the second's square.

    Args:
        features: (B, F).
        embedding: (B, E), whose cosines are wanted.
    """
    apart = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    one, other = (F.normalize(each, dim=1) for each in (features, embedding))
    found, wanted = (one @ one.T)[apart], (other @ other.T)[apart]
    return (found - wanted).square().mean() / wanted.square().mean().clamp(min=1e-12)
