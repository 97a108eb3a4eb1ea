"""What a comparison is: rows of a table, each a recipe run for several seeds, measured alike."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean
from facedistill.recipe.grid import GridRecipe, row_name
from facedistill.recipe.keys import first_problem
from facedistill.recipe.loading import (
    first_sentence,
    load_recipe,
    read_text,
    read_tree,
    require_known,
)
from facedistill.recipe.named_pairs import NAME, named_pairs, with_all_pairs
from facedistill.recipe.overrides import Override
from facedistill.recipe.recipe_section import PathText, Section
from facedistill.recipe.schema import PairsRecipe, Recipe

RUNS = "runs"
"""Folder of a comparison's runs, in its own."""

PLAIN = "plain"
"""Name of the row that others are compared with: the student without a teacher."""

REFERENCES = (PLAIN, "fcd")
"""Rows that others are compared with where a comparison does not say."""


_SHIPPED = Path(__file__).parent / "shipped_comparisons"

Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 32)]], Field(min_length=1)]
"""One run each."""


class RowRecipe(Section):
    """One row: `name: recipe` is short for `name: {recipe: recipe}`."""

    recipe: PathText = Field(description="name of a shipped recipe, or path of a .yaml file")
    settings: list[str] = Field(
        default_factory=list,
        description="a.b=value; ${row} in a value is the folder of that row's run",
    )
    seeds: Seeds | None = Field(None, description="instead of the comparison's, as for a teacher")
    bank: bool = Field(False, description="trained, it embeds its data for others: ${row}/bank")
    tokens: bool = Field(False, description="with bank: keep its pixel features there too")
    if_needed: bool = Field(False, description="leave the row out where no other refers to it")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"recipe": value} if isinstance(value, str) else value

    @property
    def overrides(self) -> list[Override]:
        """The row's own settings."""
        return [Override.parse(text) for text in self.settings]


class Comparison(Section):
    """Rows that share seeds, settings and what they are measured on."""

    name: str = Field("comparison", description="title of the table")
    seeds: Seeds = Field(
        default_factory=lambda: [0], description="one run of every row for each of them"
    )
    settings: list[str] = Field(
        default_factory=list,
        description="for every row; teacher.* only for rows with a teacher, objectives.NAME.* only "
        "for rows with that objective",
    )
    evaluation: dict[str, PairsRecipe] = Field(
        default_factory=dict, description="pairs for all rows; by default those of the recipes"
    )
    against: list[str] | None = Field(None, description="rows that the others are compared with")
    rows: dict[str, RowRecipe] = Field(
        default_factory=dict, description="`NAME: recipe`, short for `NAME: {recipe: recipe}`"
    )
    latency: bool = Field(False, description="time the rows' networks as ONNX files on one core")
    grids: dict[str, GridRecipe] = Field(
        default_factory=dict, description="further rows, one for every combination of choices"
    )

    @model_validator(mode="after")
    def _grids_are_rows(self) -> Comparison:
        for name, grid in self.grids.items():
            for cell in grid.cells():
                row = row_name(name, cell)
                if row in self.rows:
                    raise ValueError(f"grids.{name}: there is a row '{row}' already")
                self.rows[row] = RowRecipe(recipe=grid.recipe, settings=grid.settings_of(cell))
            if grid.teacher is not None and grid.teacher not in self.rows:
                hint = did_you_mean(grid.teacher, self.rows)
                raise ValueError(f"grids.{name}.teacher: no row '{grid.teacher}': {hint}")
        if not self.rows:
            raise ValueError("it has no rows")
        return self

    @model_validator(mode="after")
    def _known_rows(self) -> Comparison:
        for name in self.rows:
            if not NAME.fullmatch(name):
                raise ValueError(f"row '{name}': a name is letters, digits and . _ + -")
        for name in self.against or ():
            if name not in self.rows:
                raise ValueError(f"against: no row '{name}': {did_you_mean(name, self.rows)}")
        for seeds in (self.seeds, *(row.seeds for row in self.rows.values() if row.seeds)):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds {seeds} name one twice")
        return self

    @property
    def overrides(self) -> list[Override]:
        """The settings for every row."""
        return [Override.parse(text) for text in self.settings]

    @property
    def references(self) -> list[str]:
        """Names of the rows that the others are compared with."""
        if self.against is not None:
            return self.against
        return [name for name in REFERENCES if name in self.rows]


