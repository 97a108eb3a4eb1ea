"""One door for every protocol, which is chosen by what is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.ijb_files import is_ijb
from facedistill.data.open import is_landmark_set
from facedistill.data.stored_orientation import warn_of_turned
from facedistill.evaluation.centring import centre_embedder, warn_of_shared
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.protocols.base import Embedder, Protocol
from facedistill.evaluation.protocols.distractors import DistractorProtocol
from facedistill.evaluation.protocols.fairness_report import FairnessReport
from facedistill.evaluation.protocols.ijb_templates import IjbProtocol
from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.protocols.robustness import RobustnessReport
from facedistill.evaluation.report import Report
from facedistill.evaluation.statistics.paired_difference import ReportComparison
from facedistill.evaluation.training_overlap import TrainingOverlap, training_overlap
from facedistill.models.centring import Centre
from facedistill.models.files.decision_thresholds import (
    check_carries_thresholds,
    write_thresholds,
)

_SAVED_FROM = (
    "thresholds can be saved from one network on one set of pairs, or all pairs of one data set, "
    "without --no-flip or --mask, as `verify` compares faces"
)


@dataclass(frozen=True)
class Evaluation:
    """What was found by one protocol.

    Attributes:
        report: The figures.
        difference: Less those of another network on the same pairs; None without one.
        fairness: Errors by group, one per attribute of the table of groups.
        robustness: The same pairs with images altered; None where not asked for.
        centred: The same with embeddings less a mean, and less these figures where two networks can
            be compared; None where not asked for.
        overlap: Training images of the network among those it was measured on; None where none
            are known.
    """

    report: Report
    difference: ReportComparison | None = None
    fairness: list[FairnessReport] = field(default_factory=list)
    robustness: RobustnessReport | None = None
    overlap: TrainingOverlap | None = None
    centred: CentredEvaluation | None = None

    def line(self) -> str:
        """Return the figures as text, one line per protocol, comparison and attribute."""
        lines = [self.report.line()]
        if self.overlap is not None:
            lines.append(f"{self.report.name}, {self.overlap.line()}")
        if self.report.health is not None:
            lines.append(f"{self.report.name}, {self.report.health.line()}")
        if self.difference is not None:
            lines.append(self.difference.line())
        lines += [f"{self.report.name} by {groups.line()}" for groups in self.fairness]
        if self.robustness is not None:
            lines.append(self.robustness.line())
        if self.centred is not None:
            lines.append(self.centred.line())
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        document = self.report.to_dict()
        if self.report.health is not None:
            document["health"] = self.report.health.to_dict()
        if self.overlap is not None:
            document["training_overlap"] = self.overlap.to_dict()
        if self.difference is not None:
            document["difference"] = self.difference.to_dict()
        if self.fairness:
            document["fairness"] = [groups.to_dict() for groups in self.fairness]
        if self.robustness is not None:
            document["robustness"] = self.robustness.to_dict()
        if self.centred is not None:
            document["centred"] = self.centred.to_dict()
        return document


@dataclass(frozen=True)
class CentredEvaluation:
    """What was found with centred embeddings.

    Attributes:
        evaluation: The figures, and their difference from those without centring.
        centre: What was subtracted.
    """

    evaluation: Evaluation
    centre: Centre

    def line(self) -> str:
        """Return the figures as text; differences are centred less uncentred."""
        less = ", difference from the figures above" if self.evaluation.difference else ""
        head = f"centred on {self.centre.title}, mean of length {self.centre.length:.3f}{less}:"
        return f"{head}\n{self.evaluation.line()}"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values for JSON."""
        about = {"on": self.centre.data, "images": self.centre.images, "length": self.centre.length}
        return {**about, **self.evaluation.to_dict()}


