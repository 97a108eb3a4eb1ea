"""Networks: architectures, heads, the files that hold them, and foreign weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.models.backbones.base import Backbone, StagedBackbone, TokenBackbone
    from facedistill.models.face_network import FaceNetwork
    from facedistill.models.files.model_file import load_model, save_model
    from facedistill.models.files.model_metadata import ModelMetadata
    from facedistill.models.files.open_network import open_network
    from facedistill.models.foreign.foreign_weights import load_foreign
    from facedistill.models.inference import embed_images, infer
    from facedistill.models.onnx_network import OnnxNetwork
    from facedistill.models.outputs import Outputs
    from facedistill.models.registry import BACKBONES, create_backbone, register

_MODULES = {
    "BACKBONES": "registry",
    "Backbone": "backbones.base",
    "FaceNetwork": "face_network",
    "ModelMetadata": "files.model_metadata",
    "OnnxNetwork": "onnx_network",
    "Outputs": "outputs",
    "StagedBackbone": "backbones.base",
    "TokenBackbone": "backbones.base",
    "create_backbone": "registry",
    "embed_images": "inference",
    "infer": "inference",
    "load_foreign": "foreign.foreign_weights",
    "load_model": "files.model_file",
    "open_network": "files.open_network",
    "register": "registry",
    "save_model": "files.model_file",
}

__all__ = [
    "BACKBONES",
    "Backbone",
    "FaceNetwork",
    "ModelMetadata",
    "OnnxNetwork",
    "Outputs",
    "StagedBackbone",
    "TokenBackbone",
    "create_backbone",
    "embed_images",
    "infer",
    "load_foreign",
    "load_model",
    "open_network",
    "register",
    "save_model",
]

__getattr__ = lazy_names(__name__, _MODULES)
