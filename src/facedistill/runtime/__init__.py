"""An exported student with ONNX Runtime and NumPy alone: what a device needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedistill.runtime.cosine import similarity
    from facedistill.runtime.engine import OnnxEngine
    from facedistill.runtime.recogniser import Recogniser

_PLACES = {"OnnxEngine": "engine", "Recogniser": "recogniser", "similarity": "cosine"}

__all__ = ["OnnxEngine", "Recogniser", "similarity"]


def __getattr__(name: str) -> Any:
    # ONNX Runtime takes a while to import: only those who run a file wait for it.
    if name in _PLACES:
        return getattr(import_module(f"facedistill.runtime.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
