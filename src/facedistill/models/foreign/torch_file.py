"""Files of `torch.save`, read without PyTorch's own reader: nothing in them is run or trusted.

There are two formats: a ZIP archive whose `data.pkl` refers to one record for each storage, and,
before PyTorch 1.6, pickles one after another with the storages behind them. A tensor is a view of a
storage. Each is checked to lie within its storage, and each storage within its file, before memory
is taken for any.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import open_regular
from facedistill.core.zip_directory import check_directory
from facedistill.models.foreign.pickle_reading import Bounded, Name, Opaque, read_pickle
from facedistill.models.foreign.stored_tensor import OddTensor, StoredTensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""What the first pickle of the format before PyTorch 1.6 is."""

_MOST_DIMENSIONS = 8
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_ODD = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_meta_tensor_no_storage": "meta, which has no values",
    "_rebuild_qtensor": "quantised",
    "_rebuild_wrapper_subclass": "distributed",
}
_DAMAGE = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    ValueError,
    OverflowError,
    struct.error,
)
"""What reading a damaged file raises, on its way through zipfile."""


class StorageError(ValueError):
    """A tensor or storage is not as the file says."""


class OtherFormat(ValueError):
    """The file is whole, as far as can be seen, and no checkpoint."""


@dataclass(frozen=True)
class Storage:
    """A row of numbers in the file, as its pickle states it.

    Attributes:
        key: Its name in the file.
        dtype: Of the numbers.
        length: How many there are.
    """

    key: str
    dtype: torch.dtype
    length: int


Fetch = Callable[[Storage], Tensor]


@contextmanager
def open_torch_file(path: Path) -> Iterator[Any]:
    """Open what `torch.save` wrote, for as long as the block lasts.

    Args:
        path: The file.

    Yields:
        What was saved: dictionaries, lists and numbers as they are, a `StoredTensor` or `OddTensor`
        for each tensor, an `Opaque` for any other object. Errors of value that the block raises
        while it reads tensors are taken for damage of the file.

    Raises:
        FacedistillError: If it is no such file, or is damaged.
    """
    try:
        with open_regular(path) as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            if zipped:
                with zipfile.ZipFile(file) as archive:
                    yield _Archive(archive, os.fstat(file.fileno()).st_size).content()
            else:
                yield _Legacy(file, os.fstat(file.fileno()).st_size).content()
    except OtherFormat as error:
        raise FacedistillError(f"{path} holds no weights that open here: {error}") from None
    except (*_DAMAGE, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FacedistillError(
            f"{path} is not a readable checkpoint ({reason}): get it again, or save it anew with "
            "torch.save(model.state_dict(), ...)"
        ) from None


class _Content:
    """What the pickle of either format stands for."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._storages: dict[str, tuple[Storage, Tensor]] = {}

    def build(self, path: str, arguments: tuple[Any, ...]) -> Any:
        module, _, name = path.rpartition(".")
        if module == "collections" and name == "OrderedDict":
            pairs = arguments[0] if arguments else ()
            return {key: value for key, value in pairs if isinstance(key, str | int)}
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._tensor(*arguments[:4])
        if name in ("_rebuild_parameter", "_rebuild_parameter_with_state") and arguments:
            return arguments[0]
        if name == "_rebuild_from_type_v2" and isinstance(arguments[0], Name):
            return self.build(arguments[0].path, arguments[2])
        if module.startswith("torch.") and name in _ODD:
            return OddTensor(_ODD[name])
        return Opaque(path)

    def _tensor(self, storage: Any, offset: Any, shape: Any, stride: Any) -> Any:
        if isinstance(storage, OddTensor):
            return storage
        numbers = (offset, *shape, *stride)
        if (
            not isinstance(storage, Storage)
            or not isinstance(shape, tuple)
            or len(shape) != len(stride)
            or len(shape) > _MOST_DIMENSIONS
            or any(type(number) is not int or not 0 <= number < 2**48 for number in numbers)
        ):
            raise StorageError("it describes a tensor that cannot be")
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        count = math.prod(shape)
        # More values than are stored: a stride of 0 repeats one without end.
        if count > storage.length or (count and last >= storage.length):
            raise StorageError(
                f"a tensor of shape {shape} is wider than its storage of {storage.length} values"
            )

        def read() -> Tensor:
            return self._values(storage).as_strided(shape, stride, offset)

        return StoredTensor(shape, storage.dtype, read)

    def _values(self, storage: Storage) -> Tensor:
        if storage.key not in self._storages:
            self._storages[storage.key] = (storage, self._fetch(storage))
        known, values = self._storages[storage.key]
        if known != storage:
            raise StorageError(f"storage {storage.key} is described in two ways")
        return values


def _storage(reference: Any) -> Storage | OddTensor:
    """Return what the pickle means by its reference to a storage."""
    tag, kind, key, _, length = reference[:5]
    if tag != "storage" or not isinstance(kind, Name) or not isinstance(key, str):
        raise StorageError("it refers to something that is no storage")
    dtype = _DTYPES.get(kind.path.removeprefix("torch."))
    if dtype is None:
        return OddTensor(f"of {kind.path}")
    if type(length) is not int or length < 0:
        raise StorageError(f"storage {key} has {length} values")
    return Storage(key, dtype, length)


def _from_bytes(raw: bytes, storage: Storage) -> Tensor:
    if len(raw) != storage.length * storage.dtype.itemsize:
        raise StorageError(f"storage {storage.key} is cut off")
    if not raw:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(raw), dtype=storage.dtype)


class _Archive:
    """The ZIP format."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            raise OtherFormat(
                "it is TorchScript, a compiled program: save its weights, torch.save("
                "torch.jit.load(...).state_dict(), ...), or give an ONNX export"
            )
        if len(pickles) != 1:
            raise OtherFormat("it is a ZIP archive, but none that torch.save wrote")
        self._root = pickles[0].removesuffix("data.pkl")
        check_directory(archive, size)

    def content(self) -> Any:
        order = f"{self._root}byteorder"
        if order in self._archive.namelist() and self._archive.read(order) != b"little":
            raise StorageError("it was written on a machine with the other byte order")
        content = _Content(self._fetch)
        return read_pickle(
            BytesIO(self._archive.read(f"{self._root}data.pkl")), content.build, _storage
        )

    def _fetch(self, storage: Storage) -> Tensor:
        try:
            raw = self._archive.read(f"{self._root}data/{storage.key}")
        except KeyError:
            raise StorageError(f"storage {storage.key} is missing") from None
        return _from_bytes(raw, storage)


