"""A student as a file for a device: targets, the parity check, latency."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedistill.export.export import ExportReport, export_network
    from facedistill.export.parity import Parity, check_parity
    from facedistill.export.target import (
        TARGETS,
        Engine,
        ExportOptions,
        Runtime,
        Target,
        open_engine,
        register,
    )

_PLACES = {
    "Engine": "target",
    "ExportOptions": "target",
    "ExportReport": "export",
    "Parity": "parity",
    "Runtime": "target",
    "TARGETS": "target",
    "Target": "target",
    "check_parity": "parity",
    "export_network": "export",
    "open_engine": "target",
    "register": "target",
}

__all__ = [
    "TARGETS",
    "Engine",
    "ExportOptions",
    "ExportReport",
    "Parity",
    "Runtime",
    "Target",
    "check_parity",
    "export_network",
    "open_engine",
    "register",
]


def __getattr__(name: str) -> Any:
    # Importing a room costs nothing: each name is looked up when it is asked for.
    if name in _PLACES:
        return getattr(import_module(f"facedistill.export.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
