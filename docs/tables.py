"""Tables of the code, as Markdown: one function a table, see `TABLES` at the end."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from types_in_words import is_own, kind_text, value_text

import facedistill
from facedistill.data.dataset_format import FORMATS, _never
from facedistill.distill.bank.mining import Neighbours
from facedistill.distill.objectives import registry
from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.context import LandmarkCounts, RunContext
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.registry import create_objective
from facedistill.evaluation.options import EvaluationOptions
from facedistill.experiments import api
from facedistill.export.target import TARGETS
from facedistill.models.foreign.layout import LAYOUTS
from facedistill.models.heads.margin import HEADS, MarginHead
from facedistill.models.registry import BACKBONES, create_backbone
from facedistill.recipe.comparison import Comparison, describe_comparisons
from facedistill.recipe.loading import describe_recipes, load_recipe, shipped_recipes
from facedistill.recipe.schema import Recipe

Docs = tuple[str, dict[str, str]]
"""The text of a docstring before its sections, and its entry of each argument or attribute."""


def docstring(of: Any) -> Docs:
    """Take a docstring of Google style apart."""
    text, *sections = re.split(r"^(?=\w+:$)", inspect.getdoc(of) or "", flags=re.M)
    entries: dict[str, str] = {}
    for section in sections:
        if section.startswith(("Args:", "Attributes:")):
            for name, entry in re.findall(
                r"^    \**(\w+): (.+?)(?=^    \S|\Z)", section, re.S | re.M
            ):
                entries[name] = " ".join(entry.split())
    return text.strip(), entries


def first_sentence(text: str) -> str:
    """Return the first sentence, in one line."""
    line = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[^.]\.) (?=[A-Z`])", line)[0]


def cell(text: str) -> str:
    """Return text that stays within one cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


