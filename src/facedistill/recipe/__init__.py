"""What a run is and what a comparison is: YAML files, typed and validated, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.recipe.comparison import Comparison, load_comparison
    from facedistill.recipe.loading import load_recipe, shipped_recipes
    from facedistill.recipe.overrides import Override
    from facedistill.recipe.schema import Recipe

__all__ = [
    "Comparison",
    "Override",
    "Recipe",
    "load_comparison",
    "load_recipe",
    "shipped_recipes",
]

_MODULES = {
    "Comparison": "comparison",
    "Override": "overrides",
    "Recipe": "schema",
    "load_comparison": "comparison",
    "load_recipe": "loading",
    "shipped_recipes": "loading",
}
"""Where the public names are: importing this room imports no pydantic."""

__getattr__ = lazy_names(__name__, _MODULES)
