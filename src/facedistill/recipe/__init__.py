"""What a run is and what a comparison is: YAML files, typed and validated, without torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
