"""Margin-softmax classifier heads: ArcFace, CosFace, their combination, and AdaFace.

A head holds one unit-length centre (or K sub-centres) per class. The cosine of an embedding with
its own class's centre is made smaller by a margin, so that the network has to earn it.

Angles are in radians. Logits are computed in float32 whatever autocast says, float64 if given.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean

Gradient = Literal["exact", "straight_through"]
PastPi = Literal["fallback", "easy", "wrap"]

LARGEST_COSINE = 1 - 1e-7
"""Beyond it the derivative of the angle is not finite."""
_SHORTEST = 1e-12
"""Least length of a centre that is divided by."""


class MarginHead(nn.Module, ABC):
    """Classes as directions, with a margin on each sample's own class.

    Args:
        embedding_size: D.
        classes: M.
        scale: s, multiplies cosines into logits.
        sub_centres: K; a class's cosine is the largest over its K centres (Deng et al.,
            "Sub-center ArcFace", ECCV 2020). Centres of class m are rows m K .. m K + K - 1.
        gradient: "exact" differentiates through the margin. "straight_through" has the same
            forward value but the gradient of the plain cosine, as arcface_torch trains.

    Attributes:
        weight: (M K, D), the centres, not normalised; drawn from N(0, 0.01).

    Raises:
        FacedistillError: If an argument is out of range.
    """

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        scale: float = 64.0,
        sub_centres: int = 1,
        gradient: Gradient = "exact",
    ) -> None:
        super().__init__()
        for name, count in (
            ("embedding_size", embedding_size),
            ("classes", classes),
            ("sub_centres", sub_centres),
        ):
            if count < 1:
                raise FacedistillError(f"margin head: {name} must be at least 1, not {count}")
        if not 0 < scale < math.inf:
            raise FacedistillError(f"margin head: scale must be positive, not {scale}")
        _check_choice("gradient", gradient, ("exact", "straight_through"))
        self.embedding_size = embedding_size
        self.classes = classes
        self.scale = scale
        self.sub_centres = sub_centres
        self.gradient = gradient
        self.weight = nn.Parameter(torch.empty(classes * sub_centres, embedding_size))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Return logits (B, M) with the margin on each sample's own class.

        Args:
            embedding: (B, D), not normalised.
            labels: int64 (B,), each in 0..M-1.

        Raises:
            FacedistillError: If shapes disagree, or (on the CPU) a label is out of range; an
                accelerator reports the latter by its own device-side assertion, since looking
                would stall it at every step.
        """
        self.check(embedding, labels, self.classes)
        return self.hardened(self.cosine(embedding), embedding, labels)

    def hardened(self, cosine: Tensor, embedding: Tensor, own: Tensor) -> Tensor:
        """Return logits (B, C) of cosines, with the margin on each sample's own class.

        Args:
            cosine: (B, C), with the classes of C columns.
            embedding: (B, D), not normalised.
            own: int64 (B,), the column of each sample's class; -1 where it is not among them.
        """
        index = own.clamp_min(0).unsqueeze(1)
        plain = cosine.gather(1, index).squeeze(1)
        with torch.autocast(embedding.device.type, enabled=False):
            target = self.with_margin(plain, embedding.detach())
            if self.gradient == "straight_through":
                target = plain + (target - plain).detach()
            target = torch.where(own >= 0, target, plain)
            return self.scale * cosine.scatter(1, index, target.unsqueeze(1))

    def logits(self, embedding: Tensor) -> Tensor:
        """Return scale times cosine (B, M), without margin: what soft targets are made of."""
        return self.scale * self.cosine(embedding)

    def cosine(self, embedding: Tensor, centres: Tensor | None = None) -> Tensor:
        """Return (B, M), the cosine with each class's nearest centre, within +-(1 - 1e-7).

        Args:
            embedding: (B, D), not normalised.
            centres: Those of some classes instead of all, in the order of `weight`.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            precision = torch.promote_types(embedding.dtype, torch.float32)
            centres = (self.weight if centres is None else centres).to(precision)
            # Scaling the B x M products costs less, above all backward, than M x D centres.
            lengths = torch.linalg.vector_norm(centres, dim=1).clamp_min(_SHORTEST)
            cosine = F.linear(F.normalize(embedding.to(precision)), centres) * lengths.reciprocal()
            if self.sub_centres > 1:
                cosine = cosine.unflatten(1, (-1, self.sub_centres)).amax(2)
            return cosine.clamp(-LARGEST_COSINE, LARGEST_COSINE)

    @abstractmethod
    def with_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Return each sample's cosine with its own class (B,), made harder.

        Args:
            cosine: (B,), with the own class.
            embedding: (B, D), not normalised, without gradient.
        """

    def check(self, embedding: Tensor, labels: Tensor, classes: int) -> None:
        """Refuse what `forward` refuses.

        Args:
            embedding: As for `forward`.
            labels: As for `forward`.
            classes: What the labels are below.
        """
        if embedding.ndim != 2 or embedding.shape[1] != self.embedding_size:
            raise FacedistillError(
                f"margin head: embedding must be (B, {self.embedding_size}), "
                f"not {tuple(embedding.shape)}"
            )
        if labels.shape != embedding.shape[:1] or labels.dtype != torch.int64:
            raise FacedistillError(
                f"margin head: labels must be int64 ({len(embedding)},), "
                f"not {labels.dtype} {tuple(labels.shape)}"
            )
        if labels.device.type == "cpu" and len(labels):
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= classes:
                wrong = low if low < 0 else high
                raise FacedistillError(
                    f"margin head: label {wrong} is outside 0..{classes - 1}; "
                    f"the head was made for {classes} classes"
                )


