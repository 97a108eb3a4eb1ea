"""The signed layout of model files, class heads, prompts and mappings.

Each has tensors, a document and a checksum.

A file is a safetensors file. The JSON document is its header's only entry: safetensors writes
several in random order, and equal tensors are to make equal files. The document's `checksum` is a
hash of all else and of every tensor, without which a flipped bit would pass for a weight. Nothing
in it is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.private_copy import private_copy
from facedistill.core.regular_files import open_regular
from facedistill.runtime.header import HEADER_KEY

_DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}

_LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads none longer."""


@dataclass(frozen=True)
class FileKind:
    """What a signed file holds.

    Attributes:
        noun: What that is called.
        title: The same in full, with its article.
        key: Key of the document by which it is recognised; no other kind has it.
        version: The format version that is written and read.
        use: What to do with such a file where another kind was asked for.
        remedy: What to do about a damaged one.
    """

    noun: str
    title: str
    key: str
    version: int
    use: str
    remedy: str


MODEL = FileKind("network", "a network", "architecture", 3, "give it as the model", "get it again")
CLASS_HEAD = FileKind(
    "class head",
    "a class head",
    "people",
    1,
    "give the model file beside it, named without .head",
    "delete it to do without logits",
)
PROMPTS = FileKind(
    "prompts",
    "prompts of a teacher",
    "prompts",
    1,
    "give it as --prompts beside that teacher",
    "get it again",
)
MAPPING = FileKind(
    "mapping",
    "a mapping of a teacher's pixel features",
    "mapping",
    1,
    "give it as objectives.urfm.mapping",
    "delete it, and the next run learns it anew",
)
KINDS = (MODEL, CLASS_HEAD, PROMPTS, MAPPING)


class SignedFile:
    """A signed file, open: its document is read, its tensors are not yet.

    Attributes:
        document: What was written, without the checksum.
    """

    def __init__(self, path: Path, file: Any, kind: FileKind) -> None:
        self._path, self._file, self._kind = path, file, kind
        self.document = _read_document(path, file.metadata() or {}, kind)
        self._checksum = self.document.pop("checksum", None)

    def check_layout(self, wanted: Mapping[str, Tensor], owner: str) -> None:
        """Compare names, shapes and types before any tensor is read.

        Args:
            wanted: Tensors like those that must be there, on whatever device.
            owner: What they belong to, for messages.

        Raises:
            ValueError: Naming the first difference; `open_signed` says in which file.
        """
        found = set(self._file.keys())
        for key in sorted(wanted.keys() - found):
            raise ValueError(f"it lacks weight {key} of {owner}")
        for key in sorted(found - wanted.keys()):
            raise ValueError(f"it has weight {key}, which {owner} has not")
        for key, tensor in wanted.items():
            stored = self._file.get_slice(key)
            shape, dtype = tuple(stored.get_shape()), stored.get_dtype()
            if shape != tuple(tensor.shape) or dtype != _DTYPES[tensor.dtype]:
                raise ValueError(
                    f"weight {key} is {dtype} {shape}, but {owner} needs "
                    f"{_DTYPES[tensor.dtype]} {tuple(tensor.shape)}"
                )

    def read(self) -> dict[str, Tensor]:
        """Return the tensors, on the CPU, all finite and as they were written.

        Raises:
            FacedistillError: If they are not.
        """
        tensors = {key: self._file.get_tensor(key) for key in self._file.keys()}  # noqa: SIM118
        check_finite(tensors, f"{self._path} is damaged")
        if self._checksum != checksum(self.document, tensors):
            raise FacedistillError(
                f"{self._path} is damaged: its weights or header are not those written; "
                f"{self._kind.remedy}"
            )
        return tensors


def is_plain(path: Path) -> bool:
    """Whether a safetensors file is whole and another program's, by its header alone.

    A damaged one may be ours: its reader says what is wrong with it.

    Raises:
        FacedistillError: If it is no regular file.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > min(size, _LONGEST_HEADER):
                return False
            header = json.loads(file.read(length))
        document = header.pop("__metadata__", None) or {}
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        return HEADER_KEY not in document and 8 + length + max(ends, default=0) == size
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False


@contextmanager
def open_signed(path: Path, kind: FileKind) -> Iterator[SignedFile]:
    """Open a signed file for as long as the block lasts.

    Args:
        path: A file written by `write_signed`.
        kind: What it must hold.

    Yields:
        The file. Errors of type, value or key that the block raises while it makes sense of the
        document are taken for damage of the file.

    Raises:
        FacedistillError: If the file is absent, damaged, of another kind or of another version.
    """
    if not path.exists():
        raise FacedistillError(f"{path} does not exist")
    try:
        with private_copy(path) as copy, safe_open(copy, framework="pt") as file:
            yield SignedFile(path, file, kind)
    except (SafetensorError, OSError) as error:
        trouble = f"not a readable safetensors file: {first_line(error)}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        trouble = first_line(error)
    else:
        return
    raise FacedistillError(f"{path} is damaged ({trouble}): {kind.remedy}")


def _read_document(path: Path, header: dict[str, str], kind: FileKind) -> dict[str, Any]:
    text = header.get(HEADER_KEY)
    if text is None:
        raise FacedistillError(f"{path} holds no {kind.noun}: facedistill did not write it")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError("its facedistill header is not a JSON object")
    for other in KINDS:
        if other is not kind and other.key in document:
            raise FacedistillError(f"{path} holds {other.title} and no {kind.noun}: {other.use}")
    if kind.key not in document:
        raise FacedistillError(f"{path} holds no {kind.noun}: its header has no {kind.key!r}")
    version = document.get("format_version")
    if version != kind.version:
        raise FacedistillError(
            f"{path} has format version {version!r}; this facedistill reads {kind.version}"
        )
    return document


def write_signed(path: Path, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write a signed file, replacing an old one only when all is written.

    Args:
        path: Where to; its name ends in .safetensors.
        document: What to say of the tensors, for JSON, with `format_version` and the key of its
            kind; the checksum is added.
        tensors: On the CPU, contiguous.

    Raises:
        FacedistillError: If a value is not finite or the write is refused.
    """
    check_finite(tensors, f"cannot write {path}")
    signed = {**document, "checksum": checksum(document, tensors)}
    content = save(tensors, metadata={HEADER_KEY: json.dumps(signed)})
    # Not by safetensors' `save_file`: killed, it leaves a temporary file for ever.
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
