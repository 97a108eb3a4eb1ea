"""The mean embedding of faces: found, subtracted in an evaluation, written into a model file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from facedistill.core.atomic import require_absent
from facedistill.core.errors import FacedistillError
from facedistill.core.reading_ahead import read_ahead
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.npy import Rows
from facedistill.data.open import open_dataset
from facedistill.data.views.resized import Resized
from facedistill.data.views.selection import evenly_spread
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import info_path
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.evaluation.protocols.base import Embedder
from facedistill.evaluation.stored_embeddings import StoredEmbeddings, open_stored
from facedistill.models.centring import Centre, CentredNetwork, centred
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.inference import infer
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.models.outputs import embedding_of

FACES = 5000
"""Faces whose mean is taken, at most: it is then known to a hundredth of an embedding's length."""

_ROWS = 65_536


def find_centre(
    source: str | Path | FaceDataset,
    embedder: Embedder,
    *,
    workers: int = 2,
    device: torch.device | None = None,
) -> Centre:
    """Return the mean of a network's unit embeddings, over plain and mirrored images.

    Args:
        source: Faces, of which `FACES` at most are embedded, evenly spread; a bank of this very
            network; or a `.npy` of its embeddings (N, D).
        embedder: The network, or its stored embeddings, for which a `.npy` is needed.
        workers: How many images are read at a time.
        device: Where to embed; by default where the network is.

    Raises:
        FacedistillError: If the source is of another network, or unusable, or the network's
            embeddings are centred already.
    """
    _refuse_centred(embedder)
    if isinstance(source, str | Path) and str(source).lower().endswith(".npy"):
        return _of_rows(open_stored(source), embedder)
    if isinstance(embedder, StoredEmbeddings):
        raise FacedistillError(
            f"--centre {source}: embeddings are centred by a .npy of others of the same network"
        )
    if isinstance(source, str | Path) and info_path(Path(source)).is_file():
        return _of_bank(Bank(source), embedder)
    faces = source if isinstance(source, FaceDataset) else open_dataset(source, relabel=True)
    return _of_faces(faces, embedder, workers, device)


def centre_embedder(embedder: Embedder, centre: Centre) -> Embedder:
    """Return a network, or stored embeddings, centred.

    Raises:
        FacedistillError: If the embeddings have another dimension.
    """
    if not isinstance(embedder, StoredEmbeddings):
        return CentredNetwork(embedder, centre)
    _check_dimension(embedder.plain.shape[1], centre, embedder.name)
    views = (embedder.plain, embedder.flipped)
    plain, flipped = (
        None if each is None else centred(_tensor(each), centre.mean).numpy() for each in views
    )
    assert plain is not None
    return replace(embedder, plain=plain, flipped=flipped)


def warn_of_shared(centre: Centre, tests: Sequence[FaceDataset], name: str) -> None:
    """Warn where a centre was found on images that are measured on.

    Args:
        centre: The centre.
        tests: What is measured on.
        name: Of that.
    """
    if not centre.keys:
        return
    shared = sum(faces.key(place) in centre.keys for faces in tests for place in range(len(faces)))
    if shared:
        warnings.warn(
            f"{name}: {shared:,} of the images are among those of {centre.title} whose mean is "
            "subtracted: the centred figures are too good; take other faces for --centre",
            stacklevel=3,
        )


def write_centred(
    network: FaceNetwork,
    source: str | Path | FaceDataset,
    out: str | Path,
    *,
    overwrite: bool = False,
    workers: int = 2,
) -> Centre:
    """Write a model file whose embeddings are centred; weights stay as they are.

    Thresholds and figures that the file states are of embeddings that are not, and are left out.

    Args:
        network: What to centre.
        source: See `find_centre`.
        out: The model file to write.
        overwrite: Replace a file that is there.
        workers: How many images are read at a time.

    Raises:
        FacedistillError: If the network finds landmarks or is centred already, the file is there,
            or see `find_centre`.
    """
    out = Path(out)
    if network.landmark_head is not None:
        raise FacedistillError(
            f"{network.name} finds landmarks: only embeddings that are compared are centred"
        )
    require_absent(out, overwrite=overwrite)
    centre = find_centre(source, network, workers=workers)
    network.centre = centre.mean.to(network.device)
    network.metadata = network.metadata.model_copy(
        update={"thresholds": {}, "metrics": {}, "centred_on": centre.title}
    )
    save_model(network, out)
    return centre


