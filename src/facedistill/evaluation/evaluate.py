"""One door for every protocol: what is given says which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError, naming
from facedistill.data.formats.ijb_files import IjbFiles, is_ijb, read_ijb
from facedistill.data.open import open_dataset
from facedistill.data.pairs.group_table import GroupTable, pair_groups
from facedistill.data.pairs.pair_set import PairSet, open_pairs
from facedistill.data.sample import FaceDataset
from facedistill.evaluation.embedding import Network, embed_images
from facedistill.evaluation.metrics import kfold
from facedistill.evaluation.metrics.roc import FARS, far_name
from facedistill.evaluation.metrics.templates import Variant
from facedistill.evaluation.perturbations.altered import Which
from facedistill.evaluation.perturbations.masked import Masked
from facedistill.evaluation.protocols.all_pairs import FARS as ALL_PAIRS_FARS
from facedistill.evaluation.protocols.all_pairs import (
    AllPairsReport,
    check_people,
    evaluate_all_pairs,
    report_all_pairs,
)
from facedistill.evaluation.protocols.distractors import DistractorReport, distractor_rates
from facedistill.evaluation.protocols.fairness import FairnessReport, check_groups, fairness
from facedistill.evaluation.protocols.ijb_templates import FARS as IJB_FARS
from facedistill.evaluation.protocols.ijb_templates import (
    IjbReport,
    check_ijb,
    embed_ijb,
    evaluate_ijb,
)
from facedistill.evaluation.protocols.landmark_localisation import LandmarkReport
from facedistill.evaluation.protocols.pair_verification import PairReport, evaluate_pairs
from facedistill.evaluation.protocols.robustness import RobustnessReport, robustness
from facedistill.evaluation.statistics.paired_difference import ReportComparison, compare_reports
from facedistill.evaluation.stored_embeddings import (
    StoredEmbeddings,
    evaluate_stored_pairs,
    open_stored,
)
from facedistill.models.device import best_device, device_of
from facedistill.models.files.decision_thresholds import write_thresholds

Faces = Network | StoredEmbeddings
"""What is measured: a network, or what it has said already."""

GROUP_FAR = 1e-2
"""False match rate over all pairs at whose threshold groups of people are compared."""


@dataclass(frozen=True)
class AllPairs:
    """The protocol that compares every image of a data set with every other one.

    Attributes:
        faces: The data set, labelled.
    """

    faces: FaceDataset

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.faces.name


@dataclass(frozen=True)
class Distractors:
    """The protocol that looks for a person's other photos among strangers.

    Attributes:
        faces: The probes, labelled.
        strangers: Faces of other people, or their embeddings by the same network.
    """

    faces: FaceDataset
    strangers: FaceDataset | StoredEmbeddings

    @property
    def name(self) -> str:
        """The probes' name."""
        return self.faces.name


Protocol = PairSet | IjbFiles | AllPairs | Distractors
"""What faces are measured on."""

Report = PairReport | IjbReport | AllPairsReport | DistractorReport | LandmarkReport
"""What is found."""


@dataclass(frozen=True)
class Evaluation:
    """What is said about one protocol.

    Attributes:
        report: The figures.
        difference: Less those of another network on the same pairs; None without one.
        fairness: Errors by group, one per attribute of the table of groups.
        robustness: The same pairs with images altered; None where not asked for.
    """

    report: Report
    difference: ReportComparison | None = None
    fairness: list[FairnessReport] = field(default_factory=list)
    robustness: RobustnessReport | None = None

    def line(self) -> str:
        """Return the figures as text, one line per protocol, comparison and attribute."""
        lines = [self.report.line()]
        if self.difference is not None:
            lines.append(self.difference.line())
        lines += [f"{self.report.name} by {groups.line()}" for groups in self.fairness]
        if self.robustness is not None:
            lines.append(self.robustness.line())
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        document = self.report.to_dict()
        if self.difference is not None:
            document["difference"] = self.difference.to_dict()
        if self.fairness:
            document["fairness"] = [groups.to_dict() for groups in self.fairness]
        if self.robustness is not None:
            document["robustness"] = self.robustness.to_dict()
        return document


def open_protocol(
    source: str | Path, *, all_pairs: bool = False, distractors: str | Path | None = None
) -> Protocol:
    """Open whatever faces can be measured on.

    Args:
        source: A folder of IJB protocol files, or anything that `data.pairs.open_pairs` opens; with
            one of the following, a labelled data set, which `data.opening.open_dataset` opens.
        all_pairs: Compare every image of the data set with every other one.
        distractors: Look for each image's person among these faces: a data set, or a `.npy` file of
            its embeddings by the network that is measured, as they are to be compared.

    Raises:
        FacedistillError: If it is nothing of this, or damaged.
    """
    if all_pairs and distractors is not None:
        raise FacedistillError("all pairs and distractors are two protocols: ask for one at a time")
    if all_pairs or distractors is not None:
        faces = open_dataset(source, relabel=True)
        check_people(faces)
        if distractors is None:
            return AllPairs(faces)
        if Path(distractors).suffix.lower() == ".npy":
            return Distractors(faces, open_stored(distractors))
        return Distractors(faces, open_dataset(distractors, relabel=True))
    if Path(source).is_dir() and is_ijb(source):
        return read_ijb(source)
    return open_pairs(source)


