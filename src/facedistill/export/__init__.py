"""A student as a file for a device: targets, the parity check, latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

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

_MODULES = {
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

__getattr__ = lazy_names(__name__, _MODULES)
