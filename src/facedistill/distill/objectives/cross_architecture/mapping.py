"""The mapping of one network: from pixel features to what is compared, and the options of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf, isqrt
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.func import functional_call

from facedistill.distill.objectives.cross_architecture.facial_position import (
    Position,
    bucket_index,
    facial_distance,
)
from facedistill.distill.objectives.cross_architecture.local_features import (
    LocalCentres,
    LocalFeatures,
    SelfAttention,
    Table,
    grid_places,
)
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.cross_architecture.standardising import Normalise, standardised

MOST_CENTRES = 64 * 64
"""As many as a face has pixels that could matter; each looks at all and is compared with all."""

MOST_WIDTH = 8192
"""Of local features; heads and buckets may not be more either."""


class Mapped(NamedTuple):
    """What a mapping makes of the pixel features of images.

    Attributes:
        h: (B, L, d) local features, as they come out.
        seen: (B, L, N): how each centre attends to the pixels.
        mixed: (B, L, d) what the self-attention makes of the standardised h.
        maps: (B, heads, L, L), its attention.
        z: (B, L, d), the mixed features, standardised.
    """

    h: torch.Tensor
    seen: torch.Tensor
    mixed: torch.Tensor
    maps: torch.Tensor
    z: torch.Tensor


@dataclass(frozen=True)
class MappingOptions:
    """The options of `urfm` that decide what a mapping is; see there.

    Raises:
        ValueError: If one is out of its range.
    """

    centres: int = 49
    width: int = 512
    heads: int = 8
    position: Position = "saliency"
    gamma: float = 1.0
    buckets: int = 4
    table: Table = "zeros"
    coded_keys: bool = False
    places: bool = False
    place_scale: float = 12.0
    fixed_centres: bool = False
    normalise: Normalise = "images"

    def __post_init__(self) -> None:
        if not 1 <= self.centres <= MOST_CENTRES or isqrt(self.centres) ** 2 != self.centres:
            raise ValueError(
                f"centres is {self.centres}, it must be a square number (25, 49, 64) up to "
                f"{MOST_CENTRES}"
            )
        for name in ("width", "heads", "buckets"):
            if not 1 <= getattr(self, name) <= MOST_WIDTH:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be 1 to {MOST_WIDTH}")
        if self.gamma < 0:
            raise ValueError("gamma must not be negative")
        if not 0 <= self.place_scale < inf:
            raise ValueError(f"place_scale is {self.place_scale}, it must be 0 or more and finite")

    @property
    def side(self) -> int:
        """Of the grid of centres."""
        return isqrt(self.centres)

    def to_dict(self) -> dict[str, Any]:
        """Return the options by name."""
        return asdict(self)

    def new_centres(self, saliency: torch.Tensor | None) -> LocalCentres:
        """Return fresh centres.

        Args:
            saliency: (H, H) map of the teacher, for `position: saliency`.
        """
        chosen = None
        if self.position != "none":
            distance = facial_distance(self.side, self.position, self.gamma, saliency)
            chosen = bucket_index(distance, self.buckets)
        places = grid_places(self.side, self.width, self._scale)
        return LocalCentres(
            self.centres, self.width, chosen, self.buckets, places, self.table, self.fixed_centres
        )

    def new_local(self, pixels: PixelFeatures, saliency: torch.Tensor | None) -> LocalFeatures:
        """Return a fresh cross-attention to the pixels of a network; `saliency` as above."""
        chosen = None
        if self.coded_keys and self.position != "none":
            # The distance that a centre at the pixel's place would have.
            distance = facial_distance(
                pixels.side, self.position, self.gamma, saliency, cells=self.side
            )
            chosen = bucket_index(distance, self.buckets)
        places = grid_places(pixels.side, self.width, self._scale)
        return LocalFeatures(pixels.channels, self.width, places, chosen)

    def new_attention(self) -> SelfAttention:
        """Return a fresh self-attention over local features."""
        return SelfAttention(self.width, self.heads)

    @property
    def _scale(self) -> float | None:
        return self.place_scale if self.places else None


class Mapping(NamedTuple):
    """The parts of one network's mapping; two networks may have some in common.

    Attributes:
        centres: That ask.
        local: The cross-attention to the network's pixels.
        attention: The self-attention over what comes out.
    """

    centres: LocalCentres
    local: LocalFeatures
    attention: SelfAttention

    def local_features(
        self, pixels: torch.Tensor, detached: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return h (B, L, d) and the attention (B, L, N) of pixels (B, N, C).

        Args:
            pixels: Of the network.
            detached: Whether the weights get no gradient; the pixels do either way.
        """
        own = self.centres.table
        table = own.detach() if detached and own is not None else own
        queries = applied(self.centres, detached)
        h, seen = applied(self.local, detached, queries, pixels, table)
        return h, seen

    def __call__(
        self,
        pixels: torch.Tensor,
        over: Normalise,
        detached: bool = False,
        gather: Callable[[torch.Tensor], torch.Tensor] = lambda h: h,
    ) -> Mapped:
        """Map pixels (B, N, C) to all that is compared.

        Args:
            pixels: Of the network.
            over: What h and z are standardised over.
            detached: As in `local_features`.
            gather: Brings the h of all processes together, before they are standardised.
        """
        h, seen = self.local_features(pixels, detached)
        h = gather(h)
        mixed, maps = applied(self.attention, detached, standardised(h, over))
        return Mapped(h, seen, mixed, maps, standardised(mixed, over))


def applied(part: nn.Module, detached: bool, *inputs: Any) -> Any:
    """Run a part of a mapping, whose weights get gradient unless `detached`."""
    if not detached:
        return part(*inputs)
    weights = {name: weight.detach() for name, weight in part.named_parameters()}
    return functional_call(part, weights, inputs)
