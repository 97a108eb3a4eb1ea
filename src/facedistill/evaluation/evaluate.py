"""One door for every protocol: what is given says which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facedistill.data.groups import GroupTable, pair_groups
from facedistill.data.ijb import IjbFiles, is_ijb, read_ijb
from facedistill.data.pairs import PairSet, open_pairs
from facedistill.errors import FacedistillError
from facedistill.evaluation import verification as kfold
from facedistill.evaluation.comparison import ReportComparison, compare_reports
from facedistill.evaluation.embedding import Network
from facedistill.evaluation.fairness import FairnessReport, fairness
from facedistill.evaluation.ijb import FARS as IJB_FARS
from facedistill.evaluation.ijb import IjbReport, check_ijb, embed_ijb, evaluate_ijb
from facedistill.evaluation.masked import Masked
from facedistill.evaluation.pairs import PairReport, evaluate_pairs
from facedistill.evaluation.roc import FARS
from facedistill.evaluation.stored import StoredEmbeddings, evaluate_stored_pairs
from facedistill.evaluation.templates import Variant
from facedistill.models.thresholds import write_thresholds

Faces = Network | StoredEmbeddings
"""What is measured: a network, or what it has said already."""


@dataclass(frozen=True)
class Evaluation:
    """What is said about one protocol.

    Attributes:
        report: The figures.
        difference: Less those of another network on the same pairs; None without one.
        fairness: Errors by group, one per attribute of the table of groups.
    """

    report: PairReport | IjbReport
    difference: ReportComparison | None = None
    fairness: list[FairnessReport] = field(default_factory=list)

    def line(self) -> str:
        """Return the figures as text, one line per protocol, comparison and attribute."""
        lines = [self.report.line()]
        if self.difference is not None:
            lines.append(self.difference.line())
        lines += [f"{self.report.name} by {groups.line()}" for groups in self.fairness]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        document = self.report.to_dict()
        if self.difference is not None:
            document["difference"] = self.difference.to_dict()
        if self.fairness:
            document["fairness"] = [groups.to_dict() for groups in self.fairness]
        return document


def open_protocol(source: str | Path) -> PairSet | IjbFiles:
    """Open whatever faces can be measured on.

    Args:
        source: A folder of IJB protocol files, or anything that `data.pairs.open_pairs` opens.

    Raises:
        FacedistillError: If it is neither, or damaged.
    """
    if Path(source).is_dir() and is_ijb(source):
        return read_ijb(source)
    return open_pairs(source)


def evaluate(
    faces: Faces,
    protocol: PairSet | IjbFiles,
    *,
    against: Faces | None = None,
    groups: GroupTable | None = None,
    group_far: float = 1e-2,
    kfold_protocol: kfold.Protocol = "insightface",
    flip: bool = True,
    mask: Masked | None = None,
    mask_seed: int = 0,
    variants: Sequence[Variant] = (),
    fars: Sequence[float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure a network, or stored embeddings, by one protocol.

    Args:
        faces: What is measured.
        protocol: Pairs or IJB files.
        against: What it is compared with, on pairs.
        groups: Groups of people to compare, on pairs.
        group_far: False match rate over all pairs at whose threshold groups are compared.
        kfold_protocol: Headline protocol of pairs.
        flip: Whether a network embeds mirrored images too; stored embeddings have them or not.
        mask: Draw a face mask on the second image of each pair, or on both; None for none.
        mask_seed: Seed of the masks.
        variants: What faces contribute to IJB templates; by default all that is known of them.
        fars: False accept rates at which to report; each protocol has its own by default.
        resamples: Bootstrap resamples of the intervals; 0 for none, but for a comparison 1,000.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If something is unusable, or asked of a protocol that has it not.
    """
    if isinstance(protocol, IjbFiles):
        if against is not None or groups is not None or mask is not None:
            raise FacedistillError(
                f"{protocol.name}: comparing networks, groups of people and masks need pairs of "
                "images, not templates"
            )
        return Evaluation(
            _evaluate_ijb(faces, protocol, flip, variants, fars or IJB_FARS, resamples, seed)
        )
    if variants:
        raise FacedistillError(
            f"{protocol.name}: variants are for the templates of an IJB folder, and these are pairs"
        )
    masks = {"mask": mask, "mask_seed": mask_seed}
    settings = {
        "protocol": kfold_protocol,
        "fars": fars or FARS,
        "resamples": resamples,
        "seed": seed,
    }
    report = _evaluate_pairs(faces, protocol, flip, masks, settings)
    difference = None
    if against is not None:
        other = _evaluate_pairs(against, protocol, flip, masks, {**settings, "resamples": 0})
        difference = compare_reports(report, other, resamples=resamples or 1000, seed=seed)
    found = []
    for attribute in groups.attributes if groups is not None else ():
        assert groups is not None
        codes, names = pair_groups(protocol, groups, attribute)
        found.append(
            fairness(
                report.scores,
                report.same,
                codes,
                names,
                attribute=attribute,
                far=group_far,
                identities=report.identities,
                resamples=resamples,
                seed=seed,
            )
        )
    return Evaluation(report, difference, found)


def _evaluate_pairs(
    faces: Faces, pairset: PairSet, flip: bool, masks: dict[str, Any], settings: dict[str, Any]
) -> PairReport:
    if not isinstance(faces, StoredEmbeddings):
        return evaluate_pairs(faces, pairset, flip=flip, **masks, **settings)
    if masks["mask"] is not None:
        raise FacedistillError(
            f"{faces.name}: masks are drawn on images, and these are embeddings: give a network"
        )
    return evaluate_stored_pairs(faces, pairset, **settings)


def _evaluate_ijb(
    faces: Faces,
    files: IjbFiles,
    flip: bool,
    variants: Sequence[Variant],
    fars: Sequence[float],
    resamples: int,
    seed: int,
) -> IjbReport:
    check_ijb(files)
    known = files.detector_scores is not None
    if isinstance(faces, StoredEmbeddings):
        plain, flipped = faces.plain, faces.flipped
        chosen = variants or (Variant(detector=known, flip=flipped is not None),)
    else:
        chosen = variants or (Variant(detector=known, flip=flip),)
        plain, flipped = embed_ijb(faces, files, flip=any(variant.flip for variant in chosen))
    return evaluate_ijb(
        files, plain, flipped, variants=chosen, fars=fars, resamples=resamples, seed=seed
    )


def save_decision_thresholds(
    model: str | Path | None, evaluations: Sequence[Evaluation]
) -> dict[str, float]:
    """Write the thresholds found on one set of pairs into the network's file.

    Args:
        model: The network's file; None where embeddings were measured.
        evaluations: What was measured: one set of pairs, as faces are compared in use, which is
            unmasked and with mirrored images added.

    Returns:
        All thresholds that the file now has.

    Raises:
        FacedistillError: If that is not what was measured, or the file cannot carry thresholds.
    """
    report = evaluations[0].report if len(evaluations) == 1 else None
    if model is None or not isinstance(report, PairReport) or not report.flip or report.masked:
        raise FacedistillError(
            "thresholds can be saved from one network on one set of pairs, without --no-flip or "
            "--mask, as `verify` compares faces"
        )
    return write_thresholds(model, report.thresholds)
