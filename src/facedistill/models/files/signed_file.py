"""What model files, class heads and prompts share: tensors, one JSON document and a checksum.

The document is the header's only entry: safetensors writes several in random order, and equal
tensors are to make equal files. Its `checksum` is a hash of all else and of every tensor, without
which a flipped bit would pass for a weight.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.runtime.header import HEADER_KEY


def write_tensors(path: Path, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, replacing an old one only when all is written.

    Args:
        path: Where to.
        document: What to say of the tensors, for JSON; the checksum is added.
        tensors: On the CPU, contiguous.

    Raises:
        FacedistillError: If the write is refused.
    """
    signed = {**document, "checksum": checksum(document, tensors)}
    content = save(tensors, metadata={HEADER_KEY: json.dumps(signed)})
    # Not by safetensors' `save_file`: killed, it leaves a file of its own that nobody removes.
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def checksum(document: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Return the hex digest of a document, without its checksum, and of its tensors."""
    digest = hashlib.blake2b(json.dumps(document).encode(), digest_size=16)
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_finite(tensors: dict[str, Tensor], trouble: str) -> None:
    """Refuse tensors that hold NaN or infinity.

    Args:
        tensors: By name; whole numbers pass.
        trouble: How the message begins.

    Raises:
        FacedistillError: Naming the first.
    """
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise FacedistillError(f"{trouble}: weight {key} has values that are not finite")
