"""Architectures by name.

An architecture is a function in a file of `backbones/`, marked `@register`, whose name is the
architecture's and whose arguments, all with defaults, are its own. The files are imported when the
first architecture is asked for. Beside these there is `timm:NAME` for every model of timm.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError, validate_call

from facedistill.core.errors import FacedistillError
from facedistill.core.suggestion import did_you_mean
from facedistill.models import backbones
from facedistill.models.backbones.base import Backbone
from facedistill.models.backbones.timm_network import PREFIX, timm_factory

Factory = TypeVar("Factory", bound=Callable[..., Backbone])

_FACTORIES: dict[str, Callable[..., Backbone]] = {}


def register(factory: Factory) -> Factory:
    """Make `factory` known under its own name.

    Raises:
        ValueError: If another function already has that name.
    """
    name = factory.__name__
    if name in _FACTORIES:
        raise ValueError(f"two architectures are named {name}")
    _FACTORIES[name] = factory
    return factory


def names() -> list[str]:
    """Return the names of all architectures, sorted."""
    _import_architectures()
    return sorted(_FACTORIES)


def create_backbone(name: str, **arguments: Any) -> Backbone:
    """Build architecture `name`, freshly initialised.

    Args:
        name: One of `names()`, or `timm:NAME`.
        **arguments: The architecture's own; those not given take its defaults.

    Raises:
        FacedistillError: If the name or an argument is unknown (the nearest is named), or a value
            is out of range.
    """
    factory = _find(name)
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


def _find(name: str) -> Callable[..., Backbone]:
    known = names()
    if name.startswith(PREFIX):
        return timm_factory(name.removeprefix(PREFIX))
    if name not in _FACTORIES:
        raise FacedistillError(f"no architecture {name!r}; {did_you_mean(name, known)}")
    return _FACTORIES[name]


@functools.cache
def _import_architectures() -> None:
    for module in pkgutil.iter_modules(backbones.__path__):
        importlib.import_module(f"{backbones.__name__}.{module.name}")
