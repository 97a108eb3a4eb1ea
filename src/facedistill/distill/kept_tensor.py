"""A tensor that is computed once and kept in a file bound to what it was computed from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from facedistill.atomic import atomic_path
from facedistill.errors import FacedistillError

_NAME = "tensor"


def kept_tensor(
    stem: Path, fingerprint: str, shape: tuple[int, ...], compute: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """Return a float32 tensor from its file, or compute it and write the file.

    A damaged file and one that cannot be written are warned of, and do not stop anybody.

    Args:
        stem: The file's path without the end, to which the fingerprint is added.
        fingerprint: Hex digest of everything that decides the tensor.
        shape: What it must have.
        compute: Gives it, on any device.

    Returns:
        The tensor on the CPU.
    """
    path = stem.with_name(f"{stem.name}-{fingerprint[:16]}.safetensors")
    kept = _read(path, fingerprint, shape)
    if kept is not None:
        return kept
    tensor = compute().detach().float().cpu().contiguous()
    content = save({_NAME: tensor}, metadata={"fingerprint": fingerprint})
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except FacedistillError as error:
        warnings.warn(f"not kept, to be computed anew next time: {error}", stacklevel=2)
    return tensor


def _read(path: Path, fingerprint: str, shape: tuple[int, ...]) -> torch.Tensor | None:
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                raise ValueError("it is of other data")
            if tuple(file.get_slice(_NAME).get_shape()) != shape:
                raise ValueError("it has another shape")
            tensor = file.get_tensor(_NAME)
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise ValueError("its values are no finite float32 numbers")
    except (SafetensorError, OSError, ValueError) as error:
        warnings.warn(f"{path} is damaged ({error}): it is computed anew", stacklevel=3)
        return None
    return tensor
