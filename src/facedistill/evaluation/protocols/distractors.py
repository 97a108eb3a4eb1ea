"""Identification among distractors, as in MegaFace.

Every photo of an identity searches for every other photo of the same identity, one at a time, in a
gallery that holds this mate and n distractors, faces of other identities. The figure is the share
of such searches that find the mate among the k best, for growing n (Kemelmacher-Shlizerman, Seitz,
Miller, Brossard, "The MegaFace benchmark: 1 million faces for recognition at scale", 2016). Smaller
sets are the first distractors of larger ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.npy import Rows
from facedistill.data.open import open_dataset
from facedistill.evaluation.metrics.identification import gallery_block
from facedistill.evaluation.metrics.similarity import unit_rows
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import check_identities, labelled_rows
from facedistill.evaluation.protocols.base import Protocol, embed_faces
from facedistill.evaluation.report import Report
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.evaluation.stored_embeddings import StoredEmbeddings, open_stored
from facedistill.models.device import best_device, device_for, device_of
from facedistill.models.inference import Network

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
"""MegaFace's numbers of distractors."""

_DISTRACTORS_AT_ONCE = 8_192
_PROBES_AT_ONCE = 1_024


@dataclass(frozen=True)
class DistractorRate:
    """One point of the curve.

    Attributes:
        distractors: How many of them were in the gallery.
        rank: k.
        rate: Share of searches whose mate was among the k best, its interval over identities.
        searches: How many searches.
    """

    distractors: int
    rank: int
    rate: Estimate
    searches: int


@dataclass(frozen=True)
class DistractorReport(Report):
    """Identification among distractors.

    Attributes:
        name: The probes' data set.
        distractors: Their data set, or file.
        images: Number of probes.
        identities: Number of identities among them.
        flip: Whether embeddings were f(x) + f(flip x).
        rates: The curve, by number of distractors and then by rank.
    """

    distractors: str
    images: int
    identities: int
    flip: bool
    rates: list[DistractorRate]

    @property
    def title(self) -> str:
        """Both data sets."""
        return f"{self.name} among {self.distractors}"

    @property
    def score(self) -> float:
        """Rank-1 rate among most distractors."""
        most = [rate for rate in self.rates if rate.distractors == self.rates[-1].distractors]
        return min(most, key=lambda rate: rate.rank).rate.value

    def line(self) -> str:
        """Return the figures as one line of text."""
        parts = []
        for point in self.rates:
            parts.append(f"rank-{point.rank} among {point.distractors:,} {point.rate.percent()}")
        searches = self.rates[0].searches
        parts.append(
            f"{searches:,} searches, {self.images:,} images of {self.identities:,} identities"
        )
        return f"{self.title}: " + ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        return {
            "name": self.name,
            "strangers": self.distractors,
            "images": self.images,
            "people": self.identities,
            "flip": self.flip,
            "rates": [asdict(rate) for rate in self.rates],
            "protocol": "distractors",
        }


class DistractorProtocol(Protocol):
    """Looks for an identity's other photos among distractors.

    Stored embeddings are a row per image of the probes, in the data set's order.

    Args:
        faces: The probes, labelled.
        distractors: Faces of other identities, or their embeddings by the same network.
    """

    kind = "identification among distractors"
    takes = frozenset({"flip", "prompts"})

    def __init__(self, faces: FaceDataset, distractors: FaceDataset | StoredEmbeddings) -> None:
        self.faces, self.distractors = faces, distractors
        self.name = faces.name

    @classmethod
    def open(cls, source: str | Path, distractors: str | Path | None = None) -> DistractorProtocol:
        """Open labelled probes and distractors.

        Args:
            source: A labelled data set, whatever `data.open.open_dataset` opens.
            distractors: Another data set, or a `.npy` file of its embeddings by the network that is
                measured, as they are to be compared.

        Raises:
            FacedistillError: If one is unusable or not named.
        """
        if distractors is None:
            raise FacedistillError(f"{source}: name the distractors too")
        faces = open_dataset(source, relabel=True)
        check_identities(faces)
        if Path(distractors).suffix.lower() == ".npy":
            return cls(faces, open_stored(distractors))
        return cls(faces, open_dataset(distractors, relabel=True))

    def shows(self) -> Sequence[FaceDataset]:
        """Return the identities, and the distractors where they are images."""
        return tuple(
            each for each in (self.faces, self.distractors) if isinstance(each, FaceDataset)
        )

    def evaluate_network(self, network: Network, options: EvaluationOptions) -> DistractorReport:
        """Embed probes and distractors, and search.

        Raises:
            FacedistillError: If images or embeddings are unusable.
        """

        def embed(faces: FaceDataset, images: np.ndarray) -> np.ndarray:
            return embed_faces(
                network,
                lambda place: faces[int(images[place])].image,
                len(images),
                options,
                description=faces.name,
            )

        probes = embed(self.faces, check_identities(self.faces))
        if isinstance(self.distractors, StoredEmbeddings):
            others: Rows = self.distractors.plain
        else:
            others = embed(self.distractors, np.arange(len(self.distractors)))
        device = options.device or device_of(network)
        return self._report(probes, others, options, options.flip, device)

    def evaluate_stored(
        self, stored: StoredEmbeddings, options: EvaluationOptions
    ) -> DistractorReport:
        """Search with embeddings that are already there.

        Raises:
            FacedistillError: If there is not one row per probe, or the distractors are images.
        """
        if not isinstance(self.distractors, StoredEmbeddings):
            raise FacedistillError(
                f"{self.distractors.name}: with embeddings of the probes, give the distractors' "
                "as a .npy file too"
            )
        probes, device = labelled_rows(stored, self.faces), options.device or best_device()
        return self._report(probes, self.distractors.plain, options, stored.flip, device)

    def _report(
        self,
        probes: np.ndarray,
        distractors: Rows,
        options: EvaluationOptions,
        flip: bool,
        device: torch.device | str,
    ) -> DistractorReport:
        identities = self.faces.labels[check_identities(self.faces)]
        rates = distractor_rates(
            probes,
            identities,
            distractors,
            resamples=options.resamples,
            seed=options.seed,
            device=device,
        )
        return DistractorReport(
            name=self.name,
            distractors=self.distractors.name,
            images=len(probes),
            identities=len(np.unique(identities)),
            flip=flip,
            rates=rates,
        )


