"""Where faces come from: every source gives the same `Sample`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedistill.data.batch import Batch
    from facedistill.data.dataset import FaceDataset
    from facedistill.data.dataset_format import FORMATS, Format, FormatOptions, register
    from facedistill.data.open import dataset_summary, open_dataset
    from facedistill.data.packing import pack
    from facedistill.data.pairs.open_pairs import open_pairs
    from facedistill.data.pairs.pair_set import PairSet
    from facedistill.data.sample import Sample

_PLACES = {
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


def __getattr__(name: str) -> Any:
    # Importing a room costs nothing: each name is looked up when it is asked for.
    if name in _PLACES:
        return getattr(import_module(f"facedistill.data.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
