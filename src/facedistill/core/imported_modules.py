"""Modules that the user asks for by name, so that what they register is known.

The names are kept in the environment: processes that this one starts, the runs of a comparison and
the readers of a data set among them, import the same modules before they look a name up.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable

from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.network_suffixes import is_network

VARIABLE = "FACEDISTILL_IMPORT"
"""Environment variable with the names, separated by commas."""


def import_modules(names: Iterable[str]) -> None:
    """Import modules, here and in every process started from now on.

    The current folder is searched, too, after all others.

    Raises:
        FacedistillError: If there is no such module, or it cannot be imported; the message says
            why.
    """
    for name in names:
        _import(name)
        if name not in (known := _inherited()):
            os.environ[VARIABLE] = ",".join([*known, name])


def import_inherited() -> None:
    """Import the modules that the process which started this one was asked for.

    Raises:
        FacedistillError: If one cannot be imported.
    """
    for name in _inherited():
        _import(name)


def _inherited() -> list[str]:
    return [name for name in os.environ.get(VARIABLE, "").split(",") if name]


def _import(name: str) -> None:
    if name in sys.modules:
        return
    if is_network(name):
        raise FacedistillError(
            f"--import {name}: that is a network, and a Python module is expected: `facedistill "
            "embed` takes it as --teacher"
        )
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.append(here)
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever another's module does when it is imported
        raise FacedistillError(
            f"--import {name}: {first_line(error)}: give the name of a module that Python can "
            "import, as in my_package.my_objective"
        ) from error
