"""What every room stands on: errors, registry, atomic files, progress, processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.core.atomic import atomic_path
    from facedistill.core.errors import FacedistillError, Interrupted
    from facedistill.core.estimate import Estimate, Interval
    from facedistill.core.registry import Registry

__all__ = [
    "Estimate",
    "FacedistillError",
    "Interrupted",
    "Interval",
    "Registry",
    "atomic_path",
]

_MODULES = {
    "Estimate": "estimate",
    "FacedistillError": "errors",
    "Interrupted": "errors",
    "Interval": "estimate",
    "Registry": "registry",
    "atomic_path": "atomic",
}

__getattr__ = lazy_names(__name__, _MODULES)