class CombinedMargin(MarginHead):
    """cos(m1 theta + m2) - m3: SphereFace's, ArcFace's and CosFace's margins at once.

    Deng et al., "ArcFace", CVPR 2019 (arXiv 1801.07698), equation 4.

    Args:
        embedding_size: D.
        classes: M.
        m1: Multiplies the angle, at least 1.
        m2: Added to the angle.
        m3: Subtracted from the cosine.
        past_pi: What happens where m1 theta + m2 exceeds pi and the cosine would rise again.
            "fallback" subtracts D sin D instead, D = pi - (pi - m2) / m1, which for m1 = 1 is
            ArcFace's cos(theta) - m sin m; "easy" leaves every cosine below 0 as it is;
            "wrap" lets it rise, as arcface_torch does.
        **options: Those of `MarginHead`.

    Raises:
        FacedistillError: If a margin is out of range.
    """

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        m1: float = 1.0,
        m2: float = 0.0,
        m3: float = 0.0,
        past_pi: PastPi = "fallback",
        **options: Any,
    ) -> None:
        super().__init__(embedding_size, classes, **options)
        _check_choice("past_pi", past_pi, ("fallback", "easy", "wrap"))
        if not 1 <= m1 <= 2 or not 0 <= m2 < math.pi / 2 or not 0 <= m3 < 2:
            raise FacedistillError(
                f"margin head: margins must be 1 <= m1 <= 2, 0 <= m2 < pi/2 and 0 <= m3 < 2, "
                f"not {m1}, {m2}, {m3}"
            )
        self.m1, self.m2, self.m3 = m1, m2, m3
        self.past_pi = past_pi
        self.last_angle = (math.pi - m2) / m1
        shortfall = math.pi - self.last_angle
        if shortfall > math.pi / 2:
            raise FacedistillError(f"margin head: m1={m1} and m2={m2} are too large together")
        self.fallback = shortfall * math.sin(shortfall)

    def with_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Return cos(m1 theta + m2) - m3 of (B,) cosines."""
        if self.m1 == 1 and self.m2 == 0:
            return cosine - self.m3
        angular = torch.cos(self.m1 * torch.arccos(cosine) + self.m2)
        if self.past_pi == "easy":
            angular = torch.where(cosine > 0, angular, cosine)
        elif self.past_pi == "fallback":
            within = cosine > math.cos(self.last_angle)
            angular = torch.where(within, angular, cosine - self.fallback)
        return angular - self.m3


class AdaFace(MarginHead):
    """A margin that follows image quality, read from the embedding's norm.

    Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022
    (arXiv 2204.00964): with the norm standardised by running batch statistics, times h and clipped
    to k in [-1, 1], the own class's logit is s (cos(theta - m k) - (m + m k)). As in the authors'
    program the angle is kept within [1e-3, pi - 1e-3] and norms within [1e-3, 100].

    The statistics belong to the process; they move in training mode only.

    Args:
        embedding_size: D.
        classes: M.
        m: Margin.
        h: Concentration of the standardised norm.
        t_alpha: Share of a new batch in the running statistics.
        **options: Those of `MarginHead`.

    Raises:
        FacedistillError: If an argument is out of range.
    """

    batch_mean: Tensor
    batch_std: Tensor

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        m: float = 0.4,
        h: float = 0.333,
        t_alpha: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(embedding_size, classes, **options)
        if not 0 <= m < math.pi / 2 or not 0 <= h <= 10 or not 0 < t_alpha <= 1:
            raise FacedistillError(
                f"AdaFace needs 0 <= m < pi/2, 0 <= h <= 10 and 0 < t_alpha <= 1, "
                f"not {m}, {h}, {t_alpha}"
            )
        self.m, self.h, self.t_alpha = m, h, t_alpha
        self.register_buffer("batch_mean", torch.tensor(20.0))
        self.register_buffer("batch_std", torch.tensor(100.0))

    def with_margin(self, cosine: Tensor, embedding: Tensor) -> Tensor:
        """Return cos(theta - m k) - (m + m k) of (B,) cosines."""
        norms = embedding.to(cosine.dtype).norm(dim=1).clamp(1e-3, 100)
        if self.training and len(norms) > 1:
            self._follow(norms)
        quality = ((norms - self.batch_mean) / (self.batch_std + 1e-3) * self.h).clamp(-1, 1)
        angle = (torch.arccos(cosine) - self.m * quality).clamp(1e-3, math.pi - 1e-3)
        return torch.cos(angle) - self.m * (1 + quality)

    def _follow(self, norms: Tensor) -> None:
        self.batch_mean.lerp_(norms.mean().to(self.batch_mean.dtype), self.t_alpha)
        self.batch_std.lerp_(norms.std().to(self.batch_std.dtype), self.t_alpha)


def softmax(embedding_size: int, classes: int, **options: Any) -> CombinedMargin:
    """Build a normalised softmax head without margin."""
    return CombinedMargin(embedding_size, classes, **options)


def arcface(embedding_size: int, classes: int, *, m: float = 0.5, **options: Any) -> CombinedMargin:
    """Build an ArcFace head: cos(theta + m)."""
    return CombinedMargin(embedding_size, classes, m2=m, **options)


def cosface(embedding_size: int, classes: int, *, m: float = 0.4, **options: Any) -> CombinedMargin:
    """Build a CosFace head: cos(theta) - m."""
    return CombinedMargin(embedding_size, classes, m3=m, **options)


HEADS: dict[str, Callable[..., MarginHead]] = {
    "adaface": AdaFace,
    "arcface": arcface,
    "combined": CombinedMargin,
    "cosface": cosface,
    "softmax": softmax,
}
"""Heads by the name a recipe calls them."""


def create_head(name: str, embedding_size: int, classes: int, **options: Any) -> MarginHead:
    """Build head `name` of `HEADS`.

    Args:
        name: A key of `HEADS`.
        embedding_size: D.
        classes: M.
        **options: The head's own.

    Raises:
        FacedistillError: If the name or an option is unknown or out of range.
    """
    if name not in HEADS:
        raise FacedistillError(f"no margin head {name!r}; {did_you_mean(name, HEADS)}")
    try:
        return HEADS[name](embedding_size, classes, **options)
    except TypeError as error:
        raise FacedistillError(f"margin head {name}: {error}") from None


def plain_head(weight: Tensor, sub_centres: int, scale: float) -> MarginHead:
    """Return a frozen head without margin of centres that are there.

    Args:
        weight: (M K, D), the centres.
        sub_centres: K.
        scale: What multiplies cosines into logits.
    """
    with torch.device("meta"):  # Nothing is drawn, to be replaced at once.
        head = softmax(
            weight.shape[1], len(weight) // sub_centres, scale=scale, sub_centres=sub_centres
        )
    head.weight = nn.Parameter(weight, requires_grad=False)
    return head


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise FacedistillError(
            f"margin head: {name} must be one of {', '.join(choices)}, not {value!r}"
        )
