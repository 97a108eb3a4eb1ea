"""What there is by name, with a line about each; only the room that is asked for is imported."""

from __future__ import annotations


def describe(kind: str) -> dict[str, str]:
    """Return names and descriptions, in alphabetical order.

    Args:
        kind: `recipes`, `comparisons`, `networks`, `objectives`, `formats`, `layouts` or `targets`.
    """
    if kind == "recipes":
        from facedistill.recipe.loading import describe_recipes

        return describe_recipes()
    if kind == "comparisons":
        from facedistill.recipe.comparison import describe_comparisons

        return describe_comparisons()
    if kind == "networks":
        from facedistill.models.registry import BACKBONES

        return BACKBONES.descriptions()
    if kind == "objectives":
        from facedistill.distill.objectives.registry import objectives

        return objectives.descriptions()
    if kind == "formats":
        from facedistill.data.dataset_format import FORMATS

        return FORMATS.descriptions()
    if kind == "layouts":
        from facedistill.models.foreign.layout import LAYOUTS

        return {name: layout.trainers for name, layout in LAYOUTS.items()}
    from facedistill.export.target import TARGETS

    return TARGETS.descriptions()
