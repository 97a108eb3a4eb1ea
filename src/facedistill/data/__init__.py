"""Where faces come from: every source gives the same `Sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.data.batch import Batch
    from facedistill.data.dataset import FaceDataset
    from facedistill.data.dataset_format import FORMATS, Format, FormatOptions, register
    from facedistill.data.open import dataset_summary, open_dataset
    from facedistill.data.packing import pack
    from facedistill.data.pairs.open_pairs import open_pairs
    from facedistill.data.pairs.pair_set import PairSet
    from facedistill.data.sample import Sample

_MODULES = {
    "Batch": "batch",
    "FORMATS": "dataset_format",
    "FaceDataset": "dataset",
    "Format": "dataset_format",
    "FormatOptions": "dataset_format",
    "PairSet": "pairs.pair_set",
    "Sample": "sample",
    "dataset_summary": "open",
    "open_dataset": "open",
    "open_pairs": "pairs.open_pairs",
    "pack": "packing",
    "register": "dataset_format",
}

__all__ = [
    "FORMATS",
    "Batch",
    "FaceDataset",
    "Format",
    "FormatOptions",
    "PairSet",
    "Sample",
    "dataset_summary",
    "open_dataset",
    "open_pairs",
    "pack",
    "register",
]

__getattr__ = lazy_names(__name__, _MODULES)
