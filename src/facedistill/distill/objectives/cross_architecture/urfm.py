"""Unified receptive fields mapping: local features of the same receptive fields for two networks.

A Transformer's tokens and a CNN's pixels see different parts of the face, and there are not as many
of them. Both are mapped to L local features by the same learned questions, so that they can be
compared one by one.
"""

from __future__ import annotations

from math import inf, isqrt
from typing import Any, Literal

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import (
    AskedNetwork,
    Figures,
    Loss,
    MapOfFace,
    MapsOverFaces,
    Objective,
    Parts,
)
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.cross_architecture.facial_position import (
    Position,
    bucket_index,
    facial_distance,
)
from facedistill.distill.objectives.cross_architecture.local_features import (
    LocalCentres,
    LocalFeatures,
    SelfAttention,
    grid_places,
)
from facedistill.distill.objectives.cross_architecture.map_similarity import correlation, map_cosine
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.distill.teachers.saliency import TOP
from facedistill.models.outputs import Outputs

MOST_CENTRES = 64 * 64
"""As many as a face has pixels that could matter; each looks at all and is compared with all."""

MOST_WIDTH = 8192
"""Of local features; heads and buckets may not be more either."""

Normalise = Literal["images", "channels", "none"]
"""What the local features are standardised over."""

Learns = Literal["student", "both"]
"""Whose mapping from pixels to local features learns."""


