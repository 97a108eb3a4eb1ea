"""Exporting a network: write the target's file, check it, put it in its place."""

from __future__ import annotations

import copy
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.atomic import (
    atomic_folder,
    atomic_path,
    require_absent,
)
from facedistill.core.errors import FacedistillError
from facedistill.core.temporary import temporary_folder
from facedistill.data.dataset import FaceDataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.views.selection import evenly_spaced
from facedistill.export.parity import (
    AccuracyKept,
    Parity,
    check_parity,
    measure_accuracy_kept,
)
from facedistill.export.target import (
    TARGETS,
    EngineUnavailable,
    ExportOptions,
    Target,
    target_named,
    target_of,
)
from facedistill.models.face_network import FaceNetwork

COMPARED = 500
"""Faces of the user's that a file is compared on."""
MAX_SHIFT = 1e-4
"""Largest difference of a landmark, as a fraction of the side: a hundredth of a pixel of 112."""

_RANDOM_FACES = 4


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how close it is to the network.

    Attributes:
        path: The file.
        target: What it was exported to.
        options: How it is fed and what it gives.
        bytes: Size of the file and of what belongs to it.
        parity: The parity check, face by face; None where the target's runtime does not run
            on this machine.
        accuracy: On pairs; None where none were given.
        unchecked: Why it could not be run here; None if it was.
        remark: What to look at where it is less close than such files usually are; else None.
    """

    path: Path
    target: str
    options: ExportOptions
    bytes: int
    parity: Parity | None
    accuracy: AccuracyKept | None
    unchecked: str | None = None
    remark: str | None = None

    def line(self) -> str:
        """Return the report as text, a line for each question."""
        lines = [f"{self.path}: {self.target}, {self.bytes / 1e6:.2f} MB, {self._fed()}"]
        if self.parity:
            lines.append(self.parity.line())
        if self.remark:
            lines.append(self.remark)
        if self.accuracy:
            lines.append(self.accuracy.line())
        if self.unchecked:
            lines.append(f"written, but without a parity check: {self.unchecked}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "path": str(self.path),
            "target": self.target,
            "input": self.options.input,
            "batch": self.options.batch,
            "normalise": self.options.normalise,
            "bytes": self.bytes,
            "agreement": asdict(self.parity) if self.parity else None,
            "accuracy": asdict(self.accuracy) if self.accuracy else None,
            "unchecked": self.unchecked,
            "remark": self.remark,
        }

    def _fed(self) -> str:
        layout = {"uint8": "uint8 RGB (batch, height, width, 3)", "float": "float NCHW, normalised"}
        batch = "any batch" if self.options.batch is None else f"batch {self.options.batch}"
        unit = ", unit embeddings" if self.options.normalise else ""
        return f"takes {layout[self.options.input]}, {batch}{unit}"


def export_network(
    network: FaceNetwork,
    path: str | Path,
    target: str | None = None,
    options: ExportOptions | None = None,
    *,
    faces: FaceDataset | np.ndarray | None = None,
    calibration: int | None = None,
    pairs: PairSet | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a network as a target's file and check it with the target's own runtime.

    Embeddings are not normalised by default: the sum over an image and its mirror image, and the
    norm as a measure of quality, need them raw, and a cosine does not care.

    Args:
        network: What to export; it is not changed, whatever its mode and device.
        path: Where to, a name with the target's suffix. It appears only once it has been checked.
        target: A name of `target.TARGETS`; by default the one of the path's suffix.
        options: What file is wanted; the target's own choice by default.
        faces: A data set, of which `COMPARED` faces are compared and others calibrated with; or
            uint8 RGB (N, size, size, 3), all to compare on. Random pixels by default.
        calibration: How many faces of a data set a target of whole numbers calibrates with; its
            own choice by default.
        pairs: Verification pairs to compare the accuracy on.
        overwrite: Replace an export of the same name; files that belong to one of another target
            stay all the same.

    Raises:
        FacedistillError: If files of these names are there, the target cannot be had, the network
            cannot be exported to it, the file fails the parity check (mean cosine below the
            target's least), faces do not fit, or the write is refused. No file is left then.
    """
    path = Path(path)
    chosen = target_of(path) if target is None else target_named(target)
    options = options or chosen.defaults
    _check_asked(network, path, chosen, calibration)
    check_absent(path, chosen, overwrite)
    if isinstance(faces, FaceDataset):
        count = calibration or chosen.calibration
        faces, drawn = draw_faces(faces, network.input.size, calibration=count)
        options = replace(options, calibration=drawn)
    compared = _faces(network, faces)
    # Copies: exporting must neither move the caller's network nor take it out of training mode,
    # and a target may rewrite what it is given.
    own = copy.deepcopy(network).cpu().eval()
    with temporary_folder() as folder:
        written = folder / path.name
        chosen.write(copy.deepcopy(own), written, options)
        try:
            parity, accuracy, unchecked = _check(own, chosen, written, options, compared, pairs)
        except FacedistillError as error:
            raise FacedistillError(f"not written: {path}: {error}") from None
        check_absent(path, chosen, overwrite)
        _publish(written, path, overwrite)
        return ExportReport(
            path,
            chosen.name,
            options,
            _size(written.parent),
            parity,
            accuracy,
            unchecked,
            _remark(parity, chosen),
        )


