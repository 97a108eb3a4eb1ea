"""DarkRank: the order in which the teacher ranks an image's neighbours."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch.nn import functional as F

from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import BatchRelation


def scores(embedding: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    """Return (B, B), S = -alpha d^beta of the distances of unit embeddings; -inf for itself."""
    unit = F.normalize(embedding, dim=1)
    # The form by products is rounded where faces are close, and has no gradient there.
    between = torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return (-alpha * between**beta).masked_fill(itself, float("-inf"))


@objective("darkrank")
class DarkRank(BatchRelation):
    """-log P(teacher's order of an image's nearest others | student's scores), hard form.

    The likelihood of a list is Plackett and Luce's: each place is won by a softmax over the items
    that are left. Items are those nearest by the teacher, as in published code. Sum over places,
    mean over images; a student without a preference costs log(items!), 3.2 for 4 items.

    Source: Chen, Wang and Zhang, "DarkRank" (AAAI 2018), with S = -alpha d^beta.

    Args:
        context: What it may ask of the run.
        alpha: Of the scores, > 0.
        beta: Of the scores, 1 or more.
        items: Length of a list, 2 or more; all others of the batch where there are fewer.
    """

    # An order has no gradient.
    adapts_teacher: ClassVar[bool] = False

    def __init__(
        self, context: RunContext, *, alpha: float = 3.0, beta: float = 3.0, items: int = 4
    ) -> None:
        super().__init__(context)
        if not 0 < alpha <= 1000:
            raise ValueError(f"alpha is {alpha}, it must be above 0 and at most 1000")
        if not 1 <= beta <= 10:
            raise ValueError(f"beta is {beta}, it must be in 1..10")
        if items < 2:
            raise ValueError(f"items is {items}, a list to order has 2 or more")
        self.alpha, self.beta, self.items = alpha, beta, items

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss; 0 to infinity."""
        of_student, target = (scores(x, self.alpha, self.beta) for x in (student, teacher))
        order = target.topk(min(self.items, len(target) - 1), dim=1).indices
        listed = of_student.gather(1, order)
        left = listed.flip(1).logcumsumexp(dim=1).flip(1)
        return (left - listed).sum(dim=1).mean()