def distractor_rates(
    probes: np.ndarray,
    identities: np.ndarray,
    distractors: Rows,
    *,
    sizes: Sequence[int] | None = None,
    ranks: Sequence[int] = (1, 10),
    device: torch.device | str = "cpu",
    resamples: int = 1000,
    seed: int = 0,
) -> list[DistractorRate]:
    """Return identification rates among growing numbers of distractors.

    A distractor that scores as high as the mate counts as better. Distractors are read once,
    in blocks, and may be in a file.

    Args:
        probes: (P, D) embeddings, at least two of some identity.
        identities: (P,) integers.
        distractors: (N, D) embeddings of identities that are not among the probes.
        sizes: Numbers of distractors; by default MegaFace's, as far as there are as many, and N.
        ranks: Values of k.
        device: Where the products are computed.
        resamples: Bootstrap resamples of the interval; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If embeddings or numbers are unusable, or no identity has two photos.
    """
    identities = np.asarray(identities)
    if probes.ndim != 2 or identities.shape != (len(probes),):
        raise FacedistillError(
            f"probes have shape {probes.shape}, identities {identities.shape}: "
            "give one identity per probe"
        )
    if distractors.ndim != 2 or distractors.shape[1] != probes.shape[1]:
        raise FacedistillError(
            f"distractors have shape {distractors.shape}, probes {probes.shape}: "
            "both must come from one network"
        )
    wanted = _check_sizes(sizes, len(distractors))
    if not ranks or min(ranks) < 1:
        raise FacedistillError(f"ranks {tuple(ranks)}: give numbers of at least 1")
    kind = np.result_type(probes.dtype, distractors.dtype, np.float32)
    units = unit_rows(probes, kind)
    searcher, mate = _mate_scores(units, identities)
    rates = []
    device = device_for(kind, device)
    blocks = _best_distractors(units, distractors, wanted, max(ranks), device)
    for size, best in blocks:
        for rank in ranks:
            # With fewer than k distractors the mate cannot miss.
            hits = mate > best[searcher, rank - 1] if rank <= size else np.ones(len(mate), bool)
            interval = None
            if resamples:
                interval = bootstrap_clusters(
                    hits, identities[searcher], resamples=resamples, seed=seed
                )
            rates.append(
                DistractorRate(size, rank, Estimate(float(hits.mean()), interval), len(hits))
            )
    return rates


def _check_sizes(sizes: Sequence[int] | None, count: int) -> list[int]:
    if not count:
        raise FacedistillError("there are no distractors")
    if sizes is None:
        return sorted({*(size for size in SIZES if size <= count), count})
    wrong = [size for size in sizes if not 1 <= size <= count]
    if wrong or not sizes:
        raise FacedistillError(f"numbers of distractors {tuple(sizes)}: give some of 1..{count:,}")
    return sorted(set(sizes))


def _mate_scores(units: np.ndarray, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probe and the mate's score of every search."""
    order = np.argsort(identities, kind="stable")
    bounds = np.flatnonzero(np.diff(identities[order])) + 1
    searchers, scores = [], []
    for photos in np.split(order, bounds):
        others = ~np.eye(len(photos), dtype=np.bool_)
        searchers.append(np.repeat(photos, len(photos) - 1))
        scores.append((units[photos] @ units[photos].T)[others])
    searcher = np.concatenate(searchers)
    if not len(searcher):
        raise FacedistillError("no identity among the probes has two photos: no mate to find")
    return searcher, np.concatenate(scores)


def _best_distractors(
    units: np.ndarray,
    distractors: Rows,
    sizes: Sequence[int],
    ranks: int,
    device: torch.device | str,
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield, for each number of distractors, the highest scores (P, ranks), falling."""
    probes = torch.from_numpy(units).to(device)
    best = torch.full((len(units), ranks), -torch.inf, dtype=probes.dtype, device=device)
    starts = np.unique([*range(0, sizes[-1], _DISTRACTORS_AT_ONCE), *sizes]).tolist()
    pieces = itertools.pairwise(starts)
    for start, stop in track(pieces, "distractors", total=len(starts) - 1, unit="blocks"):
        block = gallery_block(distractors, start, stop - start, units.dtype)
        others = torch.from_numpy(block).to(device)
        for first in range(0, len(probes), _PROBES_AT_ONCE):
            rows = slice(first, first + _PROBES_AT_ONCE)
            scores = torch.cat([best[rows], probes[rows] @ others.T], dim=1)
            best[rows] = scores.topk(ranks, dim=1).values
        if stop in sizes:
            yield stop, best.cpu().numpy().copy()