@objective("urfm")
class UnifiedReceptiveFields(Objective):
    """lambda_1 L_attn + lambda_2 L_feat, over L local features of the same receptive fields.

    h_s and h_t are the local features of student and teacher (`LocalFeatures`), asked for by the
    same centres (`LocalCentres`). One self-attention over each gives maps A (heads, L, L) and
    features z (L, d): L_attn = L mean (A_s - A_t)^2, the mean over images, heads and queries of the
    squared distance of two rows of attention; L_feat = mean (z_s - z_t)^2 over images, centres and
    channels.

    Where both sides learn, the loss is lowest where h or z no longer say anything. Two things stand
    against that. Both are standardised before they are compared, the mean over centres and what
    each centre adds to it apart. And with `learns: student` the teacher's mapping keeps the random
    weights that it began with, which lose nothing of what its pixels say, and what both share
    learns from the student's side alone; gradient reaches the teacher's prompts all the same. The
    parts `*_over_centres` and `*_over_images` tell how much h and z vary: near 0 they have
    collapsed. With `normalise: images` L_feat is about 2 for features that have nothing to do with
    each other.

    In the method nothing ties a centre's keys to a place on the face, so that one centre may look
    at an eye in the student and at the chin in the teacher. `places` does: fixed features of each
    pixel's place are added to both networks' keys, and those of each centre's own place on its grid
    to its query (`place_features`, one function for all grids), queries and keys being brought to
    mean square 1 before. At the start a pixel of the centre's own place scores `place_scale` more
    than one far away, and content makes a difference of about 1. Prompts have no place. The parts
    `agreement` and `correlation` tell how alike student and teacher look, with or without places.

    Source: cross-architecture distillation (Zhao et al., ACM MM 2023, arXiv 2306.14662). What the
    paper chose for L, d, heads, gamma, lambda_1, lambda_2, the buckets, D_face, what is shared, the
    normalisation, whose mapping learns, the shortcut past the self-attention and the scale of
    L_attn is not known here: all of that is this project's, and so are the places. (The mean over
    all L x L entries would make L_attn 1/L of what it is here.)

    Pixels may be a CNN's map or a Transformer's tokens, prompts among them, of any number and width
    on either side. With `normalise: images` the loss depends on the micro-batch, of all processes
    together: their local features are gathered, and each process attends to all of them.

    Args:
        context: What it may ask of the run.
        centres: L, a square number: the centres stand on a sqrt(L) x sqrt(L) grid.
        width: d, multiple of `heads`.
        heads: Of the self-attention.
        position: Facial positional encoding b_l: `none`, or by the distance from the face's middle:
            `euclid`, or with D_face `saliency` or `relative` added.
        gamma: Weight of D_face.
        buckets: Learned vectors b_l; 4 are iRPE's default.
        places: Add features of their places to queries and keys; d is then a multiple of 4.
        place_scale: How much they count.
        shared: One set of centres, W_q and b_l for both networks; else each has its own.
        shared_attention: One self-attention for both networks; else each has its own.
        learns: Whose mapping learns: the `student`'s, or `both`.
        normalise: Standardise h and z over `images` (each channel of each local feature over the
            batch, of two images or more), over `channels` (each local feature), or not (`none`).
            Only the first keeps features from becoming the same for all images.
        lambda_1: Weight of L_attn.
        lambda_2: Weight of L_feat.
    """

    def __init__(
        self,
        context: RunContext,
        *,
        centres: int = 49,
        width: int = 512,
        heads: int = 8,
        position: Position = "saliency",
        gamma: float = 1.0,
        buckets: int = 4,
        places: bool = False,
        place_scale: float = 12.0,
        shared: bool = True,
        shared_attention: bool = True,
        learns: Learns = "student",
        normalise: Normalise = "images",
        lambda_1: float = 1.0,
        lambda_2: float = 1.0,
    ) -> None:
        super().__init__()
        _check(centres, width, heads, gamma, buckets, place_scale)
        if min(lambda_1, lambda_2) < 0 or lambda_1 == lambda_2 == 0:
            raise ValueError(
                "lambda_1 and lambda_2 must not be negative, nor both 0 (to go without it, set "
                "objectives.urfm to null)"
            )
        self.student, self.teacher = context.pixel_features
        self.needs = frozenset(
            {
                f"student.{self.student.output}",
                f"teacher.{self.teacher.output}",
                "run.pixel_features",
                *({"run.saliency"} if position == "saliency" else ()),
            }
        )
        self.learns, self.normalise = learns, normalise
        self.lambda_1, self.lambda_2 = lambda_1, lambda_2
        self.side = isqrt(centres)
        self.saliency = context.saliency if position == "saliency" else None
        chosen = None
        if position != "none":
            distance = facial_distance(self.side, position, gamma, self.saliency)
            chosen = bucket_index(distance, buckets)
        scale = place_scale if places else None
        asked = (centres, width, chosen, buckets, grid_places(self.side, width, scale))
        self.student_centres = LocalCentres(*asked)
        self.teacher_centres = self.student_centres if shared else LocalCentres(*asked)
        self.student_local = LocalFeatures(
            self.student.channels, width, grid_places(self.student.side, width, scale)
        )
        self.teacher_local = LocalFeatures(
            self.teacher.channels, width, grid_places(self.teacher.side, width, scale)
        )
        self.student_attention = SelfAttention(width, heads)
        self.teacher_attention = (
            self.student_attention if shared_attention else SelfAttention(width, heads)
        )
        if learns == "student":
            self._hold_the_teachers_own()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, L_attn, L_feat, and how h and z vary and where the centres look."""
        pixels_s = at_least_float32(self.student.rows(student))
        pixels_t = at_least_float32(self.teacher.rows(teacher))
        # Features may have a hundred times more in common than they differ by, and standardising
        # keeps the difference alone: in half precision that is mostly rounding.
        with torch.autocast(pixels_s.device.type, enabled=False):
            return self._compared(pixels_s, pixels_t)

    def _compared(self, pixels_s: torch.Tensor, pixels_t: torch.Tensor) -> Loss:
        of_student, seen_s = self.student_local(self.student_centres(), pixels_s)
        centres = self._of_teacher(self.teacher_centres)
        target, seen_t = self._of_teacher(self.teacher_local, centres, pixels_t)
        if self.normalise == "images":
            of_student, target = gathered(of_student, target)
            _check_batch(len(of_student))
        h_s, h_t = self._normalised(of_student), self._normalised(target)
        mixed_s, map_s = self.student_attention(h_s)
        mixed_t, map_t = self._of_teacher(self.teacher_attention, h_t)
        z_s, z_t = self._normalised(mixed_s), self._normalised(mixed_t)
        attn = map_s.shape[-1] * F.mse_loss(map_s, map_t)
        feat = F.mse_loss(z_s, z_t)
        parts = {"attn": attn.detach(), "feat": feat.detach()}
        parts |= spread("student", of_student) | spread("teacher", target)
        parts |= spread("student_z", mixed_s) | spread("teacher_z", mixed_t)
        fields = _on_grid(seen_s, self.student), _on_grid(seen_t, self.teacher)
        parts |= {"agreement": map_cosine(*fields).mean(), "correlation": correlation(*fields)}
        return self.lambda_1 * attn + self.lambda_2 * feat, parts

    def looks_at(self, student: Outputs, teacher: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where the centres look: attention (B, L, side, side) in student and teacher.

        Each side is that network's own grid of pixels. What prompts get is left out, so that a map
        may sum to less than 1.
        """
        sides = (
            (self.student_centres, self.student_local, self.student, student),
            (self.teacher_centres, self.teacher_local, self.teacher, teacher),
        )
        of_student, target = (
            _on_grid(local(centres(), at_least_float32(pixels.rows(outputs)))[1], pixels)
            for centres, local, pixels, outputs in sides
        )
        return of_student, target

    @torch.no_grad()
    def figures(self, student: AskedNetwork, teacher: AskedNetwork, faces: torch.Tensor) -> Figures:
        """Return what each centre looks at, the saliency map, and how alike both networks look."""
        looks = self.looks_at(
            student(faces, {self.student.output}), teacher(faces, {self.teacher.output})
        )
        maps = MapsOverFaces(*(each.float().cpu() for each in looks))
        drawn = {}
        if self.saliency is not None:
            caption = f"mean feature norm, scaled to 0..{TOP:g}"
            drawn["saliency"] = MapOfFace(self.saliency, TOP, caption)
        return Figures(
            maps={"receptive_fields": maps},
            face_maps=drawn,
            numbers={
                "agreement": float(map_cosine(maps.student, maps.teacher).mean()),
                "correlation": float(correlation(maps.student, maps.teacher)),
            },
        )

    def _hold_the_teachers_own(self) -> None:
        of_student = {id(weight) for part in self._student_parts() for weight in part.parameters()}
        for weight in self.parameters():
            weight.requires_grad_(id(weight) in of_student)

    def _student_parts(self) -> list[nn.Module]:
        return [self.student_centres, self.student_local, self.student_attention]

    def _of_teacher(self, part: nn.Module, *inputs: torch.Tensor) -> Any:
        """Run a part of the mapping for the teacher: its weights learn from that or do not."""
        if self.learns == "both":
            return part(*inputs)
        weights = {name: weight.detach() for name, weight in part.named_parameters()}
        return functional_call(part, weights, inputs)

    def _normalised(self, features: torch.Tensor) -> torch.Tensor:
        if self.normalise == "none":
            return features
        axis = 0 if self.normalise == "images" else 2
        # The centres' mean and what each adds to it are standardised apart: together, the loss
        # would fall fastest by making all centres say the same.
        common = features.mean(dim=1, keepdim=True)
        both = _standardised(common, axis) + _standardised(features - common, axis)
        return both / 2**0.5


