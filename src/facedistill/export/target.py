"""What a student can be exported to, and what the file of a target must offer.

A target is a declaration (`Target`) and a module of three functions, which is imported only when
the target is used, since most need an optional package:

- `write(network, path, options)` writes the file, unchecked, into an empty temporary folder: see
  `TargetModule`. `export.export_network` checks it there and publishes it.
- `open_engine(path, threads=)` runs such a file in the target's own runtime.
- `read_metadata(path)` returns the document of `file_metadata.exported_metadata` that it carries.

A new target is a package in `targets/`, whose `__init__` has the declaration and a module beside it
the functions, a test and, where it needs packages, an optional dependency in pyproject.toml. Other
distributions give their `Target` as an entry point of the group `facedistill.targets`.

Neither this module nor a declaration imports torch or NumPy: the command line names the targets in
its help.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.extras import import_extra
from facedistill.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from facedistill.models.face_network import FaceNetwork

InputKind = Literal["uint8", "float"]

OPSET = 18
"""The oldest opset that torch's exporter writes without conversion: the most engines read it."""


class EngineUnavailable(FacedistillError):
    """A target's runtime does not run on this machine, though its files can be written here."""


@dataclass(frozen=True)
class ExportOptions:
    """How a file is to be fed and what it gives.

    Attributes:
        input: `uint8`: raw RGB (batch, size, size, 3), colour order and normalisation inside;
            `float`: float32 (batch, 3, size, size), channels in the network's order, normalised.
        batch: Faces at a time; None for any number.
        normalise: Whether embeddings leave the file with length 1.
        opset: ONNX operator set of the targets that are ONNX.
        calibration: uint8 RGB (N, size, size, 3): faces by which targets of whole numbers measure
            the ranges of activations.

    Raises:
        FacedistillError: If the batch is not positive or the opset too old.
    """

    input: InputKind = "uint8"
    batch: int | None = None
    normalise: bool = False
    opset: int = OPSET
    calibration: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise FacedistillError(f"batch {self.batch}: take at least 1, or dynamic")
        if self.opset < OPSET:
            raise FacedistillError(f"cannot export to opset {self.opset}: take {OPSET} or higher")


class Engine(Protocol):
    """An exported file, open in its runtime.

    Attributes:
        batch: How many faces the file takes at once; None for any number.
    """

    batch: int | None

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Return the embeddings of faces, just as the file gives them.

        Args:
            images: uint8 RGB (N, size, size, 3), any number of them whatever `batch` is. Where the
                file takes normalised floats, they are made here.

        Returns:
            float32 (N, D): of this one view, of length 1 only if the file normalises.
        """
        ...


@runtime_checkable
class Locator(Protocol):
    """An engine whose file gives landmarks too."""

    def locate(self, images: np.ndarray) -> np.ndarray:
        """Return landmarks, float32 (N, P, 2), (x, y) as (pixel + 0.5) / size.

        Args:
            images: uint8 RGB (N, size, size, 3).
        """
        ...


class TargetModule(Protocol):
    """The functions of a target's module."""

    def write(self, network: FaceNetwork, path: Path, options: ExportOptions) -> None:
        """Write the file, and beside it what belongs to it under the same stem.

        Args:
            network: The caller's to change: a copy, on the CPU, in evaluation mode.
            path: Where to, of the target's suffix, in an empty folder that holds nothing else.
            options: What file is wanted.

        Raises:
            FacedistillError: If the target has no such file, or its converter failed.
        """
        ...

    def open_engine(self, path: Path, *, threads: int | None = None) -> Engine:
        """Open a file that `write` wrote.

        Args:
            path: The file; what belongs to it lies beside it.
            threads: CPU threads; all that this process may use by default.

        Raises:
            EngineUnavailable: If the runtime does not run on this machine.
            FacedistillError: If the file is absent or damaged.
        """
        ...

    def read_metadata(self, path: Path) -> dict[str, Any] | None:
        """Return the document that the file carries; None where facedistill did not write it.

        Raises:
            FacedistillError: If the document is damaged.
        """
        ...


class Runtime(NamedTuple):
    """What runs a kind of file.

    Attributes:
        title: What its makers call it.
        package: What Python imports.
        distribution: What is installed.
    """

    title: str
    package: str
    distribution: str


