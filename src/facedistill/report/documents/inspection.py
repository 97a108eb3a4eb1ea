"""What is in this file? A description of data sets, pairs, banks and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.network_suffixes import is_network
from facedistill.data.alignment_check import alignment_of, warn_unless_aligned
from facedistill.data.damage import require_undamaged, without_damaged
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.formats.recordio_verification import checksum_file, verify_records
from facedistill.data.open import dataset_summary, open_dataset
from facedistill.data.pairs.open_pairs import PAIRS_FILES, open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.bank.bank import Bank
from facedistill.export.target import read_metadata, stored_bytes, suffixes, target_of
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.open_network import open_network
from facedistill.models.files.run_weights import model_in
from facedistill.models.foreign.foreign_weights import UnstatedInput
from facedistill.models.onnx.bounded_trial import try_opening
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.report.documents.photo_inspection import describe_photos
from facedistill.report.sheet import contact_sheet, pair_sheet, save_sheet
from facedistill.runtime.detection import Detector
from facedistill.runtime.input_spec import StatedInput

_SHEET_ROWS, _SHEET_COLUMNS = 8, 12


def inspect_source(
    source: str,
    *,
    sheet: Path | None = None,
    verify: bool = False,
    output: str | None = None,
    root: Path | None = None,
    skip: bool = False,
    detector: Detector | None = None,
) -> dict[str, Any]:
    """Describe whatever `source` is.

    Args:
        source: A data set, verification pairs, a bank, a model file or a run's folder.
        sheet: Where to write a sheet of sample faces or pairs.
        verify: Check every record of a RecordIO data set, or row of a bank, against its checksum,
            or decode every image of other data sets.
        output: Name of the embedding among an ONNX file's outputs; found by default.
        root: The folder that the paths in a list are relative to.
        skip: Leave damaged images of a data set out.
        detector: Describe photographs by the faces that it finds in a sample of them.

    Returns:
        JSON-ready facts by name.

    Raises:
        FacedistillError: If it is none of these or damaged, or a sheet or check is asked for of
            something that has no images.
    """
    if detector is not None:
        return describe_photos(open_dataset(source, root=root, skip=skip), detector, sheet)
    path = model_in(source)
    if (root is not None or skip) and not _holds_faces(path):
        option = "--skip" if skip else "--root"
        raise FacedistillError(f"{option} is of a data set, which {source} is not: leave it out")
    if is_network(path):
        _refuse(sheet, verify, f"{source} is a model")
        if path.suffix.lower() == ".onnx" and path.is_file():
            try_opening(path, output)
        try:
            return _describe_model(open_network(path, output=output))
        except UnstatedInput:
            return _describe_unstated(path)
    if output is not None:
        raise FacedistillError(f"{source} is no ONNX file: leave out --output")
    if path.suffix.lower() in suffixes():
        _refuse(sheet, verify, f"{source} is an exported network")
        return _describe_exported(path)
    if (path / "bank.json").exists():
        _refuse(sheet, False, f"{source} is a bank")
        return _describe_bank(Bank(path), verify)
    if path.suffix.lower() == ".bin" or any((path / name).exists() for name in PAIRS_FILES):
        _refuse(None, verify, f"{source} holds pairs")
        return _describe_pairs(open_pairs(source), sheet)
    dataset = open_dataset(source, root=root, skip=skip)
    if skip:
        dataset = without_damaged(dataset)
    return _describe_dataset(dataset, sheet, verify)


def _holds_faces(path: Path) -> bool:
    """Whether something is neither a network, a bank nor pairs."""
    suffix = path.suffix.lower()
    inside = ("bank.json", *PAIRS_FILES)
    other = is_network(path) or suffix in suffixes() or suffix == ".bin"
    return not other and not any((path / name).exists() for name in inside)


def _describe_dataset(dataset: FaceDataset, sheet: Path | None, verify: bool) -> dict[str, Any]:
    checks = _verify(dataset) if verify else {}
    description = (
        dataset_summary(dataset, whole=verify) | {"fingerprint": dataset.fingerprint} | checks
    )
    alignment = alignment_of(dataset)
    if alignment is not None:
        description["aligned crops"] = "hardly" if alignment.doubtful else "yes"
        description["eyes on the template"] = alignment.text()
    warn_unless_aligned(dataset, alignment)
    if sheet is not None:
        images, labels = _sample_rows(dataset)
        save_sheet(sheet, contact_sheet(images, _SHEET_COLUMNS, labels, title=dataset.name))
        description["sheet"] = str(sheet)
    return description


def _verify(dataset: FaceDataset) -> dict[str, Any]:
    """Check all images of a data set, and say how that was done."""
    if not isinstance(dataset, RecordIODataset):
        require_undamaged(dataset)
        return {"images checked": "all decode"}
    bad = verify_records(dataset.name)
    if bad:
        raise FacedistillError(
            f"{dataset.name}: {len(bad):,} damaged records: pack the data again",
            details=[
                f"{dataset.name} key {record.key} (offset {record.offset}): {record.reason}"
                for record in bad
            ],
        )
    if checksum_file(dataset.path).exists():
        return {"checksums": "all records are as they were packed"}
    return {
        "images checked": f"all decode; {checksum_file(dataset.path).name} is not there, so a "
        "changed pixel or label would pass: packing with `facedistill prepare --pack` writes one"
    }


def _sample_rows(dataset: FaceDataset) -> tuple[list[np.ndarray], list[str]]:
    """Some identities, each with some of its images, side by side as the eye compares them."""
    rng = np.random.default_rng(0)
    identities = np.unique(dataset.labels)
    chosen = rng.choice(identities, size=min(_SHEET_ROWS, len(identities)), replace=False)
    images, labels = [], []
    for identity in np.sort(chosen):
        indices = np.flatnonzero(dataset.labels == identity)[:_SHEET_COLUMNS]
        images += [dataset[int(index)].image for index in indices]
        labels += [str(identity)] * len(indices)
    return images, labels


def _describe_pairs(pairs: PairSet, sheet: Path | None) -> dict[str, Any]:
    first = pairs.image(int(pairs.pairs[0, 0]))
    description: dict[str, Any] = {
        "name": pairs.name,
        "kind": "verification pairs",
        "images": len(pairs),
        "pairs": len(pairs.pairs),
        "same": int(pairs.same.sum()),
        "different": int((~pairs.same).sum()),
        "size": f"{first.shape[1]}x{first.shape[0]}",
    }
    if sheet is not None:
        spread = np.unique(np.linspace(0, len(pairs.pairs) - 1, 24).astype(int))
        shown = [(pairs.image(int(a)), pairs.image(int(b))) for a, b in pairs.pairs[spread]]
        save_sheet(sheet, pair_sheet(shown, None, pairs.same[spread]))
        description["sheet"] = str(sheet)
    return description


def _describe_bank(bank: Bank, verify: bool) -> dict[str, Any]:
    info = bank.info
    description: dict[str, Any] = {
        "name": str(bank.folder),
        "kind": "bank of teacher embeddings",
        "images": info.count,
        "dimension": info.dimension,
        "views": list(info.views),
        **(
            {
                "pixel_features": f"{info.pixels.output}, {info.pixels.side}x{info.pixels.side} of "
                f"{info.pixels.channels} channels"
            }
            if info.pixels
            else {}
        ),
        "teacher": info.teacher_name,
        "teacher_fingerprint": info.teacher,
        "teacher_licence": info.licence,
        **({"teacher_accuracy": info.accuracy.text()} if info.accuracy else {}),
        "dataset": info.dataset_name,
        "dataset_fingerprint": info.dataset,
    }
    if verify:
        bank.verify()
        description["checksums"] = "all rows are as they were written"
    return description


def _describe_unstated(path: Path) -> dict[str, Any]:
    """Describe a checkpoint whose input is not known, which changes nothing of what else it is."""
    description = _describe_model(open_network(path, input=StatedInput(color="RGB")))
    del description["fingerprint"]  # which is of weights and input
    return description | {"input": "must be stated: no custom of the family, no word in the file"}


def _describe_model(network: FaceNetwork | OnnxNetwork) -> dict[str, Any]:
    description: dict[str, Any] = {
        "name": network.name,
        "embedding_size": network.embedding_size,
        "input": network.input.to_dict(),
        "fingerprint": network.fingerprint,
    }
    if isinstance(network, FaceNetwork):
        return {
            "kind": "model file",
            "architecture": network.architecture,
            "arguments": network.arguments,
            **description,
            "parameters": count_parameters(network.backbone),
            **({"landmarks": network.landmark_points} if network.landmark_head else {}),
            "macs": count_macs(network.backbone, network.input.size),
            "metadata": network.metadata.model_dump(
                exclude_none=True, exclude={"trained_on": {"__all__": {"keys"}}}
            ),
        }
    return {
        "kind": "ONNX network",
        **description,
        "bytes": network.path.stat().st_size,
        "batch": network.batch or "any",
        "outputs": network.outputs,
        "embedding_output": network.output,
        **({"metadata": network.carried} if network.carried else {}),
    }


def _describe_exported(path: Path) -> dict[str, Any]:
    """Describe a file of another target than ONNX by its metadata; it is not run."""
    document = read_metadata(path)
    if document is None:
        raise FacedistillError(f"{path} was not exported by facedistill: it says nothing of itself")
    return {
        "name": path.stem,
        "kind": f"{target_of(path).title} network",
        "bytes": stored_bytes(path),
        "metadata": document,
    }


def _refuse(sheet: Path | None, verify: bool, what: str) -> None:
    if sheet is not None:
        raise FacedistillError(f"{what}: it has no faces to put on a sheet")
    if verify:
        raise FacedistillError(f"{what}: --verify checks RecordIO data sets and banks")
