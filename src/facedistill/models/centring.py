"""Embeddings centred: less the mean embedding of many faces, in proportion to their length.

Where all embeddings share a direction, cosines of strangers are high, and from face to face
differently so. With m the mean of unit embeddings (its length is 0 where directions are spread
evenly), a centred embedding is f - |f| m: its direction is that of f / |f| - m, and it stays about
as long as f, so that the length still tells good images from bad ones.

Each view is centred before views are added: f(x) - |f(x)| m + f(x') - |f(x')| m of an image and its
mirror image, as an exported file, which sees one view at a time, has it. m is therefore the mean
over both views.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from torch import Tensor, nn

from facedistill.models.inference import Network
from facedistill.models.outputs import Outputs


@dataclass(frozen=True)
class Centre:
    """The mean of a network's unit embeddings.

    Attributes:
        mean: float32 (D,).
        data: What the faces are called, without a path.
        images: How many there were.
        keys: Of these images, to know them again; empty where they are not known.
    """

    mean: Tensor
    data: str
    images: int
    keys: frozenset[bytes] = frozenset()

    @property
    def length(self) -> float:
        """0 where directions are spread evenly, 1 where all are one."""
        return float(self.mean.norm())

    @property
    def title(self) -> str:
        """What the mean is of, in words."""
        return f"{self.data} ({self.images:,} images)"


def centred(embeddings: Tensor, mean: Tensor) -> Tensor:
    """Return f - |f| m.

    Args:
        embeddings: f, (B, D), not normalised.
        mean: m, (D,), the mean of unit embeddings.
    """
    return embeddings - embeddings.norm(dim=1, keepdim=True) * mean


class CentredNetwork(nn.Module):
    """A network whose embeddings are centred.

    Args:
        network: Raw faces in, Outputs out.
        centre: Of its own embeddings.
    """

    mean: Tensor

    def __init__(self, network: Network, centre: Centre) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", centre.mean)

    def forward(self, images: Tensor, needs: Collection[str] = ("embedding",)) -> Outputs:
        """Return the network's outputs for uint8 RGB (B, H, H, 3), the embedding centred."""
        outputs = self.network(images, set(needs))
        if outputs.embedding is None:
            return outputs
        mean = self.mean.to(outputs.embedding.device)
        return replace(outputs, embedding=centred(outputs.embedding, mean))
