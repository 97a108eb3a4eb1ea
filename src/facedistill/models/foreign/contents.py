"""What a checkpoint holds, whichever format it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.other_content import check_is_weights
from facedistill.core.private_copy import private_copy
from facedistill.models.foreign.stored_tensor import OddTensor, StoredTensor
from facedistill.models.foreign.torch_file import open_torch_file

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@contextmanager
def open_contents(path: Path) -> Iterator[Any]:
    """Open a checkpoint for as long as the block lasts; nothing in it is run.

    Args:
        path: What `torch.save` or safetensors wrote.

    Yields:
        What it holds; of tensors, names, shapes and types alone: see `open_torch_file`.

    Raises:
        FacedistillError: If it is something else, or is damaged.
    """
    check_is_weights(path)
    opened = _open_safetensors if path.suffix.lower() == ".safetensors" else open_torch_file
    with opened(path) as content:
        yield content


@contextmanager
def _open_safetensors(path: Path) -> Iterator[dict[str, StoredTensor | OddTensor]]:
    try:
        with private_copy(path) as copy, safe_open(copy, framework="pt") as file:
            yield {key: _stored(file, key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FacedistillError(
            f"{path} is not a readable safetensors file ({first_line(error)}): get it again"
        ) from None


def _stored(file: Any, key: str) -> StoredTensor | OddTensor:
    part = file.get_slice(key)
    dtype = _DTYPES.get(part.get_dtype())
    if dtype is None:
        return OddTensor(f"of type {part.get_dtype()}")
    return StoredTensor(tuple(part.get_shape()), dtype, lambda: file.get_tensor(key))
