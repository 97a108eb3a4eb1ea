"""What a section of a report is made of: tiles, tables, drawings and pairs of faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from facedistill.evaluation.metrics.roc import RocCurve
from facedistill.evaluation.protocols.protocol_versions import Rules
from facedistill.report.table import Column


@dataclass(frozen=True)
class Tile:
    """A figure that stands out: its name, value and interval."""

    label: str
    value: str
    spread: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a heading and a remark."""

    title: str
    columns: list[Column]
    rows: list[dict[str, Any]]
    remark: str = ""


@dataclass(frozen=True)
class Drawing:
    """A drawing as a data URI, what it shows, and whether it takes the page's whole width."""

    title: str
    uri: str
    remark: str = ""
    wide: bool = False


@dataclass(frozen=True)
class FacePair:
    """Two faces as they were compared.

    Attributes:
        left: Data URI.
        right: Data URI.
        names: What the images are called.
        score: Their cosine.
        verdict: What the network's threshold makes of it.
        wrong: Whether that is an error.
    """

    left: str
    right: str
    names: tuple[str, str]
    score: float
    verdict: str
    wrong: bool


@dataclass(frozen=True)
class Gallery:
    """Pairs of faces with a heading and a remark."""

    title: str
    remark: str
    pairs: list[FacePair]


@dataclass(frozen=True)
class Section:
    """One evaluation.

    Attributes:
        title: What it was measured on.
        line: Its figures as one text.
        rules: The protocols.
        data: The data's own fingerprint, where it has one.
        tiles: The figures that matter most.
        tables: All figures.
        drawings: Curves.
        galleries: The hardest pairs.
        remarks: What else a reader must know.
        curves: ROC curves by name, for the JSON document.
    """

    title: str
    line: str
    rules: list[Rules]
    data: str | None = None
    tiles: list[Tile] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    curves: dict[str, RocCurve] = field(default_factory=dict)
