"""Architectures by name.

An architecture is a function in a file of `backbones/`, marked `@register`, whose name is the
architecture's and whose arguments, all with defaults, are its own. The files are imported when the
first architecture is asked for. Other distributions give such functions as entry points of the
group `facedistill.backbones`. Beside these there is `timm:NAME` for every model of timm.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError, validate_call

from facedistill.core.errors import FacedistillError
from facedistill.core.registry import Registry
from facedistill.core.suggestion import did_you_mean
from facedistill.models.backbones.base import Backbone
from facedistill.models.backbones.timm_network import PREFIX, timm_factory

Factory = TypeVar("Factory", bound=Callable[..., Backbone])

BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "architecture", "facedistill.backbones", "facedistill.models.backbones"
)


def register(factory: Factory) -> Factory:
    """Make `factory` known under its own name.

    Raises:
        ValueError: If another function already has that name.
    """
    return BACKBONES.register()(factory)


def names() -> list[str]:
    """Return the names of all architectures, sorted."""
    return BACKBONES.names()


def create_backbone(name: str, **arguments: Any) -> Backbone:
    """Build architecture `name`, freshly initialised.

    Args:
        name: One of `names()`, or `timm:NAME`.
        **arguments: The architecture's own; those not given take its defaults.

    Raises:
        FacedistillError: If the name or an argument is unknown (the nearest is named), or a value
            is out of range.
    """
    factory = _factory(name)
    parameters = list(inspect.signature(factory).parameters)
    for argument in arguments:
        if argument not in parameters:
            hint = did_you_mean(argument, parameters)
            raise FacedistillError(f"architecture {name} has no argument {argument!r}; {hint}")
    try:
        return validate_call(factory)(**arguments)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise FacedistillError(
            f"architecture {name}, argument {place}={first['input']!r}: {first['msg']}"
        ) from None


def _factory(name: str) -> Callable[..., Backbone]:
    if name.startswith(PREFIX):
        return timm_factory(name.removeprefix(PREFIX))
    return BACKBONES.get(name)