def draw_faces(
    dataset: FaceDataset, size: int, *, compared: int = COMPARED, calibration: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draw faces to compare on, and others to calibrate with, evenly through a data set.

    Args:
        dataset: The user's faces.
        size: Side to scale them to.
        compared: How many to compare on.
        calibration: How many to calibrate with; of a small data set half of all.

    Returns:
        uint8 RGB (N, size, size, 3) of either kind; no image is in both.

    Raises:
        FacedistillError: If an image cannot be read or is not square, or there is but one to serve
            both purposes.
    """
    drawn = evenly_spaced(dataset, compared + calibration, size)
    if not calibration:
        return drawn, None
    if len(drawn) < 2:
        raise FacedistillError(f"{dataset.name}: give faces to calibrate with and others to check")
    calibration = min(calibration, len(drawn) // 2)
    chosen = np.zeros(len(drawn), np.bool_)
    chosen[np.arange(calibration) * len(drawn) // calibration] = True
    return drawn[~chosen], drawn[chosen]


def _check_asked(network: FaceNetwork, path: Path, target: Target, calibration: int | None) -> None:
    """Refuse what is not to be had, before anything is computed."""
    if path.suffix != target.suffix:
        raise FacedistillError(
            f"cannot write {path}: the name of a file of target {target.name} ends in "
            f"{target.suffix}"
        )
    if network.landmark_head and not target.landmarks:
        raise FacedistillError(
            f"target {target.name} gives embeddings only, and {network.name} finds landmarks: "
            "export it to onnx"
        )
    if calibration and not target.calibration:
        raise FacedistillError(f"target {target.name} needs no calibration: leave that out")


def check_absent(path: Path, target: Target, overwrite: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        FacedistillError: Naming a file or folder that is there and may not be replaced.
    """
    for _, other in TARGETS.items():
        shared = {*other.companions} & {*target.companions}
        theirs = path.with_suffix(other.suffix)
        if shared and other.suffix != target.suffix and theirs.exists():
            raise FacedistillError(
                f"{path.with_suffix(min(shared))} belongs to {theirs}, which is there already: "
                "give another --out"
            )
    require_absent(*target.files(path), overwrite=overwrite)


def _faces(network: FaceNetwork, faces: np.ndarray | None) -> np.ndarray:
    """Return the faces to compare on."""
    side = network.input.size
    shape = (side, side, 3)
    if faces is None:
        return np.random.default_rng(0).integers(256, size=(_RANDOM_FACES, *shape), dtype=np.uint8)
    if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != shape or not len(faces):
        raise FacedistillError(
            f"sample faces are {faces.dtype} {faces.shape}: network {network.name} is compared "
            f"on uint8 RGB (N, {side}, {side}, 3)"
        )
    return faces


def _check(
    network: FaceNetwork,
    target: Target,
    written: Path,
    options: ExportOptions,
    faces: np.ndarray,
    pairs: PairSet | None,
) -> tuple[Parity | None, AccuracyKept | None, str | None]:
    """Run a file beside its network.

    Returns:
        The parity check on faces and on pairs; or why the file cannot run here.

    Raises:
        FacedistillError: If it fails.
    """
    try:
        engine = target.open_engine(written)
    except EngineUnavailable as reason:
        return None, None, str(reason)
    parity = check_parity(network, engine, faces, normalised=options.normalise)
    _refuse_difference(parity, target)
    return parity, measure_accuracy_kept(network, engine, pairs) if pairs else None, None


def _refuse_difference(parity: Parity, target: Target) -> None:
    if parity.mean_cosine < target.least_cosine:
        raise FacedistillError(
            f"the {target.title} file's embedding differs from the network's, mean cosine "
            f"{parity.mean_cosine:.7f} is below {target.least_cosine:.7g}"
        )
    if parity.max_shift is not None and not parity.max_shift <= MAX_SHIFT:
        raise FacedistillError(
            f"the {target.title} file's landmarks differ from the network's by "
            f"{parity.max_shift:.1e} of the side, more than {MAX_SHIFT:.0e}"
        )


def _remark(parity: Parity | None, target: Target) -> str | None:
    """Return what to look at in a file that is kept, and less close than is usual."""
    usual = target.usual_cosine
    if parity is None or usual is None or parity.mean_cosine >= usual:
        return None
    return (
        f"mean cosine below {usual:g}, which is usual of {target.title}: compare the accuracy "
        "(--pairs), and calibrate with more faces, as the device will see them (--calibration)"
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _publish(written: Path, path: Path, overwrite: bool) -> None:
    """Put the file, and what lies beside it, where it was asked for; the file itself comes last."""
    names = [file.name for file in written.parent.iterdir()]
    require_absent(*(path.with_name(name) for name in names), overwrite=overwrite)
    if written.is_dir():
        with atomic_folder(path) as temporary:
            shutil.copytree(written, temporary, dirs_exist_ok=True)
    files = sorted(written.parent.glob("*"), key=lambda file: file != written)
    with ExitStack() as stack:  # Left in the opposite order: what is entered first is renamed last.
        for file in filter(Path.is_file, files):
            temporary = stack.enter_context(atomic_path(path.with_name(file.name)))
            shutil.copyfile(file, temporary)
