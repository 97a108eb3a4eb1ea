"""Many networks measured on the same: means over seeds, and differences between a table's rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.estimate import Estimate
from facedistill.evaluation.statistics.bootstrap import bootstrap_mean, mean_interval
from facedistill.evaluation.statistics.seed_differences import SeedDifference, seed_difference

ALL_PAIRS = "all_pairs"
"""What `AllPairsReport.to_dict` calls its protocol."""

HEADLINE_RATE = "tar@1e-3"
"""Of all pairs the figure by which rows are ranked."""

Figures = dict[str, Estimate]
"""A network's figures on one set, by name."""


@dataclass(frozen=True)
class Measured:
    """What one run measured on one set.

    Attributes:
        report: Its figures as plain values: `PairReport.to_dict()`, or any mapping whose numbers
            (or `{value, interval}`) are figures.
        items: (N,) what it scored on each pair (1 where it decided rightly, else 0) or face, of
            which the headline figure is the mean; None where that is not known.
    """

    report: Mapping[str, Any]
    items: np.ndarray | None = None


@dataclass(frozen=True)
class Truth:
    """The pairs, or the faces, that every row was measured on.

    Attributes:
        same: bool (N,), the kinds within which they are resampled, as is right for pairs; of faces
            all alike.
        identities: int (N, 2), of a face its identity twice, or None to resample the items.
    """

    same: np.ndarray
    identities: np.ndarray | None = None


@dataclass(frozen=True)
class RunResult:
    """One run of a row.

    Attributes:
        seed: Its seed.
        error: Why it has no result; None if it has.
        measured: By name of the set.
        parameters: Of the backbone.
        macs: Multiply-adds of a face.
        step_seconds: Median time of an optimiser step; None where it is not known.
        records: Those of `metrics.jsonl`.
        figure_files: The figures that it drew, by what they show.
    """

    seed: int
    error: str | None = None
    measured: Mapping[str, Measured] = field(default_factory=dict)
    parameters: int | None = None
    macs: int | None = None
    step_seconds: float | None = None
    records: Sequence[Mapping[str, Any]] = ()
    figure_files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: Its name.
        recipe: Its recipe as YAML, of the first seed.
        runs: One per seed.
        teacher_licence: Licence of its teacher's weights; None without a teacher.
        data_licence: Licence of its training data.
        figures: By set and figure, mean over the finished seeds and 95 % interval.
        differences: By set and reference row, of the headline figure on the same pairs or faces.
        seed_differences: By set, reference row and figure, paired by seed.
        step_ratio: Time of a step over that of the first reference row.
        milliseconds: Median time of a face as `training.latency` measures it; None where rows were
            not timed.
        file_bytes: Of its ONNX file; None likewise.
    """

    name: str
    recipe: str
    runs: Sequence[RunResult]
    teacher_licence: str | None = None
    data_licence: str = "unknown"
    figures: Mapping[str, Figures] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    seed_differences: Mapping[str, Mapping[str, Mapping[str, SeedDifference]]] = field(
        default_factory=dict
    )
    step_ratio: float | None = None
    milliseconds: Estimate | None = None
    file_bytes: int | None = None

    @property
    def finished(self) -> list[RunResult]:
        """The runs that have a result."""
        return [run for run in self.runs if run.error is None]

    @property
    def errors(self) -> dict[int, str]:
        """Why runs crashed, by seed."""
        return {run.seed: run.error for run in self.runs if run.error is not None}

    @property
    def parameters(self) -> int | None:
        """Of the backbone."""
        return next((run.parameters for run in self.finished), None)

    @property
    def macs(self) -> int | None:
        """Multiply-adds of a face."""
        return next((run.macs for run in self.finished), None)

    @property
    def step_seconds(self) -> float | None:
        """Median over the seeds of the median time of a step."""
        times = [run.step_seconds for run in self.finished if run.step_seconds]
        return float(np.median(times)) if times else None


def figures_of(report: Mapping[str, Any]) -> Figures:
    """Return the figures of one run's report on one set, with its bootstrap intervals.

    Those of pairs are `accuracy` (headline protocol), `auc`, `eer` and `tar@FAR` for each rate that
    is measurable, of all pairs the same without an accuracy, `tar@1e-3` first; of anything else
    every `{value, interval}`, `name@key` being one in a mapping.
    """
    if report.get("protocol") == ALL_PAIRS:
        rates = _true_accept_rates(report)
        first = {name: rate for name, rate in rates.items() if name == HEADLINE_RATE}
        return {**first, **rates, **_overall_rates(report)}
    if "verification" not in report:
        return dict(_estimates(report))
    headline = report["verification"][report["protocol"]]
    accuracy = _estimate({"value": headline["accuracy"], "interval": headline["interval"]})
    return {"accuracy": accuracy, **_overall_rates(report), **_true_accept_rates(report)}


def _overall_rates(report: Mapping[str, Any]) -> Figures:
    return {name: _estimate(report[name]) for name in ("auc", "eer")}


def _true_accept_rates(report: Mapping[str, Any]) -> Figures:
    return {
        f"tar@{far}": _estimate({"value": point["tar"], "interval": point.get("interval")})
        for far, point in report["tar_at_far"].items()
        if point["tar"] is not None
    }


def over_seeds(figures: Sequence[Figures]) -> Figures:
    """Return each figure's mean over seeds with its Student-t interval.

    Of a single seed it is the figure with the interval it came with: the bootstrap's, over the
    identities (or pairs) of the test. Figures that a seed lacks are left out; one that is not
    finite for some seed is NaN, without an interval.
    """
    if len(figures) == 1:
        return dict(figures[0])
    shared = [name for name in figures[0] if all(name in each for each in figures)]
    return {name: _mean([each[name].value for each in figures]) for name in shared}


def _mean(values: Sequence[float]) -> Estimate:
    return mean_interval(values) if np.isfinite(values).all() else Estimate(float("nan"), None)


def paired_difference(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    truth: Truth,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Return the headline figure of one row less that of another on the same pairs or faces.

    Each pair counts by the share of seeds that decided it rightly, each face by its mean error. The
    interval resamples identities (see `statistics.bootstrap_weights`), the seeds staying as they
    are: it says how much the choice of test faces matters; the spread over seeds is in the rows'
    own intervals.

    Args:
        first: `Measured.items` of every seed, (N,).
        second: The same of the other row; numbers of seeds need not be equal.
        truth: What they were measured on.
        resamples: How many resamples the interval takes.
        seed: Seed of the bootstrap.

    Returns:
        The difference; NaN without an interval where a score is not finite.

    Raises:
        FacedistillError: If the rows were not measured on as many.
    """
    rates = []
    for decided in (first, second):
        if any(len(each) != len(truth.same) for each in decided):
            raise FacedistillError("two rows were not measured on the same")
        rates.append(np.mean([np.asarray(each, np.float64) for each in decided], axis=0))
    if not all(np.isfinite(each).all() for each in rates):
        return Estimate(float("nan"), None)
    gains = rates[0] - rates[1]
    interval = bootstrap_mean(gains, truth.same, truth.identities, resamples=resamples, seed=seed)
    return Estimate(float(gains.mean()), interval)


