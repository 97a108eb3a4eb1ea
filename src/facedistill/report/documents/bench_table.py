"""A benchmark as text and JSON: a table for every number of threads and of faces at a time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from facedistill.core.estimate import Estimate
from facedistill.export.bench.bench import BenchReport, BenchRow
from facedistill.report.table import Column, markdown_table

_COLUMNS = (
    Column("model"),
    Column("engine"),
    Column("milliseconds", "ms", digits=3),
    Column("p95_milliseconds", "p95 ms", digits=3),
    Column("faces_per_second", "faces/s", digits=0),
    Column("time_ratio", "time ratio", digits=3),
    Column("memory", "memory MB", digits=1),
    Column("memory_ratio", "memory ratio", digits=2),
    Column("file", "file MB", digits=2),
    Column("file_ratio", "file ratio", digits=3),
)


def bench_text(report: BenchReport) -> str:
    """Return a benchmark as Markdown that reads well in a terminal too.

    It names the machine and what was measured; ratios are over the first row of each table.
    """
    parts = [report.machine.line(), _explanation(report)]
    parts += filter(None, [report.machine.doubt()])
    for rows in report.tables():
        cells = [_cells(row, rows[0]) for row in rows]
        parts += [f"{_title(rows[0])}:", markdown_table(cells, _COLUMNS)]
    return "\n\n".join(parts)


def bench_dict(report: BenchReport) -> dict[str, Any]:
    """Return a benchmark as plain values for JSON: times in milliseconds, sizes in bytes."""
    return {
        "machine": report.machine.to_dict(),
        "pinned": report.pinned,
        "calls": report.calls,
        "rows": [_plain(row, rows[0]) for rows in report.tables() for row in rows],
    }


def _explanation(report: BenchReport) -> str:
    pinned = "pinned to as many CPUs as it has threads" if report.pinned else "not pinned to CPUs"
    return (
        f"{report.calls} timed calls each after a warm-up, the models taking turns; a call is raw "
        "faces in, embeddings out. Times are medians, intervals 95 % over the turns, ratios over "
        f"the first row. Every model has a fresh process, {pinned}; memory is how far it grew at "
        "its peak from before the file was opened, its engine's library loaded."
    )


def _title(row: BenchRow) -> str:
    threads = f"{row.threads} thread{'s' if row.threads > 1 else ''}"
    return f"{threads}, {row.batch} face{'s' if row.batch > 1 else ''} at a time"


def _cells(row: BenchRow, first: BenchRow) -> dict[str, Any]:
    ratios = _ratios(row, first)
    return {
        "model": row.name,
        "engine": row.engine,
        "milliseconds": row.latency.milliseconds,
        "p95_milliseconds": row.latency.p95_milliseconds,
        "faces_per_second": row.faces_per_second,
        "memory": None if row.memory is None else row.memory / 1e6,
        "file": row.file_bytes / 1e6,
        **{f"{name}_ratio": ratio for name, ratio in ratios.items()},
    }


def _plain(row: BenchRow, first: BenchRow) -> dict[str, Any]:
    return {
        "model": row.name,
        "path": str(row.path),
        "engine": row.engine,
        "threads": row.threads,
        "batch": row.batch,
        "median_milliseconds": asdict(row.latency.milliseconds),
        "p95_milliseconds": row.latency.p95_milliseconds,
        "faces_per_second": row.faces_per_second,
        "memory_bytes": row.memory,
        "file_bytes": row.file_bytes,
        "ratios": {
            name: asdict(ratio) if isinstance(ratio, Estimate) else ratio
            for name, ratio in _ratios(row, first).items()
        },
    }


def _ratios(row: BenchRow, first: BenchRow) -> dict[str, Estimate | float | None]:
    """Over the first row, which is 1 of itself by definition and not by measurement."""
    itself = row is first
    grown = row.memory / first.memory if row.memory is not None and first.memory else None
    return {
        "time": 1.0 if itself else row.latency.ratio(first.latency),
        "memory": grown,
        "file": row.file_bytes / first.file_bytes,
    }
