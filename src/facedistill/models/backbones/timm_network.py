"""Any backbone of timm, as architecture `timm:NAME`: EdgeNeXt, and so EdgeFace, among them.

timm is an optional extra, since it needs torchvision. Only its architectures are used: weights are
never downloaded.

A convolutional network, or a Transformer with a map at its end (Swin), keeps timm's own head, made
to give the embedding; so the public EdgeFace networks (George et al., "EdgeFace", 2023, arXiv
2307.01838) load as they are. A Transformer with tokens at its end gets the mean of its patches and
a linear layer for one: what becomes of a class token is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from types import ModuleType
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.extras import import_extra
from facedistill.core.suggestion import did_you_mean
from facedistill.models.backbones.base import Backbone, EmbeddingSize, InputSize

PREFIX = "timm:"
"""What the names of these architectures start with."""

RankRatio = Annotated[float, Field(gt=0, le=1)]
"""Rank of a factored linear layer, as a share of the smaller of its two sizes."""


class TimmBackbone(Backbone):
    """A network of timm.

    Args:
        name: What timm calls it.
        embedding_size: D.
        input_size: S; given to networks that take it.
        rank_ratio: Factor every linear layer into two of this rank, as EdgeFace does; None for not
            at all.

    Raises:
        FacedistillError: If timm cannot be imported, does not know the name, or makes something
            else of it than a network with a square map or tokens at its end.
    """

    def __init__(
        self, name: str, embedding_size: int, input_size: int, rank_ratio: float | None
    ) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        # Not on the meta device: what timm keeps outside the state dict must have values.
        with torch.device("cpu"):
            self.model = _create(name, embedding_size, input_size)
            features = _probe(name, self.model, input_size)
            self.prefix = int(getattr(self.model, "num_prefix_tokens", 0))
            self.channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            self.head: nn.Module | None = None
            if features.ndim == 3:
                self.gives = self.gives | {"tokens"}
                self.feature_channels = features.shape[2]
                self.model.reset_classifier(0)
                self.head = nn.Sequential(
                    nn.Linear(self.feature_channels, embedding_size, bias=False),
                    nn.BatchNorm1d(embedding_size),
                )
            else:
                self.feature_channels = features.shape[3 if self.channels_last else 1]
            if rank_ratio is not None:
                _factor_linear_layers(self.model, rank_ratio)
        side = self._to_map(features).shape[2]
        if self._to_map(features).shape[3] != side:
            raise FacedistillError(f"architecture {PREFIX}{name} ends in a map that is not square")

    @property
    def last_norm(self) -> nn.Module | None:
        """The norm that the features come out of, which timm calls `norm`; None without one."""
        norm = getattr(self.model, "norm", None)
        return norm if isinstance(norm, nn.Module) else None

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last spatial map (B, C, H, W) of float images (B, 3, S, S)."""
        return self._to_map(self.model.forward_features(x))

    def forward_head(self, features: Tensor) -> Tensor:
        """Return embeddings (B, D), not normalised, of a last spatial map (B, C, H, W)."""
        if self.head is not None:
            return self.head(features.flatten(2).mean(2))
        if self.channels_last:
            features = features.permute(0, 2, 3, 1)
        return self.model.forward_head(features)

    def _to_map(self, features: Tensor) -> Tensor:
        if features.ndim == 3:
            places = features[:, self.prefix :].transpose(1, 2)
            return places.unflatten(2, (isqrt(places.shape[2]), -1))
        return features.permute(0, 3, 1, 2) if self.channels_last else features


class FactoredLinear(nn.Module):
    """A linear layer of low rank: two, named as in EdgeFace's checkpoints."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(layer.in_features, rank, bias=False)
        self.linear2 = nn.Linear(rank, layer.out_features, bias=layer.bias is not None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C')."""
        return self.linear2(self.linear1(x))


def timm_factory(name: str) -> Callable[..., TimmBackbone]:
    """Return what builds the timm network `name`.

    Its arguments are `embedding_size`, `input_size` and `rank_ratio`, those of `TimmBackbone`.
    """

    def build(
        embedding_size: EmbeddingSize = 512,
        input_size: InputSize = 112,
        rank_ratio: RankRatio | None = None,
    ) -> TimmBackbone:
        return TimmBackbone(name, embedding_size, input_size, rank_ratio)

    return build


def _import(name: str) -> ModuleType:
    try:
        return import_extra("timm")
    except ImportError as error:
        reason = first_line(error)
        raise FacedistillError(
            f"architecture {PREFIX}{name} needs timm, which cannot be imported ({reason}): "
            "pip install 'facedistill[timm]'"
        ) from None


def _create(name: str, embedding_size: int, input_size: int) -> Any:
    """Build the network, telling it the input size where it takes one."""
    timm = _import(name)
    # By this list alone: timm would take other names for addresses to download from.
    known = timm.list_models()
    if name not in known:
        raise FacedistillError(f"no timm model {name!r}; {did_you_mean(name, known)}")
    arguments: dict[str, Any] = {"pretrained": False, "num_classes": embedding_size}
    try:
        try:
            return timm.create_model(name, img_size=input_size, **arguments)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            return timm.create_model(name, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise _unfit(name, input_size, error) from None


def _probe(name: str, model: Any, input_size: int) -> Tensor:
    """Return the features of one black image, (1, C, H, W), (1, H, W, C) or (1, N, C)."""
    model.eval()
    try:
        with torch.no_grad():
            features = model.forward_features(torch.zeros(1, 3, input_size, input_size))
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _unfit(name, input_size, error) from None
    model.train()
    if not isinstance(features, Tensor) or features.ndim not in (3, 4):
        raise FacedistillError(f"architecture {PREFIX}{name} ends in neither a map nor tokens")
    count = features.shape[1] - int(getattr(model, "num_prefix_tokens", 0))
    if features.ndim == 3 and isqrt(count) ** 2 != count:
        raise FacedistillError(
            f"architecture {PREFIX}{name} gives {count} tokens, which fill no square"
        )
    return features


def _unfit(name: str, input_size: int, error: Exception) -> FacedistillError:
    reason = first_line(error)
    return FacedistillError(
        f"architecture {PREFIX}{name} does not work on images of side {input_size}: {reason}"
    )


def _factor_linear_layers(module: nn.Module, ratio: float) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear) and "head" not in name:
            rank = max(2, int(min(child.in_features, child.out_features) * ratio))
            setattr(module, name, FactoredLinear(child, rank))
        else:
            _factor_linear_layers(child, ratio)
