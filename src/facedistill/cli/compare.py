"""`facedistill compare`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from facedistill.cli.command import Command
from facedistill.cli.options.arguments import Out
from facedistill.cli.output import echo, echo_next

EXAMPLES = (
    "facedistill compare arcface fcd --set data.train=faces --set teacher.bank=bank --out table",
    "facedistill compare own=mine.yaml other=yours.yaml --seeds 0 1 2 --pairs lfw.bin --out table",
)


class SeedsCommand(Command):
    """Takes `--seeds 0 1 2` for `--seeds 0 --seeds 1 --seeds 2`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Spell the option out."""
        spelled: list[str] = []
        taking = False
        for word in args:
            if taking and word.isdigit():
                spelled += ["--seeds", word]
                continue
            taking = word == "--seeds"
            if not taking:
                spelled.append(word)
        if "--seeds" in args and "--seeds" not in spelled:
            spelled.append("--seeds")  # without its number, which is then asked for
        return super().parse_args(ctx, spelled)


def compare(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPES...",
            help="Recipes, each a row (ROW=RECIPE names it), or one file that describes a "
            "comparison.",
        ),
    ],
    out: Out,
    seeds: Annotated[
        list[int] | None, typer.Option(min=0, metavar="0 1 2", help="Seeds of every row.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="A.B=C",
            help="Change a key of every recipe; teacher.* of those with a teacher, "
            "objectives.NAME.* of those with that objective.",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PAIRS", help="What all rows are measured on; repeatable."),
    ] = None,
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs",
            help="Measure each set by all pairs of its images across folds too: TAR at low FAR.",
        ),
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW", help="Row to compare the others with; repeatable."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=0, help="Processes at a time; default: one per accelerator, or one."),
    ] = None,
    latency: Annotated[
        bool, typer.Option("--latency", help="Time the rows' networks as ONNX files on one core.")
    ] = False,
) -> None:
    """Many runs, one table: what is missing is run, the rest is read. Run again to continue."""
    from facedistill.experiments.folder import SUMMARY
    from facedistill.recipe.comparison import load_comparison, plan, run_folder
    from facedistill.recipe.comparison_sources import require_given_faces, require_sources

    comparison = load_comparison(
        recipes,
        seeds=seeds or (),
        settings=settings or (),
        pairs=pairs or (),
        against=against or (),
        latency=latency,
        all_pairs=all_pairs,
    )
    # What is wrong in a recipe, or not there, is refused before torch is imported.
    trials = plan(comparison, out)
    require_given_faces(comparison, trials, recipes)
    require_sources(comparison, [each for each in trials if not (each.folder / SUMMARY).exists()])

    from facedistill.experiments.comparing import run_comparison
    from facedistill.report.documents.comparison_page import write_comparison
    from facedistill.report.documents.comparison_table import best_row, print_comparison

    rows = run_comparison(comparison, out, jobs=jobs, say=lambda line: echo(line, err=True))
    print_comparison(comparison.name, rows)
    for path in write_comparison(comparison.name, rows, out):
        echo(f"wrote {path}")
    if comparison.grids:
        from facedistill.report.documents.grid_tables import write_grids

        grids = write_grids(comparison.grids, rows, out)
        echo(f"{grids.read_text('utf-8')}wrote {grids}")
    best = best_row(rows)
    if best is not None:
        folder = run_folder(out, best.name, best.finished[0].seed)
        echo_next(("evaluate", folder, "PAIRS.bin"), ("export", folder, "--out", "student.onnx"))
    if any(row.errors for row in rows):
        raise typer.Exit(1)
