"""Verification on pairs of images: LFW, CFP-FP, AgeDB-30 and whatever else lists pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.evaluation.image_pairs import ImagePairs, check_pairs, pair_identities
from facedistill.evaluation.metrics.embedding_health import embedding_health
from facedistill.evaluation.metrics.roc import FARS
from facedistill.evaluation.metrics.similarity import pair_similarities
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.perturbations.masked import MaskedPairs
from facedistill.evaluation.protocols.base import Embedder, Protocol, embed_faces
from facedistill.evaluation.protocols.fairness import check_comparable, compare_groups
from facedistill.evaluation.protocols.fairness_report import FairnessReport
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_scores import report_scores
from facedistill.evaluation.protocols.robustness import RobustnessReport, robustness
from facedistill.evaluation.report import Report
from facedistill.evaluation.statistics.paired_difference import ReportComparison, compare_reports
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.inference import Network


class PairProtocol(Protocol):
    """Verification on one set of pairs.

    Every image is embedded once, however many pairs it is in. Stored embeddings are 2 P rows, 2 i
    and 2 i + 1 for pair i, as the images lie in a `.bin` file, or a row per distinct image of the
    set, in its order.

    Args:
        pairset: The pairs.
    """

    kind = "pairs of images"
    takes = frozenset(
        {
            *("fars", "flip", "kfold", "folds", "mask", "mask_seed", "robustness", "groups"),
            *("group_far", "against", "save_thresholds", "prompts", "centre", "scores"),
        }
    )

    def __init__(self, pairset: ImagePairs) -> None:
        self.pairset = pairset
        self.name = pairset.name

    @classmethod
    def open(cls, source: str | Path) -> PairProtocol:
        """Open a `.bin` file, a folder with `pairs.txt`, or a `procedural:` specification.

        Raises:
            FacedistillError: If it is nothing of this, or damaged.
        """
        return cls(open_pairs(source))

    def shows(self) -> Sequence[FaceDataset]:
        """Return the images of the pairs."""
        return (self.pairset.faces,) if isinstance(self.pairset, PairSet) else ()

    def check(self, options: EvaluationOptions, also: Collection[str] = ()) -> None:
        """Refuse what excludes each other, and groups that these pairs cannot show.

        Raises:
            FacedistillError: Naming the options, or the table of groups.
        """
        super().check(options, also)
        if options.mask is not None and options.robustness is not None:
            raise FacedistillError(
                f"{self.name}: a mask is one condition of the table of robustness: ask for "
                "masks or for the table"
            )
        if options.groups is not None:
            check_comparable(self._named(), options.groups, options.group_far)

    def evaluate_network(self, network: Network, options: EvaluationOptions) -> PairReport:
        """Embed every image of the pairs once and compare.

        Raises:
            FacedistillError: If the pairs or the network's embeddings are unusable.
        """
        check_pairs(self.pairset)
        pairs = self.pairset
        if options.mask is not None:
            pairs = MaskedPairs(pairs, options.mask, options.mask_seed)
        used, rows = np.unique(pairs.pairs, return_inverse=True)
        embeddings = embed_faces(
            network,
            lambda index: pairs.image(int(used[index])),
            len(used),
            options,
            description=self.name,
        )
        scores = pair_similarities(embeddings, rows.reshape(-1, 2))
        report = self._report(pairs, scores, options, options.flip)
        return replace(report, health=embedding_health(embeddings))

    def evaluate_stored(self, stored: StoredEmbeddings, options: EvaluationOptions) -> PairReport:
        """Compare embeddings that are already there.

        Raises:
            FacedistillError: If embeddings do not fit the pairs, or either is unusable.
        """
        check_pairs(self.pairset)
        embeddings = stored.summed()
        scores = pair_similarities(embeddings, stored_rows(stored, self.pairset))
        report = self._report(self.pairset, scores, options, stored.flip)
        return replace(report, health=embedding_health(embeddings))

    def _report(
        self, pairs: ImagePairs, scores: np.ndarray, options: EvaluationOptions, flip: bool
    ) -> PairReport:
        return report_scores(
            self.name,
            scores,
            pairs.same,
            protocol=options.kfold,
            folds=options.folds if pairs.folds is None else pairs.folds,
            identities=pair_identities(pairs),
            fars=options.fars or FARS,
            flip=flip,
            masked=options.mask,
            resamples=options.resamples,
            seed=options.seed,
        )

    def compare(
        self, first: Report, second: Report, options: EvaluationOptions
    ) -> ReportComparison:
        """Return the first network's figures less the second's, with paired tests."""
        assert isinstance(first, PairReport)
        assert isinstance(second, PairReport)
        return compare_reports(
            first, second, resamples=options.resamples or 1000, seed=options.seed
        )

    def by_group(self, report: Report, options: EvaluationOptions) -> list[FairnessReport]:
        """Return errors by group, one report per attribute of the options' table of groups."""
        if options.groups is None:
            return []
        assert isinstance(report, PairReport)
        return compare_groups(
            report,
            self._named(),
            options.groups,
            far=options.group_far,
            resamples=options.resamples,
            seed=options.seed,
        )

    def _named(self) -> PairSet:
        """The pairs with the names of their images and identities, which a table of groups uses."""
        if not isinstance(self.pairset, PairSet):
            raise FacedistillError(f"{self.name}: --groups need pairs whose images have names")
        return self.pairset

    def perturbed(
        self, embedder: Embedder, report: Report, options: EvaluationOptions
    ) -> RobustnessReport | None:
        """Return the same pairs with images altered, where the options ask for them."""
        if options.robustness is None:
            return None
        assert isinstance(report, PairReport)
        assert not isinstance(embedder, StoredEmbeddings)
        return robustness(embedder, self.pairset, report, options)


def stored_rows(stored: StoredEmbeddings, pairset: ImagePairs) -> np.ndarray:
    """Return the two rows of each pair, int64 (P, 2).

    Raises:
        FacedistillError: If there are neither two rows per pair nor one per distinct image.
    """
    count, images = 2 * len(pairset.same), int(pairset.pairs.max()) + 1
    if len(stored.plain) == images:
        return pairset.pairs
    if len(stored.plain) == count:
        return np.arange(count).reshape(-1, 2)
    raise FacedistillError(
        f"{stored.name} has {len(stored.plain):,} rows, which do not fit {pairset.name}: "
        f"give {count:,}, two per pair in the pairs' order, or {images:,}, one per distinct image"
    )
