"""A study as the results page shows it: its tables and its figure.

`python -m studies.page NAME` prints the tables, and with `--figure FILE.png` draws the figure.
`python -m studies.page --write` puts the tables of the studies between their marks on the page, and
draws their figures. `python -m studies.page --check` tells whether the claims of all studies follow
from their figures, and whether the page has the tables that follow from them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from facedistill.core.estimate import Estimate
from facedistill.evaluation.statistics.bootstrap import mean_interval
from facedistill.report.figures.interval_rows import plot_rows
from facedistill.report.figures.plot_style import plot_axes
from facedistill.report.table import Column, markdown_table
from studies.claims import Claim, Runs, claim_text, claims, complete_seeds, estimate_of
from studies.study import CENTRED, FOLDER, Study, studies

PAGE = FOLDER.parent / "docs" / "results.md"
"""What shows the studies, each between `<!-- study NAME -->` and `<!-- end of study -->`."""

_BLOCK = re.compile(r"(<!-- study (\w+) -->\n).*?(<!-- end of study -->)", re.DOTALL)

Result = Mapping[str, Any]
"""What a result.json holds."""


def load_result(study: Study) -> Result:
    """Read the study's figures.

    Raises:
        FileNotFoundError: If nothing of it was measured yet.
    """
    result: Result = json.loads(study.result_path.read_text("utf-8"))
    return result


def arms_table(study: Study, runs: Runs) -> str:
    """Return the mean of each arm with its 95 % interval over the seeds, in per cent."""
    seeds = complete_seeds(study, runs)
    arms = [arm + end for arm in study.arms for end in ("", CENTRED) if arm + end in runs]
    rows = [
        {"arm": _words(study, arm)}
        | {name: _mean(runs, arm, seeds, name) for name in study.measures}
        for arm in arms
        if not arm.endswith(CENTRED) or any(arm in pair for pair in study.contrasts)
    ]
    measures = [Column(name, f"{name} %", digits=2) for name in study.measures]
    return markdown_table(rows, ["arm", *measures])


def claims_table(study: Study, found: list[Claim]) -> str:
    """Return every contrast on the table's measures, in percentage points.

    The last column is the least difference that the seeds tell in the primary measure.
    """
    by_name = {(claim["name"], claim["measure"]): claim for claim in found}
    rows = []
    for one, other in study.contrasts:
        name = f"{one} - {other}"
        told = by_name[name, study.primary]["least_difference_told"]
        figures = {measure: claim_text(by_name[name, measure]) for measure in study.measures}
        rows.append({"difference": name} | figures | {"tells": told})
    least = Column("tells", f"least told, {study.primary}", digits=2)
    return markdown_table(rows, ["difference", *study.measures, least])


def seeds_line(study: Study, runs: Runs) -> str:
    """Return how many seeds there are, and how many were to be."""
    seeds = complete_seeds(study, runs)
    planned = study.planned_seeds
    missing = "" if len(seeds) >= planned else f" Of {planned} seeds planned these are finished."
    return f"Seeds {', '.join(seeds)}; mean and 95 % interval by Student's t.{missing}"


def section(study: Study) -> str:
    """Return what the page shows of a study: arms, differences, figure."""
    if not study.result_path.exists():
        return f"\nNo seed is finished yet; {study.planned_seeds} are planned.\n\n"
    result = load_result(study)
    runs, found = result["runs"], result["claims"]
    figure = f"![Differences in {study.primary} with 95 % intervals]({_figure_name(study)})"
    parts = (seeds_line(study, runs), arms_table(study, runs), claims_table(study, found), figure)
    return "\n" + "\n\n".join((*parts, ""))


def filled(page: str) -> str:
    """Return a page with the tables of the studies that it names, as they follow from results."""
    return _BLOCK.sub(lambda block: block[1] + section(Study.load(block[2])) + block[3], page)


def shown(page: str) -> list[Study]:
    """Return the studies that a page names."""
    return [Study.load(block[2]) for block in _BLOCK.finditer(page)]


def draw_claims(study: Study, found: list[Claim]) -> Figure:
    """Draw the contrasts of the primary measure with their intervals, the first on top."""
    primary = [claim for claim in found if claim["measure"] == study.primary]
    with plot_axes(height=0.9 + 0.34 * len(primary)) as (figure, (axes,)):
        axes.axvline(0, color="#b8c0c9", linewidth=1, zorder=0)
        names = [claim["name"] for claim in primary]
        label = f"{study.primary}, percentage points"
        plot_rows(axes, names, [estimate_of(claim) for claim in primary], label, scale=1)
    return figure


def stale_claims(study: Study) -> bool:
    """Whether the claims in result.json are not those that follow from its figures."""
    result = load_result(study)
    fresh = json.loads(json.dumps(claims(study, result["runs"])))
    return bool(fresh != result["claims"])


def _draw(study: Study, path: Path) -> None:
    figure = draw_claims(study, load_result(study)["claims"])
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _figure_name(study: Study) -> str:
    return f"figures/study_{study.name}.png"


def _words(study: Study, arm: str) -> str:
    kind = arm.removesuffix(CENTRED)
    return study.arms[kind] + (", centred" if kind != arm else "")


def _mean(runs: Runs, arm: str, seeds: list[str], measure: str) -> Estimate | None:
    return mean_interval([runs[arm][seed][measure] for seed in seeds]) if seeds else None


def main() -> None:
    """Print the tables of a study, or check all of them."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", choices=studies())
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
        for study in shown(PAGE.read_text("utf-8")):
            if study.result_path.exists():
                _draw(study, PAGE.parent / _figure_name(study))
        return
    if options.check:
        measured = [study for study in map(Study.load, studies()) if study.result_path.exists()]
        stale = [study.name for study in measured if stale_claims(study)]
        if stale:
            sys.exit(f"claims are not those of the figures: measure {', '.join(stale)} again")
        page = PAGE.read_text("utf-8")
        if filled(page) != page:
            sys.exit(f"{PAGE.name} is not that of the results: python -m studies.page --write")
        print(
            f"claims follow from the figures: {', '.join(s.name for s in measured) or 'none yet'}"
        )
        return
    if options.study is None:
        parser.error("name a study, or give --check or --write")
    study = Study.load(options.study)
    result = load_result(study)
    print(arms_table(study, result["runs"]), claims_table(study, result["claims"]), sep="\n\n")
    if options.figure:
        _draw(study, options.figure)


if __name__ == "__main__":
    main()
