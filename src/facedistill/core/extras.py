"""Packages of facedistill's extras: they may be absent, or present and unable to load."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from facedistill.core.errors import first_line


def import_extra(name: str) -> ModuleType:
    """Import a package of an extra, or a module that needs one.

    Raises:
        ImportError: If it cannot be imported, whatever it failed by.
    """
    try:
        return import_module(name)
    # Beside libraries that it was not made for, a package fails by whatever comes first.
    except (AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ImportError(first_line(error)) from error