def evaluate(
    faces: Faces,
    protocol: Protocol,
    *,
    against: Faces | None = None,
    groups: GroupTable | None = None,
    group_far: float = GROUP_FAR,
    kfold_protocol: kfold.Protocol = "insightface",
    flip: bool = True,
    mask: Masked | None = None,
    mask_seed: int = 0,
    altered: Which | None = None,
    variants: Sequence[Variant] = (),
    fars: Sequence[float] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Measure a network, or stored embeddings, by one protocol.

    Args:
        faces: What is measured.
        protocol: What `open_protocol` opened.
        against: What it is compared with, on pairs.
        groups: Groups of people to compare, on pairs.
        group_far: False match rate over all pairs at whose threshold groups are compared.
        kfold_protocol: Headline protocol of pairs.
        flip: Whether a network embeds mirrored images too; stored embeddings have them or not.
        mask: Draw a face mask on the second image of each pair (of all pairs, on the probe), or on
            both; None for none.
        mask_seed: Seed of the masks.
        altered: Measure pairs again under each condition of `robustness`, with the second image
            altered, or both; None does not.
        variants: What faces contribute to IJB templates; by default all that is known of them.
        fars: False accept rates at which to report; each protocol has its own by default.
        resamples: Bootstrap resamples of the intervals; 0 for none, but for a comparison 1,000.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If something is unusable, or asked of a protocol that has it not.
    """
    _check_asked(protocol, against, groups, mask, altered, variants)
    if isinstance(protocol, IjbFiles):
        return Evaluation(
            _evaluate_ijb(faces, protocol, flip, variants, fars or IJB_FARS, resamples, seed)
        )
    if isinstance(protocol, AllPairs):
        shared = {"fars": fars or ALL_PAIRS_FARS, "resamples": resamples, "seed": seed}
        return Evaluation(
            _evaluate_all_pairs(
                faces, protocol, flip, {"mask": mask, "mask_seed": mask_seed}, shared
            )
        )
    if isinstance(protocol, Distractors):
        return Evaluation(_evaluate_distractors(faces, protocol, flip, resamples, seed))
    masks = {"mask": mask, "mask_seed": mask_seed}
    settings: dict[str, Any] = {
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
    if groups is not None:
        found = compare_groups(
            report, protocol, groups, far=group_far, resamples=resamples, seed=seed
        )
    spoilt = None
    if altered is not None:
        if isinstance(faces, StoredEmbeddings):
            raise FacedistillError(
                f"{faces.name}: images are altered for the table of robustness, and these are "
                "embeddings: give a network"
            )
        spoilt = robustness(
            faces, protocol, report, altered, flip=flip, mask_seed=mask_seed, **settings
        )
    return Evaluation(report, difference, found, spoilt)


def compare_groups(
    report: PairReport,
    pairset: PairSet,
    groups: GroupTable,
    *,
    far: float = GROUP_FAR,
    resamples: int = 1000,
    seed: int = 0,
) -> list[FairnessReport]:
    """Return errors by group, one report per attribute of the table.

    Args:
        report: What was measured.
        pairset: On which pairs.
        groups: Groups of their people or images.
        far: False match rate over all pairs at whose threshold groups are compared.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Seed of the bootstrap.

    Raises:
        FacedistillError: If the groups cannot be compared on these pairs.
    """
    reports = []
    for attribute in groups.attributes:
        codes, names = pair_groups(pairset, groups, attribute)
        reports.append(
            fairness(
                report.scores,
                report.same,
                codes,
                names,
                attribute=attribute,
                far=far,
                identities=report.identities,
                resamples=resamples,
                seed=seed,
            )
        )
    return reports


def check_comparable(pairset: PairSet, groups: GroupTable, far: float = GROUP_FAR) -> None:
    """Refuse groups that `compare_groups` could not compare, before anything is embedded.

    Raises:
        FacedistillError: Naming the table.
    """
    impostors = int((~pairset.same).sum())
    if impostors * far < 1:
        raise FacedistillError(
            f"{groups.name}: groups are compared at FAR {far_name(far)}, which {impostors:,} "
            f"impostor pairs of {pairset.name} cannot show: leave the table out, or give more pairs"
        )
    for attribute in groups.attributes:
        codes, names = pair_groups(pairset, groups, attribute)
        with naming(f"{groups.name}, {attribute}"):
            check_groups(codes, names, len(codes))


def _check_asked(
    protocol: Protocol,
    against: Faces | None,
    groups: GroupTable | None,
    mask: Masked | None,
    altered: Which | None,
    variants: Sequence[Variant],
) -> None:
    """Refuse what a protocol has not, before anything is embedded."""
    if isinstance(protocol, PairSet):
        if mask is not None and altered is not None:
            raise FacedistillError(
                f"{protocol.name}: a mask is one condition of the table of robustness: ask for "
                "masks or for the table"
            )
    elif against is not None or groups is not None or altered is not None:
        what = "templates" if isinstance(protocol, IjbFiles) else "a whole data set"
        raise FacedistillError(
            f"{protocol.name}: comparing networks, groups of people and robustness need pairs of "
            f"images, not {what}"
        )
    if mask is not None and isinstance(protocol, IjbFiles | Distractors):
        raise FacedistillError(f"{protocol.name}: masks are drawn on pairs, and these are none")
    if variants and not isinstance(protocol, IjbFiles):
        raise FacedistillError(
            f"{protocol.name}: variants are for the templates of an IJB folder, and this is none"
        )


def _evaluate_all_pairs(
    faces: Faces,
    protocol: AllPairs,
    flip: bool,
    masks: dict[str, Any],
    settings: dict[str, Any],
) -> AllPairsReport:
    if not isinstance(faces, StoredEmbeddings):
        return evaluate_all_pairs(faces, protocol.faces, flip=flip, **masks, **settings)
    if masks["mask"] is not None:
        raise _unmasked(faces)
    rows = _rows_of(faces, protocol.faces)
    flip, device = faces.flipped is not None, best_device()
    return report_all_pairs(protocol.faces, rows, flip=flip, device=device, **settings)


def _evaluate_distractors(
    faces: Faces, protocol: Distractors, flip: bool, resamples: int, seed: int
) -> DistractorReport:
    labelled = check_people(protocol.faces)
    if isinstance(faces, StoredEmbeddings):
        if not isinstance(protocol.strangers, StoredEmbeddings):
            raise FacedistillError(
                f"{protocol.strangers.name}: with embeddings of the probes, give the distractors' "
                "as a .npy file too"
            )
        probes, flip = _rows_of(faces, protocol.faces), faces.flipped is not None
        device = best_device()
    else:
        probes, device = _embed(faces, protocol.faces, labelled, flip), device_of(faces)
    if isinstance(protocol.strangers, StoredEmbeddings):
        strangers = protocol.strangers.plain
    else:
        assert not isinstance(faces, StoredEmbeddings)
        everyone = np.arange(len(protocol.strangers))
        strangers = _embed(faces, protocol.strangers, everyone, flip)
    people = protocol.faces.labels[labelled]
    rates = distractor_rates(
        probes, people, strangers, resamples=resamples, seed=seed, device=device
    )
    return DistractorReport(
        name=protocol.name,
        strangers=protocol.strangers.name,
        images=len(probes),
        people=len(np.unique(people)),
        flip=flip,
        rates=rates,
    )


def _embed(network: Network, faces: FaceDataset, images: np.ndarray, flip: bool) -> np.ndarray:
    return embed_images(
        network,
        lambda place: faces[int(images[place])].image,
        len(images),
        flip=flip,
        description=faces.name,
    )


def _rows_of(stored: StoredEmbeddings, faces: FaceDataset) -> np.ndarray:
    """Return the embeddings of a data set's labelled images, the mirrored ones' added.

    Raises:
        FacedistillError: If there is not one row per image.
    """
    if len(stored.plain) != len(faces):
        raise FacedistillError(
            f"{stored.name} has {len(stored.plain):,} rows, {faces.name} {len(faces):,} images: "
            "give one row per image, in its order"
        )
    labelled = check_people(faces)
    if stored.flipped is None:
        return stored.plain[labelled]
    return stored.plain[labelled].astype(np.float64) + stored.flipped[labelled]


def _unmasked(stored: StoredEmbeddings) -> FacedistillError:
    return FacedistillError(
        f"{stored.name}: masks are drawn on images, and these are embeddings: give a network"
    )


def _evaluate_pairs(
    faces: Faces, pairset: PairSet, flip: bool, masks: dict[str, Any], settings: dict[str, Any]
) -> PairReport:
    if not isinstance(faces, StoredEmbeddings):
        return evaluate_pairs(faces, pairset, flip=flip, **masks, **settings)
    if masks["mask"] is not None:
        raise _unmasked(faces)
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
