"""Names of objectives and architectures, checked without importing them: torch takes its time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from facedistill.core.imported_modules import import_inherited
from facedistill.core.registry import BACKBONES, OBJECTIVES, registry_of, unknown

_ROOMS = {
    OBJECTIVES: ("objective", "facedistill.distill.objectives"),
    BACKBONES: ("architecture", "facedistill.models.backbones"),
}
"""By group of entry points, what an entry is called and the package whose files register some."""

_REGISTERS = re.compile(r'^@(?:register|objective)(?:\("(\w+)"\))?\n(?:class|def) (\w+)', re.M)
"""How a file registers a class or function: under the name given, else under its own."""


def require_registered(group: str, names: Iterable[str]) -> None:
    """Refuse a name under which nothing is registered.

    Args:
        group: `OBJECTIVES` or `BACKBONES`.
        names: What the user wrote.

    Raises:
        FacedistillError: Naming the nearest known one, just as the registry does.
    """
    kind, package = _ROOMS[group]
    known = registered_names(group, package)
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)


def registered_names(group: str, package: str) -> list[str]:
    """Return the names of a registry, sorted: its own where its room is imported already."""
    import_inherited()  # Such a module imports the room of what it registers.
    registry = registry_of(group)
    if registry is not None:
        return registry.names()
    installed = {point.name for point in entry_points(group=group)}
    return sorted(installed | _stated(package))


def _stated(package: str) -> set[str]:
    """Return what the files of a package register, as their text says."""
    spec = find_spec(package)
    assert spec is not None
    return {
        given or own
        for folder in spec.submodule_search_locations or ()
        for file in Path(folder).rglob("*.py")
        for given, own in _REGISTERS.findall(file.read_text("utf-8"))
    }