def assemble(
    rows: Sequence[Row], truths: Mapping[str, Truth], references: Sequence[str]
) -> list[Row]:
    """Fill in what rows are only together: means over seeds, differences, ratios of time.

    Args:
        rows: In the table's order.
        truths: What was measured on, by name of the set.
        references: Names of rows that the others are compared with, the first one's step being the
            unit of time; those without a result are passed over.
    """
    by_name = {row.name: row for row in rows}
    known = [by_name[name] for name in references if by_name[name].finished]
    unit = known[0].step_seconds if known else None
    return [
        Row(
            row.name,
            row.recipe,
            row.runs,
            row.teacher_licence,
            row.data_licence,
            figures={
                name: over_seeds([figures_of(run.measured[name].report) for run in runs])
                for name, runs in _by_set(row).items()
            },
            differences={
                name: {
                    other.name: paired_difference(_decided(row, name), _decided(other, name), truth)
                    for other in known
                    if other.name != row.name and _decided(row, name) and _decided(other, name)
                }
                for name, truth in truths.items()
            },
            seed_differences={
                name: {
                    other.name: _seed_differences(row, other, name)
                    for other in known
                    if other.name != row.name
                }
                for name in truths
            },
            step_ratio=row.step_seconds / unit if unit and row.step_seconds else None,
        )
        for row in rows
    ]


def _by_set(row: Row) -> dict[str, list[RunResult]]:
    names = dict.fromkeys(name for run in row.finished for name in run.measured)
    return {name: [run for run in row.finished if name in run.measured] for name in names}


def _seed_differences(row: Row, other: Row, name: str) -> dict[str, SeedDifference]:
    """Return every figure on a set less that of the other row, paired by seed."""
    own, reference = _by_figure(row, name), _by_figure(other, name)
    found = {
        figure: seed_difference(own[figure], reference[figure])
        for figure in own
        if figure in reference
    }
    return {figure: each for figure, each in found.items() if each is not None}


def _by_figure(row: Row, name: str) -> dict[str, dict[int, float]]:
    """Return each figure on a set by seed."""
    values: dict[str, dict[int, float]] = {}
    for run in _by_set(row).get(name, []):
        for figure, estimate in figures_of(run.measured[name].report).items():
            values.setdefault(figure, {})[run.seed] = estimate.value
    return values


def _decided(row: Row, name: str) -> list[np.ndarray]:
    measured = [run.measured[name] for run in _by_set(row).get(name, [])]
    return [each.items for each in measured if each.items is not None]


def _estimates(report: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Estimate]]:
    for name, value in report.items():
        if isinstance(value, Mapping) and "value" in value:
            yield under + name, _estimate(value)
        elif isinstance(value, Mapping) and not under:
            yield from _estimates(value, f"{name}@")


def _estimate(value: Any) -> Estimate:
    if not isinstance(value, Mapping):
        return Estimate(float(value), None)
    return Estimate.from_dict(value)
