"""What can be extended, by name: objectives, architectures, layouts, data formats, export targets.

There are three ways in, and none is a list that somebody has to edit:

- A file of the registry's own package registers by being there; all of them are imported when the
  first name is asked for.
- An installed distribution states an entry point of the registry's group. It is loaded when its
  name is asked for, so that a broken one does no harm before that.
- A module that the user imports (`--import their.module`) registers as files of the package do.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.imported_modules import import_inherited
from facedistill.core.suggestion import did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
Entry = TypeVar("Entry")

OBJECTIVES = "facedistill.objectives"
BACKBONES = "facedistill.backbones"
FORMATS = "facedistill.formats"
TARGETS = "facedistill.targets"
LAYOUTS = "facedistill.layouts"

_REGISTRIES: dict[str, Registry[Any]] = {}
"""Those whose room is imported, by group."""


class Registry(Generic[T]):
    """The entries of one kind, by name.

    Example:
        >>> shapes: Registry[type] = Registry("shape", "facedistill.doctest_shapes")
        >>> @shapes.register("disc")
        ... class Disc:
        ...     '''Everything within a radius.'''
        >>> shapes.names()
        ['disc']
        >>> shapes.get("disc").__name__
        'Disc'
        >>> shapes.descriptions()
        {'disc': 'Everything within a radius.'}

    Args:
        kind: What an entry is called in messages, in the singular.
        group: Group of the entry points by which other distributions add entries. An entry point's
            name is the entry's; its value is the entry, or a module that registers it.
        package: Package whose modules are imported before the first name is looked up; None for
            none.
        nested: Whether modules inside that package's own packages are imported, too.
    """

    def __init__(
        self, kind: str, group: str, package: str | None = None, *, nested: bool = False
    ) -> None:
        self.kind, self.group = kind, group
        self._package, self._nested = package, nested
        self._complete = False
        self._entries: dict[str, T] = {}
        self._points: dict[str, list[EntryPoint]] | None = None
        self._reasons: dict[EntryPoint, str | None] = {}
        _REGISTRIES[group] = self

    def register(self, name: str | None = None) -> Callable[[Entry], Entry]:
        """Return a decorator that makes a function or class known.

        Args:
            name: What it is called; its own `__name__` by default.

        Raises:
            ValueError: By the decorator, if another entry already has that name.
        """

        def decorate(entry: Entry) -> Entry:
            self.add(name or entry.__name__, entry)  # type: ignore[attr-defined, arg-type]
            return entry

        return decorate

    def add(self, name: str, entry: T) -> T:
        """Make an entry known and return it; the same one twice is no mistake.

        Raises:
            ValueError: If another entry already has that name.
        """
        if self._entries.get(name, entry) is not entry:
            raise ValueError(f"two {self.kind}s are named {name!r}")
        self._entries[name] = entry
        return entry

    def names(self) -> list[str]:
        """Return the names of all entries, sorted; installed ones are not loaded for it."""
        self._import_package()
        return sorted(self._entries.keys() | self._installed().keys())

    def get(self, name: str) -> T:
        """Return an entry.

        Raises:
            FacedistillError: If there is none of that name (the nearest is named), or the
                distribution that states it is broken (it is named).
        """
        self._import_package()
        for point in self._installed().get(name, ()):
            self._load(point)
        if name not in self._entries:
            raise unknown(self.kind, name, self.names())
        return self._entries[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield every entry that loads with its name, by name."""
        broken = self.broken()
        for name in self.names():
            if name not in broken:
                yield name, self._entries[name]

    def descriptions(self) -> dict[str, str]:
        """Return by name the first line of what each entry that loads says of itself.

        That is its attribute `description` where it has one, else its docstring.
        """
        return {name: _description(entry) for name, entry in self.items()}

    def broken(self) -> dict[str, str]:
        """Return by name why installed entries cannot be loaded; empty if all can."""
        self._import_package()
        reasons: dict[str, str] = {}
        for name, points in sorted(self._installed().items()):
            try:
                for point in points:
                    self._load(point)
            except FacedistillError as error:
                reasons[name] = str(error)
        return reasons

    def _import_package(self) -> None:
        """Import every file of the package once, so that a new one registers by being there."""
        import_inherited()
        if self._complete or self._package is None:
            return
        package = importlib.import_module(self._package)
        found = pkgutil.walk_packages if self._nested else pkgutil.iter_modules
        for module in found(package.__path__, f"{self._package}."):
            importlib.import_module(module.name)
        self._complete = True

    def _installed(self) -> dict[str, list[EntryPoint]]:
        """Return the entry points of the group by name."""
        if self._points is None:
            self._points = {}
            # Imported where it is needed: every command starts by importing this file.
            from importlib.metadata import entry_points

            for point in entry_points(group=self.group):
                self._points.setdefault(point.name, []).append(point)
        return self._points

    def _load(self, point: EntryPoint) -> None:
        """Load an entry point and register what it names, unless its module has.

        Raises:
            FacedistillError: If it does not load, or the name is another entry's.
        """
        if point not in self._reasons:
            self._reasons[point] = self._try(point)
        reason = self._reasons[point]
        if reason:
            owner = point.dist.name if point.dist else "unknown"
            raise FacedistillError(
                f"{self.kind} {point.name!r} of the installed package {owner} cannot be loaded "
                f"({reason}): update or uninstall {owner}"
            )

    def _try(self, point: EntryPoint) -> str | None:
        """Load an entry point and register what it names; return why that failed, None if not."""
        try:
            loaded = point.load()
            if not isinstance(loaded, ModuleType):
                self.add(point.name, loaded)
            elif point.name not in self._entries:
                raise ValueError(f"{point.value} registers no {self.kind} of that name")
        except Exception as error:  # whatever another's module does when it is imported
            return first_line(error)
        return None


def registry_of(group: str) -> Registry[Any] | None:
    """Return the registry of a group; None where the room that defines it is not imported."""
    return _REGISTRIES.get(group)


def unknown(kind: str, name: str, known: Sequence[str]) -> FacedistillError:
    """Return the error that refuses a name which no entry has; the nearest is named."""
    return FacedistillError(f"unknown {kind} {name!r}: {did_you_mean(name, known)}")


def _description(entry: object) -> str:
    text = getattr(entry, "description", None) or inspect.getdoc(entry) or ""
    return str(text).strip().partition("\n")[0]
