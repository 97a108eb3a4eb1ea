"""The online teacher: a frozen network that sees every batch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from facedistill.data.batch import Batch
from facedistill.distill.teachers.base import Network, Teacher, View
from facedistill.models.heads.class_head import ClassHead
from facedistill.models.outputs import Outputs, embedding_of


class NetworkTeacher(Teacher):
    """The online teacher: a frozen network sees every batch.

    Args:
        network: A FaceNetwork or OnnxNetwork; torch modules are put in evaluation mode and their
            parameters frozen.
        view: Which image it sees.
        head: Its class head, where it has one, for logits.
        precision: What it computes in, float32 or bfloat16; its answers are float32 then. Left out,
            it computes and answers in what the run computes in.
        device: Where batches will be: network and head go there. Left out, they stay.
    """

    plain: Network

    def __init__(
        self,
        network: Network,
        view: View = "same",
        head: ClassHead | None = None,
        precision: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> None:
        if isinstance(network, torch.nn.Module):
            network.eval().requires_grad_(False).to(device)
        self.network = self.plain = network
        self.head = head.to(device) if head else None
        self.precision = precision
        self.wants_clean = view == "clean"
        self.name = network.name
        self.fingerprint = network.fingerprint
        self.embedding_size = network.embedding_size
        self.gives = network.gives | ({"logits"} if head else set())
        if "feature_map" in self.gives:
            self.channels = getattr(network, "feature_channels", None)

    @torch.no_grad()
    def __call__(self, batch: Batch, needs: Collection[str]) -> Outputs:
        """Run the network on the batch."""
        images = self._seen(batch)
        asked = set(needs) if self.head is None else {*needs, "embedding"} - {"logits"}
        outputs = self._ask(images, asked)
        if self.head is not None and "logits" in needs:
            outputs.logits = self.head(embedding_of(outputs).to(images.device))
        # An ONNX network answers on the CPU whatever the batch is on.
        return _each(outputs, lambda tensor: tensor.to(images.device))

    def _ask(self, images: torch.Tensor, needs: Collection[str]) -> Outputs:
        """Run the network in its own precision, or in the run's."""
        with self._own_precision(images.device.type):
            outputs = self.network(images, needs)
        return outputs if self.precision is None else _each(outputs, torch.Tensor.float)

    def _own_precision(self, device: str) -> AbstractContextManager[Any]:
        if self.precision is None:
            return nullcontext()
        half = self.precision != torch.float32
        return torch.autocast(device, self.precision if half else None, enabled=half)

    def _seen(self, batch: Batch) -> torch.Tensor:
        images = batch.clean if self.wants_clean else batch.images
        assert images is not None, "the loader keeps the clean view for a teacher that wants it"
        return images


def _each(outputs: Outputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
    """Change every tensor of a network's outputs."""

    def changed(value: Any) -> Any:
        if isinstance(value, list):
            return [change(each) for each in value]
        return None if value is None else change(value)

    return Outputs(**{key: changed(value) for key, value in vars(outputs).items()})