@dataclass(frozen=True)
class Target:
    """A kind of file that a network can be exported to.

    Attributes:
        name: What the user calls it.
        title: What its makers call it.
        module: Name of its module.
        suffix: What its files' names end in.
        runtime: What runs its files.
        description: What it is for, in one line.
        opened_by: Name of the target of the same suffix that opens its files; None: it does.
        companions: What the names of files end in that belong to one and lie beside it.
        extra: Optional dependency of facedistill that it needs; None where it needs none.
        defaults: Options of its own choice where the user states none.
        least_cosine: Least mean cosine between its embeddings of faces and the network's; a file
            below is not kept.
        usual_cosine: Mean cosine below which a file is kept with a remark; None for no remarks.
        landmarks: Whether its files also give the landmarks of networks that find them.
        calibration: Faces that it measures the ranges of activations on, unless the user states how
            many; 0 where it needs none.
    """

    name: str
    title: str
    module: str
    suffix: str
    runtime: Runtime
    description: str = ""
    opened_by: str | None = None
    companions: tuple[str, ...] = ()
    extra: str | None = None
    defaults: ExportOptions = field(default_factory=ExportOptions)
    least_cosine: float = 0.999
    usual_cosine: float | None = None
    landmarks: bool = False
    calibration: int = 0

    def options(
        self,
        *,
        input: InputKind | None = None,
        batch: str | None = None,
        normalise: bool = False,
        opset: int | None = None,
    ) -> ExportOptions:
        """Return the target's own choice, less what the user states.

        Args:
            input: Of `ExportOptions`.
            batch: A number of faces, or `dynamic`.
            normalise: Of `ExportOptions`.
            opset: Of `ExportOptions`.

        Raises:
            FacedistillError: If a value is refused.
        """
        own = self.defaults
        return ExportOptions(
            input=input or own.input,
            batch=own.batch if batch is None else _parse_batch(batch),
            normalise=normalise,
            opset=opset or own.opset,
        )

    def files(self, path: Path) -> list[Path]:
        """Return a file's path and those of the files that belong to it."""
        return [path, *(path.with_name(path.stem + suffix) for suffix in self.companions)]

    def write(self, network: FaceNetwork, path: Path, options: ExportOptions) -> None:
        """Write a file: see `TargetModule.write`."""
        with self._extra_at_hand():
            self._load().write(network, path, options)

    def open_engine(self, path: Path, *, threads: int | None = None) -> Engine:
        """Open a file: see `TargetModule.open_engine`."""
        with self._extra_at_hand():
            return self._load().open_engine(path, threads=threads)

    def read_metadata(self, path: Path) -> dict[str, Any] | None:
        """Read a file's document: see `TargetModule.read_metadata`."""
        with self._extra_at_hand():
            return self._load().read_metadata(path)

    def _load(self) -> TargetModule:
        return cast(TargetModule, import_extra(self.module))

    @contextmanager
    def _extra_at_hand(self) -> Iterator[None]:
        """Name the command that installs packages that are missing or do not load."""
        try:
            yield
        except ImportError as error:
            package = (error.name or "").partition(".")[0]
            if self.extra is None or package == "facedistill":
                raise
            raise FacedistillError(
                f"target {self.name} needs packages that cannot be imported ({first_line(error)}): "
                f"pip install 'facedistill[{self.extra}]'"
            ) from None


TARGETS: Registry[Target] = Registry("target", "facedistill.targets", "facedistill.export.targets")


def register(target: Target) -> Target:
    """Make a target known under its name and return it.

    Raises:
        ValueError: If another target already has that name.
    """
    return TARGETS.add(target.name, target)


def _parse_batch(text: str) -> int | None:
    """Return a number of faces, None for `dynamic`."""
    if text == "dynamic":
        return None
    if not text.isdecimal():
        raise FacedistillError(f"batch {text!r}: give a number of faces, or dynamic")
    return int(text)


def target_named(name: str) -> Target:
    """Return the target of that name.

    Raises:
        FacedistillError: If there is none.
    """
    return TARGETS.get(name)


def suffixes() -> set[str]:
    """Return what the names of exported files end in."""
    return {target.suffix for _, target in TARGETS.items()}


def target_of(path: str | Path) -> Target:
    """Return the target that opens files named as `path` is.

    Raises:
        FacedistillError: If there is none.
    """
    suffix = Path(path).suffix.lower()
    for _, target in TARGETS.items():
        if target.suffix == suffix and target.opened_by is None:
            return target
    known = ", ".join(sorted(suffixes()))
    raise FacedistillError(f"{path}: an exported file's name ends in {known}")


def open_engine(path: str | Path, *, threads: int | None = None) -> Engine:
    """Open an exported file in the runtime of its target.

    Args:
        path: A file that facedistill exported.
        threads: CPU threads; all that this process may use by default.

    Raises:
        EngineUnavailable: If the runtime does not run on this machine.
        FacedistillError: If the file is absent or damaged, or the runtime is not installed.
    """
    return target_of(path).open_engine(Path(path), threads=threads)


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """Return the document that an exported file carries; None where facedistill did not write it.

    Raises:
        FacedistillError: If the file is absent or damaged.
    """
    return target_of(path).read_metadata(Path(path))


def stored_bytes(path: str | Path) -> int:
    """Return the size of an exported file, or folder, and of the files that belong to it.

    Raises:
        FacedistillError: If the suffix is no target's.
    """
    path = Path(path)
    files = [*target_of(path).files(path), *path.rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())
