"""Verification over all pairs of a labelled data set or of a list's folds, masks included.

Every image is compared with every other one: genuine pairs are of one identity, impostor pairs of
two. The figure is the true accept rate at false accept rates of 1e-4 and less, which lists of some
thousand pairs cannot measure. It is the protocol of the Masked Face Recognition Challenge (Deng,
Guo, An, Zhu, Zafeiriou, "Masked face recognition challenge: the InsightFace track report", ICCV
Workshops 2021): all-to-all within a set of plain faces, mask-to-nonmask between the masked and the
plain photos of its mask set, where TAR is reported at FAR 1e-4. That set is private, with real
masks; here masks are drawn, on every image as the probe, and an image is never compared with
itself.

Of a list of pairs, such as LFW's, all images of different folds are impostor pairs and all that
genuine pairs join are genuine ones (see `data.pairs.fold_faces`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from facedistill.core.errors import FacedistillError, naming
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.image_list import LIST_SUFFIXES
from facedistill.data.labels import UNLABELLED
from facedistill.data.open import open_dataset
from facedistill.data.pairs.fold_faces import fold_faces
from facedistill.data.pairs.open_pairs import is_pair_list, open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.metrics.embedding_health import embedding_health
from facedistill.evaluation.metrics.exhaustive import AllPairScores, ScoredPair, compare_all
from facedistill.evaluation.metrics.roc import (
    area_under_curve,
    equal_error_rate,
    far_name,
    tar_at_far,
)
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.masked import Masked, put_on_mask
from facedistill.evaluation.protocols.all_pairs_report import AllPairsReport
from facedistill.evaluation.protocols.base import Protocol, embed_faces
from facedistill.evaluation.protocols.pair_verification import stored_rows
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.device import best_device, device_of
from facedistill.models.inference import Network

FARS = (1e-3, 1e-4, 1e-5, 1e-6)
"""The false accept rates reported unless others are asked for."""

FOLD_FARS = (1e-2, 1e-3, 1e-4, 1e-5)
"""The same across the folds of a list, whose images are a few thousand."""


class AllPairsProtocol(Protocol):
    """Compares every image of a data set with every other one.

    `mask` one compares every image, masked, with every other one as it is; both masks both. Images
    without a label are left out. Stored embeddings are a row per image, in the data set's order.

    Args:
        faces: The data set, labelled.
        folds: (N,) integers: only images of different folds make an impostor pair. None lets any
            two identities make one.
    """

    kind = "a whole data set"
    takes = frozenset({"fars", "flip", "mask", "mask_seed", "prompts", "centre", "save_thresholds"})

    def __init__(self, faces: FaceDataset, folds: np.ndarray | None = None) -> None:
        self.faces = faces
        self.folds = folds
        self.name = faces.name

    @classmethod
    def open(cls, source: str | Path) -> AllPairsProtocol:
        """Open a labelled data set, or the images of a list of pairs (`.bin`, `FOLDER:LIST`).

        Raises:
            FacedistillError: If it is neither, is damaged, or does not give pairs of both kinds.
        """
        if is_pair_list(source):
            return AcrossFoldsProtocol(open_pairs(source))
        try:
            faces = open_dataset(source, relabel=True)
        except FacedistillError as error:
            raise _of_pairs(Path(source), error) from error
        check_identities(faces)
        return cls(faces)

    def shows(self) -> Sequence[FaceDataset]:
        """Return the data set."""
        return (self.faces,)

    def evaluate_network(self, network: Network, options: EvaluationOptions) -> AllPairsReport:
        """Embed the data set, plain, masked or both, and compare all with all.

        Raises:
            FacedistillError: If the data set does not give pairs of both kinds, or an image or
                embedding is unusable.
        """
        labelled = check_identities(self.faces)

        def embed(masked: bool) -> np.ndarray:
            return embed_faces(
                network,
                lambda place: self._image(int(labelled[place]), masked, options.mask_seed),
                len(labelled),
                options,
                description=f"{self.name}{' masked' if masked else ''}",
            )

        probes = embed(options.mask is not None)
        gallery = embed(False) if options.mask == "one" else None
        device = options.device or device_of(network)
        return self._report(probes, gallery, options, options.flip, device)

    def evaluate_stored(
        self, stored: StoredEmbeddings, options: EvaluationOptions
    ) -> AllPairsReport:
        """Compare all with all on embeddings that are already there.

        Raises:
            FacedistillError: If there is not one row per image.
        """
        probes = labelled_rows(stored, self.faces)
        return self._report(probes, None, options, stored.flip, options.device or best_device())

    def _image(self, index: int, masked: bool, seed: int) -> np.ndarray:
        plain = self.faces[index].image
        if not masked:
            return plain
        with naming(self.faces.where(index)):
            return put_on_mask(plain, index, seed)

    def _report(
        self,
        probes: np.ndarray,
        gallery: np.ndarray | None,
        options: EvaluationOptions,
        flip: bool,
        device: torch.device | str,
    ) -> AllPairsReport:
        return report_all_pairs(
            self.faces,
            probes,
            gallery,
            mask=options.mask,
            mask_seed=options.mask_seed,
            fars=options.fars or (FARS if self.folds is None else FOLD_FARS),
            flip=flip,
            resamples=options.resamples,
            seed=options.seed,
            device=device,
            folds=self.folds,
        )


class AcrossFoldsProtocol(AllPairsProtocol):
    """Compares the images of a list of pairs across its folds, see `fold_faces`.

    Stored embeddings are two rows per pair, as the images lie in a `.bin` file, or a row per
    distinct image of the list, in its order.

    Args:
        pairset: The list.

    Raises:
        FacedistillError: If an image is in two folds, or damaged.
    """

    kind = "a list of pairs, all compared"

    def __init__(self, pairset: PairSet) -> None:
        self.pairset = pairset
        self.images = fold_faces(pairset)
        super().__init__(self.images.faces, self.images.folds)

    def evaluate_stored(
        self, stored: StoredEmbeddings, options: EvaluationOptions
    ) -> AllPairsReport:
        """Compare embeddings that are already there.

        Raises:
            FacedistillError: If embeddings do not fit the list.
        """
        rows = np.empty(len(self.pairset), np.int64)
        rows[self.pairset.pairs] = stored_rows(stored, self.pairset)
        probes = stored.summed(rows[self.images.images])
        return self._report(probes, None, options, stored.flip, options.device or best_device())


def report_all_pairs(
    faces: FaceDataset,
    probes: np.ndarray,
    gallery: np.ndarray | None = None,
    *,
    mask: Masked | None = None,
    mask_seed: int = 0,
    fars: Sequence[float] = FARS,
    flip: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    device: torch.device | str = "cpu",
    folds: np.ndarray | None = None,
) -> AllPairsReport:
    """Measure verification over all pairs on embeddings that are already there.

    Args:
        faces: The data set, for its identities.
        probes: (N, D) embeddings of its labelled images, in order, not normalised.
        gallery: (N, D) of the same images otherwise; None compares each pair of probes once.
        mask: What to note about face masks.
        mask_seed: What to note about their seed.
        fars: False accept rates at which to report.
        flip: What to note about the embeddings.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.
        device: Where the products are computed.
        folds: (N,) of its labelled images; see `AllPairsProtocol`.

    Raises:
        FacedistillError: If embeddings do not fit the data set, or see `compare_all`.
    """
    labelled = check_identities(faces)
    identities = faces.labels[labelled]
    if len(probes) != len(identities):
        raise FacedistillError(
            f"{len(probes):,} embeddings for {len(identities):,} labelled images of {faces.name}: "
            "give one row per image"
        )
    compared = compare_all(probes, gallery, identities, folds=folds, name=faces.name, device=device)
    points = [tar_at_far(compared.curve, far) for far in fars]
    intervals = {}
    for point in points:
        if resamples and point.threshold is not None:
            accepted = compared.scores >= point.threshold
            intervals[far_name(point.target)] = bootstrap_clusters(
                accepted, identities[compared.probes], resamples=resamples, seed=seed
            )
    return AllPairsReport(
        name=faces.name,
        images=len(identities),
        identities=len(np.unique(identities)) if folds is None else None,
        masked=mask,
        mask_seed=mask_seed,
        folds=None if folds is None else len(np.unique(folds)),
        flip=flip,
        auc=area_under_curve(compared.curve),
        eer=equal_error_rate(compared.curve),
        points=points,
        intervals=intervals,
        comparison=_numbered(compared, labelled),
        health=embedding_health(probes),
    )


def _of_pairs(path: Path, error: FacedistillError) -> FacedistillError:
    """Return why a source is no labelled data set; of a list, also what to do if it is of pairs."""
    if path.suffix.lower() not in LIST_SUFFIXES:
        return error
    return FacedistillError(
        f"{error}; if it lists pairs, leave out --all-pairs, or give {path.parent}:{path.name} to "
        "compare all images in it",
        error.details,
    )


def check_identities(faces: FaceDataset) -> np.ndarray:
    """Return the indices of the labelled images.

    Raises:
        FacedistillError: If there are no two identities, or none has two images.
    """
    labelled = np.flatnonzero(faces.labels != UNLABELLED)
    counts = np.unique(faces.labels[labelled], return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        raise FacedistillError(
            f"{faces.name}: {len(labelled):,} labelled images of {len(counts):,} identities give "
            "no pairs of both kinds: take a data set of identities, some with two images"
        )
    return labelled


def labelled_rows(stored: StoredEmbeddings, faces: FaceDataset) -> np.ndarray:
    """Return the embeddings of a data set's labelled images, the mirrored ones' added.

    Raises:
        FacedistillError: If there is not one row per image.
    """
    if len(stored.plain) != len(faces):
        raise FacedistillError(
            f"{stored.name} has {len(stored.plain):,} rows, {faces.name} {len(faces):,} images: "
            "give one row per image, in its order"
        )
    return stored.summed(check_identities(faces))


def _numbered(compared: AllPairScores, labelled: np.ndarray) -> AllPairScores:
    """Return a comparison of places among labelled images by the images' own indices."""
    return AllPairScores(
        curve=compared.curve,
        probes=labelled[compared.probes],
        gallery=labelled[compared.gallery],
        scores=compared.scores,
        counts=compared.counts,
        closest=[
            ScoredPair(int(labelled[pair.probe]), int(labelled[pair.gallery]), pair.score)
            for pair in compared.closest
        ],
    )
