"""One face as an array: landmarks, alignment, augmentation, masks, procedural faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.faces.augmentation import Augmenter
    from facedistill.faces.batched_alignment import align_batch
    from facedistill.faces.masks.face_mask import render_mask
    from facedistill.faces.masks.mask_parameters import MaskParameters
    from facedistill.faces.synthetic.procedural_face import procedural_face

__all__ = [
    "Augmenter",
    "MaskParameters",
    "align_batch",
    "procedural_face",
    "render_mask",
]

_MODULES = {
    "Augmenter": "augmentation",
    "MaskParameters": "masks.mask_parameters",
    "align_batch": "batched_alignment",
    "procedural_face": "synthetic.procedural_face",
    "render_mask": "masks.face_mask",
}

__getattr__ = lazy_names(__name__, _MODULES)
