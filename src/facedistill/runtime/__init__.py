"""An exported student with ONNX Runtime and NumPy alone: what a device needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedistill.runtime.recogniser import Recogniser, similarity

__all__ = ["Recogniser", "similarity"]


def __getattr__(name: str) -> Any:
    # ONNX Runtime takes a while to import: only those who run a file wait for it.
    if name in __all__:
        from facedistill.runtime import recogniser

        return getattr(recogniser, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
