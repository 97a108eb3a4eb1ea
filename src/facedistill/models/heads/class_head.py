"""The classes a network was trained on, kept beside its model file: what soft targets come from.

A model file holds what recognises identities that it never saw; the class centres of those it was
trained on stay behind, in a file of their own. `best.safetensors` has `best.head.safetensors`,
which states the network it belongs to (its fingerprint) and which identities its classes are (the
fingerprint of the training data; the document's keys `people` and `people_name`). Nothing in it is
executed.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.signed_file import CLASS_HEAD, open_signed, write_signed
from facedistill.models.heads.margin import MarginHead, plain_head


class ClassHead(nn.Module):
    """Class scores of an embedding, without margin.

    Args:
        head: The margin head that the network was trained with, or one of its weights.
        identities: Fingerprint of the data whose labels the classes are.
        data_name: What that data is called, for messages.
    """

    def __init__(self, head: MarginHead, identities: str, data_name: str) -> None:
        super().__init__()
        self.head = head
        self.identities, self.data_name = identities, data_name

    @property
    def classes(self) -> int:
        """M, the number of classes."""
        return self.head.classes

    def forward(self, embedding: Tensor) -> Tensor:
        """Return (B, M), scale times cosine, of embeddings (B, D)."""
        return self.head.logits(embedding)

    def check_identities(self, identities: str, name: str, teacher: str) -> None:
        """Refuse to have its classes compared with those of other data.

        Args:
            identities: Fingerprint of the other data.
            name: What it is called.
            teacher: Name of the network it belongs to.

        Raises:
            FacedistillError: If the data is another.
        """
        if identities != self.identities:
            raise FacedistillError(
                f"{teacher} has the {self.classes:,} identities of {self.data_name}, and this "
                f"run's classes are those of {name}: train both on the same data, with the same "
                "data.validation_identities, or do without the teacher's logits"
            )


def head_path(model: str | Path) -> Path:
    """Return where the class head of a model file is kept."""
    return Path(model).with_suffix(".head.safetensors")


def save_head(head: ClassHead, path: Path, network: FaceNetwork) -> None:
    """Write a class head, in float32, replacing an old one only when all is written.

    Args:
        head: What to write.
        path: Where to: `head_path` of the model file.
        network: The network it belongs to.
    """
    margin = head.head
    tensors = {"weight": margin.weight.detach().cpu().float().contiguous()}
    document = {
        "format_version": CLASS_HEAD.version,
        "network": network.fingerprint,
        "people": head.identities,
        "people_name": head.data_name,
        "classes": margin.classes,
        "sub_centres": margin.sub_centres,
        "scale": margin.scale,
    }
    write_signed(path, document, tensors)


def load_head(path: Path, network: FaceNetwork) -> ClassHead:
    """Read a class head.

    Args:
        path: A file written by `save_head`.
        network: The network it must belong to.

    Returns:
        The head on the CPU, frozen.

    Raises:
        FacedistillError: If the file is damaged, or the head is of another network.
    """
    with open_signed(path, CLASS_HEAD) as file:
        document = file.document
        rows = _weight_rows(document)
        weight = torch.empty(rows, network.embedding_size, device="meta")
        file.check_layout({"weight": weight}, f"a head of {network.name}")
        tensors = file.read()
    if document["network"] != network.fingerprint:
        raise FacedistillError(
            f"{path} is the class head of another network than {network.name}: train again, or "
            "delete it to do without logits"
        )
    margin = plain_head(tensors["weight"], document["sub_centres"], document["scale"])
    return ClassHead(margin, document["people"], document["people_name"])


def _weight_rows(document: dict[str, Any]) -> int:
    """Return how many centres the document speaks of, after a check that it can be believed."""
    classes, centres, scale = (document[key] for key in ("classes", "sub_centres", "scale"))
    if not all(type(count) is int and 0 < count < 1 << 31 for count in (classes, centres)):
        raise ValueError("its counts are no counts")
    if not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise ValueError("its scale is no scale")
    if not all(isinstance(document[key], str) for key in ("network", "people", "people_name")):
        raise ValueError("it does not name its network and its identities")
    return int(classes * centres)
