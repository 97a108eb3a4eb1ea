"""Model cards: where a network comes from, what was measured, what it is for and what not.

The headings follow Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facedistill.core.atomic import atomic_path
from facedistill.evaluation.statistics.table_rows import figures_of
from facedistill.models.cost import count_macs, count_parameters
from facedistill.models.face_network import FaceNetwork
from facedistill.report.sections.fairness_table import GROUP_COLUMNS, threshold_line
from facedistill.report.table import Column, figure_column, markdown_table, plain_markdown

UNKNOWN = "unknown"
"""What a licence is called that is not stated."""

CARD = "MODEL_CARD.md"

_USE = """\
It compares aligned face crops{size}: the cosine of two embeddings is the similarity of two faces.
Say "same person" from a threshold that was set on faces like yours, at the false accept rate that
you can bear."""

_LANDMARK_USE = """\
It finds landmarks in loose face crops{size}, to align them before they are compared. It does not
distinguish identities."""

_LIMITS = """\
- The figures hold for the faces they were measured on. Other cameras, poses, ages, masks or peoples
  give others: measure on your own faces before you rely on it.
- Thresholds move with the data; those above are of the sets named.
- What a network learned from it may not be free to use: see the licences above.
- It does not detect faces, does not tell a photo of a face from a face, and knows nothing of a
  person's consent. Decisions about people need a person to answer for them."""


def marked_licence(licence: str | None) -> str:
    """Return a licence as Markdown, with a red mark where none is stated."""
    return (licence or UNKNOWN).replace(UNKNOWN, f"\N{LARGE RED CIRCLE} **{UNKNOWN.upper()}**")


def write_card(
    folder: Path,
    network: FaceNetwork,
    *,
    recipe: str,
    reports: Mapping[str, Mapping[str, Any]],
    figure_files: Mapping[str, str] | None = None,
) -> Path:
    """Write a run's `MODEL_CARD.md`.

    Args:
        folder: The run's folder.
        network: Its best weights, with the metadata of the model file.
        recipe: Its recipe as YAML.
        reports: Figures by name of the set, as plain values; with `fairness` where that was
            measured.
        figure_files: Names of figures in the folder, by what they show.
    """
    with atomic_path(folder / CARD) as temporary:
        text = model_card(network, recipe=recipe, reports=reports, figure_files=figure_files)
        temporary.write_text(text, "utf-8")
    return folder / CARD


def model_card(
    network: FaceNetwork,
    *,
    recipe: str,
    reports: Mapping[str, Mapping[str, Any]],
    figure_files: Mapping[str, str] | None = None,
) -> str:
    """Return a model card as Markdown; see `write_card`."""
    about = network.metadata
    use = _LANDMARK_USE if "landmarks" in network.gives else _USE
    sections = {
        "Network": _network(network),
        "Teacher": "None: it learned from labels alone."
        if about.teacher is None
        else plain_markdown(
            f"{about.teacher}. Licence of its weights: {marked_licence(about.teacher_licence)}."
        ),
        "Training data": plain_markdown(
            f"`{about.training_data or UNKNOWN}`. Licence: {marked_licence(about.data_licence)}."
        ),
        "Figures": _figures(about.metrics, reports),
        "Thresholds": _thresholds(about.thresholds, reports),
        "Fairness": _fairness(reports),
        "Plots": "\n\n".join(f"![{what}]({name})" for what, name in (figure_files or {}).items()),
        "Intended use": use.format(size=f" of {network.input.size} x {network.input.size} pixels"),
        "Limits": _LIMITS,
        "Recipe": f"Hash {about.recipe_hash}; of absolute paths only the last name.\n\n"
        f"```yaml\n{recipe.strip()}\n```",
    }
    parts = [plain_markdown(f"# {network.name}")]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def _network(network: FaceNetwork) -> str:
    spec = network.input
    macs = count_macs(network.backbone, spec.size)
    rows = {
        "architecture": f"{network.architecture} {network.arguments}",
        "embedding": f"{network.embedding_size} dimensions",
        "input": f"{spec.size} x {spec.size}, {spec.color}, mean {spec.mean}, std {spec.std}",
        "parameters": f"{count_parameters(network.backbone):,}",
        "multiply-adds": f"{macs:,} a face",
    }
    return markdown_table([{"": key, "value": value} for key, value in rows.items()], ["", "value"])


def _figures(metrics: Mapping[str, float], reports: Mapping[str, Mapping[str, Any]]) -> str:
    """One table a set with 95 % intervals, and the figures of validation."""
    parts = []
    for name, report in reports.items():
        rows = []
        for figure, estimate in figures_of(report).items():
            column = figure_column(figure, figure)
            rows.append({"figure": column.title, "value, 95 %": column.text(estimate)})
        table = markdown_table(rows, ["figure", "value, 95 %"])
        parts.append(f"On {plain_markdown(name)} ({_size(report)}):\n\n{table}")
    if metrics:
        metrics_text = ", ".join(f"{key} {value:.4f}" for key, value in sorted(metrics.items()))
        parts.append(
            f"On the faces by which these weights were chosen, too good therefore: {metrics_text}."
        )
    return "\n\n".join(parts) or "Nothing was measured. `facedistill evaluate` does."


def _size(report: Mapping[str, Any]) -> str:
    if "genuine" in report:
        masked = f", masked: {report['masked']}" if report.get("masked") else ""
        return f"{report['genuine']:,} genuine, {report['impostors']:,} impostor pairs{masked}"
    return ", ".join(f"{report[key]:,} {key}" for key in ("faces", "points") if key in report)


def _thresholds(own: Mapping[str, float], reports: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [{"set on": "validation identities", **_cosines(own)}] if own else []
    rows += [
        {"set on": name, **_cosines(report["thresholds"])}
        for name, report in reports.items()
        if report.get("thresholds")
    ]
    if not rows:
        return "None."
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return (
        "Least cosine that means the same person, by false accept rate; the model file has the "
        f"first row:\n\n{markdown_table(rows, columns)}"
    )


def _cosines(thresholds: Mapping[str, float]) -> dict[str, str]:
    return {f"FAR {far}": f"{cosine:.4f}" for far, cosine in thresholds.items()}


def _fairness(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Errors of each group, where they were measured."""
    parts = [
        _by_group(name, attribute)
        for name, report in reports.items()
        for attribute in report.get("fairness", ())
    ]
    return "\n\n".join(parts) or (
        "Not measured. `evaluation.NAME.groups` in a recipe, or `facedistill evaluate MODEL PAIRS "
        "--groups people.csv`, compares groups of identities at one threshold."
    )


def _by_group(name: str, report: Mapping[str, Any]) -> str:
    """A `FairnessReport` as plain values: a table of groups, and how far they lie apart."""
    rows = [{**group, **figures_of(group)} for group in report["groups"]]
    table = markdown_table(rows, GROUP_COLUMNS)
    apart = "\n".join(f"- {_differential(report[rate])}" for rate in ("fmr", "fnmr"))
    setting = threshold_line(report["threshold"], report["target"])
    what = plain_markdown(f"On {name}, by {report['attribute']}. {setting}.")
    return f"{what}\n\n{table}\n\n{apart}"


def _differential(apart: Mapping[str, Any]) -> str:
    ratio = figures_of(apart).get("worst_to_best")
    if ratio is None:
        return f"{apart['rate']}: {apart['reason']}."
    times = Column("times", digits=2).text(ratio)
    return plain_markdown(
        f"{apart['rate']} of {apart['worst']} is {times} times that of {apart['best']}."
    )
