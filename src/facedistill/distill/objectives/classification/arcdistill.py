"""ArcDistill, or ProxylessKD: the teacher's class centres are the student's classifier, frozen."""

from __future__ import annotations

from typing import Any

from facedistill.distill.objectives.classification.fixed_centres import FixedCentres
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import objective


@objective("arcdistill")
class ArcDistill(FixedCentres):
    """Margin softmax whose class centres are the teacher's and never move, mean over the batch.

    The student learns to place a face where the teacher has its identity. The centres are each
    training identity's mean unit embedding by the teacher; the sources take the weights of the
    teacher's own classifier, which knows no other identities than those it was trained on. 0 to
    infinity.

    Sources: ProxylessKD (Shi et al., arXiv 2011.00265); ArcDistill and, with `head: cosface`,
    CosDistill in AdaDistill (Boutros et al., ECCV 2024).

    Args:
        context: What it may ask of the run.
        head: `arcface`, `cosface`, `adaface`, `combined` or `softmax`.
        projection: Allow a learned linear map on the student side where the dimensions differ.
        **options: The head's own: scale (64), m (0.5), gradient, ...
    """

    needs = FixedCentres.needs | {"run.class_centres"}

    def __init__(
        self, context: RunContext, *, head: str = "arcface", projection: bool = True, **options: Any
    ) -> None:
        super().__init__(context, head, projection, **options)
        self.head.weight.copy_(context.class_centres)
