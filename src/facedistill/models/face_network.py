"""A backbone that knows its input: raw faces in, Outputs out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError
from facedistill.models.backbones.base import Backbone, StagedBackbone, tokens_of
from facedistill.models.centring import centred
from facedistill.models.evaluation_mode import evaluation_mode
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.heads.landmark_head import LandmarkHead
from facedistill.models.inference import comparison_embedding
from facedistill.models.outputs import Outputs, check_needs, landmarks_of
from facedistill.models.preprocess import Preprocess
from facedistill.models.registry import create_backbone
from facedistill.runtime.input_spec import InputSpec

HEAD_PREFIX = "landmark_head."
"""Of the landmark head's weights, in model files too."""

CENTRE = "centre"
"""Of the mean by which embeddings are centred, likewise."""


class FaceNetwork(nn.Module):
    """A backbone with its architecture's name and arguments, input and metadata.

    Attributes:
        backbone: From a normalised image to the embedding.
        landmark_head: From there to landmarks; None for a network that only recognises.
        centre: (D,), the mean of unit embeddings by which its embeddings are centred, see
            `models.centring`; None for embeddings as the backbone gives them.
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
        landmark_head: LandmarkHead | None = None,
        centre: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.backbone: Backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.landmark_head = landmark_head
        self.centre: Tensor | None
        self.register_buffer("centre", centre)
        self.preprocess = Preprocess(input)
        self.architecture = architecture
        self.arguments = dict(arguments)
        self.input = input
        self.metadata = metadata or ModelMetadata()
        self.name = self.metadata.name or architecture

    @classmethod
    def create(
        cls,
        architecture: str,
        input: InputSpec | None = None,
        *,
        landmarks: int | None = None,
        **arguments: Any,
    ) -> FaceNetwork:
        """Build a freshly initialised network.

        Args:
            architecture: A name from `registry.names()`.
            input: What to feed it; 112 x 112 RGB, (x - 127.5) / 127.5 by default.
            landmarks: Number of points of a landmark head; None for no such head.
            **arguments: The architecture's own, without `input_size`.

        Raises:
            FacedistillError: If the architecture or an argument is unknown or out of range.
        """
        if "input_size" in arguments:
            raise FacedistillError("input_size is the input specification's: set its size instead")
        spec = input or InputSpec()
        backbone = create_backbone(architecture, input_size=spec.size, **arguments)
        head = LandmarkHead(backbone.embedding_size, landmarks) if landmarks else None
        return cls(
            backbone,
            architecture=architecture,
            arguments=arguments,
            input=spec,
            landmark_head=head,
        )

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
        return self.backbone.gives | ({"landmarks"} if self.landmark_head else set())

    @property
    def landmark_points(self) -> int | None:
        """P, the number of points of its landmark head; None without one."""
        return self.landmark_head.points if self.landmark_head else None

    @contextmanager
    def fed(self, input: InputSpec) -> Iterator[None]:
        """Feed it otherwise for a while: in another colour order or normalisation."""
        own = self.preprocess
        self.preprocess = Preprocess(input).to(self.device)
        try:
            yield
        finally:
            self.preprocess = own

    def weights(self) -> dict[str, Tensor]:
        """Return all weights and statistics by name, those of the landmark head with a prefix."""
        head = self.landmark_head.state_dict(prefix=HEAD_PREFIX) if self.landmark_head else {}
        centre = {} if self.centre is None else {CENTRE: self.centre}
        return {**self.backbone.state_dict(), **head, **centre}

    def load_weights(self, weights: Mapping[str, Tensor], *, assign: bool = False) -> None:
        """Take over weights named as `weights()` names them.

        Args:
            weights: All of them, of the right shapes.
            assign: Keep the tensors themselves instead of copying their values.
        """
        heads = [key for key in weights if key.startswith(HEAD_PREFIX)]
        others = {*heads, CENTRE}
        backbone = {key: value for key, value in weights.items() if key not in others}
        if self.centre is not None:
            self.centre = weights[CENTRE] if assign else weights[CENTRE].to(self.centre)
        self.backbone.load_state_dict(backbone, assign=assign)
        if self.landmark_head is not None:
            head = {key.removeprefix(HEAD_PREFIX): weights[key] for key in heads}
            self.landmark_head.load_state_dict(head, assign=assign)

    @property
    def thresholds(self) -> dict[str, float]:
        """Least cosine similarity that accepts a pair, by false accept rate; may be empty."""
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
        for key, tensor in self.weights().items():
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
            Outputs with the embedding in float32, not normalised; feature map, maps of stages,
            tokens and landmarks if asked for.

        Raises:
            FacedistillError: If the images are not such a batch, or an output is not had.
        """
        check_needs(self.name, needs, self.gives)
        faces = self.preprocess(images)
        stages: list[Tensor] | None = None
        if "stage_maps" in needs and isinstance(self.backbone, StagedBackbone):
            stages = self.backbone.forward_stages(faces)
        feature_map = stages[-1] if stages else self.backbone.forward_features(faces)
        embedding = self.backbone.forward_head(feature_map).float()
        return Outputs(
            embedding=self.given(embedding),
            feature_map=feature_map if "feature_map" in needs else None,
            tokens=tokens_of(feature_map) if "tokens" in needs else None,
            landmarks=self.landmarks_at(embedding) if "landmarks" in needs else None,
            stage_maps=stages,
        )

    def given(self, embedding: Tensor) -> Tensor:
        """Return embeddings (B, D) of the backbone as the network gives them: centred, or not."""
        return embedding if self.centre is None else centred(embedding, self.centre)

    def landmarks_at(self, embedding: Tensor) -> Tensor:
        """Return the landmarks (B, P, 2) that the landmark head sees in embeddings (B, D)."""
        assert self.landmark_head is not None, "`gives` says so"
        return self.landmark_head(embedding)

    def locate(self, images: Tensor | np.ndarray) -> Tensor:
        """Return the landmarks of faces in loose crops, without gradient and in eval mode.

        Args:
            images: uint8 RGB, (B, H, H, 3), on any device.

        Returns:
            (B, P, 2) float32, fractions of the image's side (see `faces.landmarks`), on the
            network's device.

        Raises:
            FacedistillError: If the network has no landmark head.
        """
        if isinstance(images, np.ndarray):
            images = torch.from_numpy(np.ascontiguousarray(images))
        with evaluation_mode(self), torch.no_grad():
            return landmarks_of(self(images.to(self.device), ("landmarks",)))

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
        with evaluation_mode(self), torch.no_grad():
            return comparison_embedding(self, images.to(self.device), flip=flip)
