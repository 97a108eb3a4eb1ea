"""The report of an evaluation: JSON for programs, Markdown for repositories, HTML for a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.version import __version__
from facedistill.distill.teachers.prompted import PromptedNetwork
from facedistill.evaluation.evaluate import Evaluation
from facedistill.evaluation.metrics.roc import RocCurve
from facedistill.evaluation.protocols.base import Embedder, Protocol
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.models.face_network import FaceNetwork
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.report.figures.curves import roc_points
from facedistill.report.page import render_page
from facedistill.report.sections.evaluation_section import evaluation_section
from facedistill.report.sections.section import Gallery, Section
from facedistill.report.table import markdown_table, plain_markdown

JSON, MARKDOWN, PAGE = "report.json", "report.md", "report.html"

_CORNERS = 200
"""Corners of a ROC curve in the JSON document."""


def write_report(
    out: str | Path,
    evaluations: Sequence[Evaluation],
    protocols: Sequence[Protocol | None],
    *,
    subject: str,
    facts: Mapping[str, str] | None = None,
    mask_seed: int = 0,
) -> list[Path]:
    """Write what was found as `report.json`, `report.md` and `report.html`.

    The page needs no other file and no network. Each file is there whole or not at all.

    Args:
        out: A folder; it is made.
        evaluations: What was found.
        protocols: What each was measured on, for the faces of pairs; None shows none.
        subject: What was measured: the network's file, or that of its embeddings.
        facts: What else the report states of it.
        mask_seed: Seed of the masks that pairs wore.

    Returns:
        The files written.

    Raises:
        FacedistillError: If a file cannot be written, or an image of a pair not be read.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise FacedistillError(f"{out} is a file: a report is a folder, name another")
    made = [
        _sections(evaluation, protocol, mask_seed)
        for evaluation, protocol in zip(evaluations, protocols, strict=True)
    ]
    sections = [section for each in made for section in each]
    about = {"network": subject, **(facts or {}), "facedistill": __version__}
    texts = {
        JSON: json_text(to_dict(about, evaluations, [each[0] for each in made])) + "\n",
        MARKDOWN: to_markdown(about, sections),
        PAGE: render_page("evaluation.html", title=subject, about=about, sections=sections),
    }
    for name, text in texts.items():
        with atomic_path(out / name) as temporary:
            temporary.write_text(text, "utf-8")
    return report_files(out)


def _sections(evaluation: Evaluation, protocol: Protocol | None, mask_seed: int) -> list[Section]:
    """Return the section of an evaluation, and that of its centred embeddings."""
    own = evaluation_section(evaluation, protocol, mask_seed)
    if (centred := evaluation.centred) is None:
        return [own]
    second = evaluation_section(centred.evaluation, protocol, mask_seed)
    return [own, replace(second, title=f"{second.title}, centred on {centred.centre.title}")]


def report_files(out: Path) -> list[Path]:
    """Return the files that `write_report` writes into a folder."""
    return [out / name for name in (JSON, MARKDOWN, PAGE)]


def facts_of(faces: Embedder) -> dict[str, str]:
    """Return what a report states of a network, or of stored embeddings."""
    if isinstance(faces, StoredEmbeddings):
        views = "plain and mirrored" if faces.flipped is not None else "as they are"
        rows, dimensions = faces.plain.shape
        return {"embeddings": f"{rows:,} x {dimensions}, {views}"}
    facts = {}
    if isinstance(faces, FaceNetwork | OnnxNetwork | PromptedNetwork):
        spec = faces.input
        mean, std = (_constant(values) for values in (spec.mean, spec.std))
        facts["input"] = f"{spec.size} x {spec.size} {spec.color}, (x - {mean}) / {std}"
        facts["dimensions"] = str(faces.embedding_size)
        facts["fingerprint"] = faces.fingerprint
    if isinstance(faces, PromptedNetwork):
        facts["prompts"] = f"{faces.count} of each stage"
    return facts


def _constant(values: Sequence[float]) -> str:
    alike = len(set(values)) == 1
    return f"{values[0]:g}" if alike else f"({', '.join(f'{value:g}' for value in values)})"


def to_dict(
    about: Mapping[str, str], evaluations: Sequence[Evaluation], sections: Sequence[Section]
) -> dict[str, Any]:
    """Return the report as plain values for JSON."""
    return {
        **about,
        "evaluations": [
            {
                **evaluation.to_dict(),
                "rules": [rules._asdict() for rules in made.rules],
                "data_fingerprint": made.data,
                "roc": {name: _corners(curve) for name, curve in made.curves.items()},
                "hardest": {
                    gallery.title: [
                        {"images": pair.names, "score": pair.score, "wrong": pair.wrong}
                        for pair in gallery.pairs
                    ]
                    for gallery in made.galleries
                },
            }
            for evaluation, made in zip(evaluations, sections, strict=True)
        ],
    }


def to_markdown(about: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Return the report as a Markdown document; its figures are on the page."""
    facts = "\n".join(f"- {key}: {text}" for key, text in about.items())
    parts = [plain_markdown(f"# {about['network']}"), plain_markdown(facts)]
    for made in sections:
        parts += [plain_markdown(f"## {made.title}"), *map(plain_markdown, made.remarks)]
        for table in made.tables:
            title = plain_markdown(f"### {table.title}")
            parts += [title, markdown_table(table.rows, table.columns)]
            parts += [plain_markdown(table.remark)] if table.remark else []
        for gallery in made.galleries:
            texts = [f"### {gallery.title}", gallery.remark]
            parts += [*map(plain_markdown, texts), _pairs(gallery)]
        rules = [f"- {r.name}, version {r.version}: {r.meaning}" for r in made.rules]
        if made.data is not None:
            rules.append(f"- data: {made.data}")
        if rules:
            parts += ["### Protocols", "\n".join(rules)]
    return "\n\n".join([*parts, f"Curves and faces: [{PAGE}]({PAGE})"]) + "\n"


def _pairs(gallery: Gallery) -> str:
    rows = [
        {
            "left": pair.names[0],
            "right": pair.names[1],
            "cosine": pair.score,
            "verdict": pair.verdict,
        }
        for pair in gallery.pairs
    ]
    return markdown_table(rows, ["left", "right", "cosine", "verdict"])


def _corners(curve: RocCurve) -> dict[str, list[float]]:
    far, tar = roc_points(curve)
    step = max(1, -(-len(far) // _CORNERS))
    return {"far": far[::step].tolist(), "tar": tar[::step].tolist()}