@dataclass(frozen=True)
class Trial:
    """One run of a comparison.

    Attributes:
        row: Its row.
        seed: Its seed.
        recipe: What to do.
        folder: Where to do it.
        after: Folders of the runs that must be finished before.
        bank: When it is trained, it embeds its training data for others.
        tokens: It keeps its pixel features there too.
    """

    row: str
    seed: int
    recipe: Recipe
    folder: Path
    after: tuple[Path, ...] = ()
    bank: bool = False
    tokens: bool = False

    @property
    def title(self) -> str:
        """What to call it in messages."""
        return f"{self.row}, seed {self.seed}"


def load_comparison(
    sources: Sequence[str],
    *,
    seeds: Sequence[int] = (),
    settings: Iterable[str] = (),
    pairs: Sequence[str] = (),
    against: Sequence[str] = (),
    latency: bool = False,
    all_pairs: bool = False,
) -> Comparison:
    """Describe a comparison by recipes, or by one file that holds it.

    Rows that are wanted `if_needed` only are gone where no other refers to them.

    Args:
        sources: Recipes, `NAME` or `ROW=NAME`, each a row; or one YAML file with `rows`.
        seeds: Instead of the file's.
        settings: After the file's own.
        pairs: `SOURCE` or `NAME=SOURCE` of pairs, beside the file's.
        against: Instead of the file's.
        latency: Whether to time the rows' networks, whatever the file says.
        all_pairs: Whether to measure every set of pairs by all pairs of its images too, which then
            stand first.

    Raises:
        FacedistillError: If the file is no comparison, or a key, a row, an objective or a value is
            unknown.
    """
    settings = list(settings)
    tree = _read(sources)
    tree["settings"] = [*(tree.get("settings") or []), *settings]
    if seeds:
        tree["seeds"] = list(seeds)
    if pairs:
        tree["evaluation"] = {**(tree.get("evaluation") or {}), **named_pairs(pairs)}
    if all_pairs:
        tree["evaluation"] = with_all_pairs(tree.get("evaluation") or {})
    if against:
        tree["against"] = list(against)
    if latency:
        tree["latency"] = True
    what = f"comparison {sources[0]}" if len(sources) == 1 else "comparison"
    try:
        comparison = Comparison.model_validate(tree)
    except ValidationError as error:
        raise FacedistillError(f"{what}: {first_problem(error, Comparison)}") from error
    _check_settings(comparison, what)
    comparison = _only_needed(comparison)
    _warn_of_overridden(comparison, len(settings))
    return comparison


def plan(comparison: Comparison, out: Path) -> list[Trial]:
    """Return the runs of a comparison in an order in which each comes after those it needs.

    A run's folder is `out/runs/ROW/seed-SEED`. `${row}` in a setting is that row's run of the same
    seed, or its only run.

    Raises:
        FacedistillError: If a recipe is unusable, or rows need each other in a circle, or one that
            is not there.
    """
    order = _order(comparison)
    trials = [
        _trial(comparison, name, seed, out)
        for name in order
        for seed in comparison.rows[name].seeds or comparison.seeds
    ]
    require_known(trial.recipe for trial in trials)
    return trials


def shipped_comparisons() -> list[str]:
    """Return the names of the comparisons that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def describe_comparisons() -> dict[str, str]:
    """Return the first sentence of each shipped comparison's comment, by name."""
    return {name: first_sentence(read_text(_shipped(name))) for name in shipped_comparisons()}


def _shipped(source: str) -> str | Path:
    return _SHIPPED / f"{source}.yaml" if source in shipped_comparisons() else source


def run_folder(out: Path, row: str, seed: int) -> Path:
    """Return where a row's run of a seed is."""
    return out / RUNS / row / f"seed-{seed}"


def _read(sources: Sequence[str]) -> dict[str, Any]:
    if not sources:
        raise FacedistillError("nothing to compare: name recipes, or one comparison file")
    named = {source: _named_recipe(source) for source in sources}
    for source, (_, recipe) in named.items():
        if Path(recipe).suffix not in (".yaml", ".yml") and recipe not in shipped_comparisons():
            continue
        tree = read_tree(_shipped(recipe))
        if "rows" not in tree and "grids" not in tree:
            continue
        if len(sources) > 1 or recipe != source:
            raise FacedistillError(
                f"{source} describes a whole comparison: give it alone, or recipes without it"
            )
        return tree
    rows: dict[str, str] = {}
    for source in sources:
        row, recipe = named[source]
        if row in rows:
            raise FacedistillError(f"two rows are called '{row}': name them, as in {row}2={recipe}")
        rows[row] = recipe
    return {"rows": rows}


def _named_recipe(source: str) -> tuple[str, str]:
    """Take ROW=RECIPE apart; a file that is there is one, whatever signs its name has."""
    row, named, recipe = source.partition("=")
    if named and not Path(source).is_file():
        return row, recipe
    return Path(source).stem, source


