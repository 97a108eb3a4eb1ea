"""The classes a network was trained on, kept beside its model file: what soft targets come from.

A model file holds what recognises people whom it never saw; the centres of those it was trained on
stay behind, in a file of their own. `best.safetensors` has `best.head.safetensors`, which knows
whose head it is (the network's fingerprint) and which people its classes are (the fingerprint of
the training data). Nothing in it is executed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from facedistill.core.errors import FacedistillError, first_line
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.signed_file import checksum, write_tensors
from facedistill.models.heads.margin import MarginHead, create_head
from facedistill.runtime.header import HEADER_KEY

FORMAT_VERSION = 1


class ClassHead(nn.Module):
    """Class scores of an embedding, without margin.

    Args:
        head: The margin head that the network was trained with, or one of its weights.
        people: Fingerprint of the data whose labels the classes are.
        people_name: What that data is called, for messages.
    """

    def __init__(self, head: MarginHead, people: str, people_name: str) -> None:
        super().__init__()
        self.head = head
        self.people, self.people_name = people, people_name

    @property
    def classes(self) -> int:
        """M, the number of classes."""
        return self.head.classes

    def forward(self, embedding: Tensor) -> Tensor:
        """Return (B, M), scale times cosine, of embeddings (B, D)."""
        return self.head.logits(embedding)

    def check_people(self, people: str, name: str, teacher: str) -> None:
        """Refuse to have its classes compared with those of other data.

        Args:
            people: Fingerprint of the other data.
            name: What it is called.
            teacher: Whose head this is.

        Raises:
            FacedistillError: If the data is another.
        """
        if people != self.people:
            raise FacedistillError(
                f"{teacher} names the {self.classes:,} people of {self.people_name}, and this run's"
                f" classes are those of {name}: train both on the same data, with the same "
                "data.validation_identities, or set kd's own_head: true"
            )


def head_path(model: str | Path) -> Path:
    """Return where the class head of a model file is kept."""
    return Path(model).with_suffix(".head.safetensors")


def save_head(head: ClassHead, path: Path, network: FaceNetwork) -> None:
    """Write a class head, in float32, replacing an old one only when all is written.

    Args:
        head: What to write.
        path: Where to: `head_path` of the model file.
        network: Whose head it is.
    """
    margin = head.head
    tensors = {"weight": margin.weight.detach().cpu().float().contiguous()}
    document = {
        "format_version": FORMAT_VERSION,
        "network": network.fingerprint,
        "people": head.people,
        "people_name": head.people_name,
        "classes": margin.classes,
        "sub_centres": margin.sub_centres,
        "scale": margin.scale,
    }
    write_tensors(path, document, tensors)


def load_head(path: Path, network: FaceNetwork) -> ClassHead:
    """Read a class head.

    Args:
        path: A file written by `save_head`.
        network: Whose head it is to be.

    Returns:
        The head on the CPU, frozen.

    Raises:
        FacedistillError: If the file is damaged, or the head is of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            document = json.loads((file.metadata() or {}).get(HEADER_KEY, ""))
            stated = document.pop("checksum")
            _check_layout(document, file, network)
            tensors = {"weight": file.get_tensor("weight")}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FacedistillError(
            f"{path} is damaged ({first_line(error)}): delete it to do without logits"
        ) from None
    if stated != checksum(document, tensors):
        raise FacedistillError(
            f"{path} is damaged: it is not what was written; delete it to do without logits"
        )
    if document["network"] != network.fingerprint:
        raise FacedistillError(
            f"{path} is the class head of another network than {network.name}: train again, or "
            "delete it to do without logits"
        )
    margin = create_head(
        "softmax",
        network.embedding_size,
        document["classes"],
        scale=document["scale"],
        sub_centres=document["sub_centres"],
    )
    margin.weight = nn.Parameter(tensors["weight"], requires_grad=False)
    return ClassHead(margin, document["people"], document["people_name"])


def _check_layout(document: dict[str, Any], file: Any, network: FaceNetwork) -> None:
    """Compare the header with itself and the network, before any weight is read."""
    classes, centres, scale = (document[key] for key in ("classes", "sub_centres", "scale"))
    if not all(type(count) is int and count > 0 for count in (classes, centres)):
        raise ValueError("its counts are no counts")
    if not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise ValueError("its scale is no scale")
    if not all(isinstance(document[key], str) for key in ("network", "people", "people_name")):
        raise ValueError("it does not say whose it is")
    stored = file.get_slice("weight")
    shape = (classes * centres, network.embedding_size)
    if tuple(stored.get_shape()) != shape or stored.get_dtype() != "F32":
        raise ValueError(f"its weight is not F32 {shape}")
