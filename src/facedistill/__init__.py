"""Distil a strong face-recognition network into one that fits on a phone."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from facedistill.core.telemetry import switch_off_telemetry
from facedistill.core.version import __version__

if TYPE_CHECKING:
    from facedistill.experiments.api import distill, embed, evaluate, export, load

__all__ = ["__version__", "distill", "embed", "evaluate", "export", "load"]

# Before any dependency is imported, in every process that imports any part of this package.
switch_off_telemetry()


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who use a public function wait for it.
    if name in __all__:
        from facedistill.experiments import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _PublicRoom(ModuleType):
    """A room that can be called as the public function of its name.

    `facedistill.export` is both the function and the room that holds the targets. Whichever of
    the two is imported first, the other must not disappear.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function of `facedistill.experiments.api`."""
        from facedistill.experiments import api

        return getattr(api, self.__name__.rpartition(".")[2])(*arguments, **options)


for _room in ("distill", "export"):
    import_module(f"{__name__}.{_room}").__class__ = _PublicRoom