def _overrides(comparison: Comparison, name: str) -> list[Override]:
    """A row's settings, those of all rows first, without those that are not for it.

    A row without a teacher gets no setting of one, and a row without an objective none of its
    options. What refers to a row and is then set to something else refers to no row.
    """
    row = comparison.rows[name]
    tree = _tree(comparison, row)
    overrides = [*(o for o in comparison.overrides if o.concerns(tree)), *row.overrides]
    return [
        each
        for i, each in enumerate(overrides)
        if not (each.references() and any(o.replaces(each) for o in overrides[i + 1 :]))
    ]


def _needs(comparison: Comparison, name: str) -> list[str]:
    """Names of the rows that a row's settings refer to."""
    return [row for each in _overrides(comparison, name) for row in each.references()]


def _tree(comparison: Comparison, row: RowRecipe) -> dict[str, Any]:
    """A row's recipe with its own settings and the objectives that the comparison gives to all."""
    given = [each for each in comparison.overrides if each.gives_objective]
    return read_tree(row.recipe, [*given, *row.overrides])


def _check_settings(comparison: Comparison, what: str) -> None:
    """Refuse a setting for all rows of a teacher or an objective that no row has."""
    trees = [_tree(comparison, row) for row in comparison.rows.values()]
    known = {name for tree in trees for name in tree.get("objectives") or ()}
    for each in comparison.overrides:
        if (name := each.of_objective) is not None and name not in known:
            raise FacedistillError(
                f"{what}: no row has the objective of {each.text}: {did_you_mean(name, known)} "
                f"(objectives.{name}={{weight: 1}} gives it to all rows)"
            )
        if each.of_teacher and not any(tree.get("teacher") for tree in trees):
            raise FacedistillError(
                f"{what}: no row has a teacher, so that {each.text} has no effect: leave it out, "
                "or name recipes that have one"
            )


def _warn_of_overridden(comparison: Comparison, count: int) -> None:
    """Warn of the last `count` settings for all rows that some rows set otherwise themselves."""
    for each in comparison.overrides[len(comparison.overrides) - count :]:
        own = [
            name
            for name, row in comparison.rows.items()
            if any(map(each.overlaps, row.overrides)) and each.concerns(_tree(comparison, row))
        ]
        if own:
            more = f" and {len(own) - 3} more" if len(own) > 3 else ""
            warnings.warn(
                f"{each.text} is not, or not all, for rows that set it themselves: "
                f"{', '.join(own[:3])}{more}",
                stacklevel=3,
            )


def _only_needed(comparison: Comparison) -> Comparison:
    """Leave out what is wanted only where it is needed, and is not."""
    rows = comparison.rows
    if not any(row.if_needed for row in rows.values()):
        return comparison
    needs = {name: set(_needs(comparison, name)) for name in rows}
    needed = {name for name, row in rows.items() if not row.if_needed}
    needed |= {*(comparison.against or ())}
    needed |= {grid.teacher for grid in comparison.grids.values() if grid.teacher}
    while more := {other for name in needed for other in needs.get(name, ())} - needed:
        needed |= more
    kept = {name: row for name, row in rows.items() if name in needed}
    return comparison.model_copy(update={"rows": kept})


def _order(comparison: Comparison) -> list[str]:
    """Names of the rows, each after those that its settings refer to."""
    needs: dict[str, list[str]] = {}
    for name in comparison.rows:
        needs[name] = _needs(comparison, name)
        for other in needs[name]:
            if other not in comparison.rows:
                raise FacedistillError(
                    f"row {name} needs row '{other}': {did_you_mean(other, comparison.rows)}"
                )
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise FacedistillError(f"rows need each other in a circle: {circle}") from error


def _trial(comparison: Comparison, name: str, seed: int, out: Path) -> Trial:
    after: list[Path] = []

    def folder(other: str) -> str:
        seeds = comparison.rows[other].seeds or comparison.seeds
        if seed not in seeds and len(seeds) > 1:
            raise FacedistillError(
                f"row {name} needs row {other} for seed {seed}, which has seeds {seeds}: give it "
                "that seed too, or one seed for all"
            )
        after.append(run_folder(out, other, seed if seed in seeds else seeds[0]))
        return str(after[-1])

    overrides = [each.resolved(folder) for each in _overrides(comparison, name)]
    row = comparison.rows[name]
    recipe = load_recipe(row.recipe, [*overrides, Override(("seed",), seed, f"seed={seed}")])
    before = tuple(dict.fromkeys(after))
    return Trial(name, seed, recipe, run_folder(out, name, seed), before, row.bank, row.tokens)