class _Legacy:
    """The format before PyTorch 1.6."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._places: dict[str, int] = {}
        self._stated: dict[str, Storage] = {}

    def content(self) -> Any:
        content = _Content(self._fetch)
        if self._next(content) != LEGACY_MAGIC:
            raise OtherFormat(
                "it is a pickle, but none that torch.save wrote: save the weights with torch.save"
            )
        self._next(content)  # the protocol
        system = self._next(content)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise StorageError("it was written on a machine with the other byte order")
        saved, keys = self._next(content), self._next(content)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise StorageError("it does not list its storages")
        self._find(keys)
        return saved

    def _next(self, content: _Content) -> Any:
        return read_pickle(Bounded(self._file, self._size), content.build, self._storage)

    def _storage(self, reference: Any) -> Storage | OddTensor:
        if len(reference) > 5 and reference[5] is not None:
            raise StorageError("its tensors are views of views, of PyTorch before 0.4")
        storage = _storage(reference)
        if isinstance(storage, Storage):
            self._stated[storage.key] = storage
        return storage

    def _find(self, keys: list[str]) -> None:
        """Note where each storage begins; each is preceded by its length."""
        for key in keys:
            place = self._file.tell()
            length = int.from_bytes(self._file.read(8), "little", signed=True)
            storage = self._stated.get(key)
            if storage is None or length != storage.length:
                raise StorageError(f"storage {key} is not as it is described")
            self._places[key] = place + 8
            end = place + 8 + length * storage.dtype.itemsize
            if end > self._size:
                raise StorageError(f"storage {key} is cut off")
            self._file.seek(end)

    def _fetch(self, storage: Storage) -> Tensor:
        self._file.seek(self._places[storage.key])
        return _from_bytes(self._file.read(storage.length * storage.dtype.itemsize), storage)