def table(header: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; `header` names the columns, divided by |."""
    columns = [name.strip() for name in header.split("|")]
    lines = [columns, ["---"] * len(columns), *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def below(annotation: Any) -> type | None:
    """Return the section of a recipe, or the dataclass, that an annotation holds."""
    for each in (annotation, *typing.get_args(annotation)):
        if inspect.isclass(each) and (
            issubclass(each, BaseModel) or dataclasses.is_dataclass(each)
        ):
            return each
    return None


def default_text(field: FieldInfo) -> str:
    """Return a key's default."""
    if field.default_factory is not None:
        return value_text(field.get_default(call_default_factory=True))
    return "required" if field.default is PydanticUndefined else value_text(field.default)


def hints_of(section: type) -> dict[str, Any]:
    """Return the types of a dataclass; torch may be for the type checker only."""
    module = sys.modules[section.__module__]
    names = {**vars(module), "torch": torch}
    return typing.get_type_hints(section, names, include_extras=True)


def key_rows(section: type, prefix: str = "") -> Iterator[list[str]]:
    """Yield key, kind, default and meaning of everything below a section."""
    if not issubclass(section, BaseModel):
        meanings, types = docstring(section)[1], hints_of(section)
        for each in dataclasses.fields(section):
            kind = kind_text(types[each.name])
            yield [f"`{prefix}{each.name}`", kind, value_text(each.default), meanings[each.name]]
        return
    for name, field in section.model_fields.items():
        inner, key = below(field.annotation), f"{prefix}{name}"
        if inner is None:
            kind = kind_text(field.annotation, field.metadata)
            yield [f"`{key}`", kind, default_text(field), field.description or ""]
            continue
        named = typing.get_origin(field.annotation) is dict
        default = "none" if field.default is None else "required" if field.is_required() else ""
        meaning = field.description or docstring(inner)[0]
        yield [f"**`{key}`**", "mapping", default, meaning]
        if name != "teachers":  # as `teacher`
            yield from key_rows(inner, f"{key}.NAME." if named else f"{key}.")


def keys_of(section: type) -> str:
    """Return the table of a file's keys."""
    return table("key | value | default | meaning", list(key_rows(section)))


def options_of(makers: Sequence[Callable[..., Any]]) -> list[list[str]]:
    """Return kind, default and meaning of every keyword option, the first maker's meaning first."""
    rows: dict[str, list[str]] = {}
    for maker in makers:
        function = maker.__init__ if inspect.isclass(maker) else maker
        types = typing.get_type_hints(function, include_extras=True)
        for option in inspect.signature(maker).parameters.values():
            meaning = docstring(maker)[1].get(option.name, "")
            if option.kind is option.VAR_KEYWORD and meaning.startswith("The head's"):
                rows["..."] = ["[of the head](#heads)", "", "", meaning]
            if option.kind is option.KEYWORD_ONLY:
                default = "" if option.default is option.empty else value_text(option.default)
                rows.setdefault(
                    option.name,
                    [f"`{option.name}`", kind_text(types[option.name]), default, meaning],
                )
    return list(rows.values())


def objectives() -> dict[str, type[Objective]]:
    """Return the package's own objectives by name."""
    return {name: kind for name, kind in registry.objectives.items() if is_own(kind.__module__)}


def everything() -> RunContext:
    """Return a run that serves whatever an objective asks for."""
    others = Neighbours(torch.eye(3, 8), torch.tensor([[1], [2], [0]]), torch.zeros(3, 1))
    needs: dict[str, Any] = {
        "run.neighbours": others,
        "run.class_centres": torch.eye(3, 8),
        "run.teacher_classes": 3,
        "run.channels": (8, 8),
        "run.pixel_features": (PixelFeatures("feature_map", 8, 7), PixelFeatures("tokens", 8, 7)),
        "run.saliency": torch.rand(7, 7),
        "run.images_per_identity": 2,
        "run.landmarks": LandmarkCounts(5, 5),
    }
    providers = {name: lambda *_, value=value: value for name, value in needs.items()}
    return RunContext(8, 8, 3, providers)


_NEEDS = {
    "run.identities": "labels",
    "batch.landmarks": "landmarks",
    "run.neighbours": "bank",
    "run.pixel_features": "online",
    "run.channels": "online",
    "run.saliency": "online",
    "teacher.feature_map": "online",
    "teacher.tokens": "online",
    "teacher.landmarks": "online",
    "teacher.plain_embedding": "online",
    "teacher.logits": "logits",
    "student.logits": "class loss",
    "run.images_per_identity": "whole identities",
}
"""What a need asks of the user, in words; of the others there is nothing to see to."""


def needs_of(name: str) -> list[str]:
    """Return what a run must have for an objective with its defaults, in words."""
    needs = create_objective(name, everything()).needs
    return list(dict.fromkeys(word for need, word in _NEEDS.items() if need in needs))


def weights() -> dict[str, str]:
    """Return by objective the weights that shipped recipes give it, the most frequent one first.

    Beside the others stand the recipes that have them.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for recipe in map(load_recipe, shipped_recipes()):
        for name, term in recipe.objectives.items():
            weight = f"{term.weight:g}" if isinstance(term.weight, float) else term.weight
            found.setdefault(name, {}).setdefault(weight, []).append(f"`{recipe.name}`")
    texts = {}
    for name, by_weight in found.items():
        usual, *others = sorted(by_weight, key=lambda weight: -len(by_weight[weight]))
        texts[name] = "; ".join(
            [usual, *(f"{weight} ({', '.join(by_weight[weight])})" for weight in others)]
        )
    return texts


def method_list() -> str:
    """Return the table of objectives."""
    given = weights()
    rows = [
        [
            f"[`{name}`](#{name})",
            ", ".join(needs_of(name)),
            summary_of(kind),
            given.get(name, ""),
        ]
        for name, kind in objectives().items()
    ]
    return table("objective | needs | loss | in recipes", rows)


def summary_of(kind: type) -> str:
    """Return the first line of a docstring, as code where it is a formula."""
    return docstring(kind)[0].partition("\n")[0]


def method_details() -> str:
    """Return a section for every objective: its docstring, and its options."""
    parts = []
    for name, kind in objectives().items():
        rows = options_of([kind])
        options = table("option | value | default | meaning", rows) if rows else "No options.\n"
        parts.append(f"### {name}\n\n{docstring(kind)[0]}\n\n{options}")
    return "\n" + "\n".join(parts) + "\n"


def head_list() -> str:
    """Return the table of margin heads and the options of each."""
    shared = [["all heads", *row] for row in options_of([MarginHead])]
    return table(
        "head | option | value | default | meaning",
        shared + [
            [f"`{name}`", *row]
            for name, head in HEADS.items()
            for row in options_of([head]) or [["", "", "", docstring(head)[0].partition("\n")[0]]]
        ],
    )  # fmt: skip


def network_list() -> str:
    """Return the table of architectures; parameters are those of the defaults, without heads."""
    rows = []
    for name, factory in BACKBONES.items():
        if not is_own(factory.__module__):
            continue
        with torch.device("meta"):  # Nothing is allocated.
            count = sum(p.numel() for p in create_backbone(name).parameters())
        types = typing.get_type_hints(factory, include_extras=True)
        arguments = [
            f"`{each.name}` ({kind_text(types[each.name])}; {value_text(each.default)})"
            for each in inspect.signature(factory).parameters.values()
            if each.name not in ("embedding_size", "input_size")
        ]
        rows.append([f"`{name}`", f"{count:,}", ", ".join(arguments)])
    return table("network | parameters | arguments (value; default)", rows)


def layout_list() -> str:
    """Return the table of checkpoints that open."""
    rows = [
        [f"`{name}`", layout.trainers, layout.feeds]
        for name, layout in LAYOUTS.items()
        if is_own(layout.__module__)
    ]
    return table("family | checkpoints of | what it is fed by default", rows)


def target_list() -> str:
    """Return the table of export targets."""
    rows = []
    for _, target in TARGETS.items():
        if not is_own(target.module):
            continue
        files = ", ".join(f"`{suffix}`" for suffix in (target.suffix, *target.companions))
        extra = f"`pip install 'facedistill[{target.extra}]'`" if target.extra else "nothing more"
        what = f"{target.title}. {target.description}"
        rows.append([f"`{target.name}`", what, files, extra])
    return table("target | what | files | needs", rows)


def recipe_list() -> str:
    """Return the table of shipped recipes."""
    rows = []
    for name, what in describe_recipes().items():
        recipe = load_recipe(name)
        command = "distill" if recipe.teacher or recipe.teachers else "train"
        terms = ", ".join(f"`{each}`" for each in recipe.objectives)
        rows.append([f"`{name}`", command, what, terms])
    return table("recipe | command | what | objectives", rows)


def comparison_list() -> str:
    """Return the table of shipped comparisons."""
    rows = [[f"`{name}`", what] for name, what in describe_comparisons().items()]
    return table("comparison | what", rows)


def format_list() -> str:
    """Return the table of data formats."""
    rows = [
        [f"`{name}`", each.description, "yes" if each.landmarks is not _never else ""]
        for name, each in FORMATS.items()
        if is_own(each.open.__module__)
    ]
    return table("format | what is read | may have landmarks", rows)


def evaluation_options() -> str:
    """Return the table of how something is measured."""
    rows = [row for row in key_rows(EvaluationOptions) if row[0] != "`given`"]
    return table("option | value | default | meaning", rows)


def function_list() -> str:
    """Return the table of public functions."""
    rows = []
    for name in facedistill.__all__:
        if name != "__version__":
            function = getattr(api, name)
            options = ", ".join(inspect.signature(function).parameters)
            rows.append(
                [f"`facedistill.{name}({options})`", first_sentence(docstring(function)[0])]
            )
    return table("function | what it does", rows)


TABLES: dict[str, Callable[[], str]] = {
    "comparison-keys": lambda: keys_of(Comparison),
    "comparisons": comparison_list,
    "evaluation-options": evaluation_options,
    "formats": format_list,
    "functions": function_list,
    "heads": head_list,
    "layouts": layout_list,
    "method-details": method_details,
    "methods": method_list,
    "networks": network_list,
    "recipe-keys": lambda: keys_of(Recipe),
    "recipes": recipe_list,
    "targets": target_list,
}
"""Every block by its name; it must stand in exactly one page."""
