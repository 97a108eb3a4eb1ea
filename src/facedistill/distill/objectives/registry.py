"""Objectives by name: files of this room, installed entry points, modules that a user imports."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from facedistill.core.errors import FacedistillError
from facedistill.core.registry import OBJECTIVES, Registry
from facedistill.core.suggestion import did_you_mean
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.context import NEEDS, RunContext
from facedistill.models.outputs import Outputs

objectives: Registry[type[Objective]] = Registry(
    "objective", OBJECTIVES, "facedistill.distill.objectives", nested=True
)

AnyObjective = TypeVar("AnyObjective", bound=type[Objective])


def objective(name: str) -> Callable[[AnyObjective], AnyObjective]:
    """Register an objective class under the name that recipes use."""

    def register(cls: AnyObjective) -> AnyObjective:
        objectives.add(name, cls)
        cls.name = name
        return cls

    return register


def objective_names() -> list[str]:
    """Return the names of all objectives, sorted."""
    return objectives.names()


def check_objective(name: str, context: RunContext, **options: Any) -> None:
    """Refuse the objective `name` for a run that it does not suit, without building it.

    Raises:
        FacedistillError: If the name or an option is unknown, or the run does not suit it.
    """
    cls = objectives.get(name)
    _check_options(name, cls, options)
    cls.check(context.asked_by(name), options)


def create_objective(name: str, context: RunContext, **options: Any) -> Objective:
    """Build the objective `name` for a run.

    Args:
        name: A registered name.
        context: What it may ask of the run.
        **options: The objective's own options, by the names in its constructor.

    Raises:
        FacedistillError: If the name, an option or a need is unknown, or the run cannot serve it.
    """
    cls = objectives.get(name)
    if not hasattr(cls, "name"):  # An entry point may state a class that is not decorated.
        cls.name = name
    _check_options(name, cls, options)
    own = context.asked_by(name)
    try:
        made = cls(own, **options)
    except (TypeError, ValueError) as error:
        raise FacedistillError(f"objective '{name}': {error}") from error
    _check_needs(made, own)
    return made


_OUTPUTS = [field.name for field in fields(Outputs)]
_KNOWN = {
    *(f"{network}.{output}" for network in ("student", "teacher") for output in _OUTPUTS),
    *(f"batch.{field.name}" for field in fields(Batch)),
    *NEEDS,
}
"""All that `needs` may name."""


def _check_needs(made: Objective, context: RunContext) -> None:
    """Refuse needs that nothing serves, and requests that `needs` does not state.

    Raises:
        FacedistillError: Naming the need, and the known ones.
    """
    for need in sorted(made.needs - _KNOWN):
        raise FacedistillError(
            f"objective '{made.name}' needs '{need}', which nothing serves: "
            f"{did_you_mean(need, _KNOWN)}"
        )
    for need in sorted(context.asked - made.needs):
        raise FacedistillError(
            f"objective '{made.name}' asks for {need} and does not say so: add it to its `needs`"
        )


def _check_options(name: str, cls: type[Objective], options: Mapping[str, Any]) -> None:
    """Refuse an option that the constructor does not know, or of another kind.

    Raises:
        FacedistillError: Naming the option.
    """
    parameters = inspect.signature(cls).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    forwards = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    for key in options:
        if key not in known and not forwards:
            raise FacedistillError(
                f"unknown option '{key}' of objective '{name}': {did_you_mean(key, known)}"
            )
    _check_kinds(name, cls, options)


_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}
"""What an option of a type must be, in words."""


def _check_kinds(name: str, cls: type[Objective], options: Mapping[str, Any]) -> None:
    """Refuse what is not of its option's type, such as the text "false", which Python calls true.

    Raises:
        FacedistillError: Naming the option.
    """
    types = get_type_hints(cls.__init__)
    for key in options.keys() & types.keys():
        try:
            TypeAdapter(types[key]).validate_python(options[key], strict=True)
        except ValidationError:
            of = [each for each in get_args(types[key]) or (types[key],) if each is not NoneType]
            must = _KINDS.get(of[0]) or f"one of {', '.join(map(str, of))}"
            raise FacedistillError(
                f"objective '{name}': {key} is {options[key]!r}, it must be {must}"
            ) from None
