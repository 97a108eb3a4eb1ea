"""`facedistill bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facedistill.cli.options.arguments import AsJson, EmbeddingOutput, InputSize
from facedistill.cli.output import echo, echo_next
from facedistill.core.json_text import json_text
from facedistill.core.missing_files import require_present

EXAMPLES = ("facedistill bench teacher.onnx student.onnx --threads 1 --batch 1",)


def bench(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODELS...",
            help="Model files, runs' folders and checkpoints (PyTorch), ONNX and other exported "
            "files; ratios are over the first.",
        ),
    ],
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="CPU threads; repeatable; default: 1 and as many as CPUs."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, max=4096, help="Faces of a call; repeatable; default: 1 and 16."),
    ] = None,
    calls: Annotated[
        int, typer.Option(min=1, help="Timed calls of each, after a fifth as many to warm up.")
    ] = 100,
    output: EmbeddingOutput = None,
    size: InputSize = None,
    as_json: AsJson = False,
) -> None:
    """Latency and memory of networks, each in a fresh process, taking turns on pinned CPUs."""
    require_present(*models)
    from facedistill.export.bench.bench import BATCHES
    from facedistill.export.bench.bench import bench as measure
    from facedistill.report.documents.bench_table import bench_dict, bench_text

    report = measure(
        models,
        threads=threads or (),
        batches=batch or BATCHES,
        calls=calls,
        output=output,
        size=size,
    )
    if as_json:
        echo(json_text(bench_dict(report)))
        return
    echo(bench_text(report))
    echo_next(("evaluate", models[-1], "PAIRS.bin"))
