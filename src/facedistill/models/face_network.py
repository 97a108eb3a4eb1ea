"""A backbone that knows its input: raw faces in, Outputs out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facedistill.errors import FacedistillError
from facedistill.models.backbone import Backbone, tokens_of
from facedistill.models.embed import comparison_embedding
from facedistill.models.input_spec import InputSpec, Preprocess
from facedistill.models.metadata import ModelMetadata
from facedistill.models.outputs import Outputs
from facedistill.models.registry import create_backbone


class FaceNetwork(nn.Module):
    """A backbone with its architecture's name and arguments, input and metadata.

    Attributes:
        architecture: The registry's name of the backbone.
        arguments: What the backbone was built with, `input_size` excepted, which is `input.size`.
        input: Size, colour order and normalisation.
        metadata: Thresholds, licences, metrics.
        name: What to call this network in messages.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        architecture: str,
        arguments: dict[str, Any],
        input: InputSpec,
        metadata: ModelMetadata | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.preprocess = Preprocess(input)
        self.architecture = architecture
        self.arguments = dict(arguments)
        self.input = input
        self.metadata = metadata or ModelMetadata()
        self.name = self.metadata.name or architecture

    @classmethod
    def create(
        cls, architecture: str, input: InputSpec | None = None, **arguments: Any
    ) -> FaceNetwork:
        """Build a freshly initialised network.

        Args:
            architecture: A name from `registry.names()`.
            input: What to feed it; 112 x 112 RGB, (x - 127.5) / 127.5 by default.
            **arguments: The architecture's own, without `input_size`.

        Raises:
            FacedistillError: If the architecture or an argument is unknown or out of range.
        """
        if "input_size" in arguments:
            raise FacedistillError("input_size is the input specification's: set its size instead")
        spec = input or InputSpec()
        backbone = create_backbone(architecture, input_size=spec.size, **arguments)
        return cls(backbone, architecture=architecture, arguments=arguments, input=spec)

    @property
    def embedding_size(self) -> int:
        """D, the length of an embedding."""
        return self.backbone.embedding_size

    @property
    def feature_channels(self) -> int:
        """C, the channels of the feature map."""
        return self.backbone.feature_channels

    @property
    def gives(self) -> frozenset[str]:
        """Names of the outputs that `forward` can be asked for."""
        return self.backbone.gives

    @property
    def thresholds(self) -> dict[str, float]:
        """Smallest cosine that means "same person", by false accept rate; empty where unknown."""
        return self.metadata.thresholds

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.backbone.parameters()).device

    @property
    def fingerprint(self) -> str:
        """Hex digest over architecture, input and every weight; another network has another one.

        Reads all weights each time it is asked.
        """
        document = [self.architecture, sorted(self.arguments.items()), self.input.to_dict()]
        digest = hashlib.blake2b(json.dumps(document).encode(), digest_size=16)
        for key, tensor in self.backbone.state_dict().items():
            digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
            raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(raw.numpy().data)
        return digest.hexdigest()

    def forward(self, images: Tensor, needs: Collection[str] = ("embedding",)) -> Outputs:
        """Run a batch.

        Args:
            images: uint8 RGB, (B, H, H, 3), on the network's device; resized if H is not its size.
            needs: Names of the outputs wanted, among `gives`.

        Returns:
            Outputs with the embedding in float32, not normalised; the feature map and the tokens
            if asked for.

        Raises:
            FacedistillError: If the images are not such a batch, or an output is not had.
        """
        missing = set(needs) - self.gives
        if missing:
            raise FacedistillError(
                f"network {self.name} cannot give {', '.join(sorted(missing))}; "
                f"it gives {', '.join(sorted(self.gives))}"
            )
        feature_map = self.backbone.forward_features(self.preprocess(images))
        embedding = self.backbone.forward_head(feature_map).float()
        return Outputs(
            embedding=embedding,
            feature_map=feature_map if "feature_map" in needs else None,
            tokens=tokens_of(feature_map) if "tokens" in needs else None,
        )

    def embed(self, images: Tensor | np.ndarray, flip: bool = True) -> Tensor:
        """Return unit embeddings to compare faces by, without gradient and in eval mode.

        Args:
            images: uint8 RGB, (B, H, H, 3), on any device.
            flip: Whether to add the mirrored image's embedding before normalising.

        Returns:
            (B, D) float32 of length 1, on the network's device.
        """
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(np.ascontiguousarray(images))
        with _eval_mode(self), torch.no_grad():
            return comparison_embedding(self, images.to(self.device), flip=flip)


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    trained = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True
