"""An exported student with ONNX Runtime and NumPy alone: what a device needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.runtime.cosine import similarity
    from facedistill.runtime.detection import DetectedFace, FaceDetector
    from facedistill.runtime.engine import OnnxEngine
    from facedistill.runtime.recogniser import Recogniser

__all__ = ["DetectedFace", "FaceDetector", "OnnxEngine", "Recogniser", "similarity"]

# ONNX Runtime takes a while to import: only those who run a file wait for it.
__getattr__ = lazy_names(
    __name__,
    {
        "DetectedFace": "detection",
        "FaceDetector": "detection",
        "OnnxEngine": "engine",
        "Recogniser": "recogniser",
        "similarity": "cosine",
    },
)
