"""IJB-B and IJB-C: templates compared 1:1, and searched for in two galleries.

Everything follows from one embedding per face (and one per mirrored face), so a network is asked
once, or never where the embeddings are there already.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate
from facedistill.data.formats.ijb_files import IjbFiles, TemplateList, read_ijb
from facedistill.data.formats.npy import Rows
from facedistill.evaluation.image_pairs import MIN_IDENTITIES
from facedistill.evaluation.metrics.identification import (
    FPIRS,
    RANKS,
    Matches,
    ThresholdRule,
    cmc,
    open_set,
    search_gallery,
)
from facedistill.evaluation.metrics.roc import (
    area_under_curve,
    far_name,
    roc_curve,
    tar_at_far,
    tar_at_nearest_far,
)
from facedistill.evaluation.metrics.score_histogram import count_scores
from facedistill.evaluation.metrics.template_pooling import (
    MOST,
    Templates,
    Variant,
    pool_templates,
    row_similarities,
    template_rows,
)
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.base import Protocol, embed_faces
from facedistill.evaluation.protocols.ijb_report import (
    GalleryResult,
    IjbReport,
    TemplateIdentification,
    TemplateVerification,
)
from facedistill.evaluation.statistics.bootstrap import bootstrap_clusters
from facedistill.evaluation.statistics.tar_bootstrap import (
    tar_intervals,
    tar_intervals_over_identities,
)
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.inference import Network

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""The false accept rates at which IJB is reported."""


class IjbProtocol(Protocol):
    """IJB-B or IJB-C: whatever of 1:1 and 1:N the protocol files describe.

    Stored embeddings are a row per face, in the files' order.

    Args:
        files: The protocol files.
    """

    kind = "IJB templates"
    takes = frozenset({"fars", "flip", "variants", "prompts"})

    def __init__(self, files: IjbFiles) -> None:
        self.files = files
        self.name = files.name

    @classmethod
    def open(cls, source: str | Path) -> IjbProtocol:
        """Open a folder of IJB protocol files.

        Raises:
            FacedistillError: If files are missing or damaged.
        """
        return cls(read_ijb(source))

    def evaluate_network(self, network: Network, options: EvaluationOptions) -> IjbReport:
        """Embed all faces, mirrored ones only where a variant wants them, and measure.

        Raises:
            FacedistillError: If files, photos or embeddings are unusable.
        """
        check_ijb(self.files)
        variants = options.variants or (self._known(options.flip),)
        wanted = any(variant.flip for variant in variants)
        plain, flipped = embed_ijb(network, self.files, options, flip=wanted)
        return self._report(plain, flipped, variants, options)

    def evaluate_stored(self, stored: StoredEmbeddings, options: EvaluationOptions) -> IjbReport:
        """Measure embeddings that are already there.

        Raises:
            FacedistillError: If files, embeddings or variants do not fit each other.
        """
        check_ijb(self.files)
        variants = options.variants or (self._known(stored.flip),)
        return self._report(stored.plain, stored.flipped, variants, options)

    def _known(self, flip: bool) -> Variant:
        """All that is known of the faces."""
        return Variant(detector=self.files.detector_scores is not None, flip=flip)

    def _report(
        self,
        plain: Rows,
        flipped: Rows | None,
        variants: Sequence[Variant],
        options: EvaluationOptions,
    ) -> IjbReport:
        return evaluate_ijb(
            self.files,
            plain,
            flipped,
            variants=variants,
            fars=options.fars or FARS,
            resamples=options.resamples,
            seed=options.seed,
        )


