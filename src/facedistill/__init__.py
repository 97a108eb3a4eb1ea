"""Distil a strong face-recognition network into one that fits on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedistill.models.files.model_file import load_model as load

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only those who load a model wait for it.
    if name == "load":
        from facedistill.models.files.model_file import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
