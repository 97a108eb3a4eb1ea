"""Tensors that are computed once and kept in a file bound to what they were computed from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.private_copy import private_copy

Tensors = Mapping[str, torch.Tensor]
"""By name."""

_NAME = "tensor"


class Kind(NamedTuple):
    """What a kept tensor must be."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


def kept_tensor(
    stem: Path, fingerprint: str, shape: tuple[int, ...], compute: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """Return a float32 tensor from its file, or compute it and write the file; see `kept_tensors`.

    Args:
        stem: The file's path without the end, to which the fingerprint is added.
        fingerprint: Hex digest of everything that decides the tensor.
        shape: What it must have.
        compute: Gives it, on any device.
    """
    path = stem.with_name(f"{stem.name}-{fingerprint[:16]}.safetensors")
    kind = {_NAME: Kind(shape)}
    return kept_tensors(path, fingerprint, kind, lambda: {_NAME: compute().float()})[_NAME]


def kept_tensors(
    path: Path,
    fingerprint: str,
    kinds: Mapping[str, Kind],
    compute: Callable[[], Tensors],
    check: Callable[[Tensors], None] | None = None,
    *,
    again: str = "it is computed anew",
    unkept: str = "not kept, to be computed anew next time",
) -> dict[str, torch.Tensor]:
    """Return tensors from their file, or compute them and write the file.

    A damaged file and one that cannot be written are warned of, and do not stop anybody.

    Args:
        path: The file.
        fingerprint: Hex digest of everything that decides the tensors.
        kinds: By name, what the tensors must be.
        compute: Gives them by name, on any device.
        check: Raises ValueError if tensors that were read cannot be what was computed.
        again: What the warning of a damaged file says will happen.
        unkept: How the warning of a file that cannot be written begins.

    Returns:
        The tensors on the CPU.

    Raises:
        FacedistillError: If a computed value is infinite or not a number.
    """
    try:
        kept = _read(path, fingerprint, kinds)
        if kept is not None:
            if check is not None:
                check(kept)
            return kept
    except (SafetensorError, OSError, ValueError) as error:
        warnings.warn(f"{path} is damaged ({error}): {again}", stacklevel=2)
    tensors = {name: each.detach().cpu().contiguous() for name, each in compute().items()}
    if not _finite(tensors):
        raise FacedistillError(
            f"what was computed for {path} is not finite, so the teacher gives NaN or infinity "
            "for these images: check its weights and its input (mean, std)"
        )
    _write(path, fingerprint, tensors, unkept)
    return tensors


def _read(
    path: Path, fingerprint: str, kinds: Mapping[str, Kind]
) -> dict[str, torch.Tensor] | None:
    """What the file holds; None where there is none."""
    if not path.exists():
        return None
    with private_copy(path) as copy, safe_open(copy, framework="pt") as file:
        if (file.metadata() or {}).get("fingerprint") != fingerprint:
            raise ValueError("it is of other data")
        for name, kind in kinds.items():
            if tuple(file.get_slice(name).get_shape()) != kind.shape:
                raise ValueError("it has another shape")
        tensors = {name: file.get_tensor(name) for name in kinds}
    if any(tensors[name].dtype != kind.dtype for name, kind in kinds.items()):
        raise ValueError("its values are of another type")
    if not _finite(tensors):
        raise ValueError("its values are not finite")
    return tensors


def _write(path: Path, fingerprint: str, tensors: dict[str, torch.Tensor], unkept: str) -> None:
    content = save(tensors, metadata={"fingerprint": fingerprint})
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except FacedistillError as error:
        warnings.warn(f"{unkept}: {error}", stacklevel=3)


def _finite(tensors: Tensors) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in tensors.values())


def stem_beside(teacher: str | Path, what: str) -> Path:
    """Return the stem of what is kept beside a teacher's file, or in the folder that it is in."""
    path = Path(teacher)
    stem = path / "teacher" if path.is_dir() else path.with_suffix("")
    return stem.with_name(f"{stem.name}-{what}")