_EPSILON = 1e-5
"""Added to variances, as normalisation layers do."""


def _standardised(features: torch.Tensor, axis: int) -> torch.Tensor:
    """Bring features to mean 0 and variance 1 over an axis."""
    centred = features - features.mean(dim=axis, keepdim=True)
    return centred * (centred.square().mean(dim=axis, keepdim=True) + _EPSILON).rsqrt()


@torch.no_grad()
def spread(name: str, features: torch.Tensor) -> Parts:
    """Return the variance of (B, L, d) over centres and over images, as shares of mean square.

    Shares, since what counts is whether features differ, not how long they are: 0 where they are
    all the same, 1 where they have nothing in common.

    What all features have in common counts in the mean square. Tokens of a trained Transformer have
    much of it, so that its h may vary by less than 0.01 and be sound: watch whether that falls.
    """
    power = features.square().mean().clamp(min=torch.finfo(features.dtype).tiny)
    return {
        f"{name}_over_centres": features.var(dim=1, unbiased=False).mean() / power,
        f"{name}_over_images": features.var(dim=0, unbiased=False).mean() / power,
    }


def _on_grid(attention: torch.Tensor, pixels: PixelFeatures) -> torch.Tensor:
    return attention[..., : pixels.side**2].unflatten(2, (pixels.side, pixels.side))


def _check_batch(images: int) -> None:
    if images < 2:
        raise FacedistillError(
            "objective 'urfm' with normalise: images compares the images of a micro-batch with "
            f"each other, and there is {images}: raise training.batch_size, lower "
            "training.accumulate, or set objectives.urfm.normalise to channels"
        )


def _check(
    centres: int,
    width: int,
    heads: int,
    gamma: float,
    buckets: int,
    place_scale: float,
) -> None:
    if not 1 <= centres <= MOST_CENTRES or isqrt(centres) ** 2 != centres:
        raise ValueError(
            f"centres is {centres}, it must be a square number (25, 49, 64) up to {MOST_CENTRES}"
        )
    for name, value in {"width": width, "heads": heads, "buckets": buckets}.items():
        if not 1 <= value <= MOST_WIDTH:
            raise ValueError(f"{name} is {value}, it must be 1 to {MOST_WIDTH}")
    if gamma < 0:
        raise ValueError("gamma must not be negative")
    if not 0 <= place_scale < inf:
        raise ValueError(f"place_scale is {place_scale}, it must be 0 or more and finite")
