"""How alike two networks look at faces."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.distill.objectives.cross_architecture.pixel_features import resampled


@torch.no_grad()
def map_cosine(of_student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return (L,): the cosine of what student and teacher look at, mean over faces; 0 to 1.

    Maps that are the same everywhere agree perfectly, and say nothing: see `correlation`.

    Args:
        of_student: (B, L, side, side) maps of the student, as `looks_at` gives them.
        target: Of the teacher. They are compared on the coarser of the two grids.
    """
    one, other = _on_one_grid(of_student, target)
    return F.cosine_similarity(one, other, dim=2).mean(dim=0)


@torch.no_grad()
def correlation(of_student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean of the same cosine, of what each map has above its own mean.

    It is 0 for two networks whose centres look anywhere, or everywhere.
    """
    one, other = (
        maps - maps.mean(dim=2, keepdim=True) for maps in _on_one_grid(of_student, target)
    )
    return F.cosine_similarity(one, other, dim=2).mean()


def _on_one_grid(*maps: torch.Tensor) -> list[torch.Tensor]:
    """Bring maps to the coarsest grid among them: (B, L, places) each."""
    side = min(each.shape[-1] for each in maps)
    return [resampled(each, side).flatten(2) for each in maps]