def embed_ijb(
    network: Network, files: IjbFiles, options: EvaluationOptions, *, flip: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the embeddings of all faces, aligned by their landmarks, and of the mirrored faces.

    Args:
        network: See `models.inference.embed_images`.
        files: The protocol files, with landmarks and photos.
        options: Batch size, workers and device.
        flip: Whether to embed the mirrored faces too.

    Returns:
        float32 (N, D) and, with `flip`, float32 (N, D).
    """

    def embed(image: Callable[[int], np.ndarray], description: str) -> np.ndarray:
        return embed_faces(network, image, len(files), options, flip=False, description=description)

    plain = embed(files.face, files.name)
    if not flip:
        return plain, None
    return plain, embed(lambda index: files.face(index)[:, ::-1].copy(), f"{files.name} mirrored")


def evaluate_ijb(
    files: IjbFiles,
    embeddings: Rows,
    flipped: Rows | None = None,
    *,
    variants: Sequence[Variant] = (MOST,),
    fars: Sequence[float] = FARS,
    fpirs: Sequence[float] = FPIRS,
    rule: ThresholdRule = "ijb_evals",
    resamples: int = 1000,
    seed: int = 0,
) -> IjbReport:
    """Measure all protocols whose files are there.

    Args:
        files: The protocol files.
        embeddings: (N, D) floats of the faces in the files' order, not normalised.
        flipped: (N, D) embeddings of the mirrored faces, for variants with flip.
        variants: Which variants.
        fars: False accept rates of the 1:1 protocol.
        fpirs: False positive identification rates of the 1:N protocol.
        rule: How the open set's thresholds are set, see `identification.open_set`.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If files, embeddings or variants do not fit each other.
    """
    check_ijb(files)
    rows = identities = None
    if files.pairs is not None and files.same is not None:
        known = np.unique(files.templates)
        rows = template_rows(known, files.pairs, f"{files.name} pairs").astype(np.int32)
        identities = _identities(rows, files.same, len(known))
    verified, identified = [], []
    for variant in variants:
        templates = pool_templates(
            embeddings,
            files.templates,
            files.media,
            variant=variant,
            flipped=flipped,
            detector_scores=files.detector_scores,
        )
        if rows is not None and files.same is not None:
            scores = row_similarities(templates.embeddings, rows)
            verified.append(_verify(variant, scores, files.same, identities, fars, resamples, seed))
        if files.galleries and files.probes is not None:
            identified.append(
                _identify(
                    variant, templates, files.probes, files.galleries, fpirs, rule, resamples, seed
                )
            )
    return IjbReport(files.name, len(files), len(np.unique(files.templates)), verified, identified)


def check_ijb(files: IjbFiles) -> None:
    """Refuse protocol files that contradict themselves, before any face is embedded.

    Raises:
        FacedistillError: If there is nothing to measure, a template has no media, or all pairs are
            of one kind. Pairs that are listed again are measured, with a warning.
    """
    known = np.unique(files.templates)
    if files.pairs is None and not (files.galleries and files.probes is not None):
        raise FacedistillError(
            f"{files.name}: neither a list of template pairs nor galleries and probes: "
            "there is nothing to measure"
        )
    for listed in (*files.galleries, *([files.probes] if files.probes else [])):
        template_rows(known, listed.templates, listed.name)
    if files.pairs is None or files.same is None:
        return
    rows = template_rows(known, files.pairs, f"{files.name} pairs").astype(np.int64)
    low, high = rows.min(axis=1), rows.max(axis=1)
    keys = low * len(known) + high
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order[1:]] == keys[order[:-1]]]
    repeated = np.union1d(again, np.flatnonzero(low == high))
    if len(repeated):
        warnings.warn(
            f"{files.name}: {len(repeated):,} of {len(rows):,} pairs of templates repeat an "
            f"earlier one or show one template twice (first line {repeated[0] + 1}); they are "
            "measured as listed",
            stacklevel=2,
        )
    if files.same.all() or not files.same.any():
        missing = "two identities" if files.same.all() else "one identity"
        raise FacedistillError(
            f"{files.name}: none of the {len(files.same):,} pairs is of {missing}: "
            "error rates need pairs of both kinds"
        )


def _identities(rows: np.ndarray, same: np.ndarray, templates: int) -> np.ndarray | None:
    """Return the two identities of every pair, int32 (P, 2); None if there are too few to resample.

    The 1:1 lists do not name identities, but templates joined by genuine pairs are of one identity.
    """
    left, right = rows[same].T
    joined = sparse.csr_array(
        (np.ones(len(left), np.int8), (left, right)), shape=(templates, templates)
    )
    _, identity = sparse.csgraph.connected_components(joined, directed=False)
    if len(np.unique(identity[left])) < MIN_IDENTITIES:
        return None
    return identity[rows]


def _verify(
    variant: Variant,
    scores: np.ndarray,
    same: np.ndarray,
    identities: np.ndarray | None,
    fars: Sequence[float],
    resamples: int,
    seed: int,
) -> TemplateVerification:
    whole = roc_curve(scores, same)
    nearest = [tar_at_nearest_far(whole, far) for far in fars]
    curve = whole.thinned()
    if identities is None:
        intervals = tar_intervals(curve, fars, resamples=resamples, seed=seed)
    else:
        intervals = tar_intervals_over_identities(
            scores, same, identities, fars, resamples=resamples, seed=seed
        )
    return TemplateVerification(
        variant=variant,
        genuine=curve.genuine,
        impostors=curve.impostors,
        auc=area_under_curve(curve),
        points=[tar_at_far(curve, far) for far in fars],
        intervals=intervals,
        nearest=nearest,
        curve=curve,
        counts=count_scores(scores, same),
    )


def _identify(
    variant: Variant,
    templates: Templates,
    probes: TemplateList,
    galleries: Sequence[TemplateList],
    fpirs: Sequence[float],
    rule: ThresholdRule,
    resamples: int,
    seed: int,
) -> TemplateIdentification:
    asked = templates.embeddings[templates.rows(probes.templates, probes.name)]
    results, searches = [], []
    for gallery in galleries:
        entries = templates.embeddings[templates.rows(gallery.templates, gallery.name)]
        matches = search_gallery(asked, probes.subjects, entries, gallery.subjects)
        searches.append(matches)
        points = open_set(
            matches, probes.subjects, fpirs, rule=rule, resamples=resamples, seed=seed
        )
        results.append(
            GalleryResult(
                gallery.name,
                matches.entries,
                int(matches.mated.sum()),
                cmc(matches, min(matches.entries, 100)),
                points,
            )
        )
    return TemplateIdentification(
        variant=variant,
        probes=len(asked),
        rule=rule,
        galleries=results,
        ranks=_pooled_ranks(searches, probes.subjects, resamples, seed),
        tpir={far_name(fpir): _mean_tpir(results, place) for place, fpir in enumerate(fpirs)},
    )


def _pooled_ranks(
    searches: Sequence[Matches], identities: np.ndarray, resamples: int, seed: int
) -> dict[int, Estimate]:
    """Return rank-k rates over the mated searches of all galleries."""
    ranks = np.concatenate([matches.rank[matches.mated] for matches in searches])
    searched = np.concatenate([identities[matches.mated] for matches in searches])
    return {
        k: Estimate(
            float((ranks <= k).mean()),
            bootstrap_clusters(ranks <= k, searched, resamples=resamples, seed=seed)
            if resamples
            else None,
        )
        for k in RANKS
    }


def _mean_tpir(results: Sequence[GalleryResult], place: int) -> float | None:
    rates = [gallery.open_set[place].tpir for gallery in results]
    values = [rate.value for rate in rates if rate is not None]
    return float(np.mean(values)) if len(values) == len(results) else None