def open_protocol(
    source: str | Path, *, all_pairs: bool = False, distractors: str | Path | None = None
) -> Protocol:
    """Open whatever faces can be measured on.

    Args:
        source: A landmark list or a folder with `.pts` files, a folder of IJB protocol files, or
            anything that `data.pairs.open_pairs` opens; with one of the following, a labelled data
            set, which `data.open.open_dataset` opens.
        all_pairs: Compare every image of the data set with every other one.
        distractors: Look for each image's identity among these faces: a data set, or a `.npy` file
            of its embeddings by the network that is measured, as they are to be compared.

    Raises:
        FacedistillError: If it is nothing of this, or damaged.
    """
    if all_pairs and distractors is not None:
        raise FacedistillError("all pairs and distractors are two protocols: ask for one at a time")
    protocol = _protocol(source, all_pairs, distractors)
    for faces in protocol.shows():
        warn_of_turned(faces)
    return protocol


def _protocol(source: str | Path, all_pairs: bool, distractors: str | Path | None) -> Protocol:
    if is_landmark_set(source):
        if all_pairs or distractors is not None:
            asked = "--all-pairs" if all_pairs else "--distractors"
            raise FacedistillError(
                f"{source}: not for {LandmarkProtocol.kind}: {asked}; leave that out"
            )
        return LandmarkProtocol.open(source)
    if all_pairs:
        return AllPairsProtocol.open(source)
    if distractors is not None:
        return DistractorProtocol.open(source, distractors)
    if Path(source).is_dir() and is_ijb(source):
        return IjbProtocol.open(source)
    return PairProtocol.open(source)


def evaluate(
    embedder: Embedder,
    protocol: Protocol,
    options: EvaluationOptions | None = None,
    *,
    against: Embedder | None = None,
    centre: Centre | None = None,
) -> Evaluation:
    """Measure a network, or stored embeddings, by one protocol.

    Args:
        embedder: What is measured.
        protocol: What `open_protocol` opened, or a protocol of one's own.
        options: How; by default the protocol's own way.
        against: What it is compared with, on the same pairs.
        centre: What to subtract from its embeddings in a second measurement, beside this one.

    Raises:
        FacedistillError: If something is unusable, or asked of a protocol that has it not.
    """
    options = options or EvaluationOptions()
    asked = {"against": against, "centre": centre}
    protocol.check(options, [name for name, value in asked.items() if value is not None])
    options.check_partners()
    overlap = training_overlap(embedder, protocol.shows())
    for each in (overlap, training_overlap(against, protocol.shows())):
        if each is not None:
            warnings.warn(f"{protocol.name}, {each.line()}", stacklevel=2)
    report = protocol.evaluate(embedder, options)
    for problem in report.health.problems() if report.health else ():
        warnings.warn(f"{report.name}: {problem}", stacklevel=2)
    difference = None
    if against is not None:
        other = protocol.evaluate(against, replace(options, resamples=0, robustness=None))
        difference = protocol.compare(report, other, options)
    return Evaluation(
        report,
        difference,
        protocol.by_group(report, options),
        protocol.perturbed(embedder, report, options),
        overlap,
        None if centre is None else _centred(embedder, protocol, options, report, centre),
    )


def _centred(
    embedder: Embedder,
    protocol: Protocol,
    options: EvaluationOptions,
    plain: Report,
    centre: Centre,
) -> CentredEvaluation:
    """Measure again with centred embeddings; `plain` are the figures without."""
    warn_of_shared(centre, protocol.shows(), protocol.name)
    found = evaluate(centre_embedder(embedder, centre), protocol, options)
    if "against" in protocol.takes:
        found = replace(found, difference=protocol.compare(found.report, plain, options))
    return CentredEvaluation(found, centre)


def check_saves_thresholds(
    model: str | Path | None, protocols: Sequence[Protocol], options: EvaluationOptions
) -> None:
    """Refuse what `save_decision_thresholds` would, before anything is measured.

    Args:
        model: The network's file; None where embeddings are measured.
        protocols: What it is to be measured by.
        options: How.

    Raises:
        FacedistillError: If that is no one set of pairs, compared as in use, or the file cannot
            carry thresholds.
    """
    if model is None or len(protocols) != 1 or options.mask is not None or not options.flip:
        raise FacedistillError(_SAVED_FROM)
    check_carries_thresholds(model)


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
    found = evaluations[0].report.file_thresholds if len(evaluations) == 1 else None
    if model is None or found is None:
        raise FacedistillError(_SAVED_FROM)
    return write_thresholds(model, dict(found))