def _refuse_centred(embedder: Embedder) -> None:
    """Refuse embeddings from which a mean was subtracted already."""
    on = None
    if isinstance(embedder, FaceNetwork) and embedder.centre is not None:
        on = embedder.metadata.centred_on or "faces"
    elif isinstance(embedder, OnnxNetwork):
        on = (embedder.carried or {}).get("centred_on")
    if on:
        raise FacedistillError(
            f"{getattr(embedder, 'name', 'the network')} has centred embeddings already, on {on}: "
            "take the file that it was centred from"
        )


def _of_rows(stored: StoredEmbeddings, embedder: Embedder) -> Centre:
    rows = stored.plain
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _ROWS):
        total += unit_rows(rows[start : start + _ROWS], np.dtype(np.float64)).sum(axis=0)
    mean = torch.from_numpy((total / len(rows)).astype(np.float32))
    centre = Centre(mean, Path(stored.name).name, len(rows))
    if isinstance(embedder, FaceNetwork | OnnxNetwork):
        _check_dimension(embedder.embedding_size, centre, embedder.name)
    return centre


def _of_bank(bank: Bank, embedder: Embedder) -> Centre:
    fingerprint = getattr(embedder, "fingerprint", None)
    if fingerprint is None:
        raise FacedistillError(f"{bank.folder} is a bank: this network is none that made a bank")
    bank.check_teacher(fingerprint, getattr(embedder, "name", "the network"))
    rows = evenly_spread(len(bank), FACES)
    views = [bank.embeddings(rows)]
    if "flipped" in bank.info.views:
        views.append(bank.embeddings(rows, np.ones(len(rows), np.bool_)))
    mean = torch.from_numpy(np.concatenate(views).astype(np.float32)).mean(dim=0)
    return Centre(mean, bank.folder.name, len(rows))


def _of_faces(
    faces: FaceDataset, embedder: Embedder, workers: int, device: torch.device | None
) -> Centre:
    assert not isinstance(embedder, StoredEmbeddings), "refused"
    size = getattr(getattr(embedder, "input", None), "size", None)
    read = faces if size is None else Resized(faces, size)
    places = evenly_spread(len(faces), FACES)
    total: torch.Tensor | None = None
    with closing(
        read_ahead(lambda place: read[int(places[place])].image, range(len(places)), workers, 128)
    ) as images:
        for batch in infer(
            embedder, images, len(places), {"embedding"}, image=lambda pixels: pixels, flip=True,
            device=device, description="finding the mean embedding",
        ):  # fmt: skip
            assert batch.mirrored is not None, "asked for"
            both = torch.cat([embedding_of(batch.outputs), embedding_of(batch.mirrored)])
            part = torch.nn.functional.normalize(both.cpu().double()).sum(dim=0)
            total = part if total is None else total + part
    if total is None:
        raise FacedistillError(f"{faces.name}: there are no images whose mean could be taken")
    keys = frozenset(faces.key(int(place)) for place in places)
    mean = (total / (2 * len(places))).float()
    return Centre(mean, Path(faces.name).name, len(places), keys)


def _check_dimension(size: int, centre: Centre, name: str) -> None:
    if len(centre.mean) != size:
        raise FacedistillError(
            f"{centre.data} has embeddings of {len(centre.mean)} dimensions, {name} of {size}: "
            "give those of the same network"
        )


def _tensor(rows: Rows) -> torch.Tensor:
    return torch.from_numpy(np.asarray(rows[:], np.float32))
