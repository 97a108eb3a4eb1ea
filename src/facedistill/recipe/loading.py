"""Reading a recipe: from a file or by the name of one that comes with the package."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from facedistill.core.errors import FacedistillError
from facedistill.core.registered_names import require_registered
from facedistill.core.registry import BACKBONES, OBJECTIVES
from facedistill.core.regular_files import open_regular
from facedistill.core.suggestion import did_you_mean
from facedistill.recipe.keys import first_problem
from facedistill.recipe.overrides import Override
from facedistill.recipe.plain_yaml import MAX_BYTES, check_plain, parse_yaml
from facedistill.recipe.schema import Recipe

DEMO = "demo"
"""The shipped recipe that is for drawn faces."""
_SHIPPED = resources.files("facedistill") / "recipe" / "shipped"


def shipped_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(
        f.name.removesuffix(".yaml") for f in _SHIPPED.iterdir() if f.name.endswith(".yaml")
    )


def describe_recipes() -> dict[str, str]:
    """Return the first sentence of each shipped recipe's comment, by name."""
    return {name: first_sentence(read_text(name)) for name in shipped_recipes()}


def first_sentence(text: str) -> str:
    """Return the first sentence of the comment at the beginning of a YAML text."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines)
    return re.split(r"(?<=[.?!])\s", comment, maxsplit=1)[0]


def load_recipe(source: str | Path, overrides: Iterable[str | Override] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: Name of a shipped recipe, or path of a YAML file.
        overrides: `a.b=value` settings; later ones win. See `Override.parse` for the value; `null`
            takes a whole mapping out.

    Raises:
        FacedistillError: If the file is missing or no YAML, a key is unknown (the nearest is
            named), or a value is out of its range.
    """
    tree = read_tree(source, overrides)
    try:
        recipe = Recipe.model_validate(tree)
        # Text may be taken for a number, as large as it likes: 0999 is text to YAML.
        check_plain(recipe.model_dump(mode="json"))
        return recipe
    except ValidationError as error:
        raise FacedistillError(f"recipe {source}: {first_problem(error, Recipe)}") from error
    except (FacedistillError, ValueError) as error:
        raise FacedistillError(f"recipe {source}: {error}") from error


def require_faces(sources: Iterable[str], train: str, settings: Iterable[str]) -> None:
    """Refuse a shipped recipe to which nobody has given faces: it would learn from drawn ones.

    Args:
        sources: Names of recipes, or paths.
        train: The recipe's `data.train`.
        settings: What the user set.

    Raises:
        FacedistillError: Naming the key to set.
    """
    given = any(Override.parse(each).path in (("data",), ("data", "train")) for each in settings)
    for source in sources:
        if not given and source in shipped_recipes() and source != DEMO:
            raise FacedistillError(
                f"recipe {source}: say what to train on, --set data.train=FACES (a folder of "
                f"images, a list, RecordIO; drawn faces to try it out: --set data.train={train})"
            )


def require_known(recipes: Iterable[Recipe]) -> None:
    """Refuse objectives and networks that nobody registers; those that are known stay unimported.

    Raises:
        FacedistillError: Naming the nearest known one.
    """
    objectives: dict[str, None] = {}
    networks: dict[str, None] = {}
    for recipe in recipes:
        objectives |= dict.fromkeys(recipe.objectives)
        if ":" not in recipe.student.network:  # timm:NAME, which timm knows
            networks[recipe.student.network] = None
    require_registered(BACKBONES, networks)
    require_registered(OBJECTIVES, objectives)


def read_tree(source: str | Path, overrides: Iterable[str | Override] = ()) -> dict[str, Any]:
    """Read a recipe's or a comparison's YAML, with settings applied, before it is validated.

    Raises:
        FacedistillError: If the file is missing or no plain YAML mapping, or a setting is unusable.
    """
    tree = parse_yaml(read_text(source), f"recipe {source}")
    if not isinstance(tree, dict):
        raise FacedistillError(f"recipe {source} is no mapping of keys to values")
    for each in overrides:
        (each if isinstance(each, Override) else Override.parse(each)).apply(tree)
    return tree


def read_text(source: str | Path) -> str:
    """Return the YAML text of a shipped recipe or of a file.

    Raises:
        FacedistillError: If there is no such recipe (the nearest is named), or the file cannot be
            read or is too large.
    """
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - Path.expanduser raises for ~nobody
    if path.suffix not in (".yaml", ".yml"):
        if str(source) not in shipped_recipes():
            raise FacedistillError(
                f"no recipe '{source}': {did_you_mean(str(source), shipped_recipes())} "
                "(or give the path of a .yaml file)"
            )
        return (_SHIPPED / f"{source}.yaml").read_text("utf-8")
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise FacedistillError(
                f"recipe {path} is no recipe: it has more than {MAX_BYTES} bytes"
            )
        return content.decode("utf-8")
    except OSError as error:
        raise FacedistillError(f"cannot read recipe {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise FacedistillError(f"cannot read recipe {path}: it is no UTF-8 text") from error
